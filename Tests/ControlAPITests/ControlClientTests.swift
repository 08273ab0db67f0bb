import Dispatch
import Platform
import TestSupport
import Testing

@testable import ControlAPI

@Suite("The client of the control socket", .timeLimit(.minutes(1)))
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
        #expect(server.requests().map(\.target) == ["/v1/version"])
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
        let server = try ScriptedServer(path, [.bytes(bytes)])
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
        _ = try unixListener(at: path)
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

/// A server that answers one connection after the other as it was told, and notes what it was asked.
private final class ScriptedServer: Sendable {
    enum Reply: Sendable {
        case answer(status: Int, String)
        case stream([String], complete: Bool)
        case bytes(String)
        case close
        case silence
    }

    private let thread = DispatchQueue(label: "scripted server")
    private let noted = DispatchQueue(label: "noted")
    private nonisolated(unsafe) var requestsSeen: [HTTPRequest] = []
    private let ending = DispatchSemaphore(value: 0)

    init(_ path: String, _ replies: [Reply]) throws {
        let listener = try unixListener(at: path)
        thread.async {
            for reply in replies {
                guard let stream = try? Self.next(listener) else { return }
                guard let request = Self.read(stream) else { continue }
                self.noted.sync { self.requestsSeen.append(request) }
                self.perform(reply, stream)
            }
        }
    }

    /// What was asked so far.
    func requests() -> [HTTPRequest] { noted.sync { requestsSeen } }

    /// Ends a silence.
    func end() { ending.signal() }

    private static func next(_ listener: Descriptor) throws -> UnixStream? {
        let waiting = UnixStream(listener)
        _ = try waiting.wait(for: .readable, until: monotonicNanoseconds() + 30_000_000_000)
        return try UnixStream.accept(from: listener)
    }

    private static func read(_ stream: UnixStream) -> HTTPRequest? {
        var parser = HTTPRequestParser()
        while true {
            if case .request(let request) = try? parser.next() { return request }
            guard (try? stream.wait(for: .readable, until: nil)) == true, case .bytes(let bytes) = try? stream.receive()
            else { return nil }
            parser.append(bytes)
        }
    }

    private func perform(_ reply: Reply, _ stream: UnixStream) {
        func send(_ bytes: [UInt8]) { _ = try? stream.send(bytes[...]) }
        switch reply {
        case .answer(let status, let body):
            send(HTTPAnswer.complete(status: status, body: Array(body.utf8), closes: true))
        case .stream(let lines, let complete):
            send(HTTPAnswer.streamHead(status: 200, chunked: true, closes: true))
            for line in lines { send(HTTPAnswer.chunk(Array(line.utf8))) }
            if complete { send(HTTPAnswer.lastChunk) }
        case .bytes(let text): send(Array(text.utf8))
        case .close: break
        case .silence: ending.wait()
        }
    }
}
