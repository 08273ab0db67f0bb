import Dispatch
import Glibc
import Platform
import TestSupport
import Testing

@testable import ControlAPI

/// What any client may do to any server's connection, by either kind of socket; what each of the two servers makes of it is
/// in SupervisorTests and WebTests. No test waits for time: what would be due after so long is looked at as if it had passed.
@Suite("A server's connection", .timeLimit(.minutes(5)))
struct HTTPServerConnectionTests {
    @Test(
        "requests sent ahead by a client that does not read cost one answer, and all are answered when it does",
        arguments: Transport.allCases)
    func pipelinedUnread(by transport: Transport) throws {
        let server = try ConnectionUnderTest(transport)
        try server.client.write(get("/large") + get("/large") + get("/large", "Connection: close\r\n"))
        try server.waitForRequests(1)
        #expect(server.onQueue { $0.backlog } > 0)
        // All three have come by one call; none but the first has been begun.
        #expect(server.requests == 1)
        // Before the answer to the third, no end has been said.
        let whole = [false, false, true].map { isLast in
            HTTPAnswer.complete(status: 200, body: ConnectionUnderTest.large, closes: isLast).count
        }
        #expect(try server.client.readToEnd().count == whole.reduce(0, +))
        #expect(server.requests == 3)
    }

    @Test("a client that asks on and does not take its answer is cut", arguments: Transport.allCases)
    func stalled(by transport: Transport) throws {
        let server = try ConnectionUnderTest(transport)
        try server.client.write(get("/large") + get("/small"))
        try server.waitForRequests(1)
        server.pass(.seconds(19))
        #expect(!server.isOver)
        server.pass(.seconds(21))
        #expect(server.isOver)
        #expect(server.onQueue { $0.backlog } == 0)
    }

    @Test("what a client asks for while it does not read is kept up to a limit", arguments: Transport.allCases)
    func aheadUnread(by transport: Transport) throws {
        let server = try ConnectionUnderTest(transport)
        try server.client.write(get("/large") + get("/small"))
        try server.waitForRequests(1)
        try? server.client.write([UInt8](repeating: UInt8(ascii: "x"), count: 1 << 20))
        try eventually("an end of it") { server.isOver ? true : nil }
    }

    @Test("a request that comes byte by byte is answered with 408 in the end", arguments: Transport.allCases)
    func slow(by transport: Transport) throws {
        let server = try ConnectionUnderTest(transport)
        try server.client.write(get("/small"))
        try server.waitForRequests(1)
        for byte in "GET /slow" {
            try server.client.write(Array(String(byte).utf8))
        }
        try eventually("the beginning") {
            if case .reading = server.onQueue({ $0.phase }) { true } else { nil }
        }
        server.pass(.seconds(9))
        #expect(!server.isOver)
        server.pass(.seconds(11))
        let text = String(decoding: try server.client.readToEnd(), as: UTF8.self)
        #expect(text.contains("HTTP/1.1 408 ") && text.contains("\"timeout\""), "\(text)")
    }

    @Test("a client that sends no more after several requests gets all their answers", arguments: Transport.allCases)
    func halfClosed(by transport: Transport) throws {
        let server = try ConnectionUnderTest(transport)
        try server.client.write(get("/held") + get("/small") + get("/small"))
        try server.waitForRequests(1)
        server.client.shutdownWriting()
        try eventually("the end of what it sends") { server.sawEndOfInput() ? true : nil }
        server.onQueue { $0.answer(200, Array("late".utf8)) }
        let text = String(decoding: try server.client.readToEnd(), as: UTF8.self)
        #expect(text.split(separator: "HTTP/1.1 200 OK").count == 3, "\(text)")
        #expect(server.isOver)
    }

    @Test("a refusal arrives though more of the request has come than may be sent ahead", arguments: Transport.allCases)
    func refused(by transport: Transport) throws {
        var limits = testLimits
        limits.bytesAhead = 64
        let server = try ConnectionUnderTest(transport, limits)
        try server.client.write(Array("GET /\(String(repeating: "a", count: 12_000))".utf8))
        let text = String(decoding: try server.client.readToEnd(), as: UTF8.self)
        #expect(text.hasPrefix("HTTP/1.1 414 "), "\(text)")
    }

    @Test("a stream to a client that does not read is cut when too much waits", arguments: Transport.allCases)
    func deaf(to transport: Transport) throws {
        let server = try ConnectionUnderTest(transport)
        try server.client.write(get("/stream"))
        try server.waitForRequests(1)
        let piece = [UInt8](repeating: UInt8(ascii: "x"), count: 1 << 20)
        var most = 0
        for _ in 0..<64 where !server.isOver {
            server.onQueue { $0.send(piece) }
            most = max(most, server.onQueue { $0.backlog })
        }
        #expect(server.isOver && server.gone == 1)
        #expect(most > testLimits.bytesBehind && most < testLimits.bytesBehind + 2 * piece.count)
    }

    @Test(
        "whether the end of what a client sends is the end of its stream, the server says",
        arguments: Transport.allCases, [false, true])
    func halfClosedStream(by transport: Transport, isEnd: Bool) throws {
        var limits = testLimits
        limits.endsStreamAtEndOfInput = isEnd
        let server = try ConnectionUnderTest(transport, limits)
        try server.client.write(get("/stream"))
        try server.waitForRequests(1)
        server.client.shutdownWriting()
        if isEnd {
            try eventually("the end") { server.isOver ? true : nil }
            #expect(server.gone == 1)
        } else {
            try eventually("the end of what it sends") { server.sawEndOfInput() ? true : nil }
            server.onQueue {
                $0.send(Array("more".utf8))
                $0.endStream()
            }
            let text = String(decoding: try server.client.readToEnd(), as: UTF8.self)
            #expect(text.hasSuffix("4\r\nmore\r\n0\r\n\r\n"), "\(text)")
            #expect(server.gone == 0)
        }
    }

    @Test("what is said after an answer, or to nobody, changes nothing", arguments: Transport.allCases)
    func late(to transport: Transport) throws {
        let server = try ConnectionUnderTest(transport)
        try server.client.write(get("/held"))
        try server.waitForRequests(1)
        server.onQueue {
            $0.answer(200, Array("one".utf8))
            $0.answer(200, Array("two".utf8))
            $0.beginStream(type: "text/plain")
            $0.send(Array("three".utf8))
            $0.endStream()
        }
        try server.client.write(get("/small", "Connection: close\r\n"))
        let text = String(decoding: try server.client.readToEnd(), as: UTF8.self)
        #expect(text.split(separator: "HTTP/1.1 200 OK").count == 2, "\(text)")
        #expect(!text.contains("two") && !text.contains("three"), "\(text)")
    }
}

/// By what a client comes.
enum Transport: String, CaseIterable, Sendable {
    case unix, tcp
}

private let testLimits = HTTPServerLimits(
    requestTime: .seconds(10), idleTime: .seconds(30), stallTime: .seconds(20), lingerTime: .seconds(1),
    bodyBytes: 4 << 10, bytesAhead: 16 << 10, bytesAfter: 16 << 10, bytesBehind: 1 << 20, bytesAtOnce: 4 << 20,
    endsStreamAtEndOfInput: false)

private func get(_ target: String, _ fields: String = "") -> [UInt8] {
    Array("GET \(target) HTTP/1.1\r\nHost: localhost\r\n\(fields)\r\n".utf8)
}

/// A connection of its own, with its client. What it answers goes by the path.
private final class ConnectionUnderTest: @unchecked Sendable {
    /// What `/large` is answered with: more than sockets hold.
    static let large = [UInt8](repeating: UInt8(ascii: "x"), count: 16 << 20)

    let client: BlockingStream
    private let queue = DispatchQueue(label: "supd.test.connection")
    private let connection: HTTPServerConnection
    private let record = Record()

    /// What has happened; used on the queue.
    private final class Record {
        var requests = 0
        var gone = 0
        var isOver = false
    }

    init(_ transport: Transport, _ limits: HTTPServerLimits = testLimits) throws {
        let socket: Descriptor
        switch transport {
        case .unix:
            let directory = try TemporaryDirectory()
            let listener = try unixListener(at: directory.file("socket"))
            client = try BlockingStream.connect(to: "unix:\(directory.file("socket"))", timeoutSeconds: 30)
            socket = try acceptConnection(from: listener)
        case .tcp:
            let (port, listener) = try testListener()
            client = try BlockingStream.connect(to: "127.0.0.1:\(port)", timeoutSeconds: 30)
            socket = try acceptConnection(from: listener)
        }
        let record = record
        connection = HTTPServerConnection(UnixStream(socket), queue: queue, limits: limits) { request, connection in
            record.requests += 1
            connection.onGone = { record.gone += 1 }
            switch request.target {
            case "/held": return
            case "/stream": connection.beginStream(type: "text/plain")
            case "/large": connection.answer(200, Self.large)
            default: connection.answer(200, Array(request.target.utf8))
            }
        } ended: {
            record.isOver = true
        }
        queue.sync { connection.begin() }
    }

    deinit { queue.sync { connection.cut() } }

    /// Runs on the connection's queue, so after all that it has begun.
    func onQueue<Value>(_ body: (HTTPServerConnection) -> Value) -> Value { queue.sync { body(connection) } }

    /// Looks at what has been due for so long, as if that time had passed.
    func pass(_ time: Duration) {
        queue.sync { connection.timePassed(to: monotonicNanoseconds() + time.clampedNanoseconds) }
    }

    var requests: Int { queue.sync { record.requests } }
    /// How often it was said that the client has gone.
    var gone: Int { queue.sync { record.gone } }
    var isOver: Bool { queue.sync { record.isOver } }

    func sawEndOfInput() -> Bool { queue.sync { connection.inputEnded } }

    func waitForRequests(_ count: Int) throws {
        try eventually("\(count) requests") { requests >= count ? true : nil }
    }
}

extension BlockingStream {
    /// All that comes.
    fileprivate func readToEnd() throws -> [UInt8] {
        var all: [UInt8] = []
        while true {
            let piece = try read(upTo: 1 << 20)
            if piece.isEmpty { return all }
            all += piece
        }
    }
}
