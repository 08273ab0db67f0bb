import TestSupport
import Testing

@testable import ControlAPI

@Suite("Reading answers")
struct HTTPResponseParserTests {
    static let withLength = String(
        decoding: HTTPAnswer.complete(status: 200, body: Array("{\"a\":1}".utf8), closes: false), as: UTF8.self)
    static let chunked = String(
        decoding: HTTPAnswer.streamHead(status: 200, chunked: true, closes: true)
            + HTTPAnswer.chunk(Array("one\n".utf8)) + HTTPAnswer.chunk([]) + HTTPAnswer.chunk(Array("two\n".utf8))
            + HTTPAnswer.lastChunk, as: UTF8.self)
    static let untilClose = String(
        decoding: HTTPAnswer.streamHead(status: 200, chunked: false, closes: true) + Array("one\ntwo\n".utf8),
        as: UTF8.self)
    static let interim = String(decoding: HTTPAnswer.goOn, as: UTF8.self) + withLength

    @Test(
        "What the server writes the client reads, however it is cut",
        arguments: [
            (withLength, "{\"a\":1}"), (chunked, "one\ntwo\n"), (untilClose, "one\ntwo\n"), (interim, "{\"a\":1}"),
        ])
    func roundTrip(text: String, body: String) throws {
        for cut in 0...text.utf8.count {
            var parser = HTTPResponseParser()
            var collected = Collected()
            parser.append(text.utf8.prefix(cut))
            try collected.drain(&parser)
            parser.append(text.utf8.dropFirst(cut))
            try collected.drain(&parser)
            parser.close()
            try collected.drain(&parser)
            #expect(collected.status == 200)
            #expect(String(decoding: collected.body, as: UTF8.self) == body)
            #expect(collected.isComplete)
        }
    }

    @Test("An answer that is cut off is never taken for a complete one", arguments: [withLength, chunked])
    func truncated(text: String) {
        for length in 0..<text.utf8.count {
            var parser = HTTPResponseParser()
            var collected = Collected()
            parser.append(text.utf8.prefix(length))
            parser.close()
            #expect(throws: HTTPResponseParser.Violation.self) { try collected.drain(&parser) }
            #expect(!collected.isComplete)
        }
    }

    @Test(
        "What is no answer is refused",
        arguments: [
            "HTTP/2 200 OK\r\n", "SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 2000 OK\r\n", "HTTP/1.1 abc OK\r\n",
            "HTTP/1.1 200 OK\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
            String(repeating: "HTTP/1.1 100 Continue\r\n\r\n", count: 9),
        ])
    func refused(text: String) {
        var parser = HTTPResponseParser()
        var collected = Collected()
        parser.append(text.utf8)
        #expect(throws: HTTPResponseParser.Violation.self) { try collected.drain(&parser) }
    }

    @Test("A body without end is refused at its limit")
    func endless() {
        var parser = HTTPResponseParser(bodyLimit: 100_000)
        var collected = Collected()
        parser.append(Self.untilClose.utf8)
        #expect(throws: HTTPResponseParser.Violation.self) {
            for _ in 0..<1000 {
                parser.append(repeatElement(UInt8(ascii: "x"), count: 1000))
                try collected.drain(&parser)
            }
        }
        #expect(collected.body.count <= 100_000)
    }

    @Test("Random bytes never do more than be refused", arguments: 0..<4)
    func randomBytes(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let alphabet = Array("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked0123456789abcdef;".utf8)
        for _ in 0..<1000 {
            var parser = HTTPResponseParser(bodyLimit: 1000)
            var collected = Collected()
            parser.append("HTTP/1.1 200 OK\r\n".utf8.prefix(Int.random(in: 0...17, using: &random)))
            parser.append(
                (0..<Int.random(in: 0...200, using: &random)).map { _ in
                    alphabet.randomElement(using: &random) ?? 0
                })
            try? collected.drain(&parser)
            parser.close()
            try? collected.drain(&parser)
            #expect(collected.body.count <= 1000)
        }
    }

    private struct Collected {
        var status: Int?
        var body: [UInt8] = []
        var isComplete = false

        mutating func drain(_ parser: inout HTTPResponseParser) throws {
            while !isComplete, let part = try parser.next() {
                switch part {
                case .head(let status, _): self.status = status
                case .body(let piece): body += piece
                case .end: isComplete = true
                }
            }
        }
    }
}
