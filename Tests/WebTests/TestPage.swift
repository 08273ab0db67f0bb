import ControlAPI
import Dispatch
import Glibc
import Links
import Platform
import TestSupport

@testable import Web

/// A server of the page's kind, with answers of a test's.
final class TestPage: @unchecked Sendable {
    static let large = 64 << 20

    let limits: WebLimits
    private let queue = DispatchQueue(label: "test.web")
    private let port: UInt16
    // On the queue.
    private var server: WebServer?
    private var pool: UpstreamPool?
    private var held: [WebConnection] = []
    private var feeds: [(LineFeed, WebConnection)] = []
    private var numbers: [UInt64] = []
    private var asked = 0
    private var count = 0

    init(isLocal: Bool = true, _ change: (inout WebLimits) -> Void) throws {
        var limits = WebLimits()
        change(&limits)
        self.limits = limits
        let (port, socket) = try testListener()
        self.port = port
        let own = limits
        queue.sync {
            let pool = UpstreamPool(queue: queue, limits: own) { [unowned self] notice in
                guard case WebNotice.connect(number: let number) = notice else { return }
                numbers.append(number)
                asked += 1
            }
            self.pool = pool
            let server = WebServer(queue: queue, limits: own, isLocal: { _ in isLocal }) {
                [unowned self] in handle($0, $1)
            }
            server.onConnection = { [unowned self] in count += 1 }
            server.add("test", socket)
            self.server = server
        }
    }

    deinit { queue.sync { server?.keepOnly([]) } }

    private func handle(_ request: HTTPRequest, _ connection: WebConnection) {
        switch request.target {
        case "/hold": held.append(connection)
        case "/large": connection.answer(200, [UInt8](repeating: 0x78, count: Self.large))
        case "/lines":
            guard let pool else { return }
            let feed = LineFeed(.other(request), to: connection, pool: pool, limits: limits)
            feeds.append((feed, connection))
            connection.beginEvents()
            feed.begin()
        case "/relay":
            let upstream = pool?.open(request, isStream: false) { [weak connection] event in
                switch event {
                case .head, .body: break
                case .end: connection?.answer(200, [])
                case .lost: connection?.fail(503, "failed", "lost")
                }
            }
            if upstream == nil { connection.fail(503, "busy", "too much") }
        default: connection.answer(200, [])
        }
    }

    func client() throws -> TestClient {
        TestClient(try BlockingStream.connect(to: "127.0.0.1:\(port)", timeoutSeconds: 30))
    }

    /// So much later than now.
    func pass(_ time: Int64) { queue.sync { server?.timePassed(to: monotonicNanoseconds() + time) } }

    func passUpstream(_ time: Int64) { queue.sync { pool?.timePassed(to: monotonicNanoseconds() + time) } }

    var isBusy: Bool { queue.sync { server?.isBusy == true } }

    var backlog: Int { queue.sync { feeds.first?.1.backlog ?? 0 } }

    func waitForConnections(_ wanted: Int) throws {
        try eventually("\(wanted) connections") { queue.sync { count } >= wanted ? true : nil }
    }

    func waitForHeld(_ wanted: Int) throws {
        try eventually("\(wanted) requests") { queue.sync { held.count } >= wanted ? true : nil }
    }

    func waitForQuestions(_ wanted: Int) throws {
        try eventually("\(wanted) questions") { queue.sync { asked } >= wanted ? true : nil }
    }

    func release() throws {
        queue.sync {
            for connection in held { connection.answer(200, []) }
            held = []
        }
    }

    /// The supervisor's end of the question that was asked last; the question is read.
    func supervisor() throws -> SupervisorEnd {
        try waitForQuestions(1)
        let (own, other) = try UnixStream.pair()
        queue.sync { pool?.connected(numbers.removeLast(), other.descriptor) }
        try setBlocking(own.descriptor, true)
        let end = SupervisorEnd(own.descriptor)
        _ = try end.stream.read(upTo: 65536)
        return end
    }
}

/// The supervisor's end of a question.
final class SupervisorEnd: Sendable {
    let stream: BlockingStream
    private let raw: UnixStream

    init(_ descriptor: Descriptor) {
        stream = BlockingStream(descriptor)
        raw = UnixStream(descriptor)
    }

    func write(_ bytes: [UInt8]) throws { try stream.write(bytes) }

    func limitWaiting(seconds: Int) throws { try stream.limitWaiting(seconds: seconds) }

    /// As many as there is room for within the time; throws if there is none.
    func writeSome(_ bytes: [UInt8]) throws -> Int {
        guard try raw.wait(for: .writable, until: monotonicNanoseconds() + 1_000_000_000) else {
            throw TestFailure("no room")
        }
        return try raw.send(bytes[...])
    }
}

/// A client of a test's, which can be as slow as it likes.
final class TestClient: Sendable {
    let stream: BlockingStream

    init(_ stream: BlockingStream) { self.stream = stream }

    func write(_ text: String) throws { try stream.write(Array(text.utf8)) }

    func send(_ target: String, andThen more: String = "") throws {
        try write("GET \(target) HTTP/1.1\r\nHost: localhost\r\n\r\n\(more)")
    }

    func ask(_ target: String, andThen more: String = "") throws {
        try send(target, andThen: more)
        let head = try answer()
        guard head.hasPrefix("HTTP/1.1 200") else { throw TestFailure("not answered: \(head)") }
    }

    /// One answer: its head and, as far as it has come with it, its body.
    func answer() throws -> String {
        var text = ""
        while !text.contains("\r\n\r\n") {
            let more = try stream.read(upTo: 16384)
            guard !more.isEmpty else { throw TestFailure("cut after \(text)") }
            text += String(decoding: more, as: UTF8.self)
        }
        return text
    }

    func sayGoodbye() throws {
        stream.shutdownWriting()
        try isCut()
    }

    /// Waits until the other end has closed it.
    func isCut() throws(SystemError) {
        while true {
            do throws(SystemError) {
                if try stream.read(upTo: 16384).isEmpty { return }
            } catch {
                guard error.code == ECONNRESET else { throw error }
                return
            }
        }
    }

    /// All there is until the end, as text.
    func text() throws -> String {
        var bytes: [UInt8] = []
        while true {
            let more = try stream.read(upTo: 65536)
            if more.isEmpty { return String(decoding: bytes, as: UTF8.self) }
            bytes += more
        }
    }

    /// How many bytes come until the end, whatever the end is.
    func rest() -> Int {
        var count = 0
        while let more = try? stream.read(upTo: 1 << 20), !more.isEmpty { count += more.count }
        return count
    }
}

/// Reads a stream of events on a thread of its own, and counts them.
final class Reader: @unchecked Sendable {
    private let count = Lock(0)

    init(_ client: TestClient) {
        DispatchQueue(label: "test.reader").async { [count] in
            var last: [UInt8] = []
            let mark = Array("event: line\n".utf8)
            while let more = try? client.stream.read(upTo: 1 << 20), !more.isEmpty {
                let text = last + more
                let found = text.indices.reduce(0) { all, index in
                    text[index] == mark[0] && text[index...].starts(with: mark) ? all + 1 : all
                }
                count.withLock { $0 += found }
                last = Array(text.suffix(mark.count - 1))
            }
        }
    }

    var messages: Int { count.withLock { $0 } }
}
