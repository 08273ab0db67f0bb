import ControlAPI

let restartVerb = Verb(
    name: "restart", synopsis: "NAME…", summary: "replace services, one instance after the other",
    details: """
        Replaces each instance: takes it out of the balancer, lets its connections end, stops it, starts it, and waits
        until it is ready before the next one. A program without a readiness check has to run for half a second. Connections
        get balance.drainTimeout; while clients have no other instance, half of balance.queueTimeout at most. The first
        instance that does not come up ends the restart: those after it go on as they are.
        \(changeDetails)
        """,
    options: changeOptions, operands: .names
) { invocation throws(VerbFailure) in
    try changeServices(.restart, invocation)
}
