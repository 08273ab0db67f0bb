import ControlAPI

let drainVerb = Verb(
    name: "drain", synopsis: "NAME…", summary: "take instances out of the balancer",
    details: """
        Takes instances out of the balancer, usually one (api/2), and waits until their connections have ended, which
        have no limit of time. They go on running, and stay drained until "supctl undrain": through exits, restarts,
        stops and starts, whoever causes them; only a new start of supd forgets it. Of the last ready instance it is
        done, too; new connections then wait for another one, for at most queueTimeout.
        \(changeDetails)
        """,
    options: changeOptions, operands: .names
) { invocation throws(VerbFailure) in
    try changeServices(.drain, invocation)
}
