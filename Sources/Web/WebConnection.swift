import ControlAPI
import Dispatch
import Platform

/// One connection of a browser: one request at a time, answered before the next is looked at.
///
/// Its read source is never suspended, and every call of it reads until nothing is left, for the reason that the control
/// socket's connections give: after a hangup libdispatch calls once more, and then never again.
final class WebConnection {
    private enum Phase {
        /// Nothing of a request has come since the last answer.
        case idle
        /// Part of a request is there, or the first is awaited.
        case reading
        /// A request is being worked on.
        case working
        /// As the same, but the answer has begun and has no end yet.
        case streaming
        /// The last answer is on its way, and what comes in is dropped until the client closes.
        case lingering
        case closed
    }

    /// The server's key for it.
    let id: UInt64
    /// Who it is from; empty: this machine.
    let address: [UInt8]
    /// Called when the client is gone while it is being answered.
    var onGone: (() -> Void)?
    /// Called when all that was said is sent, in a stream.
    var onRoom: (() -> Void)?

    private let stream: UnixStream
    private weak var server: WebServer?
    private let limits: WebLimits
    private var phase = Phase.reading
    private var parser: HTTPRequestParser
    private var readSource: (any DispatchSourceRead)?
    private var writeSource: (any DispatchSourceWrite)?
    private var output: [UInt8] = []
    private var written = 0
    private var dropped = 0
    private var isServing = false
    private var inputEnded = false
    private var closesAfterAnswer = false
    private var chunks = true
    private var answersHead = false
    private var readingSince = monotonicNanoseconds()
    /// When `timePassed` cuts it; nil: never.
    private var deadline: Int64?

    init(id: UInt64, stream: UnixStream, address: [UInt8], server: WebServer) {
        self.id = id
        self.stream = stream
        self.address = address
        self.server = server
        limits = server.limits
        parser = HTTPRequestParser(bodyLimit: limits.bodyBytes)
    }

    /// How soon it can make room for another: the lower the sooner; nil: not at all.
    var rank: Int64? {
        guard written == output.count else { return nil }
        switch phase {
        case .idle, .lingering: return 0
        // Browsers send theirs in one go: the oldest of those that have not said what they want is no browser's.
        case .reading: return readingSince
        case .working, .streaming, .closed: return nil
        }
    }

    /// How many bytes the client has not taken yet.
    var backlog: Int { output.count - written }

    private var isClosed: Bool {
        if case .closed = phase { true } else { false }
    }

    func begin() {
        guard let server else { return }
        let source = DispatchSource.makeReadSource(fileDescriptor: stream.descriptor.raw, queue: server.queue)
        source.setEventHandler { [weak self] in self?.bytesWait() }
        source.setCancelHandler { [stream] in _ = stream.descriptor.raw }
        readSource = source
        wait(limits.requestTime)
        source.activate()
    }

    // MARK: What happens

    private func bytesWait() {
        for _ in 0..<64 {
            guard !isClosed, !inputEnded else { return }
            do throws(SystemError) {
                switch try stream.receive() {
                case .wouldBlock: return
                case .bytes(let bytes): received(bytes)
                case .end:
                    inputHasEnded()
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
        case .lingering:
            dropped += bytes.count
            if dropped > limits.bytesAhead { cut() }
        case .working, .streaming:
            parser.append(bytes)
            if parser.waiting > limits.bytesAhead { cut() }
        case .idle:
            phase = .reading
            readingSince = monotonicNanoseconds()
            wait(limits.requestTime)
            parser.append(bytes)
            serve()
        case .reading:
            parser.append(bytes)
            serve()
        }
    }

    /// The client sends no more: it has gone, or waits for its last answer.
    private func inputHasEnded() {
        inputEnded = true
        readSource?.cancel()
        readSource = nil
        closesAfterAnswer = true
        switch phase {
        case .working: return
        // Whoever reads a stream for as long as it lasts has no reason to close one half.
        case .streaming: cut()
        case .idle, .reading, .lingering, .closed: if written == output.count { cut() }
        }
    }

    /// Cuts what has taken too long.
    func timePassed(to now: Int64) {
        guard let deadline, deadline <= now else { return }
        self.deadline = nil
        if case .reading = phase, parser.isInRequest, written == output.count {
            refuse(408, "the request was not complete in time")
        } else {
            cut()
        }
    }

    /// Closes at once.
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
        server?.ended(self)
        let gone = onGone
        onGone = nil
        onRoom = nil
        gone?()
    }

    // MARK: Requests

    private func serve() {
        guard !isServing else { return }
        isServing = true
        defer { isServing = false }
        while case .reading = phase {
            do throws(HTTPFailure) {
                switch try parser.next() {
                case .needsMore: return
                case .expectsContinue: write(HTTPAnswer.goOn)
                case .request(let request):
                    phase = .working
                    deadline = nil
                    closesAfterAnswer = closesAfterAnswer || !request.keepsAlive
                    chunks = !request.isVersion10
                    answersHead = request.method == "HEAD"
                    guard let server else { return cut() }
                    server.handle(request, self)
                }
            } catch {
                answersHead = parser.methodInProgress == "HEAD"
                refuse(error.status, error.message)
            }
        }
    }

    /// Answers what is no request, and ends the connection.
    private func refuse(_ status: Int, _ message: String) {
        closesAfterAnswer = true
        fail(status, "usage", message)
    }

    // MARK: Answers

    /// Answers, and goes on to the next request.
    func answer(
        _ status: Int, type: String = HTTPAnswer.json, fields: [HTTPField] = [HTTPField("Cache-Control", "no-store")],
        _ body: [UInt8]
    ) {
        write(
            HTTPAnswer.complete(
                status: status, fields: PageFiles.securityFields + fields, type: type, body: body,
                closes: closesAfterAnswer, omitsBody: answersHead))
        answered()
    }

    /// Answers with an error as the control API does.
    func fail(_ status: Int, _ code: String, _ message: String) {
        answer(status, ControlJSON.encode(ErrorReport(code: code, message: message)) ?? [])
    }

    /// Begins an answer of events that has no end but that of the connection.
    func beginEvents() {
        guard case .working = phase else { return }
        phase = .streaming
        closesAfterAnswer = true
        write(
            HTTPAnswer.streamHead(
                status: 200, fields: PageFiles.securityFields + [HTTPField("Cache-Control", "no-store")],
                type: "text/event-stream", chunked: chunks, closes: true))
    }

    /// Adds to a stream.
    func send(_ bytes: [UInt8]) {
        guard case .streaming = phase else { return }
        write(chunks ? HTTPAnswer.chunk(bytes) : bytes)
    }

    /// Ends a stream, once all of it is sent.
    func endEvents() {
        guard case .streaming = phase else { return }
        if chunks { write(HTTPAnswer.lastChunk) }
        let gone = onGone
        answered()
        gone?()
    }

    private func answered() {
        guard !isClosed else { return }
        onGone = nil
        onRoom = nil
        if closesAfterAnswer {
            phase = .lingering
            if written == output.count { outputIsOut() }
        } else if parser.waiting > 0 {
            phase = .reading
            readingSince = monotonicNanoseconds()
            if written == output.count { wait(limits.requestTime) }
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
        let before = written
        do throws(SystemError) {
            while written < output.count {
                let count = try stream.send(output[written...])
                if count == 0 { break }
                written += count
            }
        } catch {
            return cut()
        }
        guard written < output.count else {
            output = []
            written = 0
            let wasFull = writeSource != nil
            writeSource?.cancel()
            writeSource = nil
            outputIsOut()
            if wasFull { onRoom?() }
            return
        }
        if written > before || deadline == nil { wait(limits.stallTime) }
        if written > 1 << 20 {
            output.removeFirst(written)
            written = 0
        }
        awaitRoom()
    }

    private func outputIsOut() {
        switch phase {
        case .lingering:
            // A close with unread input would have the client's kernel drop the answer.
            guard !inputEnded, (try? stream.finishSending()) != nil else { return cut() }
            wait(limits.lingerTime)
        case .working, .streaming: deadline = nil
        case .idle: if inputEnded { cut() } else { wait(limits.idleTime) }
        case .reading: if inputEnded { cut() } else { wait(limits.requestTime) }
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

    private func wait(_ time: Int64) { deadline = monotonicNanoseconds() + time }
}
