import ControlAPI
import Dispatch
import Glibc
import Platform
import Supervisor
import TestSupport
import Testing

@Suite("What clients of the control socket may do, and what not", .timeLimit(.minutes(15)))
struct ControlServerClientTests {
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
        var random = SeededRandom(seed: seed)
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
