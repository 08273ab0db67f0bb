import ControlAPI
import Dispatch
import Glibc
import Links
import Platform
import TestSupport
import Testing

@testable import Web

/// What the role asks the supervisor, with the test as the supervisor.
@Suite("What a question to the control API may cost", .timeLimit(.minutes(5)))
struct UpstreamTests {
    /// What has come of a question, as words.
    private final class Heard: @unchecked Sendable {
        private let queue: DispatchQueue
        private var words: [String] = []

        init(_ queue: DispatchQueue) { self.queue = queue }

        var all: [String] { queue.sync { words } }

        func take(_ event: Upstream.Event) {
            switch event {
            case .head(let status, _): words.append("head \(status)")
            case .body(let bytes): words.append("body \(bytes.count)")
            case .end: words.append("end")
            case .lost: words.append("lost")
            }
        }
    }

    private let queue = DispatchQueue(label: "supd.test.upstream")
    private static let question = ControlRoute.version.request

    private func send(_ text: String, _ stream: UnixStream) throws {
        #expect(try stream.send(Array(text.utf8)[...]) == text.utf8.count)
    }

    @Test("an answer beyond the limit is given up", arguments: [10, 11])
    func answerBytes(length: Int) throws {
        var limits = WebLimits()
        limits.answerBytes = 10
        let heard = Heard(queue)
        let (ours, theirs) = try UnixStream.pair()
        let upstream = Upstream(Self.question, isStream: false, queue: queue, limits: limits, tell: heard.take)
        queue.sync { upstream.connected(theirs.descriptor) }
        try send("HTTP/1.1 200 OK\r\n\r\n" + String(repeating: "x", count: length), ours)
        try ours.finishSending()
        try eventually("its end") { ["end", "lost"].contains(heard.all.last) ? true : nil }
        #expect(heard.all.last == (length > limits.answerBytes ? "lost" : "end"))
    }

    @Test("an answer that does not come in time is given up; a stream that has begun is not")
    func answerTime() throws {
        let limits = WebLimits()
        for isStream in [false, true] {
            let heard = Heard(queue)
            let (ours, theirs) = try UnixStream.pair()
            let upstream = Upstream(
                Self.question, isStream: isStream, queue: queue, limits: limits, tell: heard.take)
            queue.sync { upstream.connected(theirs.descriptor) }
            let late = try #require(queue.sync { upstream.deadline })
            queue.sync { upstream.timePassed(to: late - 1) }
            #expect(heard.all.isEmpty)
            try send("HTTP/1.1 200 OK\r\n\r\n", ours)
            try eventually("its head") { heard.all == ["head 200"] ? true : nil }
            queue.sync { upstream.timePassed(to: late) }
            #expect(heard.all == (isStream ? ["head 200"] : ["head 200", "lost"]))
            queue.sync { upstream.cancel() }
        }
        // One that was never given a connection.
        let heard = Heard(queue)
        let upstream = Upstream(Self.question, isStream: true, queue: queue, limits: limits, tell: heard.take)
        let late = try #require(upstream.deadline)
        #expect(late > monotonicNanoseconds() && late <= monotonicNanoseconds() + limits.answerTime)
        queue.sync { upstream.timePassed(to: late) }
        #expect(heard.all == ["lost"])
    }

    @Test("so many questions at a time, and another one when one is over")
    func number() throws {
        var asked: [UInt64] = []
        let pool = UpstreamPool(queue: queue, limits: WebLimits()) { notice in
            if case .connect(let number) = notice { asked.append(number) }
        }
        var open: [Upstream] = []
        while open.count < 1000, let upstream = pool.open(Self.question, isStream: false, tell: { _ in }) {
            open.append(upstream)
        }
        #expect(open.count == 24 && asked.count == 24)
        // The streams of all pages leave room for what these ask beside them.
        #expect(open.count > WebLimits().streams)
        open.first?.cancel()
        #expect(pool.open(Self.question, isStream: false, tell: { _ in }) != nil)
        #expect(pool.open(Self.question, isStream: false, tell: { _ in }) == nil)
        #expect(asked.count == 25)
    }

    @Test("what the supervisor refuses is said to a stream, which then is over")
    func refusal() throws {
        let (client, served) = try UnixStream.pair()
        let limits = WebLimits()
        let server = WebServer(queue: queue, limits: limits) { _, connection in
            connection.beginStream(type: "text/event-stream", closes: true)
        }
        let connection = queue.sync { server.serve(served, from: []) }
        try send("GET /v1/logs HTTP/1.0\r\nHost: localhost\r\n\r\n", client)
        var text = ""
        try eventually("the head") { () -> Bool? in
            guard case .bytes(let bytes) = try client.receive(limit: 4096) else { return nil }
            text += String(decoding: bytes, as: UTF8.self)
            return text.contains("\r\n\r\n") ? true : nil
        }
        let (supervisor, given) = try UnixStream.pair()
        let pool = UpstreamPool(queue: queue, limits: limits) { _ in }
        let feed = LineFeed(.other(ControlRoute.version.request), to: connection, pool: pool, limits: limits)
        queue.sync {
            feed.begin()
            pool.connected(1, given.descriptor)
        }
        let body = "{\"error\":{\"code\":\"no-such-name\",\"message\":\"gone\"}}"
        try send("HTTP/1.1 404 Not Found\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)", supervisor)
        try eventually("the end of the stream") { () -> Bool? in
            switch try client.receive(limit: 4096) {
            case .bytes(let bytes): text += String(decoding: bytes, as: UTF8.self)
            case .end: return true
            default: break
            }
            return nil
        }
        #expect(text.contains("event: refused\ndata: \(body)\n\n"), "\(text)")
    }

    @Test("a browser that does not read its stream costs no more than a bound, and gets all of it later")
    func backpressure() throws {
        let (client, served) = try UnixStream.pair()
        let limits = WebLimits()
        let server = WebServer(queue: queue, limits: limits) { _, connection in
            connection.beginStream(type: "text/event-stream", closes: true)
        }
        let connection = queue.sync { server.serve(served, from: []) }
        try send("GET /v1/logs HTTP/1.0\r\nHost: localhost\r\n\r\n", client)
        try eventually("the head") {
            if case .bytes = try client.receive(limit: 4096) { return true }
            return nil
        }
        let (supervisor, given) = try UnixStream.pair()
        let pool = UpstreamPool(queue: queue, limits: limits) { _ in }
        let feed = LineFeed(
            .other(ControlRoute.version.request), to: connection, pool: pool, limits: limits)
        queue.sync {
            feed.begin()
            pool.connected(1, given.descriptor)
        }
        try send("HTTP/1.1 200 OK\r\n\r\n", supervisor)
        // As much as is taken, until nobody takes any more: the feed has paused, and the socket to it is full.
        let line = Array("{\"message\":\"\(String(repeating: "x", count: 1000))\"}\n".utf8)
        var (sent, rest) = (0, line[...])
        try eventually("an end of it") {
            while true {
                let count = try supervisor.send(rest)
                sent += count
                rest = count == rest.count ? line[...] : rest.dropFirst(count)
                let backlog = queue.sync { connection.backlog }
                guard backlog < limits.streamBytesBehind + (256 << 10), sent < 16 << 20 else {
                    throw TestFailure("\(backlog) bytes wait, of \(sent)")
                }
                if count == 0 { return backlog > limits.streamBytesBehind ? true : nil }
            }
        }
        // Without the pause it would be full for a moment only.
        for _ in 0..<50 {
            usleep(2000)
            #expect(try supervisor.send(rest) == 0, "it is still read though nobody takes it")
        }
        // All lines that are there in full, each as a message, and nothing else.
        let message = LineFeed.message("line", nil, line[...]).count
        let expected = "retry: 1000\n\n".utf8.count + sent / line.count * message
        var received = 0
        try eventually("all of it") {
            while case .bytes(let bytes) = try client.receive(limit: 1 << 16) { received += bytes.count }
            return received >= expected ? true : nil
        }
        #expect(received == expected)
        queue.sync { connection.cut() }
        withExtendedLifetime((server, feed)) {}
    }
}
