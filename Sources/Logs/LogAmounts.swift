import Platform

/// How much output of an instance was taken, that which could not be written included.
package struct LogAmount: Sendable, Hashable {
    /// Lines that have ended.
    package var lines: UInt64
    /// Bytes, as the instance has written them.
    package var bytes: UInt64

    /// Creates an entry.
    package init(lines: UInt64, bytes: UInt64) {
        self.lines = lines
        self.bytes = bytes
    }
}

/// How much of each instance's output was taken since the beginning of this process: the writer adds to it, whoever shows
/// it looks without waiting for the writer.
package final class LogAmounts: Sendable {
    private let amounts = Lock<[String: LogAmount]>([:])

    /// Nothing so far.
    package init() {}

    /// What was taken of an instance (`api/2`); nil if nothing.
    package subscript(_ instance: String) -> LogAmount? { amounts.withLock { $0[instance] } }

    /// Forgets all instances but these: their services are gone.
    package func keep(_ isKept: (_ instance: String) -> Bool) {
        let known = amounts.withLock { Array($0.keys) }
        let gone = known.filter { !isKept($0) }
        amounts.withLock { amounts in
            for instance in gone { amounts[instance] = nil }
        }
    }

    func add(lines: UInt64, bytes: UInt64, of instance: String) {
        guard lines > 0 || bytes > 0 else { return }
        amounts.withLock { amounts in
            var amount = amounts[instance] ?? LogAmount(lines: 0, bytes: 0)
            amount.lines &+= lines
            amount.bytes &+= bytes
            amounts[instance] = amount
        }
    }
}
