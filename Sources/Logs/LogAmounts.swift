package import Platform

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

/// How much of each instance's output was taken: the writer adds to it, whoever shows it looks without waiting for the writer.
package final class LogAmounts: Sendable {
    private let counts: KeptCounts

    /// What `counts` has of it.
    package init(_ counts: KeptCounts = KeptCounts()) { self.counts = counts }

    /// What was taken of an instance (`api/2`); nil if nothing.
    package subscript(_ instance: String) -> LogAmount? {
        guard let row = counts[instance], row[.logBytes] > 0 else { return nil }
        return LogAmount(lines: row[.logLines], bytes: row[.logBytes])
    }

    func add(lines: UInt64, bytes: UInt64, of instance: String) {
        guard lines > 0 || bytes > 0 else { return }
        counts.add([(.logLines, lines), (.logBytes, bytes)], to: instance)
    }
}

/// The columns of this module: 0 to 7, of an instance's name.
extension KeptCounts.Column {
    static let logLines = Self(0)
    static let logBytes = Self(1)
    static let droppedLines = Self(2)
    static let droppedBytes = Self(3)
    /// The code of a `LogLoss`, as are those of the next three.
    static let droppedCode = Self(4)
    static let journalDroppedLines = Self(5)
    static let journalDroppedBytes = Self(6)
    static let journalDroppedCode = Self(7)
}
