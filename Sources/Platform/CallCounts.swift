/// How often each name was counted, behind a lock.
final class CallCounts: Sendable {
    private let counts = Lock<[String: Int]>([:])

    /// Adds one to a name's count and returns it.
    func increment(_ name: String) -> Int {
        counts.withLock { table in
            let next = table[name, default: 0] + 1
            table[name] = next
            return next
        }
    }
}
