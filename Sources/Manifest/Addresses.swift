// Listen addresses: their text, their parts, and which of them cannot be used together.

/// An IPv4 address of four decimal numbers; nil for anything else.
package func parseIPv4(_ text: some StringProtocol) -> [UInt8]? {
    let parts = text.split(separator: ".", maxSplits: 4, omittingEmptySubsequences: false)
    guard parts.count == 4 else { return nil }
    var bytes: [UInt8] = []
    for part in parts {
        // No leading zeros: some programs read them as octal.
        guard part.utf8.allSatisfy(isDigit), part.utf8.count == 1 || part.utf8.first != UInt8(ascii: "0"),
            let byte = UInt8(part)
        else { return nil }
        bytes.append(byte)
    }
    return bytes
}

/// An IPv6 address by RFC 4291 (without a zone) as eight groups; nil for anything else.
package func parseIPv6(_ text: some StringProtocol) -> [UInt16]? {
    guard text.utf8.count <= 45 else { return nil }
    var text = String(text)
    // The last four bytes may be written as IPv4.
    if text.utf8.contains(UInt8(ascii: ".")), let colon = text.lastIndex(of: ":") {
        guard let bytes = parseIPv4(text[text.index(after: colon)...]), bytes.count == 4 else { return nil }
        let groups = [UInt16(bytes[0]) << 8 | UInt16(bytes[1]), UInt16(bytes[2]) << 8 | UInt16(bytes[3])]
        text = text[...colon] + groups.map { String($0, radix: 16) }.joined(separator: ":")
    }
    func groups(_ text: some StringProtocol) -> [UInt16]? {
        if text.isEmpty { return [] }
        var groups: [UInt16] = []
        for part in text.split(separator: ":", omittingEmptySubsequences: false) {
            guard (1...4).contains(part.utf8.count), part.utf8.allSatisfy({ hexadecimalValue($0) != nil }),
                let group = UInt16(part, radix: 16)
            else { return nil }
            groups.append(group)
        }
        return groups
    }
    let letters = Array(text.utf8)
    guard let gap = letters.indices.dropLast().first(where: { letters[$0] == 0x3A && letters[$0 + 1] == 0x3A }) else {
        guard let all = groups(text), all.count == 8 else { return nil }
        return all
    }
    guard let left = groups(String(decoding: letters[..<gap], as: UTF8.self)),
        let right = groups(String(decoding: letters[(gap + 2)...], as: UTF8.self)), left.count + right.count < 8
    else { return nil }
    return left + Array(repeating: 0, count: 8 - left.count - right.count) + right
}

/// The text of an IPv6 address by RFC 5952: the longest run of zeros as `::`, lower case.
package func ipv6Text(_ groups: [UInt16]) -> String {
    var longest = 0..<0
    var index = 0
    while index < groups.count {
        let end = groups[index...].firstIndex { $0 != 0 } ?? groups.count
        if end - index > max(longest.count, 1) { longest = index..<end }
        index = max(end, index + 1)
    }
    func text(_ range: Range<Int>) -> String { groups[range].map { String($0, radix: 16) }.joined(separator: ":") }
    if longest.isEmpty { return text(0..<groups.count) }
    return text(0..<longest.lowerBound) + "::" + text(longest.upperBound..<groups.count)
}

/// Reads `"ADDRESS:PORT"` or `"[ADDRESS]:PORT"`; nil for anything else.
func parseSocketAddress(_ text: String) -> ListenAddress? {
    guard text.utf8.count <= 64, let colon = text.lastIndex(of: ":"),
        let port = parsePort(text[text.index(after: colon)...])
    else { return nil }
    let host = text[..<colon]
    if host.hasPrefix("["), host.hasSuffix("]") {
        guard let groups = parseIPv6(host.dropFirst().dropLast()) else { return nil }
        // An IPv4-mapped address cannot be bound by a socket with IPV6_V6ONLY.
        if groups.starts(with: [0, 0, 0, 0, 0, 0xFFFF]) { return nil }
        return .ipv6(address: ipv6Text(groups), port: port)
    }
    return parseIPv4(host) == nil ? nil : .ipv4(address: String(host), port: port)
}

/// Reads a port from 1 to 65535 in decimal digits.
func parsePort(_ text: some StringProtocol) -> UInt16? {
    guard !text.isEmpty, text.utf8.allSatisfy(isDigit), let port = UInt16(text), port > 0 else { return nil }
    return port
}

extension ListenAddress: CustomStringConvertible {
    /// The text for people: `127.0.0.1:8080`, `[::]:8080`, `unix:/run/api.sock`.
    package var description: String {
        switch self {
        case .loopback(let port): "127.0.0.1:\(port)"
        case .ipv4(let address, let port): "\(address):\(port)"
        case .ipv6(let address, let port): "[\(address)]:\(port)"
        case .unix(let path): "unix:\(path)"
        }
    }

    /// The TCP port; nil for a Unix socket.
    package var port: UInt16? {
        switch self {
        case .loopback(let port), .ipv4(_, let port), .ipv6(_, let port): port
        case .unix: nil
        }
    }

    /// Where a client on this machine reaches it, as host and port: a wildcard is reached by loopback. Nil for a Unix
    /// socket.
    package var reachable: (host: String, port: UInt16)? {
        switch self {
        case .loopback(let port), .ipv4("0.0.0.0", let port): ("127.0.0.1", port)
        case .ipv4(let address, let port): (address, port)
        case .ipv6("::", let port): ("::1", port)
        case .ipv6(let address, let port): (address, port)
        case .unix: nil
        }
    }

    /// What bind(2) will be asked for.
    var sockets: [SocketClaim] {
        switch self {
        case .loopback(let port): [.ipv4(address: "127.0.0.1", port: port), .ipv6(address: "::1", port: port)]
        case .ipv4(let address, let port): [.ipv4(address: address, port: port)]
        case .ipv6(let address, let port): [.ipv6(address: address, port: port)]
        case .unix(let path): [.unix(path: path)]
        }
    }
}

/// One socket's address.
enum SocketClaim: Hashable {
    case ipv4(address: String, port: UInt16)
    case ipv6(address: String, port: UInt16)
    case unix(path: String)
}

/// Who has which address; finds an overlap in constant time.
struct SocketClaims {
    /// Who claims.
    struct Owner {
        /// For messages: `services.web.listen`.
        var location: Location
    }

    /// Addresses of one family and port: the wildcard overlaps with every other.
    private struct Slot: Hashable {
        var isIPv6: Bool
        var port: UInt16
    }

    private var exact: [SocketClaim: Owner] = [:]
    private var anyOnPort: [Slot: Owner] = [:]
    private var wildcards: [Slot: Owner] = [:]

    /// Claims an address; returns who has it, or one that overlaps with it, already.
    mutating func claim(_ socket: SocketClaim, for owner: Owner) -> Owner? {
        let slot: Slot
        let isWildcard: Bool
        switch socket {
        case .unix:
            if let other = exact[socket] { return other }
            exact[socket] = owner
            return nil
        case .ipv4(let address, let port):
            slot = Slot(isIPv6: false, port: port)
            isWildcard = address == "0.0.0.0"
        case .ipv6(let address, let port):
            slot = Slot(isIPv6: true, port: port)
            isWildcard = address == "::"
        }
        if let other = wildcards[slot] ?? (isWildcard ? anyOnPort[slot] : exact[socket]) { return other }
        exact[socket] = owner
        if anyOnPort[slot] == nil { anyOnPort[slot] = owner }
        if isWildcard { wildcards[slot] = owner }
        return nil
    }
}
