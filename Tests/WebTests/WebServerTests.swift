import ControlAPI
import Platform
import TestSupport
import Testing

@testable import Web

/// Each of the limits that `WebLimits` sets to a client, with its own figure: one step within it, and one beyond. No test
/// waits for time: what would be due after so long is looked at as if it had passed.
@Suite("What a client of the page may cost", .timeLimit(.minutes(5)))
struct WebServerTests {
    private static let limits = WebLimits()

    private static func seconds(_ time: Duration) -> Double { time / .seconds(1) }

    // MARK: Size

    @Test("a body beyond the limit is refused when it is announced, and none of it is awaited")
    func body() throws {
        let server = try ServerUnderTest()
        let most = Self.limits.perConnection.bodyBytes
        let within = try server.connect()
        try within.write("POST /take HTTP/1.1\r\nHost: localhost\r\nContent-Length: \(most)\r\n\r\n")
        try within.write([UInt8](repeating: 0x78, count: most))
        #expect(try within.read(until: "/take \(most)").hasPrefix("HTTP/1.1 200 "))
        let beyond = try server.connect()
        try beyond.write("POST /take HTTP/1.1\r\nHost: localhost\r\nContent-Length: \(most + 1)\r\n\r\n")
        #expect(try beyond.read(until: "}}").hasPrefix("HTTP/1.1 413 "))
        #expect(try beyond.isAtEnd())
        #expect(server.requests.map(\.body.count) == [most])
    }

    /// A request of so many bytes.
    private static func request(_ target: String, bytes: Int) -> String {
        var text = "GET \(target) HTTP/1.1\r\nHost: localhost\r\n"
        while text.utf8.count + 2 < bytes {
            let left = bytes - 2 - text.utf8.count
            // The rest must have room for a field of its own, "a: \r\n".
            let field = left > 8000 ? 4000 : left
            text += "a: " + String(repeating: "x", count: field - 5) + "\r\n"
        }
        return text + "\r\n"
    }

    @Test("what is sent ahead of an answer is kept up to the limit; a byte more ends the connection")
    func ahead() throws {
        let server = try ServerUnderTest()
        let most = Self.limits.perConnection.bytesAhead
        let next = Self.request("/next", bytes: most)
        #expect(next.utf8.count == most)
        let client = try server.connect()
        try client.write("GET /never HTTP/1.1\r\nHost: localhost\r\n\r\n")
        try server.waitForRequests(1)
        try client.write(next)
        server.onQueue { $0?.answer(200, Array("first".utf8)) }
        // Whatever of it was there before that answer and whatever came after, none was lost.
        #expect(try client.read(until: "/next 0").contains("first"))
        try client.write("GET /never HTTP/1.1\r\nHost: localhost\r\n\r\n")
        try server.waitForRequests(3)
        try client.write(next + "G")
        #expect(try client.isAtEnd())
        #expect(server.gone == 1)
        try server.waitUntilIdle()
    }

    @Test("what is still sent after the last answer is dropped up to the limit; beyond it the connection is cut")
    func afterLast() throws {
        let server = try ServerUnderTest()
        let client = try server.connect()
        try client.write("GET /last HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        #expect(try client.read(until: "/last 0").hasPrefix("HTTP/1.1 200 "))
        #expect(try client.isAtEnd())
        #expect(server.isBusy)
        try? client.write([UInt8](repeating: 0x78, count: Self.limits.perConnection.bytesAfter + 1))
        try server.waitUntilIdle()
    }

    // MARK: Time

    @Test("a request that is not complete in time is answered with 408, however far it has come")
    func requestTime() throws {
        let server = try ServerUnderTest()
        let limit = Self.seconds(Self.limits.perConnection.requestTime)
        let client = try server.connect()
        #expect(try client.get("/").hasPrefix("HTTP/1.1 200 "))
        try client.write("GET /slow HTTP/1.1\r\nX-Slow: ")
        // Of an idle connection this is 0.
        try eventually("the beginning") { server.onQueue { $0?.rank ?? 0 } > 0 ? true : nil }
        server.pass(seconds: limit - 1)
        #expect(server.onQueue { $0?.rank } != nil, "it has been cut too early")
        server.pass(seconds: limit + 1)
        #expect(try client.read(until: "}}").hasPrefix("HTTP/1.1 408 "))
        #expect(try client.isAtEnd())
    }

    @Test("a connection that says nothing at all is closed when the time for a request is over")
    func silence() throws {
        let server = try ServerUnderTest()
        let silent = try server.connect()
        try eventually("it to be taken") { server.isBusy ? true : nil }
        server.pass(seconds: Self.seconds(Self.limits.perConnection.requestTime) - 1)
        #expect(server.isBusy)
        server.pass(seconds: Self.seconds(Self.limits.perConnection.requestTime) + 1)
        #expect(try silent.isAtEnd())
    }

    @Test("a connection on which no further request comes is closed")
    func idleTime() throws {
        let server = try ServerUnderTest()
        let limit = Self.seconds(Self.limits.perConnection.idleTime)
        let client = try server.connect()
        for _ in 0..<2 {
            #expect(try client.get("/").hasPrefix("HTTP/1.1 200 "))
            server.pass(seconds: limit - 1)
        }
        server.pass(seconds: limit + 1)
        #expect(try client.isAtEnd())
        #expect(!server.isBusy)
    }

    @Test("a client that does not take its answer is cut, and all that waited for it is let go of")
    func stallTime() throws {
        let server = try ServerUnderTest()
        let limit = Self.seconds(Self.limits.perConnection.stallTime)
        let client = try server.connect()
        try client.write("GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        try server.waitForRequests(1)
        server.pass(seconds: limit - 1)
        #expect(server.onQueue { $0?.backlog ?? 0 } > 0)
        server.pass(seconds: limit + 1)
        #expect(!server.isBusy)
        #expect(server.onQueue { $0 == nil }, "something holds it still, with all that it was to send")
        withExtendedLifetime(client) {}
    }

    @Test("after the last answer a client has a moment to read it")
    func lingerTime() throws {
        let server = try ServerUnderTest()
        let limit = Self.seconds(Self.limits.perConnection.lingerTime)
        let client = try server.connect()
        try client.write("GET /last HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        #expect(try client.read(until: "/last 0").hasPrefix("HTTP/1.1 200 "))
        #expect(try client.isAtEnd())
        server.pass(seconds: 0)
        #expect(server.isBusy)
        server.pass(seconds: limit)
        #expect(!server.isBusy)
    }

    // MARK: Number

    @Test("one more takes the place of an idle one, else of the one whose request is awaited longest, else none")
    func connections() throws {
        var limits = WebLimits()
        limits.connections = 3
        let server = try ServerUnderTest(limits)
        let (older, newer, idle) = (try server.connect(), try server.connect(), try server.connect())
        for (number, client) in [older, newer, idle].enumerated() {
            #expect(try client.get("/\(number)").hasPrefix("HTTP/1.1 200 "))
        }
        for client in [older, newer] {
            let before = server.requests.count
            // The answer to the first shows that the second, a part of one, was there before what follows.
            try client.write("GET /a HTTP/1.1\r\nHost: localhost\r\n\r\nGET /part")
            _ = try client.read(until: "/a 0")
            try server.waitForRequests(before + 1)
            try eventually("the beginning") { server.onQueue { $0?.rank ?? 0 } > 0 ? true : nil }
        }
        let fourth = try server.connect()
        #expect(try fourth.get("/4").hasPrefix("HTTP/1.1 200 "))
        #expect(try idle.isAtEnd())
        try fourth.write("GET /never HTTP/1.1\r\nHost: localhost\r\n\r\n")
        try server.waitForRequests(7)
        let fifth = try server.connect()
        try fifth.write("GET /never HTTP/1.1\r\nHost: localhost\r\n\r\n")
        #expect(try older.isAtEnd())
        try server.waitForRequests(8)
        let sixth = try server.connect()
        try sixth.write("GET /never HTTP/1.1\r\nHost: localhost\r\n\r\n")
        #expect(try newer.isAtEnd())
        try server.waitForRequests(9)
        // Those that are being answered give way to nobody.
        let seventh = try server.connect()
        #expect(try seventh.isAtEnd())
        #expect(server.gone == 0)
        withExtendedLifetime((fourth, fifth, sixth)) {}
    }

    @Test("one address has so many of them, and another one when one has ended", arguments: [false, true])
    func connectionsPerAddress(isSpared: Bool) throws {
        var limits = WebLimits()
        limits.connectionsPerAddress = 2
        limits.sparesThisMachine = isSpared
        let server = try ServerUnderTest(limits)
        var clients = [try server.connect(), try server.connect()]
        for client in clients { #expect(try client.get("/").hasPrefix("HTTP/1.1 200 ")) }
        let third = try server.connect()
        guard !isSpared else {
            #expect(try third.get("/").hasPrefix("HTTP/1.1 200 "))
            return
        }
        #expect(try third.isAtEnd())
        clients.removeLast()
        try eventually("room for another") {
            let fourth = try server.connect()
            return (try? fourth.get("/"))?.hasPrefix("HTTP/1.1 200 ") == true ? true : nil
        }
        // The first has kept its place.
        #expect(try clients[0].get("/").hasPrefix("HTTP/1.1 200 "))
    }
}
