/// What the balancer counts, of fronts and of endpoints alike.
package struct SessionFamilies: Sendable {
    /// Connections open now.
    package let connections: MetricFamily
    /// The most at a time.
    package let connectionsMax: MetricFamily
    /// Connections ever.
    package let connectionsTotal: MetricFamily
    /// New ones in the last second.
    package let rate: MetricFamily
    /// The most in one second.
    package let rateMax: MetricFamily
    /// Connections that wait now; nil for endpoints, which have no queue.
    package let queued: MetricFamily?
    /// The most that waited at a time.
    package let queuedMax: MetricFamily?
    /// Bytes from clients.
    package let received: MetricFamily
    /// Bytes to clients.
    package let sent: MetricFamily
    /// Connections that have reached no instance.
    package let turnedAway: MetricFamily?
    /// Connects that failed.
    package let connectErrors: MetricFamily
    /// Connects tried again.
    package let retries: MetricFamily
    /// Of these, elsewhere.
    package let redispatches: MetricFamily
    /// How long connects took.
    package let connectDuration: MetricFamily
    /// The longest.
    package let connectDurationMax: MetricFamily
    /// Ended sessions.
    package let ended: MetricFamily

    /// What clients see.
    package static let fronts = SessionFamilies("supd_front", ["service", "address"], hasQueue: true)
    /// Where connections go.
    package static let endpoints = SessionFamilies("supd_endpoint", ["service", "replica"], hasQueue: false)

    private init(_ prefix: String, _ labels: [String], hasQueue: Bool) {
        func family(_ name: String, _ kind: MetricFamily.Kind, _ help: String, and label: String? = nil) -> MetricFamily
        {
            MetricFamily("\(prefix)_\(name)", kind, labels + (label.map { [$0] } ?? []), help)
        }
        connections = family("connections", .gauge, "Connections that are open.")
        connectionsMax = family(
            "connections_max", .gauge,
            "The most that were open at a time; with several loops the sum of what each has seen.")
        connectionsTotal = family(
            "connections_total", .counter,
            hasQueue ? "Connections that were accepted." : "Connections that were given to this instance.")
        rate = family("new_connections_per_second", .gauge, "New connections in the last whole second.")
        rateMax = family("new_connections_per_second_max", .gauge, "The most new connections in one second.")
        queued =
            hasQueue ? family("queued_connections", .gauge, "Connections that wait for an instance.") : nil
        queuedMax =
            hasQueue ? family("queued_connections_max", .gauge, "The most that have waited at a time.") : nil
        received = family("received_bytes_total", .counter, "Bytes from clients.")
        sent = family("sent_bytes_total", .counter, "Bytes to clients.")
        turnedAway =
            hasQueue
            ? family(
                "turned_away_total", .counter,
                "Connections that ended without having reached an instance: denied by a rule, limited in number, or other.",
                and: "reason") : nil
        connectErrors = family(
            "connect_errors_total", .counter,
            "Connects to an instance that failed: refused, timed out, or own shortage.")
        retries = family("retries_total", .counter, "Connects that were tried again after that.")
        redispatches = family("redispatches_total", .counter, "Of these, at another instance.")
        connectDuration = family(
            "connect_duration_seconds", .summary, "How long connects to an instance took, and how many there were.")
        connectDurationMax = family("connect_duration_seconds_max", .gauge, "The longest; absent before the first.")
        ended = family(
            "sessions_ended_total", .counter, "Sessions that have ended, by end state: see supctl help balancer.",
            and: "end")
    }

    /// All, in the order of the text.
    package var all: [MetricFamily] {
        [
            connections, connectionsMax, connectionsTotal, rate, rateMax, queued, queuedMax, received, sent, turnedAway,
            connectErrors, retries, redispatches, connectDuration, connectDurationMax, ended,
        ].compactMap { $0 }
    }
}
