import ControlAPI
import Platform
import TestSupport
import Testing

@testable import Web

/// Each bound of `WebLimits` but those of the whole role, with numbers that a test can reach. It is as late as a test says.
@Suite("What a client of the page may cost", .timeLimit(.minutes(2)))
struct WebLimitTests {
    private static let second: Int64 = 1_000_000_000

    @Test("an idle connection makes room for another; those at work are left alone, and one more is turned away")
    func connections() throws {
        let page = try TestPage { $0.connections = 2 }
        let idle = try page.client()
        try idle.ask("/")
        let second = try page.client()
        try second.send("/hold")
        try page.waitForHeld(1)
        let third = try page.client()
        try third.ask("/")
        try idle.isCut()
        try third.send("/hold")
        try page.waitForHeld(2)
        try page.client().isCut()
        try page.release()
        #expect(try second.answer().hasPrefix("HTTP/1.1 200"))
        #expect(try third.answer().hasPrefix("HTTP/1.1 200"))
    }

    @Test(
        "one address has a few connections; this machine, where a reverse proxy may be, as many as all",
        arguments: [true, false])
    func connectionsPerAddress(isLocal: Bool) throws {
        let page = try TestPage(isLocal: isLocal) { $0.connectionsPerAddress = 2 }
        let two = [try page.client(), try page.client()]
        for client in two { try client.ask("/") }
        let third = try page.client()
        if isLocal { return try third.ask("/") }
        try third.isCut()
        for client in two { try client.ask("/") }
        // Who leaves makes room for another.
        try two[0].sayGoodbye()
        let fourth = try page.client()
        try fourth.ask("/")
        try page.client().isCut()
    }

    @Test("a request has ten seconds from its first byte, and then is refused")
    func requestTime() throws {
        let page = try TestPage { _ in }
        let (late, inTime, silent) = (try page.client(), try page.client(), try page.client())
        for client in [late, inTime] { try client.ask("/", andThen: "GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ") }
        try page.waitForConnections(3)
        page.pass(page.limits.requestTime / 2)
        try inTime.write("x\r\n\r\n")
        #expect(try inTime.answer().hasPrefix("HTTP/1.1 200"))
        page.pass(page.limits.requestTime + Self.second)
        #expect(try late.answer().hasPrefix("HTTP/1.1 408"))
        try late.isCut()
        // Who never said anything is told nothing.
        try silent.isCut()
    }

    @Test("a connection waits half a minute for the next request")
    func idleTime() throws {
        let page = try TestPage { _ in }
        let client = try page.client()
        try client.ask("/")
        page.pass(page.limits.idleTime / 2)
        try client.ask("/")
        page.pass(page.limits.idleTime + Self.second)
        try client.isCut()
    }

    @Test("a client that takes nothing of its answer is cut")
    func stallTime() throws {
        let page = try TestPage { _ in }
        let client = try page.client()
        try client.send("/large")
        _ = try client.stream.read(upTo: 1)
        page.pass(page.limits.stallTime / 2)
        #expect(page.isBusy)
        page.pass(page.limits.stallTime + Self.second)
        #expect(!page.isBusy)
        #expect(client.rest() < TestPage.large)
    }

    @Test("after its last answer a client has a second to go")
    func lingerTime() throws {
        let page = try TestPage { _ in }
        let client = try page.client()
        try client.write("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        #expect(client.rest() > 0)
        #expect(page.isBusy)
        page.pass(page.limits.lingerTime + Self.second)
        #expect(!page.isBusy)
    }

    @Test("a body has a few kilobytes", arguments: [(4096, "HTTP/1.1 200"), (4097, "HTTP/1.1 413")])
    func bodyBytes(_ count: Int, _ expected: String) throws {
        let page = try TestPage { _ in }
        #expect(page.limits.bodyBytes == 4096)
        let client = try page.client()
        let body = String(repeating: "x", count: count)
        try client.write("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: \(count)\r\n\r\n\(body)")
        #expect(try client.answer().hasPrefix(expected))
    }

    @Test("who sends more than a little ahead of the answers is cut", arguments: [true, false])
    func bytesAhead(isTooMuch: Bool) throws {
        let page = try TestPage { $0.bytesAhead = 1000 }
        let client = try page.client()
        try client.send("/hold")
        try page.waitForHeld(1)
        try client.write(String(repeating: "x", count: isTooMuch ? 1001 : 1000))
        if isTooMuch { try eventually("the end of the connection") { page.isBusy ? nil : true } }
        try page.release()
        if isTooMuch { return try client.isCut() }
        #expect(try client.answer().hasPrefix("HTTP/1.1 200"))
    }

    @Test("a stream that nobody reads pauses; all of it comes when somebody does")
    func streamBytesBehind() throws {
        let page = try TestPage { $0.streamBytesBehind = 100_000 }
        let client = try page.client()
        try client.send("/lines")
        let upstream = try page.supervisor()
        var lines = 0
        let line = Array("{\"message\":\"\(String(repeating: "x", count: 8000))\"}\n".utf8)
        try upstream.write(Array("HTTP/1.1 200 OK\r\n\r\n".utf8))
        try upstream.limitWaiting(seconds: 1)
        // Far more than the kernel's buffers take. What is cut in the middle of a line goes on below.
        var rest = line[...]
        let most = 16_384
        while lines < most {
            do {
                let sent = try upstream.writeSome(Array(rest))
                rest = rest.dropFirst(sent)
            } catch {
                break
            }
            if rest.isEmpty {
                lines += 1
                rest = line[...]
            }
        }
        #expect(lines < most, "the supervisor must wait")
        #expect(page.backlog < 100_000 + 2 * 65536 + 20_000, "\(page.backlog)")
        let reader = Reader(client)
        try upstream.limitWaiting(seconds: 30)
        try upstream.write(Array(rest))
        let count = lines + 1
        try eventually("all lines") { reader.messages >= count ? true : nil }
        #expect(reader.messages == count)
        client.stream.shutdownReading()
    }

    @Test("an answer of the supervisor's has a size and a time", arguments: ["size", "time", "neither"])
    func answers(_ what: String) throws {
        let page = try TestPage { $0.answerBytes = 1000 }
        let client = try page.client()
        try client.send("/relay")
        let upstream = try page.supervisor()
        let count = what == "size" ? 1001 : 1000
        if what == "time" {
            page.passUpstream(page.limits.answerTime + Self.second)
        } else {
            let head = "HTTP/1.1 200 OK\r\nContent-Length: \(count)\r\n\r\n"
            try upstream.write(Array(head.utf8) + [UInt8](repeating: 0x78, count: count))
        }
        #expect(try client.answer().hasPrefix("HTTP/1.1 \(what == "neither" ? 200 : 503)"))
    }

    @Test("what the supervisor refuses is said, and the stream is over")
    func refusals() throws {
        let page = try TestPage { _ in }
        let client = try page.client()
        try client.send("/lines")
        let upstream = try page.supervisor()
        let body = "{\"error\":{\"code\":\"no-such-name\",\"message\":\"gone\"}}"
        try upstream.write(Array("HTTP/1.1 404 Not Found\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)".utf8))
        let text = try client.text()
        #expect(text.contains("event: refused\ndata: \(body)\n\n"), "\(text)")
    }

    @Test("so many questions are asked of the supervisor at a time, and no more")
    func questions() throws {
        let page = try TestPage { _ in }
        let clients = try (0..<24).map { _ in try page.client() }
        for client in clients { try client.send("/relay") }
        try page.waitForQuestions(24)
        let other = try page.client()
        try other.send("/relay")
        #expect(try other.answer().hasPrefix("HTTP/1.1 503"))
    }
}
