import Dispatch
import Platform
import Synchronization

/// Answers HTTP/1.1 with a thread a connection: the simplest thing that can wait inside an answer.
final class HTTPServer: Sendable {
    /// Beyond this many connections new ones wait in the kernel's queue.
    private static let mostConnections = 1000
    /// A request's head may have this many bytes.
    private static let mostHeadBytes = 16 << 10
    /// A request's body, which nobody reads, may have this many bytes.
    private static let mostBodyBytes = 1 << 20
    /// A connection on which nothing happens for this long is closed.
    private static let idleSeconds = 300
    /// How long one who has connected and said nothing is waited for at the end.
    private static let firstRequest = DispatchTimeInterval.seconds(1)

    private struct Client {
        let stream: BlockingStream
        /// Nothing was received so far.
        var isSilent = true
    }

    private let listener: BlockingListener
    private let answer: @Sendable (HTTPRequest) -> HTTPResponse
    private let open = Lock<[ObjectIdentifier: Client]>([:])
    private let isStopping = Atomic(false)
    private let threads = DispatchGroup()

    /// A server of a listening socket; `answer` is called on many threads.
    init(listener: BlockingListener, answer: @escaping @Sendable (HTTPRequest) -> HTTPResponse) {
        self.listener = listener
        self.answer = answer
    }

    /// Accepts clients until `stop` becomes readable, then lets every connection finish what it has received.
    func run(until stop: Descriptor) throws(SystemError) {
        while true {
            let isFull = open.withLock { $0.count } >= Self.mostConnections
            let ready = try waitReadable(
                isFull ? [stop] : [stop, listener.descriptor], timeoutMilliseconds: isFull ? 20 : nil)
            if ready[0] { break }
            if ready.count > 1, ready[1] { try acceptOne(stop) }
        }
        isStopping.store(true, ordering: .sequentiallyConsistent)
        let (heard, silent) = open.withLock { open in
            (open.values.filter { !$0.isSilent }, open.values.filter(\.isSilent))
        }
        for client in heard { client.stream.shutdownReading() }
        // The first request of somebody who has just connected may be on its way.
        if !silent.isEmpty, threads.wait(timeout: .now() + Self.firstRequest) == .timedOut {
            for client in silent { client.stream.shutdownReading() }
        }
        _ = threads.wait(timeout: .now() + .seconds(60))
    }

    private func acceptOne(_ stop: Descriptor) throws(SystemError) {
        let accepted: BlockingStream?
        do throws(SystemError) { accepted = try listener.accept() } catch {
            // Out of descriptors or memory: the client stays in the queue until one is free.
            printErrorLine("cannot accept a connection: \(error)")
            _ = try waitReadable([stop], timeoutMilliseconds: 20)
            return
        }
        guard let stream = accepted else { return }
        open.withLock { $0[ObjectIdentifier(stream)] = Client(stream: stream) }
        threads.enter()
        do throws(SystemError) {
            try startBlockingThread { [self] in
                serve(stream)
                _ = open.withLock { $0.removeValue(forKey: ObjectIdentifier(stream)) }
                threads.leave()
            }
        } catch {
            printErrorLine("cannot start a thread: \(error)")
            _ = open.withLock { $0.removeValue(forKey: ObjectIdentifier(stream)) }
            threads.leave()
        }
    }

    /// One connection, to its end.
    private func serve(_ stream: BlockingStream) {
        stream.sendAtOnce()
        guard (try? stream.limitWaiting(seconds: Self.idleSeconds)) != nil else { return }
        var received: [UInt8] = []
        while let request = nextRequest(from: stream, &received) {
            guard case .success(let request) = request else {
                _ = try? stream.write(HTTPResponse(status: 400, body: "{}").bytes(keepsAlive: false, withBody: true))
                return
            }
            let keepsAlive = request.keepsAlive && !isStopping.load(ordering: .sequentiallyConsistent)
            let response = answer(request).bytes(keepsAlive: keepsAlive, withBody: request.method != "HEAD")
            guard (try? stream.write(response)) != nil, keepsAlive else { return }
        }
    }

    private struct BadRequest: Error {}

    /// Reads the next head and drops its body; nil at the end of the connection.
    private func nextRequest(
        from stream: BlockingStream, _ received: inout [UInt8]
    ) -> Result<HTTPRequest, BadRequest>? {
        var searched = 0
        while true {
            if let end = endOfHead(received, from: searched) {
                guard let request = HTTPRequest(head: String(decoding: received[..<end], as: UTF8.self)),
                    request.bodyLength <= Self.mostBodyBytes
                else { return .failure(BadRequest()) }
                received.removeFirst(end + 4)
                while received.count < request.bodyLength {
                    guard let more = try? stream.read(upTo: 16 << 10), !more.isEmpty else { return nil }
                    received += more
                }
                received.removeFirst(request.bodyLength)
                return .success(request)
            }
            guard received.count < Self.mostHeadBytes else { return .failure(BadRequest()) }
            searched = max(0, received.count - 3)
            guard let more = try? stream.read(upTo: 16 << 10), !more.isEmpty else { return nil }
            received += more
            open.withLock { $0[ObjectIdentifier(stream)]?.isSilent = false }
        }
    }

    /// Where the empty line begins that ends a head.
    private func endOfHead(_ bytes: [UInt8], from start: Int) -> Int? {
        guard bytes.count >= 4 else { return nil }
        return (start...max(start, bytes.count - 4)).first { index in
            index + 4 <= bytes.count && bytes[index..<index + 4].elementsEqual([13, 10, 13, 10])
        }
    }
}
