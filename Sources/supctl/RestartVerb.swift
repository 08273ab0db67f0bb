import ControlAPI

let restartVerb = Verb(
    name: "restart", synopsis: "NAME…", summary: "replace services, one instance after the other",
    details: """
        Replaces each instance: takes it out of the balancer, lets its connections end, stops it, starts it, and waits
        until it is ready before the next one.
        \(changeDetails)
        """,
    options: changeOptions, operands: .names
) { invocation throws(VerbFailure) in
    try changeServices(.restart, invocation)
}
