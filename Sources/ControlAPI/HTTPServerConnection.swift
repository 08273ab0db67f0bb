package import Dispatch
package import Platform

/// One connection of a server that speaks HTTP/1.1: one request at a time, answered before the next is looked at. The control
/// socket and the dashboard's are made of these; to be used on one serial queue alone.
///
/// Its read source is never suspended, and every call of it reads until nothing is left: when the client closes (EPOLLHUP),
/// libdispatch calls once more and then never again, even if bytes remain. What that could cost is bounded by counting: a
/// client that sends more than it may is cut. For the same reason no request is begun before the answer to the one before has
/// been taken: what waits for a client that does not read is one answer, however many it asks for.
package final class HTTPServerConnection {
    /// What it is doing. Instants are of `monotonicNanoseconds`.
    package enum Phase: Sendable, Hashable {
        /// Nothing of a request has come since the last answer.
        case idle(since: Int64)
        /// Part of a request is there, or the first is awaited.
        case reading(since: Int64)
        /// A request is being worked on.
        case working
        /// As the same, but the answer has begun and has no end yet.
        case streaming
        /// The last answer is on its way, and what comes in is dropped until the client closes.
        case lingering(since: Int64, dropped: Int)
        /// It is over.
        case closed
    }

    /// What it is doing; as long as `backlog` is not 0, the client has not taken all that was said before.
    package private(set) var phase = Phase.reading(since: monotonicNanoseconds()) {
        didSet { tellDeadline() }
    }

    /// Called, until the end of the answer, when the client is gone.
    package var onGone: (() -> Void)?
    /// Called, until the end of the answer, when the client, which was slower than what was said, has taken all of it.
    package var onRoom: (() -> Void)?

    /// Nil once it is over: whoever still holds the connection does not hold the socket.
    private var stream: UnixStream?
    private let queue: DispatchQueue
    private let limits: HTTPServerLimits
    private let fields: [HTTPField]
    private let usualFields: [HTTPField]
    private let handle: (HTTPRequest, HTTPServerConnection) -> Void
    private let deadlineChanged: (Int64) -> Void
    private let ended: () -> Void
    private var parser: HTTPRequestParser
    private var readSource: (any DispatchSourceRead)?
    private var writeSource: (any DispatchSourceWrite)?
    private var output: [UInt8] = []
    private var written = 0
    /// When the client last took something of what is to be sent, or that began to wait.
    private var taken: Int64 = 0
    private var isServing = false
    /// Whether the client sends no more.
    private(set) var inputEnded = false
    private var closesAfterAnswer = false
    private var sendsChunks = true
    private var answersHead = false

    /// Takes a connected socket. `fields` stand in the head of every answer, `usualFields` where an answer brings none of its
    /// own. `handle` gets each request, to be answered at once or later; `deadlineChanged` is told when `timePassed` is to be
    /// called, and `ended`, once, that it is over.
    package init(
        _ stream: UnixStream, queue: DispatchQueue, limits: HTTPServerLimits, fields: [HTTPField] = [],
        usualFields: [HTTPField] = [], handle: @escaping (HTTPRequest, HTTPServerConnection) -> Void,
        deadlineChanged: @escaping (Int64) -> Void = { _ in }, ended: @escaping () -> Void
    ) {
        self.stream = stream
        self.queue = queue
        self.limits = limits
        self.fields = fields
        self.usualFields = usualFields
        self.handle = handle
        self.deadlineChanged = deadlineChanged
        self.ended = ended
        parser = HTTPRequestParser(bodyLimit: limits.bodyBytes)
    }

    /// How many bytes the client has not taken yet.
    package var backlog: Int { output.count - written }

    /// When `timePassed` must be called, by `monotonicNanoseconds`; nil: never.
    package var deadline: Int64? {
        if backlog > 0 { return taken + limits.stallTime.clampedNanoseconds }
        switch phase {
        case .idle(let since): return since + limits.idleTime.clampedNanoseconds
        case .reading(let since): return since + limits.requestTime.clampedNanoseconds
        case .lingering(let since, _): return since + limits.lingerTime.clampedNanoseconds
        case .working, .streaming, .closed: return nil
        }
    }

    /// Begins to read.
    package func begin() {
        guard let stream else { return }
        let source = DispatchSource.makeReadSource(fileDescriptor: stream.descriptor.raw, queue: queue)
        source.setEventHandler { [weak self] in self?.bytesWait() }
        // Keeps the descriptor open until Dispatch has let go of it.
        source.setCancelHandler { [stream] in _ = stream.descriptor.raw }
        readSource = source
        phase = .reading(since: monotonicNanoseconds())
        source.activate()
    }

    // MARK: What happens

    private func bytesWait() {
        for _ in 0...limits.bytesAtOnce / Self.pieceBytes {
            guard let stream, !inputEnded else { return }
            do throws(SystemError) {
                switch try stream.receive(limit: Self.pieceBytes) {
                case .wouldBlock: return
                case .bytes(let bytes): received(bytes)
                case .end:
                    try inputHasEnded(of: stream)
                    return
                }
            } catch {
                return cut()
            }
        }
        cut()
    }

    private static let pieceBytes = 16 << 10

    private func received(_ bytes: [UInt8]) {
        switch phase {
        case .closed: return
        case .lingering(let since, let dropped):
            guard dropped + bytes.count <= limits.bytesAfter else { return cut() }
            phase = .lingering(since: since, dropped: dropped + bytes.count)
            return
        case .idle: phase = .reading(since: monotonicNanoseconds())
        case .reading, .working, .streaming: break
        }
        parser.append(bytes)
        serve()
        switch phase {
        case .reading, .working, .streaming: if !isReady, parser.waiting > limits.bytesAhead { cut() }
        // After a refusal what is left of the request counts no more.
        case .idle, .lingering, .closed: return
        }
    }

    /// The client sends no more. It may have gone, or only closed its sending half and wait for an answer.
    private func inputHasEnded(of stream: UnixStream) throws(SystemError) {
        inputEnded = true
        // At the end of input the source would fire for ever.
        readSource?.cancel()
        readSource = nil
        if try stream.isPeerGone() { return cut() }
        switch phase {
        case .streaming: if limits.endsStreamAtEndOfInput { cut() }
        case .idle, .reading, .lingering: if backlog == 0 { settle() }
        case .working, .closed: return
        }
    }

    /// Ends what has taken too long.
    package func timePassed(to now: Int64) {
        guard let deadline, deadline <= now else { return }
        if isReady, parser.isInRequest {
            refuse(408, "timeout", "the request was not complete within \(limits.requestTime)")
        } else {
            cut()
        }
    }

    /// Closes at once, with a last word to a client that waits for none if there is room for it; what is being worked on is told
    /// by `onGone`.
    package func cut(saying word: [UInt8] = []) {
        guard phase != .closed else { return }
        if !word.isEmpty, backlog == 0 {
            do throws(SystemError) { _ = try stream?.send(word[...]) } catch {}
        }
        phase = .closed
        stream = nil
        readSource?.cancel()
        readSource = nil
        writeSource?.cancel()
        writeSource = nil
        output = []
        written = 0
        let gone = onGone
        onGone = nil
        onRoom = nil
        ended()
        gone?()
    }

    private func tellDeadline() {
        if let deadline { deadlineChanged(deadline) }
    }

    // MARK: Requests

    /// Whether a request would be begun if it were there.
    private var isReady: Bool {
        if case .reading = phase { backlog == 0 } else { false }
    }

    /// Works on requests as long as there are complete ones and each is answered, and the answer taken, at once.
    private func serve() {
        guard !isServing else { return }
        isServing = true
        defer { isServing = false }
        while isReady {
            do throws(HTTPFailure) {
                switch try parser.next() {
                case .needsMore: return inputEnded ? cut() : ()
                case .expectsContinue: write(HTTPAnswer.goOn)
                case .request(let request): work(on: request)
                }
            } catch {
                answersHead = parser.methodInProgress == "HEAD"
                refuse(error.status, "usage", error.message)
            }
        }
    }

    private func work(on request: HTTPRequest) {
        phase = .working
        closesAfterAnswer = !request.keepsAlive
        sendsChunks = !request.isVersion10
        answersHead = request.method == "HEAD"
        handle(request, self)
    }

    /// Answers what is no request, and ends the connection.
    private func refuse(_ status: Int, _ code: String, _ message: String) {
        phase = .working
        closesAfterAnswer = true
        fail(status, code, message)
    }

    // MARK: Answers

    /// Answers, and goes on to the next request.
    package func answer(_ status: Int, type: String = HTTPAnswer.json, fields: [HTTPField]? = nil, _ body: [UInt8]) {
        guard phase == .working else { return }
        write(
            HTTPAnswer.complete(
                status: status, fields: self.fields + (fields ?? usualFields), type: type, body: body, closes: isLast,
                omitsBody: answersHead))
        answered()
    }

    /// Answers with an error.
    package func fail(_ status: Int, _ code: String, _ message: String, fields: [HTTPField]? = nil) {
        answer(status, fields: fields, ControlJSON.encode(ErrorReport(code: code, message: message)) ?? [])
    }

    /// Begins an answer of unknown length. `closes`: its end is that of the connection, as of all to clients of HTTP/1.0.
    package func beginStream(type: String, closes: Bool = false) {
        guard phase == .working else { return }
        phase = .streaming
        closesAfterAnswer = closesAfterAnswer || closes || !sendsChunks
        write(
            HTTPAnswer.streamHead(
                status: 200, fields: fields + usualFields, type: type, chunked: sendsChunks, closes: isLast))
    }

    /// Adds to a stream.
    package func send(_ bytes: [UInt8]) {
        guard phase == .streaming else { return }
        // A follower that does not read would have its lines kept for ever.
        guard backlog <= limits.bytesBehind else { return cut() }
        write(sendsChunks ? HTTPAnswer.chunk(bytes) : bytes)
    }

    /// Ends a stream; the connection goes on once all of it is sent.
    package func endStream() {
        guard phase == .streaming else { return }
        if sendsChunks { write(HTTPAnswer.lastChunk) }
        answered()
    }

    /// Whether no other answer follows this one: the client wants none, or can ask for none.
    private var isLast: Bool { closesAfterAnswer || inputEnded && parser.waiting == 0 }

    private func answered() {
        guard phase != .closed else { return }
        onGone = nil
        onRoom = nil
        let now = monotonicNanoseconds()
        if isLast {
            phase = .lingering(since: now, dropped: 0)
        } else {
            phase = parser.waiting > 0 ? .reading(since: now) : .idle(since: now)
        }
        if backlog == 0 { settle() }
    }

    /// Goes on with what comes next, all that was said being sent.
    private func settle() {
        let now = monotonicNanoseconds()
        switch phase {
        case .lingering(_, let dropped):
            // A close with unread input would make the client's kernel report an error in place of the answer: end our half,
            // and give the client a moment to read.
            guard let stream, !inputEnded, (try? stream.finishSending()) != nil else { return cut() }
            phase = .lingering(since: now, dropped: dropped)
        case .idle: if inputEnded { cut() } else { phase = .idle(since: now) }
        case .reading:
            phase = .reading(since: now)
            serve()
        case .working, .streaming: onRoom?()
        case .closed: return
        }
    }

    private func write(_ bytes: [UInt8]) {
        guard phase != .closed, !bytes.isEmpty else { return }
        guard backlog == 0 else {
            output += bytes
            return
        }
        output = bytes
        taken = monotonicNanoseconds()
        flush()
    }

    private func flush() {
        guard let stream else { return }
        do throws(SystemError) {
            while backlog > 0 {
                let count = try stream.send(output[written...])
                if count == 0 { break }
                written += count
                taken = monotonicNanoseconds()
            }
        } catch {
            return cut()
        }
        guard backlog == 0 else {
            // At most as many bytes are moved as were sent.
            if written > max(1 << 20, output.count / 2) {
                output.removeFirst(written)
                written = 0
            }
            tellDeadline()
            return awaitRoom()
        }
        output = []
        written = 0
        guard let source = writeSource else { return }
        source.cancel()
        writeSource = nil
        settle()
    }

    private func awaitRoom() {
        guard let stream, writeSource == nil else { return }
        let source = DispatchSource.makeWriteSource(fileDescriptor: stream.descriptor.raw, queue: queue)
        source.setEventHandler { [weak self] in self?.flush() }
        source.setCancelHandler { [stream] in _ = stream.descriptor.raw }
        writeSource = source
        source.activate()
    }
}
