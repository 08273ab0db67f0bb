import ControlAPI

let stopVerb = Verb(
    name: "stop", synopsis: "NAME…", summary: "bring services down, until they are started again",
    details: """
        Stops services: the stop signal, the stop timeout, then SIGKILL. They stay down until "supctl start" or a new
        start of supd. A service that "supctl apply" is just replacing goes back to
        the settings before: its new version was not judged yet. The apply fails, and
        says so.
        \(changeDetails)
        """,
    options: changeOptions, operands: .names
) { invocation throws(VerbFailure) in
    try changeServices(.stop, invocation)
}
