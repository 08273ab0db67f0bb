import Platform

/// What was dropped of an instance's output because it could not be written.
package struct LogLoss: Sendable, Hashable {
    /// Whole lines.
    package var lines: UInt64
    /// Bytes, those of parts of lines too.
    package var bytes: UInt64
    /// The errno of the last failure.
    package var code: Int32

    /// Creates an entry.
    package init(lines: UInt64, bytes: UInt64, code: Int32) {
        self.lines = lines
        self.bytes = bytes
        self.code = code
    }
}

/// What was dropped of each instance's output so far: the writer adds to it, whoever shows it looks without waiting for
/// the writer, who may be waiting for the disk.
///
/// It counts from the beginning of this process, and of what was dropped before that, it knows the share of the streams
/// that are still open: that is in the journal.
package final class LogLosses: Sendable {
    private let losses = Lock<[String: LogLoss]>([:])

    /// Nothing so far.
    package init() {}

    /// What was dropped of an instance (`api/2`); nil if nothing.
    package subscript(_ instance: String) -> LogLoss? { losses.withLock { $0[instance] } }

    func add(_ dropped: DroppedLines, of instance: String) {
        guard !dropped.isEmpty else { return }
        losses.withLock { losses in
            var loss = losses[instance] ?? LogLoss(lines: 0, bytes: 0, code: 0)
            loss.lines &+= dropped.lines
            loss.bytes &+= dropped.bytes
            loss.code = dropped.code
            losses[instance] = loss
        }
    }
}
