package import Platform

/// Something about the logs that the operator should know.
package enum LogNotice: Sendable, Hashable, CustomStringConvertible {
    /// Lines of an instance are being dropped, because they cannot be written.
    case dropping(instance: String, error: SystemError)
    /// Lines of an instance are written again.
    case recovered(instance: String, lines: UInt64, bytes: UInt64)
    /// An instance writes more lines a second than are kept of it.
    case flooding(instance: String, rate: UInt32)
    /// A file is over its size but cannot be rotated.
    case rotationFailed(instance: String, error: SystemError)
    /// An output pipe cannot be read (any more).
    case unreadable(instance: String, error: SystemError)
    /// An instance's output cannot be taken at all.
    case refused(instance: String, reason: String)
    /// The journal of the process before cannot be used: lines that were under way in it are lost.
    case journalUnusable(reason: String)
    /// So many lines, since the last notice of this kind, were not sent to systemd's journal. They are in the files.
    case notInJournal(lines: UInt64, reason: String)
    /// So many notices were left out because they came too fast.
    case suppressed(count: Int)

    package var description: String {
        switch self {
        case .dropping(let instance, let error):
            "cannot write the log of \(instance), dropping its lines: \(error)"
        case .recovered(let instance, let lines, let bytes):
            "the log of \(instance) is written again; dropped \(lines) lines (\(bytes) bytes)"
        case .flooding(let instance, let rate):
            "\(instance) writes more than \(rate) lines a second, dropping the others: see its log, or raise log.rate"
        case .rotationFailed(let instance, let error):
            "cannot rotate the log of \(instance): \(error)"
        case .unreadable(let instance, let error):
            "cannot read the output of \(instance): \(error)"
        case .refused(let instance, let reason):
            "cannot take the output of \(instance): \(reason)"
        case .journalUnusable(let reason):
            "cannot use the log journal of the process before, unfinished lines are lost: \(reason)"
        case .notInJournal(let lines, let reason):
            "\(lines) lines of services with log.journal are in their files only: \(reason)"
        case .suppressed(let count):
            "\(count) more notices about logs were left out"
        }
    }
}

/// Passes notices on, but not more than a few in a row: ten at once, then one every ten seconds. A disk that is full is
/// full for every instance.
final class NoticeLimiter {
    private let report: @Sendable (LogNotice) -> Void
    private var credit = 10
    private var lastCredit: Int64 = 0
    private var suppressed = 0

    init(_ report: @escaping @Sendable (LogNotice) -> Void) { self.report = report }

    func post(_ notice: LogNotice) {
        let now = monotonicNanoseconds()
        let earned = (now - lastCredit) / 10_000_000_000
        if earned > 0 {
            credit = Int(min(10, Int64(credit) + earned))
            lastCredit = now
        }
        guard credit > 0 else {
            suppressed += 1
            return
        }
        credit -= 1
        if suppressed > 0 {
            report(.suppressed(count: suppressed))
            suppressed = 0
        }
        report(notice)
    }
}
