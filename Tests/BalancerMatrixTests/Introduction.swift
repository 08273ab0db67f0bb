import Glibc
import Links
import TestSupport

/// What a header of the PROXY protocol says, as text: 203.0.113.7:51234. Written and read here by the specification alone,
/// not by the balancer's own code.
struct Introduction: Equatable {
    var source: String
    var destination: String

    /// What a client says of itself.
    enum Form: CaseIterable {
        case v1, v2
        /// Version 1, UNKNOWN; version 2, LOCAL: nobody in particular.
        case unknown, local

        var namesNobody: Bool { self == .unknown || self == .local }
    }

    private static let signature: [UInt8] = [13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10]

    /// The header's bytes.
    func header(_ form: Form) -> [UInt8] {
        switch form {
        case .v1:
            let (from, to) = (Self.parts(source), Self.parts(destination))
            return Array("PROXY TCP4 \(from.host) \(to.host) \(from.port) \(to.port)\r\n".utf8)
        case .v2: return Self.signature + [0x21, 0x11, 0, 12] + Self.bytes(source, destination)
        case .unknown: return Array("PROXY UNKNOWN\r\n".utf8)
        // Its content counts for nothing.
        case .local: return Self.signature + [0x20, 0x00, 0, 3, 1, 2, 3]
        }
    }

    /// Takes a header off the beginning of a connection.
    static func read(_ wire: Wire, _ version: RoutingTable.Pool.ProxyProtocol) throws -> Introduction {
        switch version {
        case .v1:
            var line: [UInt8] = []
            while line.last != UInt8(ascii: "\n"), line.count < 107 { line += try wire.receiveBytes(1) }
            let words = String(decoding: line, as: UTF8.self).split(separator: " ", omittingEmptySubsequences: false)
            let isIPv6 = words.count > 1 && words[1] == "TCP6"
            guard words.count == 6, words[0] == "PROXY", words[1] == (isIPv6 ? "TCP6" : "TCP4"),
                words[5].hasSuffix("\r\n")
            else { throw TestFailure("no header of version 1: \(String(decoding: line, as: UTF8.self))") }
            func name(_ host: Substring, _ port: Substring) -> String {
                isIPv6 ? "[\(host)]:\(port)" : "\(host):\(port)"
            }
            return Introduction(
                source: name(words[2], words[4]), destination: name(words[3], words[5].prefix { $0.isNumber }))
        case .v2:
            var bytes = try wire.receiveBytes(16)
            let isIPv6 = bytes[13] == 0x21
            guard bytes == signature + (isIPv6 ? [0x21, 0x21, 0, 36] : [0x21, 0x11, 0, 12]) else {
                throw TestFailure("no header of version 2: \(bytes)")
            }
            let size = isIPv6 ? 16 : 4
            bytes = try wire.receiveBytes(2 * size + 4)
            func name(_ number: Int) -> String {
                let host = Array(bytes[number * size..<(number + 1) * size])
                let port = 2 * (size + number)
                // Of IPv6 nobody here has another one.
                let isLoopback = host == [UInt8](repeating: 0, count: 15) + [1]
                let text = isLoopback ? "[::1]" : host.map { "\($0)" }.joined(separator: ".")
                return text + ":\(Int(bytes[port]) << 8 + Int(bytes[port + 1]))"
            }
            return Introduction(source: name(0), destination: name(1))
        }
    }

    /// Takes a header off the beginning of a connection that says nothing of its client, as it is if that has no address.
    static func readOfNobody(_ wire: Wire, _ version: RoutingTable.Pool.ProxyProtocol) throws {
        let expected = version == .v1 ? Array("PROXY UNKNOWN\r\n".utf8) : signature + [0x20, 0, 0, 0]
        let found = try wire.receiveBytes(expected.count)
        guard found == expected else { throw TestFailure("a header that names nobody is \(expected), not \(found)") }
    }

    private static func parts(_ name: String) -> (host: Substring, port: Substring) {
        let parts = name.split(separator: ":")
        return parts.count == 2 ? (parts[0], parts[1]) : ("", "")
    }

    /// Both hosts, and both ports.
    private static func bytes(_ source: String, _ destination: String) -> [UInt8] {
        let (from, to) = (parts(source), parts(destination))
        let hosts = [from.host, to.host].flatMap { $0.split(separator: ".").compactMap { UInt8($0) } }
        let ports = [from.port, to.port].compactMap { UInt16($0) }
        return hosts + ports.flatMap { [UInt8($0 >> 8), UInt8($0 & 255)] }
    }
}
