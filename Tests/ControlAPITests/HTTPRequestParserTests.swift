import TestSupport
import Testing

@testable import ControlAPI

@Suite("Reading requests")
struct HTTPRequestParserTests {
    static let get = "GET /v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n"
    static let post = "POST /v1/services/api/limit HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"

    @Test("A request is the same however it is cut in two", arguments: [get, post])
    func cutAnywhere(text: String) throws {
        let whole = try parseAll(Array(text.utf8))
        #expect(whole.count == 1)
        for cut in 0...text.utf8.count {
            var parser = HTTPRequestParser()
            parser.append(text.utf8.prefix(cut))
            var requests = try drain(&parser)
            parser.append(text.utf8.dropFirst(cut))
            requests += try drain(&parser)
            #expect(requests == whole, "cut at \(cut)")
        }
    }

    @Test("A request that comes byte by byte is the same", arguments: [get, post])
    func byteByByte(text: String) throws {
        var parser = HTTPRequestParser()
        var requests: [HTTPRequest] = []
        for byte in text.utf8 {
            parser.append([byte])
            requests += try drain(&parser)
        }
        #expect(requests == (try parseAll(Array(text.utf8))))
    }

    @Test("Every truncation waits for more", arguments: [get, post])
    func truncated(text: String) throws {
        for length in 0..<text.utf8.count {
            var parser = HTTPRequestParser()
            parser.append(text.utf8.prefix(length))
            #expect(try parser.next() == .needsMore, "at \(length)")
            #expect(parser.isInRequest == (length > 0))
        }
    }

    @Test("Requests that follow each other at once come one by one, bodies included")
    func pipelined() throws {
        let requests = try parseAll(Array((Self.post + Self.get + Self.post).utf8))
        #expect(requests.map(\.method) == ["POST", "GET", "POST"])
        #expect(requests.map { $0.body.count } == [5, 0, 5])
    }

    @Test(
        "What is not a well-formed request is refused",
        arguments: [
            ("GET /\r\n", 400),
            ("GET  / HTTP/1.1\r\n", 400),
            (" GET / HTTP/1.1\r\n", 400),
            ("GET / HTTP/1.1 \r\n", 400),
            ("GET / HTTP/2.0\r\n", 505),
            ("GET / http/1.1\r\n", 400),
            ("GE(T / HTTP/1.1\r\n", 400),
            ("GET http://localhost/ HTTP/1.1\r\n", 400),
            ("GET /#x HTTP/1.1\r\n", 400),
            ("GET /\u{7f} HTTP/1.1\r\n", 400),
            ("GET /\u{e4} HTTP/1.1\r\n", 400),
            ("GET / HTTP/1.1\n", 400),
            ("GET / HTTP/1.1\r\r\n", 400),
            ("\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n", 400),
            ("GET / HTTP/1.1\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost : a\r\n", 400),
            ("GET / HTTP/1.1\r\n: a\r\n", 400),
            ("GET / HTTP/1.1\r\nHost\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\u{0}b\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\rb\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1073741824\r\n\r\n", 413),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n", 417),
        ])
    func refused(text: String, status: Int) {
        var parser = HTTPRequestParser()
        parser.append(text.utf8)
        #expect(performing: { try parser.next() }, throws: { ($0 as? HTTPFailure)?.status == status })
        // Nothing that comes later can mend it.
        parser.append(Self.get.utf8)
        #expect(performing: { try parser.next() }, throws: { ($0 as? HTTPFailure)?.status == status })
    }

    @Test("A line, a field or a section without end is refused at its limit, not kept")
    func endless() {
        func refusal(_ start: String, _ piece: String) -> (status: Int?, taken: Int) {
            var parser = HTTPRequestParser()
            parser.append(start.utf8)
            var taken = 0
            while taken < 10 << 20 {
                do { _ = try parser.next() } catch { return (error.status, taken) }
                parser.append(piece.utf8)
                taken += piece.utf8.count
            }
            return (nil, taken)
        }
        let line = "GET / HTTP/1.1\r\n"
        let target = refusal("GET /", String(repeating: "a", count: 1000))
        #expect(target.status == 414 && target.taken <= 10_000)
        let field = refusal(line + "A: ", String(repeating: "a", count: 1000))
        #expect(field.status == 431 && field.taken <= 10_000)
        let many = refusal(line, "A: b\r\n")
        #expect(many.status == 431 && many.taken <= 65 * 6)
        let large = refusal(line, "A: " + String(repeating: "b", count: 4000) + "\r\n")
        #expect(large.status == 431 && large.taken <= 40_000)
    }

    @Test("The largest lines and fields that are allowed are taken")
    func atTheLimit() throws {
        let target = "/" + String(repeating: "a", count: HTTPLimits.startLine - "GET / HTTP/1.1".utf8.count)
        let field = "A: " + String(repeating: "b", count: HTTPLimits.field - 3)
        let requests = try parseAll(Array("GET \(target) HTTP/1.1\r\nHost: x\r\n\(field)\r\n\r\n".utf8))
        #expect(requests.first?.target == target)
        let body = String(repeating: "c", count: HTTPLimits.verbBody)
        let post = try parseAll(
            Array("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: \(body.count)\r\n\r\n\(body)".utf8))
        #expect(post.first?.body.count == HTTPLimits.verbBody)
    }

    @Test("A client that waits for leave to send its body gets it once")
    func expectContinue() throws {
        var parser = HTTPRequestParser()
        parser.append("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n".utf8)
        #expect(try parser.next() == .expectsContinue)
        #expect(try parser.next() == .needsMore)
        parser.append("ab".utf8)
        guard case .request(let request) = try parser.next() else {
            Issue.record("no request")
            return
        }
        #expect(request.body == Array("ab".utf8))
    }

    @Test(
        "Whether the connection stays open follows the version and the Connection field",
        arguments: [
            ("HTTP/1.1", "", true), ("HTTP/1.1", "Connection: close\r\n", false),
            ("HTTP/1.1", "Connection: Keep-Alive, CLOSE\r\n", false), ("HTTP/1.0", "", false),
            ("HTTP/1.0", "Connection: keep-alive\r\n", true),
        ])
    func keepAlive(version: String, field: String, expected: Bool) throws {
        let requests = try parseAll(Array("GET / \(version)\r\nHost: x\r\n\(field)\r\n".utf8))
        #expect(requests.map(\.keepsAlive) == [expected])
    }

    @Test("Random bytes never do more than be refused", arguments: 0..<4)
    func randomBytes(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let alphabet = Array("GET POST/HTTP1.:\r\n \tHostContent-Length0123456789%\u{0}".utf8)
        for _ in 0..<1000 {
            var parser = HTTPRequestParser()
            let count = Int.random(in: 0...200, using: &random)
            let wild = Bool.random(using: &random)
            let bytes = (0..<count).map { _ in
                wild ? UInt8.random(in: 0...255, using: &random) : alphabet.randomElement(using: &random) ?? 0
            }
            parser.append(bytes)
            _ = try? drain(&parser)
        }
    }

    @Test("A valid request with one byte changed is read or refused, never more", arguments: 0..<4)
    func mutated(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let original = Array((Self.post + Self.get).utf8)
        for index in original.indices {
            for _ in 0..<8 {
                var bytes = original
                bytes[index] = UInt8.random(in: 0...255, using: &random)
                var parser = HTTPRequestParser()
                parser.append(bytes)
                let requests = (try? drain(&parser)) ?? []
                #expect(requests.count <= 2)
            }
        }
    }

    private func parseAll(_ bytes: [UInt8]) throws -> [HTTPRequest] {
        var parser = HTTPRequestParser()
        parser.append(bytes)
        return try drain(&parser)
    }

    private func drain(_ parser: inout HTTPRequestParser) throws -> [HTTPRequest] {
        var requests: [HTTPRequest] = []
        while case .request(let request) = try parser.next() { requests.append(request) }
        return requests
    }
}
