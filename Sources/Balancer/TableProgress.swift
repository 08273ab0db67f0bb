import Links

/// Which tables are in force everywhere, and which endpoints have no connection left: a value, told what the loops say.
///
/// An endpoint is watched from the table in which it stops being active, or is missing, until it is reported drained.
/// What the loops say about connections counts only when all have the newest table, for before that one of them may
/// still assign by an older one.
struct TableProgress {
    /// A table on its way: tables are told apart by their number, not by the supervisor's revision.
    private struct Pending {
        let number: UInt64
        let revision: UInt64
    }

    private var pending: [Pending] = []
    /// The newest table of each loop, and its endpoints that are not active and have connections.
    private var newest: [UInt64]
    private var busy: [Set<UInt64>]
    /// All endpoints of the newest table.
    private var known: Set<UInt64> = []
    /// Those not active, or gone, and not reported yet.
    private var awaited: Set<UInt64> = []
    /// Those that the newest table still has, and that were reported.
    private var reported: Set<UInt64> = []
    /// The revision that is in force everywhere; 0 is none.
    private(set) var revision: UInt64 = 0

    init(loops: Int) {
        newest = Array(repeating: 0, count: loops)
        busy = Array(repeating: [], count: loops)
    }

    /// Whether all loops have the newest table.
    var isSettled: Bool { pending.isEmpty }

    /// A table was sent to all loops.
    mutating func sent(number: UInt64, revision: UInt64, active: Set<UInt64>, draining: Set<UInt64>) {
        pending.append(Pending(number: number, revision: revision))
        let present = active.union(draining)
        reported.formIntersection(draining)
        awaited.formUnion(known.subtracting(present))
        awaited.formUnion(draining)
        awaited.subtract(active)
        awaited.subtract(reported)
        known = present
    }

    /// A loop has put a table in force. Returns what to tell the supervisor.
    mutating func applied(loop: Int, number: UInt64, busy endpoints: [UInt64]) -> [BalancerNotice] {
        guard newest.indices.contains(loop) else { return [] }
        newest[loop] = number
        busy[loop] = Set(endpoints)
        var notices: [BalancerNotice] = []
        while let next = pending.first, newest.allSatisfy({ $0 >= next.number }) {
            revision = next.revision
            notices.append(.applied(revision: revision))
            pending.removeFirst()
        }
        return notices + drained()
    }

    /// An endpoint has lost its last connection in a loop. Returns what to tell the supervisor.
    mutating func emptied(loop: Int, endpoint: UInt64) -> [BalancerNotice] {
        guard busy.indices.contains(loop) else { return [] }
        busy[loop].remove(endpoint)
        return drained()
    }

    /// A new supervisor knows nothing of what the one before was told.
    mutating func supervisorArrived() {
        awaited.formUnion(reported)
        reported = []
    }

    private mutating func drained() -> [BalancerNotice] {
        guard pending.isEmpty else { return [] }
        let done = awaited.filter { endpoint in !busy.contains { $0.contains(endpoint) } }
        awaited.subtract(done)
        reported.formUnion(done.intersection(known))
        return done.sorted().map { .drained(endpoint: $0) }
    }
}
