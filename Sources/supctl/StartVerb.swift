import ControlAPI

let startVerb = Verb(
    name: "start", synopsis: "NAME…", summary: "bring services up, with what they depend on",
    details: """
        Starts services, and the dependencies that are down. A task that has completed runs again.
        A service without a readiness check has started when it has run for half a second.
        \(changeDetails)
        """,
    options: changeOptions, operands: .names
) { invocation throws(VerbFailure) in
    try changeServices(.start, invocation)
}
