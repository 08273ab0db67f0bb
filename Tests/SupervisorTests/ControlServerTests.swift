import ControlAPI
import Dispatch
import Glibc
import Platform
import Supervisor
import Synchronization
import TestSupport
import Testing

@Suite("The server on the control socket", .timeLimit(.minutes(15)))
struct ControlServerTests {
    @Test("A request is answered, and the next on the same connection too")
    func keepAlive() throws {
        let server = try ServerUnderTest()
        let client = try server.connect()
        for _ in 0..<3 {
            try client.send(get("/v1/version"))
            #expect(try client.answer() == Answer(200, "{\"version\":\"test\"}"))
        }
        #expect(server.connections == 1)
    }

    @Test("Metrics come as the text that they are, and the connection goes on")
    func metrics() throws {
        let server = try ServerUnderTest()
        let client = try server.connect()
        try client.send(get("/metrics"))
        #expect(try client.line() == "HTTP/1.1 200 OK")
        #expect(try client.line() == "Content-Type: text/plain; version=0.0.4; charset=utf-8")
        #expect(try client.line() == "Content-Length: 11")
        try client.send(get("/v1/version"))
        #expect(try client.takes(body: "a_metric 1\n"))
        #expect(try client.answer() == Answer(200, "{\"version\":\"test\"}"))
    }

    @Test("Requests sent ahead are answered in their order")
    func pipelined() throws {
        let server = try ServerUnderTest()
        let client = try server.connect()
        try client.send(String(repeating: get("/v1/version") + get("/v1/nothing"), count: 50))
        for _ in 0..<50 {
            #expect(try client.answer().status == 200)
            #expect(try client.answer().status == 404)
        }
    }

    @Test("A request sent ahead of a late answer waits for its turn")
    func pipelinedBehindWork() throws {
        let server = try ServerUnderTest()
        let client = try server.connect()
        try client.send(post("/v1/services/api/restart?wait=true") + get("/v1/version"))
        let responder = server.nextHeld()
        server.onQueue {
            responder.value.send(ProgressLine(waiting: "x"))
            responder.value.finish(json: ProgressLine(result: "done"))
        }
        #expect(try client.answer() == Answer(200, "{\"waiting\":\"x\"}\n{\"result\":\"done\"}\n"))
        #expect(try client.answer() == Answer(200, "{\"version\":\"test\"}"))
    }

    @Test("What is handed over has the right that it was given, and no other")
    func rights() throws {
        let server = try ServerUnderTest()
        let client = try #require(try server.adopt(.page(token: nil)))
        for (text, status) in [
            (get("/v1/version"), 200), (post("/v1/shutdown"), 403), (post("/v1/services/api/stop"), 403),
            (get("/v1/version"), 200),
        ] {
            try client.send(text)
            #expect(try client.answer().status == status)
        }
        #expect(server.seen().map(\.route) == [.version, .version])
        #expect(server.peers().map(\.description) == ["a role", "a role"])
        let other = try #require(try server.adopt(.everything))
        try other.send(post("/v1/shutdown"))
        #expect(try other.answer().status == 200)
    }

    @Test("Connections that are handed over take nobody's place, and nobody theirs")
    func places() throws {
        var limits = ControlServer.Limits()
        (limits.connections, limits.adopted) = (2, 3)
        let server = try ServerUnderTest(limits)
        let adopted = try (0..<3).map { _ in try #require(try server.adopt(.everything)) }
        let fourth = try server.adopt(.everything)
        #expect(fourth == nil)
        for _ in 0..<3 {
            let client = try server.connect()
            try client.send(get("/v1/version"))
            #expect(try client.answer().status == 200)
        }
        for client in adopted {
            try client.send(get("/v1/version"))
            #expect(try client.answer().status == 200)
        }
        server.cutAdopted()
        let next = try server.adopt(.everything)
        #expect(next != nil)
    }

    @Test("An instance's name may hold its slash, and the peer is known")
    func peer() throws {
        let server = try ServerUnderTest()
        let client = try server.connect()
        try client.send(post("/v1/services/api/2/stop"))
        #expect(try client.answer().body == "{\"result\":\"accepted\"}")
        #expect(server.seen().map(\.route) == [.verb(.stop, names: ["api/2"], options: .init(wait: false))])
        #expect(server.peers() == [PeerCredentials(processID: getpid(), userID: geteuid(), groupID: getegid())])
    }

    @Test("The client of this project and this server understand each other")
    func client() throws {
        let server = try ServerUnderTest()
        let client = ControlClient(socketPath: server.path)
        #expect(try client.ask(.version, as: VersionReport.self).version == "test")
        let answering = Thread {
            let responder = server.nextHeld()
            server.onQueue {
                for name in ["a", "b"] { responder.value.send(ProgressLine(waiting: name)) }
                responder.value.fail(500, code: "timeout", "not within 1 s")
            }
        }
        var waited: [String] = []
        let last = try client.follow(.shutdown(options: .init(wait: true))) { waited.append($0.waiting ?? "") }
        answering.join()
        #expect(waited == ["a", "b"])
        #expect(last == ProgressLine(result: "timeout", message: "not within 1 s"))
    }

    @Test(
        "What is no request is told why, and the connection ends",
        arguments: [
            ("\u{16}\u{3}\u{1}\r\n\r\n", 400), ("GET / HTTP/1.1\n\n", 400),
            ("GET /\(String(repeating: "a", count: 9000))", 414),
            ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
            ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
        ])
    func garbage(bytes: String, status: Int) throws {
        let server = try ServerUnderTest()
        let client = try server.connect()
        try client.send(bytes)
        let answer = try client.answer()
        #expect(answer.status == status)
        #expect(answer.body.hasPrefix("{\"error\":{\"code\":\"usage\",\"message\":"))
        try client.expectEnd()
    }

    @Test(
        "An unknown path or method is told, and the connection goes on",
        arguments: [
            (get("/v1/nothing"), 404), (post("/v1/version"), 405), (post("/v1/services/api/stop?wait=x"), 400),
        ])
    func unknown(request: String, status: Int) throws {
        let server = try ServerUnderTest()
        let client = try server.connect()
        try client.send(request + get("/v1/version"))
        #expect(try client.answer().status == status)
        #expect(try client.answer().status == 200)
    }

    @Test("A HEAD is refused without a body, so that the next answer is not mistaken for it")
    func head() throws {
        let server = try ServerUnderTest()
        let client = try server.connect()
        try client.send("HEAD /v1/version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        let text = try client.everything()
        #expect(text.hasPrefix("HTTP/1.1 405 "))
        #expect(text.contains("Allow: GET\r\n"))
        #expect(text.hasSuffix("\r\n\r\n"))
    }

    @Test("A body of 1 GB is refused when it is announced, and the connection ends though the client sends on")
    func hugeBody() throws {
        let server = try ServerUnderTest()
        let client = try server.connect()
        try client.send("POST /v1/services/api/limit HTTP/1.1\r\nHost: x\r\nContent-Length: 1073741824\r\n\r\n")
        let block = [UInt8](repeating: 0, count: 1 << 20)
        var sent = 0
        while sent < 1 << 30, let count = try? client.sendSome(block) { sent += count }
        #expect(sent < 8 << 20)
        #expect(try client.answer().status == 413)
        server.waitForNoConnection()
    }

    @Test("A client that asks whether it may send a large body is told no")
    func hugeBodyAnnounced() throws {
        let server = try ServerUnderTest()
        let client = try server.connect()
        try client.send(
            "POST /v1/services/api/limit HTTP/1.1\r\nHost: x\r\nContent-Length: 1073741824\r\n"
                + "Expect: 100-continue\r\n\r\n")
        #expect(try client.everything().hasPrefix("HTTP/1.1 413 "))
    }

    @Test("A client that asks whether it may send its body is told yes")
    func expectContinue() throws {
        let server = try ServerUnderTest()
        let client = try server.connect()
        let body = "{\"nofile\":1}"
        try client.send(
            "POST /v1/services/api/limit HTTP/1.1\r\nHost: x\r\nContent-Length: \(body.utf8.count)\r\n"
                + "Expect: 100-continue\r\nConnection: close\r\n\r\n")
        #expect(try client.line() == "HTTP/1.1 100 Continue")
        try client.send(body)
        #expect(try client.everything().contains("HTTP/1.1 200 OK\r\n"))
        #expect(server.seen().map(\.route) == [.limit(names: ["api"], limits: ["nofile": "1"])])
    }

    @Test("A request that comes a byte at a time is closed when its time is over, with a word")
    func slow() throws {
        var limits = ControlServer.Limits()
        limits.perConnection.requestTime = .seconds(1)
        let server = try ServerUnderTest(limits)
        let client = try server.connect()
        try client.send("GET /v1/version?")
        // Bytes that trickle do not prolong the time.
        try eventually("an end of it") {
            usleep(20_000)
            return (try? client.sendSome([UInt8(ascii: "x")])) == nil ? true : nil
        }
        #expect(try client.everything().hasPrefix("HTTP/1.1 408 "))
        server.waitForNoConnection()
    }

    @Test("A connection that says nothing is closed when its time is over")
    func silent() throws {
        var limits = ControlServer.Limits()
        limits.perConnection.requestTime = .milliseconds(50)
        let server = try ServerUnderTest(limits)
        let client = try server.connect()
        try client.expectEnd()
    }

    @Test("A connection is closed when no further request comes")
    func idle() throws {
        var limits = ControlServer.Limits()
        limits.perConnection.idleTime = .milliseconds(50)
        let server = try ServerUnderTest(limits)
        let client = try server.connect()
        try client.send(get("/v1/version"))
        #expect(try client.answer().status == 200)
        try client.expectEnd()
        #expect(server.connections == 0)
    }

    @Test("A client that goes in the middle of a request leaves nothing behind", arguments: [0, 1, 20, 40])
    func vanishedInRequest(bytes: Int) throws {
        let server = try ServerUnderTest()
        do {
            let client = try server.connect()
            try client.send(String(get("/v1/version").prefix(bytes)))
            server.waitFor(connections: 1)
        }
        server.waitForNoConnection()
    }

    @Test("A client that goes while it is waiting cancels what it waits for", arguments: [false, true])
    func vanishedWaiting(streaming: Bool) throws {
        let server = try ServerUnderTest()
        let cancelled = DispatchSemaphore(value: 0)
        let responder: Held
        do {
            let client = try server.connect()
            try client.send(post("/v1/services/api/restart?wait=true"))
            responder = server.nextHeld()
            server.onQueue {
                responder.value.onCancel { cancelled.signal() }
                if streaming { responder.value.send(ProgressLine(waiting: "x")) }
            }
            if streaming { #expect(try client.line() == "HTTP/1.1 200 OK") }
        }
        cancelled.wait()
        server.waitForNoConnection()
        // Whatever is said now reaches nobody, and hurts nobody.
        server.onQueue {
            #expect(responder.value.isCancelled)
            responder.value.send(ProgressLine(waiting: "y"))
            responder.value.finish(json: ProgressLine(result: "done"))
        }
        server.onQueue {
            var late = false
            responder.value.onCancel { late = true }
            #expect(late)
        }
    }

    @Test("A client that closes only its sending half still gets its answer", arguments: [false, true])
    func halfClosed(late: Bool) throws {
        let server = try ServerUnderTest()
        let client = try server.connect()
        try client.send(late ? post("/v1/services/api/restart?wait=true") : get("/v1/version"))
        try client.stream.finishSending()
        if late {
            let responder = server.nextHeld()
            server.onQueue { responder.value.finish(json: ProgressLine(result: "done")) }
        }
        #expect(try client.answer().status == 200)
        try client.expectEnd()
        server.waitForNoConnection()
    }

    @Test("One connection too many is turned away with 503, and there is room again when another ends")
    func tooMany() throws {
        var limits = ControlServer.Limits()
        limits.patience = limits.perConnection.requestTime
        let server = try ServerUnderTest(limits)
        var clients = try (0..<64).map { _ in try server.connect() }
        for client in clients { try client.send("GET ") }
        server.waitFor(connections: 64)
        let extra = try server.connect()
        #expect(try extra.everything().hasPrefix("HTTP/1.1 503 "))
        clients.removeLast()
        server.waitFor(connections: 63)
        let next = try server.connect()
        try next.send(get("/v1/version"))
        #expect(try next.answer().status == 200)
        // That one is idle now: it makes room for a new one, while those in a request do not.
        clients.append(try server.connect())
        try clients[63].send(get("/v1/version"))
        #expect(try clients[63].answer().status == 200)
        try next.expectEnd()
        #expect(server.connections == 64)
    }

    @Test("Half a request gives its place to a new connection when it has taken too long, the oldest first")
    func slowOnesGiveWay() throws {
        var limits = ControlServer.Limits()
        limits.connections = 3
        limits.patience = .zero
        let server = try ServerUnderTest(limits)
        let waiting = try server.connect()
        try waiting.send(post("/v1/services/api/restart?wait=true"))
        let responder = server.nextHeld()
        let first = try server.connect()
        try first.send("GET ")
        server.waitFor(connections: 2)
        let second = try server.connect()
        server.waitFor(connections: 3)
        let third = try server.connect()
        #expect(try first.everything().hasPrefix("HTTP/1.1 408 "))
        try third.send(get("/v1/version"))
        #expect(try third.answer().status == 200)
        // What is being worked on keeps its place whatever happens, and an idle one goes before half a request.
        let fourth = try server.connect()
        try third.expectEnd()
        let others = try (0..<3).map { _ in try server.connect() }
        #expect(try second.everything().hasPrefix("HTTP/1.1 408 "))
        #expect(try fourth.everything().hasPrefix("HTTP/1.1 408 "))
        server.onQueue { responder.value.finish(json: ProgressLine(result: "done")) }
        #expect(try waiting.answer().status == 200)
        withExtendedLifetime(others) {}
    }

    @Test("An answer of many megabytes arrives whole")
    func large() throws {
        let server = try ServerUnderTest()
        let client = try server.connect()
        try client.send(get("/v1/status?name=large"))
        let answer = try client.answer()
        #expect(answer.body.utf8.count > 8 << 20)
        #expect(answer.status == 200)
    }

    @Test("A client that does not read its answer is dropped")
    func stalled() throws {
        var limits = ControlServer.Limits()
        limits.perConnection.stallTime = .milliseconds(50)
        let server = try ServerUnderTest(limits)
        let client = try server.connect()
        try client.send(get("/v1/status?name=large"))
        server.waitForNoConnection()
        withExtendedLifetime(client) {}
    }

    @Test("A client that follows progress and does not read is dropped, and what it waits for is cancelled")
    func deafFollower() throws {
        var limits = ControlServer.Limits()
        limits.perConnection.bytesBehind = 100_000
        let server = try ServerUnderTest(limits)
        let client = try server.connect()
        try client.send(post("/v1/services/api/restart?wait=true"))
        let responder = server.nextHeld()
        let line = ProgressLine(waiting: String(repeating: "x", count: 10_000))
        var cancelled = false
        server.onQueue {
            responder.value.onCancel { cancelled = true }
            for _ in 0..<1000 where !cancelled { responder.value.send(line) }
        }
        #expect(cancelled)
        withExtendedLifetime(client) {}
    }

    @Test("A stream that says more only when there is room reaches a slow client whole, of any length")
    func pacedStream() throws {
        let server = try ServerUnderTest()
        // All of it would be far beyond what may wait for a client that does not read.
        let count: UInt64 = 200
        var stream = try ControlStream(.events(after: count, follow: true), of: ControlClient(socketPath: server.path))
        var expected = count
        while let line = try stream.next() {
            expected -= 1
            #expect(String(decoding: line.prefix { $0 != UInt8(ascii: " ") }, as: UTF8.self) == "\(expected)")
            #expect(line.count > 1 << 16)
        }
        #expect(expected == 0)
    }

    @Test("A client that sends on and on while it waits is dropped")
    func talkative() throws {
        let server = try ServerUnderTest()
        let client = try server.connect()
        try client.send(post("/v1/services/api/restart?wait=true"))
        let responder = server.nextHeld()
        let cancelled = DispatchSemaphore(value: 0)
        server.onQueue { responder.value.onCancel { cancelled.signal() } }
        let block = [UInt8](repeating: UInt8(ascii: "x"), count: 65536)
        while (try? client.sendSome(block)) != nil {}
        cancelled.wait()
    }

    @Test("A request that the daemon forgets is answered with an error, not left hanging")
    func forgotten() throws {
        let server = try ServerUnderTest()
        let client = try server.connect()
        try client.send(post("/v1/services/forget/start"))
        #expect(try client.answer().status == 500)
    }

    @Test("An old client gets a stream that ends with the connection")
    func version10() throws {
        let server = try ServerUnderTest()
        let client = try server.connect()
        try client.send("POST /v1/services/api/restart?wait=true HTTP/1.0\r\n\r\n")
        let responder = server.nextHeld()
        server.onQueue {
            responder.value.send(ProgressLine(waiting: "x"))
            responder.value.finish(json: ProgressLine(result: "done"))
        }
        let text = try client.everything()
        #expect(!text.contains("chunked") && !text.contains("Content-Length"))
        #expect(text.hasSuffix("\r\n\r\n{\"waiting\":\"x\"}\n{\"result\":\"done\"}\n"))
    }

    @Test("When the server closes, connections end and waits are cancelled")
    func closing() throws {
        let server = try ServerUnderTest()
        let client = try server.connect()
        try client.send(post("/v1/services/api/restart?wait=true"))
        let responder = server.nextHeld()
        server.close()
        try client.expectEnd()
        server.onQueue { #expect(responder.value.isCancelled) }
    }

    @Test("Random bytes on many connections leave the server answering", arguments: 0..<2)
    func fuzz(seed: UInt64) throws {
        let server = try ServerUnderTest()
        var random = SplitMix(state: seed)
        let pieces = [
            "GET ", "POST ", "/v1/status", " HTTP/1.1", "\r\n", "\n", "Host: x", "Content-Length: ", "5", "\u{0}", ":",
            "/v1/services/api/stop", "Expect: 100-continue", "\r\n\r\n", "Transfer-Encoding: chunked",
        ]
        for _ in 0..<300 {
            let client = try server.connect()
            let text = (0..<Int.random(in: 0...20, using: &random)).map { _ in
                pieces.randomElement(using: &random) ?? ""
            }.joined()
            try? client.send(text)
            if Bool.random(using: &random) { try? client.stream.finishSending() }
        }
        let client = try server.connect()
        try client.send(get("/v1/version"))
        #expect(try client.answer().status == 200)
    }
}

private func get(_ target: String) -> String { "GET \(target) HTTP/1.1\r\nHost: localhost\r\n\r\n" }
private func post(_ target: String) -> String { "POST \(target) HTTP/1.1\r\nHost: localhost\r\n\r\n" }

private struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var word = state
        word = (word ^ (word >> 30)) &* 0xbf58_476d_1ce4_e5b9
        word = (word ^ (word >> 27)) &* 0x94d0_49bb_1331_11eb
        return word ^ (word >> 31)
    }
}

private struct Answer: Equatable {
    var status: Int
    var body: String

    init(_ status: Int, _ body: String) {
        self.status = status
        self.body = body
    }
}

/// A responder on its way between the queue and a test; touched on the queue alone.
private struct Held: @unchecked Sendable {
    let value: ControlResponder
}

/// A thread that can be waited for.
private final class Thread: Sendable {
    private let done = DispatchSemaphore(value: 0)

    init(_ body: @escaping @Sendable () -> Void) {
        DispatchQueue(label: "thread").async { [done] in
            body()
            done.signal()
        }
    }

    func join() { done.wait() }
}

/// A handler that answers reads at once, accepts what is not waited for, and holds what is. Touched on the queue alone.
private final class Handling: @unchecked Sendable {
    var requests: [(ControlRequest, PeerCredentials)] = []
    var held: [Held] = []
    let arrivals = DispatchSemaphore(value: 0)

    func handle(_ request: ControlRequest, _ peer: PeerCredentials, _ responder: ControlResponder) {
        requests.append((request, peer))
        switch request.route {
        case .version, .balancer, .usage: responder.finish(json: ["version": "test"])
        case .metrics: responder.finish(Array("a_metric 1\n".utf8), type: HTTPAnswer.metrics)
        case .status: responder.finish(json: String(repeating: "0123456789abcdef", count: 1 << 19 + 1))
        case .verb(_, ["forget"], _): return
        case .verb(_, _, let options) where options.wait, .shutdown(let options) where options.wait:
            held.append(Held(value: responder))
            arrivals.signal()
        case .events(let count, _): flood(Held(value: responder), count ?? 0)
        case .verb, .scale, .apply, .decide, .rollback, .history, .logs, .shutdown, .signal, .limit, .upgrade:
            responder.finish(json: ProgressLine(result: "accepted"))
        }
    }
}

extension Handling {
    /// Sends so many chunks, each only when there is room for it.
    private func flood(_ held: Held, _ count: UInt64) {
        let left = Mutex(count)
        let send: @Sendable () -> Void = {
            while held.value.hasRoom, left.withLock({ $0 }) > 0 {
                let number = left.withLock { number in
                    number -= 1
                    return number
                }
                held.value.send(lines: Array("\(number) \(String(repeating: "x", count: 1 << 16))\n".utf8))
            }
            if held.value.hasRoom, left.withLock({ $0 }) == 0 { held.value.finish() }
        }
        held.value.begin()
        held.value.onRoom(send)
        send()
    }
}

/// A server on a queue and a socket of its own.
private final class ServerUnderTest: @unchecked Sendable {
    let path: String
    private let directory: TemporaryDirectory
    private let queue = DispatchQueue(label: "server under test")
    private let handling = Handling()
    private var server: ControlServer?

    init(_ limits: ControlServer.Limits = ControlServer.Limits()) throws {
        directory = try TemporaryDirectory()
        path = directory.file("control.sock")
        let listener = try unixListener(at: path)
        try queue.sync { [handling] in
            server = try ControlServer(listener: listener, queue: queue, limits: limits) { handling.handle($0, $1, $2) }
        }
    }

    deinit { close() }

    var connections: Int { queue.sync { server?.connectionCount ?? 0 } }
    func seen() -> [ControlRequest] { queue.sync { handling.requests.map(\.0) } }
    func peers() -> [PeerCredentials] { queue.sync { handling.requests.map(\.1) } }
    func onQueue(_ body: () -> Void) { queue.sync(execute: body) }

    func close() {
        queue.sync {
            server?.close()
            server = nil
        }
    }

    /// The next request that is held: to be answered by the test.
    func nextHeld() -> Held {
        handling.arrivals.wait()
        return queue.sync { handling.held.removeFirst() }
    }

    func waitForNoConnection() { waitFor(connections: 0) }

    func waitFor(connections count: Int) {
        do {
            _ = try eventually("\(count) connections") { connections == count ? true : nil }
        } catch {
            Issue.record(error)
        }
    }

    func connect() throws -> Client { Client(try UnixStream.connect(to: path)) }

    /// A connection that is handed over; nil if it is not taken.
    func adopt(_ right: ControlRight) throws -> Client? {
        let (ours, theirs) = try UnixStream.pair()
        let peer = PeerCredentials(processID: 1, userID: 2, groupID: 3, role: "a role")
        return queue.sync { server?.adopt(ours, peer: peer, right: right) == true } ? Client(theirs) : nil
    }

    func cutAdopted() { queue.sync { server?.cutAdopted() } }
}

/// A client that says and hears bytes.
private final class Client {
    let stream: UnixStream
    private var input: [UInt8] = []
    private var isAtEnd = false

    init(_ stream: UnixStream) { self.stream = stream }

    func send(_ text: String) throws {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            rest = rest.dropFirst(try stream.send(rest))
            if !rest.isEmpty { _ = try stream.wait(for: .writable, until: nil) }
        }
    }

    /// Waits for room and sends what there is room for.
    func sendSome(_ bytes: [UInt8]) throws -> Int {
        _ = try stream.wait(for: .writable, until: nil)
        return try stream.send(bytes[...])
    }

    /// The next complete answer, read by other means than the project's own parser.
    func answer() throws -> Answer {
        let words = try line().split(separator: " ")
        guard words.count > 1, let status = Int(words[1]) else { throw TestFailure("no status: \(words)") }
        var length = 0
        var isChunked = false
        while case let field = try line(), !field.isEmpty {
            if field.hasPrefix("Content-Length: ") { length = Int(field.dropFirst(16)) ?? 0 }
            if field == "Transfer-Encoding: chunked" { isChunked = true }
        }
        guard isChunked else { return Answer(status, try take(length)) }
        var body = ""
        while let size = Int(try line(), radix: 16) {
            body += try take(size)
            #expect(try line().isEmpty)
            if size == 0 { return Answer(status, body) }
        }
        throw TestFailure("a chunk without a size")
    }

    /// The next line, without its CRLF.
    func line() throws -> String {
        while true {
            if let end = input.firstIndex(of: UInt8(ascii: "\n")) {
                let line = input[..<end]
                #expect(line.last == UInt8(ascii: "\r"))
                defer { input.removeFirst(end + 1) }
                return String(decoding: line.dropLast(), as: UTF8.self)
            }
            try receiveMore()
        }
    }

    private func take(_ count: Int) throws -> String {
        while input.count < count { try receiveMore() }
        defer { input.removeFirst(count) }
        return String(decoding: input.prefix(count), as: UTF8.self)
    }

    private func receiveMore() throws {
        guard let bytes = try receive() else { throw TestFailure("the connection ended") }
        input += bytes
    }

    /// Takes an empty line and a body; false if that is not this one.
    func takes(body: String) throws -> Bool {
        guard try line().isEmpty else { return false }
        return try take(body.utf8.count) == body
    }

    func everything() throws -> String {
        while let bytes = try receive() { input += bytes }
        return String(decoding: input, as: UTF8.self)
    }

    func expectEnd() throws {
        #expect(try receive() == nil)
    }

    /// What comes next; nil at the end, and also after the server cut the connection with input unread.
    private func receive() throws -> [UInt8]? {
        while !isAtEnd {
            do throws(SystemError) {
                switch try stream.receive() {
                case .bytes(let bytes): return bytes
                case .end: isAtEnd = true
                case .wouldBlock: _ = try stream.wait(for: .readable, until: nil)
                }
            } catch {
                guard error.code == ECONNRESET else { throw error }
                isAtEnd = true
            }
        }
        return nil
    }
}
