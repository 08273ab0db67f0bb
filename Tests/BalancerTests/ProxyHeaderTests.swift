import Testing

@testable import Balancer

@Suite("Headers of the PROXY protocol")
struct ProxyHeaderTests {
    typealias Reading = ProxyHeader.Reading

    static let signature: [UInt8] = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]

    /// A header of version 2.
    static func binary(_ command: UInt8, _ family: UInt8, _ tail: [UInt8], length: Int? = nil) -> [UInt8] {
        let length = length ?? tail.count
        return signature + [command, family, UInt8(length >> 8), UInt8(length & 255)] + tail
    }

    static let ipv4Tail: [UInt8] = [203, 0, 113, 7, 10, 1, 2, 3, 0xc8, 0x22, 0x01, 0xbb]
    static let ipv6Tail: [UInt8] =
        [0x20, 0x01, 0x0d, 0xb8] + [UInt8](repeating: 0, count: 11) + [1] + [UInt8](repeating: 0, count: 15) + [1]
        + [0x00, 0x50, 0xff, 0xff]

    static let client4 = ClientAddress(ipv4: 0xcb00_7107, port: 51234)
    static let front4 = ClientAddress(ipv4: 0x0a01_0203, port: 443)
    static let client6 = ClientAddress(ipv6: 0x2001_0db8_0000_0000, 1, port: 80)
    static let front6 = ClientAddress(ipv6: 0, 1, port: 65535)

    struct Case: Sendable, CustomTestStringConvertible {
        let name: String
        let bytes: [UInt8]
        let reading: Reading
        var testDescription: String { name }

        init(_ name: String, _ bytes: [UInt8], _ reading: Reading) {
            (self.name, self.bytes, self.reading) = (name, bytes, reading)
        }
        init(_ line: String, _ reading: Reading) {
            self.init(line.replacing("\r\n", with: "␤"), Array(line.utf8), reading)
        }
    }

    static func whole(_ length: Int, _ source: ClientAddress = .none, _ destination: ClientAddress = .none) -> Reading {
        .header(length: length, source: source, destination: destination)
    }

    static let valid: [Case] = [
        Case("PROXY TCP4 203.0.113.7 10.1.2.3 51234 443\r\n", whole(43, client4, front4)),
        Case(
            "PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n",
            whole(44, ClientAddress(ipv4: 0, port: 0), ClientAddress(ipv4: .max, port: 65535))),
        Case("PROXY TCP6 2001:db8::1 ::1 80 65535\r\n", whole(37, client6, front6)),
        Case("PROXY TCP6 ::ffff:203.0.113.7 ::1 51234 65535\r\n", whole(47, client4, front6)),
        Case(
            "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
            whole(
                104, ClientAddress(ipv6: .max, .max, port: 65535), ClientAddress(ipv6: .max, .max, port: 65535))),
        Case("PROXY UNKNOWN\r\n", whole(15)),
        Case("PROXY UNKNOWN and what else somebody may say\r\n", whole(46)),
        Case("PROXY UNKNOWN " + String(repeating: "x", count: 91) + "\r\n", whole(107)),
        Case("v2 IPv4", binary(0x21, 0x11, ipv4Tail), whole(28, client4, front4)),
        Case("v2 IPv6", binary(0x21, 0x21, ipv6Tail), whole(52, client6, front6)),
        Case(
            "v2 IPv4 with extensions", binary(0x21, 0x11, ipv4Tail + [0x04, 0, 3, 1, 2, 3]), whole(34, client4, front4)),
        Case(
            "v2 with as many extensions as may be",
            binary(0x21, 0x11, ipv4Tail + [UInt8](repeating: 0, count: 4084)), whole(4112, client4, front4)),
        Case("v2 LOCAL", binary(0x20, 0, []), whole(16)),
        Case("v2 LOCAL of a family that nobody knows", binary(0x20, 0x41, [1, 2, 3]), whole(19)),
        Case("v2 LOCAL with addresses, which do not count", binary(0x20, 0x11, ipv4Tail), whole(28)),
        Case("v2 of no family", binary(0x21, 0, [1, 2, 3]), whole(19)),
        Case("v2 of datagrams", binary(0x21, 0x12, ipv4Tail), whole(28)),
        Case("v2 of Unix sockets", binary(0x21, 0x31, [UInt8](repeating: 65, count: 216)), whole(232)),
    ]

    static let invalid: [Case] =
        [
            "GET / HTTP/1.1\r\n", "PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 99999999999999999999\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4  2\r\n",
            "PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n", "PROXY TCP4 ::1 ::1 1 2\r\n", "PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
            "PROXY TCP6 :::1 ::1 1 2\r\n", "PROXY TCP4 1.2.3.4\u{0} 1.2.3.4 1 2\r\n",
            "PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n",
            "PROXY \r\n", "PROXY TCP4\r\n", "proxy UNKNOWN\r\n", "PROXY UNKNOWN\rx", "PROXY UNKNOWNx\r\n",
            "PROXY UNKNOWN " + String(repeating: "x", count: 92) + "\r\n", String(repeating: "PROXY ", count: 100),
        ].map { Case($0, .invalid) } + [
            Case("v2 of version 1", binary(0x11, 0x11, ipv4Tail), .invalid),
            Case("v2 with an unknown command", binary(0x22, 0x11, ipv4Tail), .invalid),
            Case("v2 of an unknown family", binary(0x21, 0x41, ipv4Tail), .invalid),
            Case("v2 of an unknown transport", binary(0x21, 0x13, ipv4Tail), .invalid),
            Case("v2 too short for IPv4", binary(0x21, 0x11, Array(ipv4Tail.dropLast())), .invalid),
            Case("v2 too short for IPv6", binary(0x21, 0x21, Array(ipv6Tail.dropLast())), .invalid),
            Case("v2 too short for Unix", binary(0x21, 0x31, [UInt8](repeating: 0, count: 215)), .invalid),
            Case("v2 with too many extensions", binary(0x21, 0x11, ipv4Tail, length: 4097), .invalid),
            Case("another signature", [0x0d, 0x0a, 0x0d, 0x0b], .invalid),
        ]

    static func read(_ bytes: some Sequence<UInt8>) -> Reading { Array(bytes).withUnsafeBytes { ProxyHeader.read($0) } }

    @Test("headers are read, and what follows them is left alone", arguments: valid)
    func reads(_ header: Case) {
        #expect(Self.read(header.bytes) == header.reading)
        #expect(Self.read(header.bytes + Array("payload \r\n".utf8)) == header.reading)
    }

    @Test("a header that has not come whole is waited for, wherever it is cut", arguments: valid)
    func truncated(_ header: Case) {
        for length in 0..<header.bytes.count {
            #expect(Self.read(header.bytes.prefix(length)) == .incomplete, "after \(length)")
        }
    }

    @Test("what is no header is told", arguments: invalid)
    func refuses(_ header: Case) { #expect(Self.read(header.bytes) == .invalid) }

    @Test("random bytes, and headers with one byte changed, do no harm", arguments: [UInt64](1...4))
    func random(seed: UInt64) {
        var random = seed
        func next(_ limit: Int) -> Int {
            random = random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(random >> 33) % limit
        }
        for _ in 0..<20_000 {
            var bytes: [UInt8]
            if next(2) == 0 {
                bytes = (0..<next(60)).map { _ in UInt8(next(256)) }
                let opening = next(3) == 0 ? Self.signature : next(2) == 0 ? Array("PROXY TCP4 ".utf8) : []
                bytes = opening + bytes
            } else {
                bytes = Self.valid[next(Self.valid.count)].bytes
                bytes[next(bytes.count)] = UInt8(next(256))
            }
            if case .header(let length, _, _) = Self.read(bytes) { #expect(length <= bytes.count) }
        }
    }

    @Test(
        "what is written is what is read",
        arguments: [
            (client4, front4, 43, 28), (client6, front6, 37, 52), (client4, front6, 47, 52),
            (ClientAddress.none, front4, 15, 16), (client4, ClientAddress.none, 15, 16),
            (
                ClientAddress(ipv6: .max, .max, port: 65535), ClientAddress(ipv6: .max, .max, port: 65535), 104, 52
            ),
        ])
    func writes(source: ClientAddress, destination: ClientAddress, lineLength: Int, binaryLength: Int) {
        for (version, length) in [(ProxyHeader.Version.v1, lineLength), (.v2, binaryLength)] {
            let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: ProxyHeader.longestWritten, alignment: 1)
            defer { memory.deallocate() }
            guard let start = memory.baseAddress else { continue }
            let count = ProxyHeader.write(version, source: source, destination: destination, to: start)
            #expect(count == length)
            let isKnown = !source.isNone && !destination.isNone
            #expect(
                Self.read(memory.prefix(count))
                    == (isKnown ? Self.whole(length, source, destination) : Self.whole(length)))
        }
    }

    @Test("the bytes are those of the specification")
    func exactBytes() {
        func written(_ version: ProxyHeader.Version, _ source: ClientAddress, _ destination: ClientAddress) -> [UInt8] {
            [UInt8](unsafeUninitializedCapacity: ProxyHeader.longestWritten) { buffer, count in
                guard let start = buffer.baseAddress else { return }
                count = ProxyHeader.write(version, source: source, destination: destination, to: start)
            }
        }
        #expect(written(.v1, Self.client4, Self.front4) == Array("PROXY TCP4 203.0.113.7 10.1.2.3 51234 443\r\n".utf8))
        #expect(written(.v1, Self.client6, Self.front6) == Array("PROXY TCP6 2001:db8::1 ::1 80 65535\r\n".utf8))
        #expect(written(.v1, .none, Self.front4) == Array("PROXY UNKNOWN\r\n".utf8))
        #expect(written(.v2, Self.client4, Self.front4) == Self.binary(0x21, 0x11, Self.ipv4Tail))
        #expect(written(.v2, Self.client6, Self.front6) == Self.binary(0x21, 0x21, Self.ipv6Tail))
        #expect(written(.v2, .none, .none) == Self.binary(0x20, 0, []))
    }
}
