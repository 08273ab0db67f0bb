import ControlAPI

let stopVerb = Verb(
    name: "stop", synopsis: "NAME…", summary: "bring services down, until they are started again",
    details: """
        Stops services: the stop signal, the stop timeout, then SIGKILL. They stay down until "supctl start" or a new
        start of supd.
        \(changeDetails)
        """,
    options: changeOptions, operands: .names
) { invocation throws(VerbFailure) in
    try changeServices(.stop, invocation)
}
