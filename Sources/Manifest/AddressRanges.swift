// Ranges of client addresses in CIDR notation: reading, checking, and their text.

/// Why a text is no range of addresses.
enum AddressRangeFailure: Error, Hashable {
    /// It is none at all.
    case malformed
    /// It has bits beyond its prefix: this is the range without them.
    case strayBits(masked: AddressRange)
    /// It is the IPv6 form of IPv4 addresses, which is written as IPv4: as this, where it can be.
    case mappedIPv4(AddressRange?)
}

extension AddressRange {
    /// Reads `192.168.0.0/16`, `10.1.2.3`, `fd00::/8` or `::1`; strictly: bits beyond the prefix are no range.
    static func parse(_ text: String) throws(AddressRangeFailure) -> AddressRange {
        guard text.utf8.count <= 64 else { throw .malformed }
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let address = parts.first else { throw .malformed }
        let bytes: [UInt8]
        if let ipv4 = parseIPv4(address) {
            bytes = ipv4
        } else if let groups = parseIPv6(address) {
            bytes = groups.flatMap { [UInt8($0 >> 8), UInt8(truncatingIfNeeded: $0)] }
        } else {
            throw .malformed
        }
        var prefix = bytes.count * 8
        if parts.count == 2 {
            guard let given = parsePrefix(parts[1]), given <= prefix else { throw .malformed }
            prefix = given
        }
        let masked = AddressRange(masking: bytes, to: prefix)
        if bytes.count == 16, bytes.starts(with: mappedPrefix) {
            throw .mappedIPv4(prefix >= 96 ? AddressRange(masking: Array(bytes.dropFirst(12)), to: prefix - 96) : nil)
        }
        guard masked.bytes == bytes else { throw .strayBits(masked: masked) }
        return masked
    }

    /// `::ffff:0:0/96` of RFC 4291, as which a socket of both families sees IPv4 clients; here they are unmapped.
    private static let mappedPrefix: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF]

    /// The range of an address and its length.
    private init(masking bytes: [UInt8], to prefix: Int) {
        let masked = bytes.enumerated().map { index, byte in
            let kept = min(max(prefix - index * 8, 0), 8)
            return byte & ~UInt8(truncatingIfNeeded: 0xFF >> kept)
        }
        self.init(bytes: masked, prefix: prefix)
    }

    private static func parsePrefix(_ text: Substring) -> Int? {
        guard (1...3).contains(text.utf8.count), text.utf8.allSatisfy(isDigit),
            text.utf8.count == 1 || text.utf8.first != UInt8(ascii: "0")
        else { return nil }
        return Int(text)
    }
}

extension AddressRange: CustomStringConvertible {
    /// The range as a manifest writes it: `192.168.0.0/16`, `10.1.2.3`, `fd00::/8`.
    package var description: String {
        let address: String
        if bytes.count == 4 {
            address = bytes.map(String.init).joined(separator: ".")
        } else {
            let groups = stride(from: 0, to: bytes.count - 1, by: 2).map {
                UInt16(bytes[$0]) << 8 | UInt16(bytes[$0 + 1])
            }
            address = ipv6Text(groups)
        }
        return prefix == bytes.count * 8 ? address : "\(address)/\(prefix)"
    }
}

extension Format where Value == [AddressRange] {
    /// A list of ranges. It is never empty: a front that nobody may use is one to leave out.
    static var addressRanges: Format { .list(of: .addressRange, "address ranges", count: 1...256) }
}

extension Format where Value == AddressRange {
    /// One range.
    static var addressRange: Format {
        let expected = "an address or a range like \"192.168.0.0/16\", \"10.1.2.3\", \"fd00::/8\" or \"::1\""
        let schema = JSONText.members([
            "type": "string", "pattern": "^[0-9a-fA-F:.]+(/(0|[1-9][0-9]{0,2}))?$",
        ])
        return Format(expected: expected, schema: schema) { value, reader in
            guard case .string(let text) = value.content else {
                reader.report(value, expected: expected)
                return nil
            }
            do throws(AddressRangeFailure) {
                return try AddressRange.parse(text)
            } catch {
                switch error {
                case .malformed: reader.report(value, expected: expected)
                case .strayBits(let masked):
                    reader.report(
                        value,
                        expected: "no bits beyond the prefix: \(quoted(masked.description)) for the range, "
                            + "or the address alone")
                case .mappedIPv4(let range):
                    let proposal = range.map { "\(quoted($0.description)), which takes IPv4 clients of every front" }
                    reader.report(value, expected: proposal ?? "IPv4 addresses in their own form, like \"0.0.0.0/0\"")
                }
                return nil
            }
        }
    }
}
