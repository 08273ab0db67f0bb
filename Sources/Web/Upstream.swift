import ControlAPI
import Dispatch
import Platform

/// One question to the control API and its answer, on a connection of its own.
final class Upstream {
    /// What has come of it.
    enum Event {
        /// The answer begins.
        case head(status: Int, fields: [HTTPField])
        /// A piece of its body.
        case body([UInt8])
        /// It is complete.
        case end
        /// There will be no more of it.
        case lost
    }

    private let queue: DispatchQueue
    private let limits: WebLimits
    private let request: HTTPRequest
    private let isStream: Bool
    private var tell: ((Event) -> Void)?
    private var parser: HTTPResponseParser
    private var stream: UnixStream?
    private var source: (any DispatchSourceRead)?
    private var isPaused = false
    /// When it is given up; nil: never, for a stream whose answer has begun.
    private(set) var deadline: Int64?

    init(
        _ request: HTTPRequest, isStream: Bool, queue: DispatchQueue, limits: WebLimits, tell: @escaping (Event) -> Void
    ) {
        var request = request
        request.fields.append(HTTPField("Connection", "close"))
        self.request = request
        self.isStream = isStream
        self.queue = queue
        self.limits = limits
        self.tell = tell
        parser = HTTPResponseParser(bodyLimit: isStream ? .max : limits.answerBytes)
        deadline = monotonicNanoseconds() + limits.answerTime
    }

    /// Whether it is over.
    var isOver: Bool { tell == nil }

    /// The supervisor has given a connection; nil: it gives none.
    func connected(_ descriptor: Descriptor?) {
        guard !isOver, stream == nil else { return }
        guard let descriptor else { return end(.lost) }
        let stream = UnixStream(descriptor)
        self.stream = stream
        let bytes = request.serialized()
        // A new connection's buffer takes any request that our own parser has let through.
        guard (try? UnixStream.makeNonBlocking(descriptor)) != nil, (try? stream.send(bytes[...])) == bytes.count else {
            return end(.lost)
        }
        listen()
    }

    /// Takes no more until `resume`: the kernel's buffer fills, and the supervisor waits.
    func pause() {
        isPaused = true
        source?.cancel()
        source = nil
    }

    /// Goes on.
    func resume() {
        guard isPaused, !isOver else { return }
        isPaused = false
        listen()
    }

    /// Nobody wants the answer any more.
    func cancel() {
        tell = nil
        close()
    }

    func timePassed(to now: Int64) {
        if let deadline, deadline <= now { end(.lost) }
    }

    private func listen() {
        guard let stream, source == nil else { return }
        let source = DispatchSource.makeReadSource(fileDescriptor: stream.descriptor.raw, queue: queue)
        source.setEventHandler { [weak self] in self?.bytesWait() }
        source.setCancelHandler { [stream] in _ = stream.descriptor.raw }
        self.source = source
        source.activate()
    }

    private func bytesWait() {
        while let stream, !isPaused, !isOver {
            do throws(SystemError) {
                switch try stream.receive(limit: 64 << 10) {
                case .wouldBlock: return
                case .bytes(let bytes): parser.append(bytes)
                case .end: parser.close()
                }
            } catch {
                return end(.lost)
            }
            takeParts()
        }
    }

    private func takeParts() {
        do throws(HTTPResponseParser.Violation) {
            while !isOver, let part = try parser.next() {
                switch part {
                case .head(let status, let fields):
                    if isStream { deadline = nil }
                    tell?(.head(status: status, fields: fields))
                case .body(let bytes): tell?(.body(bytes))
                case .end: return end(.end)
                }
            }
        } catch {
            end(.lost)
        }
    }

    private func end(_ event: Event) {
        let last = tell
        cancel()
        last?(event)
    }

    private func close() {
        deadline = nil
        source?.cancel()
        source = nil
        stream = nil
    }
}
