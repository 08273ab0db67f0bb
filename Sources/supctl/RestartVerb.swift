import ControlAPI

let restartVerb = Verb(
    name: "restart", synopsis: "NAME…", summary: "replace services, one instance after the other",
    details: """
        Replaces each instance: takes it out of the balancer, lets its connections
        end (balance.drainTimeout), stops it, starts it, and waits until it is ready
        before the next one. A program without a readiness check has to run for half
        a second. Where deploy.surge allows it another instance stands in meanwhile,
        and has to be ready first: of an only instance clients notice nothing. A
        service with a fixed port, or without listen, is restarted in place; clients
        of an only instance wait, and its connections get half of
        balance.queueTimeout at most. The first instance that does not come up ends
        the restart: the others go on as they are, and its last log lines are shown.
        With deploy.strategy "blue-green" a restart of all instances starts a whole
        set beside them, which takes over at once. While "supctl apply" replaces the
        service a restart is refused.
        \(changeDetails)
        """,
    options: changeOptions, operands: .names
) { invocation throws(VerbFailure) in
    try changeServices(.restart, invocation)
}
