import ControlAPI
import Dispatch
import Platform

/// One connection to the control socket: one request at a time, answered before the next is looked at.
///
/// Its read source is never suspended, and every call of it reads until nothing is left: when the client closes
/// (EPOLLHUP), libdispatch calls once more and then never again, even if bytes remain. What that could cost is bounded
/// by counting: a client that sends more than it may is cut.
final class ControlConnection {
    private enum Phase {
        /// Nothing of a request has come since the last answer.
        case idle
        /// Part of a request is there, or the first is awaited.
        case reading
        /// A request is being worked on.
        case working
        /// The last answer is on its way, and what comes in is dropped until the client closes.
        case lingering(dropped: Int)
        case closed
    }

    /// The server's key for it.
    let id: UInt64
    private let stream: UnixStream
    private let peer: PeerCredentials
    private let right: ControlRight
    private weak var server: ControlServer?
    private let limits: ControlServer.Limits
    private var phase = Phase.reading
    private var parser: HTTPRequestParser
    private var readSource: (any DispatchSourceRead)?
    private var writeSource: (any DispatchSourceWrite)?
    private var output: [UInt8] = []
    private var written = 0
    private weak var responder: ControlResponder?
    private var isServing = false
    private var inputEnded = false
    private var closesAfterAnswer = false
    private var streamsInChunks = true
    private var answersHead = false

    /// When `timePassed` must be called; nil: never.
    private(set) var deadline: Int64? {
        didSet { if let deadline { server?.arm(for: deadline) } }
    }

    init(id: UInt64, stream: UnixStream, peer: PeerCredentials, right: ControlRight, server: ControlServer) {
        self.id = id
        self.stream = stream
        self.peer = peer
        self.right = right
        self.server = server
        limits = server.limits
        parser = HTTPRequestParser(bodyLimit: limits.bodyBytes)
    }

    /// Whether it could be closed without loss.
    var isIdle: Bool {
        if case .idle = phase { written == output.count } else { false }
    }

    /// Whether all of the answer so far is sent.
    var isWritten: Bool { written == output.count }

    /// Whether its request has been awaited for longer than others should wait for its place.
    func isSlow(at now: Int64) -> Bool {
        guard case .reading = phase, written == output.count, let deadline else { return false }
        return now >= deadline - Self.nanoseconds(limits.requestTime) + Self.nanoseconds(limits.patience)
    }

    private var isClosed: Bool {
        if case .closed = phase { true } else { false }
    }

    func begin() {
        guard let server else { return }
        let source = DispatchSource.makeReadSource(fileDescriptor: stream.descriptor.raw, queue: server.queue)
        source.setEventHandler { [weak self] in self?.bytesWait() }
        // Keeps the descriptor open until Dispatch has let go of it.
        source.setCancelHandler { [stream] in _ = stream.descriptor.raw }
        readSource = source
        wait(limits.requestTime)
        source.activate()
    }

    // MARK: What happens

    private func bytesWait() {
        // Each turn of this loop takes 16 KiB; a client that keeps it going for 16 MiB is not one of ours.
        for _ in 0..<1024 {
            guard !isClosed, !inputEnded else { return }
            do throws(SystemError) {
                switch try stream.receive() {
                case .wouldBlock: return
                case .bytes(let bytes): received(bytes)
                case .end:
                    try inputHasEnded()
                    return
                }
            } catch {
                cut()
                return
            }
        }
        cut()
    }

    private func received(_ bytes: [UInt8]) {
        switch phase {
        case .closed: return
        case .lingering(let dropped):
            guard dropped + bytes.count <= limits.bytesBehind else { return cut() }
            phase = .lingering(dropped: dropped + bytes.count)
        case .working:
            parser.append(bytes)
            if parser.waiting > limits.bytesAhead { cut() }
        case .idle:
            phase = .reading
            wait(limits.requestTime)
            parser.append(bytes)
            serve()
        case .reading:
            parser.append(bytes)
            serve()
        }
    }

    /// The client sends no more. It may have gone, or only closed its sending half and wait for an answer.
    private func inputHasEnded() throws(SystemError) {
        inputEnded = true
        // At the end of input the source would fire for ever.
        readSource?.cancel()
        readSource = nil
        if try stream.isPeerGone() { return cut() }
        closesAfterAnswer = true
        switch phase {
        case .working: return
        case .idle, .reading, .lingering, .closed: if written == output.count { cut() }
        }
    }

    func timePassed(to now: Int64) {
        guard let deadline, deadline <= now else { return }
        self.deadline = nil
        if case .reading = phase, parser.isInRequest, written == output.count {
            refuse(408, code: "timeout", "the request was not complete within \(limits.requestTime)")
        } else {
            cut()
        }
    }

    /// Closes at once in favour of another one, with a word if there is room for it.
    func giveWay() {
        guard !isClosed else { return }
        let report = ErrorReport(
            code: "busy",
            message: "the request was not complete within \(limits.patience), and another connection needs its place")
        let answer = HTTPAnswer.complete(status: 408, body: ControlJSON.encode(report) ?? [], closes: true)
        do throws(SystemError) { _ = try stream.send(answer[...]) } catch {}
        cut()
    }

    /// Closes at once; a request that is being worked on is cancelled.
    func cut() {
        guard !isClosed else { return }
        phase = .closed
        deadline = nil
        readSource?.cancel()
        readSource = nil
        writeSource?.cancel()
        writeSource = nil
        output = []
        written = 0
        server?.ended(id)
        responder?.cancel()
    }

    // MARK: Requests

    /// Works on requests as long as there are complete ones and each is answered at once.
    private func serve() {
        guard !isServing else { return }
        isServing = true
        defer { isServing = false }
        while case .reading = phase {
            do throws(HTTPFailure) {
                switch try parser.next() {
                case .needsMore: return
                case .expectsContinue: write(HTTPAnswer.goOn)
                case .request(let request): begin(request)
                }
            } catch {
                answersHead = parser.methodInProgress == "HEAD"
                refuse(error.status, code: "usage", error.message)
            }
        }
    }

    private func begin(_ request: HTTPRequest) {
        phase = .working
        // With part of an earlier answer still unread, its deadline goes on.
        if written == output.count { deadline = nil }
        closesAfterAnswer = closesAfterAnswer || !request.keepsAlive
        streamsInChunks = !request.isVersion10
        answersHead = request.method == "HEAD"
        guard let server else { return cut() }
        do throws(RouteFailure) {
            let route = try ControlRoute(request)
            try right.check(route, request)
            let request = ControlRequest(route: route)
            let responder = ControlResponder(self)
            self.responder = responder
            server.handle(request, peer, responder)
        } catch {
            var fields: [HTTPField] = []
            if let method = error.allowed { fields.append(HTTPField("Allow", method)) }
            answer(
                status: error.status, fields: fields,
                body: ControlJSON.encode(ErrorReport(code: error.report.code, message: error.report.message)) ?? [])
        }
    }

    /// Answers what is no request, and ends the connection.
    private func refuse(_ status: Int, code: String, _ message: String) {
        closesAfterAnswer = true
        answer(status: status, body: ControlJSON.encode(ErrorReport(code: code, message: message)) ?? [])
    }

    // MARK: Answers

    func answer(status: Int, fields: [HTTPField] = [], type: String = HTTPAnswer.json, body: [UInt8]) {
        write(
            HTTPAnswer.complete(
                status: status, fields: fields, type: type, body: body, closes: closesAfterAnswer,
                omitsBody: answersHead))
        answered()
    }

    func beginStream() {
        if !streamsInChunks { closesAfterAnswer = true }
        write(HTTPAnswer.streamHead(status: 200, chunked: streamsInChunks, closes: closesAfterAnswer))
    }

    func stream(_ bytes: [UInt8]) {
        // A follower that does not read would have supd keep its lines for ever.
        guard output.count - written <= limits.bytesBehind else { return cut() }
        write(streamsInChunks ? HTTPAnswer.chunk(bytes) : bytes)
    }

    func endStream() {
        if streamsInChunks { write(HTTPAnswer.lastChunk) }
        answered()
    }

    private func answered() {
        guard !isClosed else { return }
        responder = nil
        if closesAfterAnswer {
            phase = .lingering(dropped: 0)
            if written == output.count { outputIsOut() }
        } else if parser.waiting > 0 {
            phase = .reading
            wait(limits.requestTime)
            serve()
        } else {
            phase = .idle
            if written == output.count { wait(limits.idleTime) }
        }
    }

    private func write(_ bytes: [UInt8]) {
        guard !isClosed else { return }
        let wasEmpty = written == output.count
        output += bytes
        if wasEmpty { flush() }
    }

    private func flush() {
        guard !isClosed else { return }
        do throws(SystemError) {
            while written < output.count {
                let count = try stream.send(output[written...])
                if count == 0 { break }
                written += count
            }
        } catch {
            return cut()
        }
        if written == output.count {
            output = []
            written = 0
            let wasFull = writeSource != nil
            writeSource?.cancel()
            writeSource = nil
            outputIsOut(wasFull: wasFull)
        } else {
            if written > 1 << 20 {
                output.removeFirst(written)
                written = 0
            }
            wait(limits.stallTime)
            awaitRoom()
        }
    }

    /// `wasFull`: the client was slower than what was said.
    private func outputIsOut(wasFull: Bool = false) {
        switch phase {
        case .lingering:
            // A close with unread input would make the client's kernel report an error in place of the answer: end our
            // half, and give the client a moment to read.
            guard !inputEnded, (try? stream.finishSending()) != nil else { return cut() }
            wait(limits.lingerTime)
        case .working:
            deadline = nil
            // Not from within a `stream` that is to be sent first.
            if wasFull { responder?.roomCame() }
        case .idle: if inputEnded { cut() } else { wait(limits.idleTime) }
        case .reading: if inputEnded { cut() }
        case .closed: return
        }
    }

    private func awaitRoom() {
        guard writeSource == nil, let server else { return }
        let source = DispatchSource.makeWriteSource(fileDescriptor: stream.descriptor.raw, queue: server.queue)
        source.setEventHandler { [weak self] in self?.flush() }
        source.setCancelHandler { [stream] in _ = stream.descriptor.raw }
        writeSource = source
        source.activate()
    }

    private func wait(_ duration: Duration) {
        deadline = monotonicNanoseconds() + Self.nanoseconds(duration)
    }

    private static func nanoseconds(_ duration: Duration) -> Int64 {
        let (seconds, attoseconds) = duration.components
        return seconds * 1_000_000_000 + attoseconds / 1_000_000_000
    }
}
