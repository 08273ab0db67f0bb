import Dispatch
import Platform

/// Sends lines to systemd's journal by its native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL): an entry a datagram.
///
/// Whoever adds lines never waits. They go to a queue of their own, which waits for journald in their place, for a second
/// at most; what does not fit into that queue, and what waits behind an entry that journald does not take, is dropped and
/// counted: it is in the files all the same. What is in the queue when this process is killed is lost, and the lines of the
/// batch that it was at may come again.
package final class SystemJournal: Sendable {
    /// Where journald listens.
    package static let standardPath = "/run/systemd/journal/socket"

    /// An entry, and whose it is.
    private struct Entry {
        var instance: String
        var datagram: [UInt8]
    }

    private struct State {
        var waiting: [Entry] = []
        var waitingBytes = 0
        var isSending = false
        var untold: UInt64 = 0
        var toldAt: Int64?
    }

    /// What is kept for a journald that is slow, in bytes.
    private static let mostWaiting = 4 << 20
    private static let patience = Duration.seconds(1)
    private static let noticeEvery: Int64 = 60_000_000_000
    /// `LogLoss.code` of lines that found the queue full.
    private static let queueIsFull = ErrorCode.noBufferSpace

    private let path: String
    private let state = Lock(State())
    private let losses: LogLosses
    private let report: @Sendable (LogNotice) -> Void
    private let queue = DispatchQueue(label: "supd.journal")

    /// Creates a sender, and opens nothing. What is dropped is counted in `losses`. `report` may be called on any queue.
    package init(
        path: String = standardPath, losses: LogLosses = LogLosses(), report: @escaping @Sendable (LogNotice) -> Void
    ) {
        self.path = path
        self.losses = losses
        self.report = report
    }

    /// Adds the lines of a log's text from an offset on, which is a line's start.
    func add(_ output: ByteBuffer, from start: Int, of instance: String) {
        let writer = JournalEntryWriter(instance: instance)
        var entries: [Entry] = []
        var position = start
        while let newline = output.firstIndex(of: CRIFormat.newline, in: position..<max(position, output.count)) {
            entries.append(Entry(instance: instance, datagram: writer.datagram(output, position..<newline)))
            position = newline + 1
        }
        guard !entries.isEmpty else { return }
        var left: [Entry] = []
        let begins = state.withLock { state in
            for entry in entries {
                guard state.waitingBytes + entry.datagram.count <= Self.mostWaiting else {
                    left.append(entry)
                    continue
                }
                state.waiting.append(entry)
                state.waitingBytes += entry.datagram.count
            }
            defer { state.isSending = true }
            return !state.isSending
        }
        drop(left, code: Self.queueIsFull)
        if begins { queue.async { [self] in sendAll() } }
    }

    /// Calls `completion` once what was added before is sent or dropped.
    func flush(completion: @escaping @Sendable () -> Void) { queue.async(execute: completion) }

    private func sendAll() {
        while true {
            let entries = state.withLock { state in
                defer {
                    state.waiting = []
                    state.waitingBytes = 0
                }
                if state.waiting.isEmpty { state.isSending = false }
                return state.waiting
            }
            if entries.isEmpty { return }
            send(entries)
        }
    }

    private func send(_ entries: [Entry]) {
        do throws(SystemError) {
            let socket = try DatagramSender(path: path, patience: Self.patience)
            for (index, entry) in entries.enumerated() {
                do throws(SystemError) {
                    try socket.send(entry.datagram)
                } catch {
                    // Nobody takes the next one either, and to wait for each would take hours.
                    return drop(Array(entries[index...]), code: error.code)
                }
            }
        } catch {
            drop(entries, code: error.code)
        }
    }

    private func drop(_ entries: [Entry], code: Int32) {
        guard !entries.isEmpty else { return }
        for entry in entries {
            losses.add(DroppedLines(lines: 1, bytes: UInt64(entry.datagram.count), code: code), of: entry.instance)
        }
        let now = monotonicNanoseconds()
        let count: UInt64? = state.withLock { state in
            state.untold &+= UInt64(entries.count)
            if let toldAt = state.toldAt, now - toldAt < Self.noticeEvery { return nil }
            state.toldAt = now
            defer { state.untold = 0 }
            return state.untold
        }
        if let count { report(.notInJournal(lines: count, reason: Self.reason(code))) }
    }

    /// Why journald has not got a line, in words.
    package static func reason(_ code: Int32) -> String {
        switch code {
        case ErrorCode.notFound: "there is no journal on this machine"
        case ErrorCode.connectionRefused: "journald does not run"
        case ErrorCode.tryAgain, queueIsFull: "journald takes lines too slowly"
        default: errorMessage(code)
        }
    }
}

/// Makes entries of the lines of an instance.
struct JournalEntryWriter {
    private let fields: [UInt8]
    /// journald's levels: LOG_INFO for what comes by stdout, LOG_ERR for stderr, as Docker and Podman have it.
    private static let stdout = Array("PRIORITY=6\nSUPD_STREAM=stdout\n".utf8)
    private static let stderr = Array("PRIORITY=3\nSUPD_STREAM=stderr\n".utf8)
    private static let partial = Array("SUPD_PARTIAL=1\n".utf8)
    private static let message = Array("MESSAGE=".utf8)

    init(instance: String) {
        let service = instance.prefix { $0 != "/" }
        fields = Array("SYSLOG_IDENTIFIER=\(service)\nSUPD_SERVICE=\(service)\nSUPD_INSTANCE=\(instance)\n".utf8)
    }

    /// The entry of a line of the file, which begins with time, stream and tag. Its text may be any bytes but a newline.
    func datagram(_ output: ByteBuffer, _ line: Range<Int>) -> [UInt8] {
        let isError = output[line.lowerBound + CRIFormat.streamOffset + 3] == UInt8(ascii: "e")
        let isPartial = output[line.lowerBound + CRIFormat.tagOffset] == CRIFormat.partial
        let text = min(line.lowerBound + CRIFormat.prefixLength, line.upperBound)..<line.upperBound
        var result: [UInt8] = []
        result.reserveCapacity(fields.count + 80 + text.count)
        result += fields
        result += isError ? Self.stderr : Self.stdout
        if isPartial { result += Self.partial }
        result += Self.message
        result += output.bytes(in: text)
        result.append(CRIFormat.newline)
        return result
    }
}
