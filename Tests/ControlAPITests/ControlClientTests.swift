import Platform
import TestSupport
import Testing

@testable import ControlAPI

@Suite("The client of the control socket", .timeLimit(.minutes(15)))
struct ControlClientTests {
    let directory: TemporaryDirectory
    let path: String

    init() throws {
        directory = try TemporaryDirectory()
        path = directory.file("control.sock")
    }

    @Test("An answer with a length is read")
    func answer() throws {
        let server = try ScriptedServer(path, [.answer(status: 200, "{\"version\":\"1.2\"}")])
        let report = try ControlClient(socketPath: path).ask(.version, as: VersionReport.self)
        #expect(report == VersionReport(version: "1.2"))
        #expect(server.requests().map { $0.hasPrefix("GET /v1/version HTTP/1.1\r\n") } == [true])
    }

    @Test("Progress comes line by line, and the last line is the result")
    func progress() throws {
        let lines = [
            "{\"waiting\":\"api/1\"}\n", "{\"waiting\":", "\"api/2\"}\n{\"result\":\"done\",\"message\":\"x\"}\n",
        ]
        let server = try ScriptedServer(path, [.stream(lines, complete: true)])
        var seen: [String?] = []
        let last = try ControlClient(socketPath: path).follow(
            .verb(.restart, names: ["api"], options: .init(wait: true))
        ) { seen.append($0.waiting) }
        #expect(seen == ["api/1", "api/2"])
        #expect(last == ProgressLine(result: "done", message: "x"))
        #expect(server.requests().count == 1)
    }

    @Test("A stream that ends without a result is a lost connection", arguments: [true, false])
    func cutStream(complete: Bool) throws {
        let server = try ScriptedServer(path, [.stream(["{\"waiting\":\"api/1\"}\n"], complete: complete)])
        #expect(throws: ControlClientError.lost(path)) {
            try ControlClient(socketPath: path).follow(.shutdown(options: .init(wait: true))) { _ in }
        }
        #expect(server.requests().count == 1)
    }

    @Test("A question is asked again when the supervisor dies before it has answered")
    func askedAgain() throws {
        let server = try ScriptedServer(path, [.close, .close, .answer(status: 200, "{\"version\":\"2\"}")])
        #expect(try ControlClient(socketPath: path).ask(.version, as: VersionReport.self).version == "2")
        #expect(server.requests().count == 3)
    }

    @Test("A change is never asked for twice")
    func notAskedAgain() throws {
        let server = try ScriptedServer(path, [.close, .answer(status: 200, "{\"result\":\"done\"}")])
        #expect(throws: ControlClientError.lost(path)) {
            try ControlClient(socketPath: path).ask(.signal(names: ["api"], signal: "HUP"))
        }
        #expect(server.requests().count == 1)
    }

    @Test(
        "An error of the daemon is told in its words, with the exit code that belongs to it",
        arguments: [("no-such-name", 404, 4), ("usage", 400, 2), ("failed", 500, 1)] as [(String, Int, Int32)])
    func refused(code: String, status: Int, exitCode: Int32) throws {
        let report = "{\"error\":{\"code\":\"\(code)\",\"message\":\"because\"}}"
        let server = try ScriptedServer(path, [.answer(status: status, report)])
        let error = try #require(
            #expect(throws: ControlClientError.self) { try ControlClient(socketPath: path).ask(.version) })
        #expect(error.description == "because")
        #expect(error.exitCode == exitCode)
        #expect(server.requests().count == 1)
    }

    @Test(
        "What is no answer of supd's is told as such",
        arguments: ["SSH-2.0-OpenSSH\r\n", "HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno"])
    func garbage(bytes: String) throws {
        let server = try ScriptedServer(path, [.bytes(Array(bytes.utf8))])
        let error = try #require(
            #expect(throws: ControlClientError.self) { try ControlClient(socketPath: path).ask(.version) })
        guard case .notUnderstood = error else {
            Issue.record("\(error)")
            return
        }
        #expect(server.requests().count == 1)
    }

    @Test("An answer that does not come is given up at the deadline")
    func timeout() throws {
        let server = try ScriptedServer(path, [.silence])
        #expect(throws: ControlClientError.timedOut(path)) {
            try ControlClient(socketPath: path).ask(.version, timeout: .milliseconds(50))
        }
        server.end()
    }

    @Test("Without a socket: exit code 5, and what to do")
    func noSocket() throws {
        let error = try #require(
            #expect(throws: ControlClientError.self) { try ControlClient(socketPath: path).ask(.version) })
        #expect(error.exitCode == 5)
        #expect(
            error.description.hasPrefix("cannot reach supd at \(path): No such file or directory; is it running? Start")
        )
    }

    @Test("A socket that nobody listens on: exit code 5")
    func nobodyListens() throws {
        endListening(try unixListener(at: path))
        let error = try #require(
            #expect(throws: ControlClientError.self) { try ControlClient(socketPath: path).ask(.version) })
        #expect(error.exitCode == 5)
        #expect(error.description.contains("Connection refused"))
    }

    @Test("A path too long for a socket is told with both lengths")
    func longPath() throws {
        let long = "/" + String(repeating: "a", count: 107)
        let error = try #require(
            #expect(throws: ControlClientError.self) { try ControlClient(socketPath: long).ask(.version) })
        #expect(error.exitCode == 5)
        #expect(error.description.contains("at most 107 bytes, and this one has 108"))
    }
}

extension ScriptedServer.Reply {
    /// A complete answer.
    fileprivate static func answer(status: Int, _ body: String) -> Self {
        .bytes(HTTPAnswer.complete(status: status, body: Array(body.utf8), closes: true))
    }

    /// JSON lines in chunks, with or without the last chunk.
    fileprivate static func stream(_ lines: [String], complete: Bool) -> Self {
        let chunks = lines.flatMap { HTTPAnswer.chunk(Array($0.utf8)) }
        return .bytes(
            HTTPAnswer.streamHead(status: 200, chunked: true, closes: true) + chunks
                + (complete ? HTTPAnswer.lastChunk : []))
    }
}
