import Testing

@testable import Supervisor

@Suite struct HTTPStatusReaderTests {
    static let cases: [(String, HTTPStatusReader.Outcome)] = [
        ("HTTP/1.1 200 OK\r\n", .status(200)), ("HTTP/1.0 404\r\n", .status(404)), ("HTTP/1.1 204\n", .status(204)),
        ("HTTP/1.1 503 Service Unavailable\r\nX: y\r\n\r\nbody", .status(503)),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n", .status(200)),
        ("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 102 P\n\nHTTP/1.1 302 Found\r\n", .status(302)),
        ("HTTP/1.1 100 Continue\r\n", .incomplete), ("HTTP/1.1 100 Continue\r\nA: b\r\n\r\n", .incomplete),
        ("", .incomplete), ("HTT", .incomplete), ("HTTP/1.1 200 O", .incomplete),
        ("HTTP/2 200 OK\r\n", .malformed), ("SSH-2.0-OpenSSH\r\n", .malformed), ("SSH", .malformed),
        ("\r\n", .malformed),
        ("HTTP/1.1 20 OK\r\n", .malformed), ("HTTP/1.1 0200\r\n", .malformed), ("HTTP/1.1 +20 OK\r\n", .malformed),
        ("HTTP/1.1 abc OK\r\n", .malformed), ("HTTP/1.1\r\n", .malformed), ("HTTP/1.1 099 x\r\n", .malformed),
        ("HTTP/1.1 200" + String(repeating: " ", count: 5_000), .malformed),
    ]

    @Test("the first bytes tell the status", arguments: cases)
    func whole(text: String, outcome: HTTPStatusReader.Outcome) {
        var reader = HTTPStatusReader()
        #expect(reader.receive(Array(text.utf8)) == outcome)
    }

    @Test("it does not matter in which pieces they come", arguments: cases)
    func bytewise(text: String, outcome: HTTPStatusReader.Outcome) {
        var reader = HTTPStatusReader()
        var last = reader.receive([])
        for byte in text.utf8 where last == .incomplete { last = reader.receive([byte]) }
        #expect(last == outcome)
    }

    @Test("interim responses without end are given up")
    func endless() {
        var reader = HTTPStatusReader()
        let interim = Array("HTTP/1.1 100 Continue\r\nX: \(String(repeating: "x", count: 1000))\r\n".utf8)
        var outcome = reader.receive(interim)
        var count = 1
        while outcome == .incomplete, count < 1000 {
            outcome = reader.receive(Array(String(repeating: "X: y\r\n", count: 100).utf8))
            count += 1
        }
        #expect(outcome == .malformed)
    }
}
