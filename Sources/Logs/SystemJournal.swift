import Dispatch
import Platform

/// Sends lines to systemd's journal by its native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL): an entry a datagram.
///
/// Whoever adds lines never waits. They go to a queue of their own, which waits for journald in their place, for a second
/// at most; what does not fit into that queue, and what waits behind an entry that journald does not take, is dropped and
/// counted: it is in the files all the same. `flush`, which the end of this process waits for, has a limit of its own. What
/// is in the queue when this process is killed is lost, and the lines of the batch that it was at may come again.
package final class SystemJournal: Sendable {
    /// Where journald listens.
    package static let standardPath = "/run/systemd/journal/socket"

    /// An entry, and whose it is.
    private struct Entry {
        var instance: String
        var datagram: [UInt8]
    }

    /// Lines that nobody was told of yet, and why the last of them was dropped.
    private struct Untold {
        var lines: UInt64 = 0
        var code: Int32 = 0
    }

    private struct State {
        var waiting: [Entry] = []
        var waitingBytes = 0
        var isSending = false
        /// When each flush that is not done yet gives up, the first one first.
        var deadlines: [Int64] = []
        var untold = Untold()
        var toldAt: Int64?
    }

    /// What is kept for a journald that is slow, in bytes.
    private static let mostWaiting = 4 << 20
    private static let patience = Duration.seconds(1)
    /// How long a flush begins to send entries: with the last one's `patience` it takes two seconds at most.
    private static let flushTime = Duration.seconds(1)
    private static let noticeEvery: Int64 = 60_000_000_000
    /// `LogLoss.code` of lines that found the queue full.
    fileprivate static let queueIsFull = ErrorCode.noBufferSpace

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

    /// Adds the lines of a log's text from an offset on, which is a line's start. Not to be called by two at a time.
    func add(_ output: ByteBuffer, from start: Int, of instance: String) {
        let room = state.withLock { max(0, Self.mostWaiting - $0.waitingBytes) }
        let (datagrams, left) = JournalEntryWriter(instance: instance).entries(output, from: start, room: room)
        if !datagrams.isEmpty {
            let begins = state.withLock { state in
                for datagram in datagrams {
                    state.waiting.append(Entry(instance: instance, datagram: datagram))
                    state.waitingBytes += datagram.count
                }
                defer { state.isSending = true }
                return !state.isSending
            }
            if begins { queue.async { [self] in sendAll() } }
        }
        drop(left, of: instance)
        tell()
    }

    /// Calls `completion` once what was added before is sent or dropped, after two seconds at most: what journald has not
    /// taken by then is dropped, counted and reported at once.
    func flush(completion: @escaping @Sendable () -> Void) { flush(within: Self.flushTime, completion: completion) }

    /// The same with another time, after which no entry is begun.
    func flush(within time: Duration, completion: @escaping @Sendable () -> Void) {
        let deadline = monotonicNanoseconds() + time.clampedNanoseconds
        state.withLock { $0.deadlines.append(deadline) }
        queue.async { [self] in
            send(takeWaiting())
            if monotonicNanoseconds() >= deadline { tell(isUrgent: true) }
            state.withLock { if !$0.deadlines.isEmpty { $0.deadlines.removeFirst() } }
            completion()
        }
    }

    /// Sends what waits, and what was added meanwhile after whatever is next in the queue: a flush never waits for lines
    /// that came after it.
    private func sendAll() {
        send(takeWaiting())
        let goesOn = state.withLock { state in
            state.isSending = !state.waiting.isEmpty
            return state.isSending
        }
        if goesOn { queue.async { [self] in sendAll() } }
    }

    private func takeWaiting() -> [Entry] {
        state.withLock { state in
            defer {
                state.waiting = []
                state.waitingBytes = 0
            }
            return state.waiting
        }
    }

    private func send(_ entries: [Entry]) {
        guard !entries.isEmpty else { return }
        var rest = entries[...]
        do throws(SystemError) {
            let socket = try DatagramSender(path: path, patience: Self.patience)
            while let entry = rest.first {
                guard !isOverdue else {
                    drop(rest, code: ErrorCode.tryAgain)
                    return tell()
                }
                try socket.send(entry.datagram)
                rest.removeFirst()
            }
        } catch {
            // Nobody takes the next one either, and to wait for each would take hours.
            drop(rest, code: error.code)
            tell()
        }
    }

    /// Whether a flush has waited long enough.
    private var isOverdue: Bool {
        guard let deadline = state.withLock({ $0.deadlines.first }) else { return false }
        return monotonicNanoseconds() >= deadline
    }

    private func drop(_ entries: ArraySlice<Entry>, code: Int32) {
        for entry in entries {
            drop(DroppedLines(lines: 1, bytes: UInt64(entry.datagram.count), code: code), of: entry.instance)
        }
    }

    private func drop(_ dropped: DroppedLines, of instance: String) {
        guard !dropped.isEmpty else { return }
        losses.add(dropped, of: instance)
        state.withLock { state in
            state.untold.lines &+= dropped.lines
            state.untold.code = dropped.code
        }
    }

    /// Reports what was dropped since the last report, at most once a minute unless it `isUrgent`.
    private func tell(isUrgent: Bool = false) {
        let now = monotonicNanoseconds()
        let untold: Untold? = state.withLock { state in
            guard state.untold.lines > 0 else { return nil }
            if !isUrgent, let toldAt = state.toldAt, now - toldAt < Self.noticeEvery { return nil }
            state.toldAt = now
            defer { state.untold = Untold() }
            return state.untold
        }
        if let untold { report(.notInJournal(lines: untold.lines, reason: Self.reason(untold.code))) }
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

    /// The entries of the lines from an offset on, which is a line's start, as far as they fit into so many bytes; and the
    /// count of all others, of which none is made: of a batch of short lines they would take many times its memory.
    func entries(
        _ output: ByteBuffer, from start: Int, room: Int
    ) -> (datagrams: [[UInt8]], left: DroppedLines) {
        var datagrams: [[UInt8]] = []
        var left = DroppedLines()
        var used = 0
        var position = start
        while let newline = output.firstIndex(of: CRIFormat.newline, in: position..<max(position, output.count)) {
            let size = size(output, position..<newline)
            if left.isEmpty, size <= room - used {
                datagrams.append(datagram(output, position..<newline))
                used += size
            } else {
                left.add(lines: 1, bytes: UInt64(size), code: SystemJournal.queueIsFull)
            }
            position = newline + 1
        }
        return (datagrams, left)
    }

    /// The entry of a line of the file, which begins with time, stream and tag. Its text may be any bytes but a newline.
    func datagram(_ output: ByteBuffer, _ line: Range<Int>) -> [UInt8] {
        let (stream, partial, text) = parts(output, line)
        var result: [UInt8] = []
        result.reserveCapacity(size(output, line))
        result += fields
        result += stream
        result += partial
        result += Self.message
        result += output.bytes(in: text)
        result.append(CRIFormat.newline)
        return result
    }

    /// How long the entry of a line is.
    private func size(_ output: ByteBuffer, _ line: Range<Int>) -> Int {
        let (stream, partial, text) = parts(output, line)
        return fields.count + stream.count + partial.count + Self.message.count + text.count + 1
    }

    /// What an entry consists of besides what all of an instance's have.
    private func parts(
        _ output: ByteBuffer, _ line: Range<Int>
    ) -> (stream: [UInt8], partial: [UInt8], text: Range<Int>) {
        let isError = output[line.lowerBound + CRIFormat.streamOffset + 3] == UInt8(ascii: "e")
        let isPartial = output[line.lowerBound + CRIFormat.tagOffset] == CRIFormat.partial
        let text = min(line.lowerBound + CRIFormat.prefixLength, line.upperBound)..<line.upperBound
        return (isError ? Self.stderr : Self.stdout, isPartial ? Self.partial : [], text)
    }
}
