package import Platform

/// What was dropped of an instance's output because it could not be written, or was more than `log.rate`.
package struct LogLoss: Sendable, Hashable {
    /// Whole lines.
    package var lines: UInt64
    /// Bytes, those of parts of lines too.
    package var bytes: UInt64
    /// The errno of the last failure, or ``overRate``.
    package var code: Int32

    /// The code of lines that were more than `log.rate`.
    package static let overRate: Int32 = -1

    /// Why the last of them were dropped, in words.
    package var reason: String {
        code == Self.overRate ? "more lines a second than log.rate allows" : errorMessage(code)
    }

    /// Creates an entry.
    package init(lines: UInt64, bytes: UInt64, code: Int32) {
        self.lines = lines
        self.bytes = bytes
        self.code = code
    }
}

/// What was dropped of each instance's output so far: the writer adds to it, whoever shows it looks without waiting for
/// the writer, who may be waiting for the disk.
package final class LogLosses: Sendable {
    /// Where lines were to go.
    package enum Target: Sendable {
        /// The file of the instance.
        case file
        /// Systemd's journal.
        case systemJournal

        fileprivate var columns: (lines: KeptCounts.Column, bytes: KeptCounts.Column, code: KeptCounts.Column) {
            switch self {
            case .file: (.droppedLines, .droppedBytes, .droppedCode)
            case .systemJournal: (.journalDroppedLines, .journalDroppedBytes, .journalDroppedCode)
            }
        }
    }

    private let counts: KeptCounts
    private let target: Target
    private let news = Lock<News>(News())

    /// Who is told that there is more, and whether it was.
    private struct News {
        var tell: (@Sendable () -> Void)?
        var isTold = false
    }

    /// What `counts` has of it.
    package init(_ counts: KeptCounts = KeptCounts(), of target: Target = .file) {
        self.counts = counts
        self.target = target
    }

    /// Has `tell` called when something is dropped, once until the next call of `all`; on the queue of whoever drops it, which
    /// must not be held up.
    package func onNews(_ tell: @escaping @Sendable () -> Void) { news.withLock { $0.tell = tell } }

    /// What was dropped of each instance so far.
    package func all() -> [String: LogLoss] {
        news.withLock { $0.isTold = false }
        return counts.all.compactMapValues(loss)
    }

    /// What was dropped of an instance (`api/2`); nil if nothing.
    package subscript(_ instance: String) -> LogLoss? { counts[instance].flatMap(loss) }

    private func loss(_ row: KeptCounts.Row) -> LogLoss? {
        let columns = target.columns
        guard row[columns.bytes] > 0 else { return nil }
        return LogLoss(
            lines: row[columns.lines], bytes: row[columns.bytes], code: Int32(truncatingIfNeeded: row[columns.code]))
    }

    func add(_ dropped: DroppedLines, of instance: String) {
        guard !dropped.isEmpty else { return }
        let columns = target.columns
        counts.add([(columns.lines, dropped.lines), (columns.bytes, dropped.bytes)], to: instance)
        counts.set([(columns.code, UInt64(UInt32(bitPattern: dropped.code)))], of: instance)
        let tell = news.withLock { news in
            defer { news.isTold = true }
            return news.isTold ? nil : news.tell
        }
        tell?()
    }
}
