import ControlAPI
import Events
import Platform

/// A stream of the control API's JSON lines, handed on to one browser as server-sent events. What the browser does not take
/// waits where it is: on the supervisor's disk.
///
/// Events have numbers, which the browser gives back when it has lost the connection (Last-Event-ID), and the role when it has
/// lost the supervisor: so none is missing, and none comes twice.
final class LineFeed {
    /// What is handed on.
    enum Source {
        /// Events after a number; nil: the last ones first.
        case events(after: UInt64?)
        /// What another route answers line by line, which ends with the connection.
        case other(HTTPRequest)
    }

    /// So many events a page begins with.
    static let firstEvents = 200
    /// The pause before the supervisor is asked again, in nanoseconds.
    private static let retryTime: Int64 = 500_000_000

    private let connection: HTTPServerConnection
    private let pool: UpstreamPool
    private let limits: WebLimits
    private var source: Source
    private var upstream: Upstream?
    private var unfinished: [UInt8] = []
    /// The last events that are kept, until all are known.
    private var first: [ArraySlice<UInt8>] = []
    private var retryAt: Int64?
    /// The supervisor does not answer this question: what it says of it.
    private var refusal: [UInt8]?
    private(set) var isOver = false

    init(_ source: Source, to connection: HTTPServerConnection, pool: UpstreamPool, limits: WebLimits) {
        self.source = source
        self.connection = connection
        self.pool = pool
        self.limits = limits
    }

    /// Whether it is a page's stream of events, which also gets the status.
    var wantsStatus: Bool {
        if case .events = source { true } else { false }
    }

    /// Begins. The connection's answer has begun.
    func begin() {
        guard connection.phase != .closed else { return end() }
        connection.onGone = { [weak self] in self?.end() }
        connection.onRoom = { [weak self] in self?.upstream?.resume() }
        connection.send(Array("retry: 1000\n\n".utf8))
        open()
    }

    /// Sends what has no number.
    func send(_ name: String, _ data: [UInt8]) {
        guard !isOver, connection.backlog < limits.streamBytesBehind else { return }
        connection.send(Self.message(name, nil, data[...]))
    }

    func timePassed(to now: Int64) {
        guard let retryAt, retryAt <= now else { return }
        self.retryAt = nil
        open()
    }

    private func end() {
        isOver = true
        retryAt = nil
        upstream?.cancel()
        upstream = nil
    }

    private func open() {
        guard !isOver else { return }
        unfinished = []
        first = []
        let request: HTTPRequest
        switch source {
        case .events(let after): request = ControlRoute.events(after: after, follow: after != nil).request
        case .other(let other): request = other
        }
        upstream = pool.open(request, isStream: true) { [weak self] in self?.take($0) }
        if upstream == nil { retry() }
    }

    private func take(_ event: Upstream.Event) {
        switch event {
        case .head(let status, _):
            if status == 200 { return }
            if !wantsStatus { return refusal = [] }
            upstream?.cancel()
            retry()
        case .body(let bytes) where refusal != nil:
            // An error's report is a few lines.
            if refusal?.count ?? 0 < HTTPLimits.field { refusal? += bytes }
        case .body(let bytes):
            unfinished += bytes
            takeLines()
            if connection.backlog > limits.streamBytesBehind { upstream?.pause() }
        case .end:
            if let refusal { return refuse(refusal) }
            if case .events(nil) = source { return haveFirst() }
            retry()
        case .lost: retry()
        }
    }

    /// To ask again would be answered alike: the page is told why, and may decide.
    private func refuse(_ report: [UInt8]) {
        upstream = nil
        connection.send(Self.message("refused", nil, report[...]))
        connection.endStream()
        end()
    }

    private func retry() {
        guard !isOver else { return }
        upstream = nil
        guard wantsStatus else {
            // Lines have no numbers by which to go on.
            connection.cut()
            return
        }
        retryAt = monotonicNanoseconds() + Self.retryTime
    }

    private func takeLines() {
        var start = unfinished.startIndex
        while let end = unfinished[start...].firstIndex(of: UInt8(ascii: "\n")) {
            let line = unfinished[start..<end]
            start = end + 1
            if !line.isEmpty { take(line) }
        }
        unfinished.removeSubrange(..<start)
        if unfinished.count > HTTPLimits.line { unfinished = [] }
    }

    private func take(_ line: ArraySlice<UInt8>) {
        switch source {
        case .other: connection.send(Self.message("line", nil, line))
        case .events(nil):
            first.append(ArraySlice(Array(line)))
            if first.count > 2 * Self.firstEvents { first.removeFirst(Self.firstEvents) }
        case .events(let after?):
            guard let number = EventLine.number(of: line), number > after else { return }
            source = .events(after: number)
            connection.send(Self.message("event", number, WordedEvent.line(line)))
        }
    }

    /// All that are kept are known: the last of them are shown, and what comes is asked for.
    private func haveFirst() {
        let lines = first.suffix(Self.firstEvents)
        source = .events(after: lines.first.flatMap { EventLine.number(of: $0) }.map { $0 > 0 ? $0 - 1 : 0 } ?? 0)
        for line in lines { take(line) }
        open()
    }

    /// One message of the stream (WHATWG HTML, 9.2); JSON in one line needs no more than one `data`.
    static func message(_ name: String, _ number: UInt64?, _ data: ArraySlice<UInt8>) -> [UInt8] {
        let id = number.map { "id: \($0)\n" } ?? ""
        let line = data.filter { $0 != UInt8(ascii: "\n") && $0 != UInt8(ascii: "\r") }
        return Array("event: \(name)\n\(id)data: ".utf8) + line + Array("\n\n".utf8)
    }
}
