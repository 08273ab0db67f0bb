import ControlAPI

/// What the balancer knows of an instance, and nobody else: that it takes no connections, although it runs and counts as ready.
extension WhyReasoning {
    /// Of one that the balancer has set aside: that it is so, until when, and what to do; nil: it is not, or the balancer has
    /// not answered. Once the time is over nobody knows how it is until a connection tries it, so that it is no trouble.
    func setAside(_ instance: InstanceStatus) -> (text: String, help: [String], isTrouble: Bool)? {
        guard instance.ready, instance.drained != true, let balanced = balanced[instance.id],
            let left = balanced.setAsideSeconds
        else { return nil }
        let port = instance.port.map { "port \($0)" } ?? "its port"
        guard left > 0 else {
            return (
                "the balancer set it aside after connects to \(port) had failed, and has had no connection to try it with since",
                [], false
            )
        }
        var help = [
            "its process has to accept connections on \(port) of 127.0.0.1; \"supctl logs -n 50 \(instance.id)\" may show why "
                + "it does not",
            "\"supctl restart \(instance.id)\" starts it anew",
        ]
        if instance.health == nil { help[1] += "; with health in the manifest supd does so by itself" }
        return (
            "the balancer has set it aside: connects to \(port) fail, refused or without an answer in time; it is tried "
                + "again within \(HumanText.seconds(left))", help, true
        )
    }
}
