import ControlAPI

/// What the balancer knows of an instance, and nobody else: that its connects fail, although it runs and counts as ready.
extension WhyReasoning {
    /// For so many seconds a connect that has failed says how it is now, if nothing was tried since: as long as the balancer
    /// sets one aside at most.
    private static let longestKnown: Double = 60

    /// Of one that the balancer has set aside, or would if there were others: that it is so, until when, and what to do; nil: it
    /// is not, or the balancer has not answered. What was long ago is no trouble: nobody knows how it is until a connection
    /// tries it.
    func failing(_ instance: InstanceStatus) -> (text: String, help: [String], isTrouble: Bool)? {
        guard instance.ready, instance.drained != true, let balanced = balanced[instance.id] else { return nil }
        let port = instance.port.map { "port \($0)" } ?? "its port"
        let text: String
        if let left = balanced.setAsideSeconds {
            guard left > 0 else {
                return (
                    "the balancer set it aside after connects to \(port) had failed, and has had no connection to try it "
                        + "with since", [], false
                )
            }
            text =
                "the balancer has set it aside: connects to \(port) fail, refused or without an answer in time; it is tried "
                + "again within \(HumanText.seconds(left))"
        } else if let ago = balanced.failedSecondsAgo {
            guard ago <= Self.longestKnown else {
                return (
                    "the balancer's last connect to \(port) failed \(HumanText.uptime(ago)) ago, and none has succeeded since",
                    [],
                    false
                )
            }
            text =
                "connects to \(port) fail, refused or without an answer in time: the last one \(HumanText.seconds(ago)) ago; "
                + "the balancer goes on with it for want of others"
        } else {
            return nil
        }
        var help = [
            "its process has to accept connections on \(port) of 127.0.0.1; \"supctl logs -n 50 \(instance.id)\" may show why "
                + "it does not",
            "\"supctl restart \(instance.id)\" starts it anew",
        ]
        if instance.health == nil { help[1] += "; with health in the manifest supd does so by itself" }
        return (text, help, true)
    }
}
