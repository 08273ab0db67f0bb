import ControlAPI
import Dispatch
import Glibc
import Platform
import Supervisor
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
