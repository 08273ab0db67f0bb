import Platform

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
///
/// It counts from the beginning of this process, and of what was dropped before that, it knows the share of the streams
/// that are still open: that is in the journal.
package final class LogLosses: Sendable {
    private let losses = Lock<[String: LogLoss]>([:])
    private let news = Lock<News>(News())
    /// As many as there can be streams; of more instances at a time nothing is counted.
    static let most = LogJournal.slotCount

    /// Who is told that there is more, and whether it was.
    private struct News {
        var tell: (@Sendable () -> Void)?
        var isTold = false
    }

    /// Nothing so far.
    package init() {}

    /// Has `tell` called when something is dropped, once until the next call of `all`; on the queue of whoever drops it, which
    /// must not be held up.
    package func onNews(_ tell: @escaping @Sendable () -> Void) { news.withLock { $0.tell = tell } }

    /// What was dropped of each instance so far.
    package func all() -> [String: LogLoss] {
        news.withLock { $0.isTold = false }
        return losses.withLock { $0 }
    }

    /// What was dropped of an instance (`api/2`); nil if nothing.
    package subscript(_ instance: String) -> LogLoss? { losses.withLock { $0[instance] } }

    /// Forgets all instances but these: their services are gone.
    package func keep(_ isKept: (_ instance: String) -> Bool) {
        let known = losses.withLock { Array($0.keys) }
        let gone = known.filter { !isKept($0) }
        losses.withLock { losses in
            for instance in gone { losses[instance] = nil }
        }
    }

    func add(_ dropped: DroppedLines, of instance: String) {
        guard !dropped.isEmpty else { return }
        losses.withLock { losses in
            guard losses.count < Self.most || losses[instance] != nil else { return }
            var loss = losses[instance] ?? LogLoss(lines: 0, bytes: 0, code: 0)
            loss.lines &+= dropped.lines
            loss.bytes &+= dropped.bytes
            loss.code = dropped.code
            losses[instance] = loss
        }
        let tell = news.withLock { news in
            defer { news.isTold = true }
            return news.isTold ? nil : news.tell
        }
        tell?()
    }
}
