import Glibc

/// A part of this user's processes and threads (RLIMIT_NPROC) that this process leaves to others: its own soft limit is
/// lower than what it was given. The kernel looks at the limit of whoever forks, so that forks are refused here while the
/// others can still start threads. Dispatch waits for ever where it gets no thread.
package struct ProcessReserve: Sendable {
    /// The setting that was in force, for children that know nothing of it.
    package let former: Spawn.Limit
    private let lowered: LimitPair

    /// Goes on with what the program before this one has set aside in the same process; nil if nothing is any more.
    package init?(inherited former: Spawn.Limit) {
        guard let limit = try? ResourceLimits.own(former.resource), limit.soft < former.soft else { return nil }
        self.former = former
        lowered = limit
    }

    /// Sets so many aside, at most half of the limit, by prlimit(2). nil: there is no limit, or none for this user: root
    /// has none (setrlimit(2)).
    package init?(of count: UInt64) {
        guard geteuid() != 0, let resource = ResourceLimits.number(of: "nproc"),
            let limit = try? ResourceLimits.own(resource), limit.soft != LimitPair.unlimited
        else {
            return nil
        }
        former = Spawn.Limit(resource: resource, soft: limit.soft, hard: limit.hard)
        lowered = LimitPair(soft: limit.soft - min(count, limit.soft / 2), hard: limit.hard)
        guard (try? ResourceLimits.set(resource, of: 0, to: lowered)) != nil else { return nil }
    }

    /// Runs a body that may use what is set aside, and whose children inherit the former limit.
    package func spending<Value, Failure: Error>(_ body: () throws(Failure) -> Value) throws(Failure) -> Value {
        _ = try? ResourceLimits.set(former.resource, of: 0, to: LimitPair(soft: former.soft, hard: former.hard))
        defer { _ = try? ResourceLimits.set(former.resource, of: 0, to: lowered) }
        return try body()
    }
}
