import ControlAPI

/// What the balancer knows of an instance, and nobody else: that it takes no connections, although it runs and counts as ready.
extension WhyReasoning {
    /// Of one that the balancer has set aside at present: that it is so, until when, and what to do; nil: it is not, or the
    /// balancer has not answered.
    func setAside(_ instance: InstanceStatus) -> (text: String, help: [String])? {
        guard instance.ready, instance.drained != true, let balanced = balanced[instance.id],
            let left = balanced.setAsideSeconds
        else { return nil }
        let port = instance.port.map { "port \($0)" } ?? "its port"
        let failed = balanced.counters.connectErrors
        let count = failed == 1 ? "a connect" : "\(HumanText.count(failed)) connects"
        let next = left > 0 ? "it is tried again in \(HumanText.seconds(left))" : "the next connection tries it again"
        var help = [
            "its process has to accept connections on \(port) of 127.0.0.1; \"supctl logs -n 50 \(instance.id)\" may show why "
                + "it does not",
            "\"supctl restart \(instance.id)\" starts it anew",
        ]
        if instance.health == nil { help[1] += "; with health in the manifest supd does so by itself" }
        return (
            "the balancer has set it aside: \(count) to \(port) \(failed == 1 ? "has" : "have") failed, refused or without an "
                + "answer in time; \(next)", help
        )
    }
}
