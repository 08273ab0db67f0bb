/// For how long services have had no connection, by the balancer's counters, which are looked at now and then. A new
/// supervisor, and a new balancer, begin to count anew.
package struct IdleWatch: Sendable {
    private struct Entry {
        var total: UInt64
        var since: Instant
    }

    private var entries: [String: Entry] = [:]

    /// Creates one that has seen nothing.
    package init() {}

    /// A look at a service's counters: `open` connections now, those that wait among them, and `total` ever. Whether it has
    /// had none for `limit`.
    package mutating func looked(
        at service: String, open: UInt64, total: UInt64, limit: Duration, now: Instant
    ) -> Bool {
        guard open == 0, let entry = entries[service], entry.total == total else {
            entries[service] = Entry(total: total, since: now)
            return false
        }
        return entry.since + limit <= now
    }

    /// Forgets a service, which goes to sleep: who wakes it need not be a connection.
    package mutating func forget(_ service: String) { entries[service] = nil }

    /// Forgets all other services: once they may sleep again, they are counted anew.
    package mutating func keep(_ services: Set<String>) {
        entries = entries.filter { services.contains($0.key) }
    }
}
