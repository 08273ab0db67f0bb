import Testing

@testable import Supervisor

@Suite struct HTTPAnswerReaderTests {
    struct Case: Sendable {
        var text: String
        var status: Int?
        var body = ""
        var isComplete = false
        var isMalformed = false
    }

    static let cases: [Case] = [
        Case(text: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokay", status: 200, body: "ok", isComplete: true),
        Case(text: "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nokay", status: 200, body: "okay"),
        Case(text: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", status: 200, isComplete: true),
        Case(text: "HTTP/1.1 200 OK\n\nuntil the end", status: 200, body: "until the end"),
        Case(text: "HTTP/1.1 200 OK\r\nno colon\r\n: x\r\n\r\nx", status: 200, body: "x"),
        Case(text: "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", status: 200, isComplete: true),
        Case(text: "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nx", status: 200, body: "x"),
        Case(
            text:
                "HTTP/1.1 500 x\r\nTRANSFER-ENCODING: gzip, Chunked\r\nContent-Length: 1\r\n\r\n3\r\nabc\r\n0A;x=\"y\"\r\n0123456789\r\n0\r\nT: x\r\n\r\n",
            status: 500, body: "abc0123456789", isComplete: true),
        Case(text: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", status: 200, body: "ab"),
        Case(
            text: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nab", status: 200, isComplete: true),
        Case(
            text: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nab", status: 200, isComplete: true),
        Case(
            text: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7fffffffffffffff\r\nab", status: 200,
            body: "ab"),
        Case(text: "HTTP/1.1 103 Early\r\nA: b\r\n\r\nHTTP/1.1 404 x\r\n\r\nno", status: 404, body: "no"),
        Case(text: "HTTP/1.1 200 OK\r\nX: y\r\n", status: 200), Case(text: "HTTP/1."),
        Case(text: "SSH-2.0\r\n", isMalformed: true),
    ]

    @Test("status and body are found, in whatever pieces they come", arguments: cases)
    func pieces(expected: Case) {
        for size in [1, 2, 3, 7, 1000] {
            var reader = HTTPAnswerReader()
            var rest = Array(expected.text.utf8)[...]
            while !rest.isEmpty {
                reader.receive(Array(rest.prefix(size)))
                rest = rest.dropFirst(size)
            }
            #expect(reader.status == expected.status)
            #expect(String(decoding: reader.body, as: UTF8.self) == expected.body)
            #expect(reader.isComplete == expected.isComplete)
            #expect(reader.isMalformed == expected.isMalformed)
            reader.end()
            #expect(reader.isComplete)
        }
    }

    @Test(
        "whatever has no end is given up",
        arguments: [
            ("HTTP/1.1 200 OK\r\n", "X: yyyyyyyyyyyyy\r\n"), ("HTTP/1.1 200 OK\r\n\r\n", "body "),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "0"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n"),
        ])
    func endless(head: String, more: String) {
        var reader = HTTPAnswerReader()
        reader.receive(Array(head.utf8))
        let piece = Array(String(repeating: more, count: 100).utf8)
        var count = 0
        while !reader.isComplete, count < 10_000 {
            reader.receive(piece)
            count += 1
        }
        #expect(reader.isComplete && reader.body.count <= HTTPAnswerReader.bodyLimit)
    }

    @Test("random bytes after a status do no harm")
    func random() {
        var generator = SystemRandomNumberGenerator()
        let alphabet = Array("\r\n:; 0123456789abcdefgchunkedContent-LengthTransfer-Encoding".utf8)
        for _ in 0..<2000 {
            var reader = HTTPAnswerReader()
            reader.receive(Array("HTTP/1.1 200 OK\r\n".utf8))
            for _ in 0..<20 {
                reader.receive((0..<20).map { _ in alphabet.randomElement(using: &generator) ?? 0 })
            }
            #expect(reader.status == 200)
        }
    }
}
