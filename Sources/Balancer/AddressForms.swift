import CPlatform

/// Other forms of an address: those of the PROXY protocol, of lists and of the C functions.
extension ClientAddress {
    /// No address.
    static var none: ClientAddress { ClientAddress() }

    /// The IPv4 address with this number, 0x7f000001 for 127.0.0.1.
    init(ipv4: UInt32, port: UInt16) {
        low = 0x0000_ffff_0000_0000 | UInt64(ipv4)
        family = .ipv4
        self.port = port
    }

    /// The IPv6 address of these 16 bytes; one that stands for an IPv4 address is that.
    init(ipv6 high: UInt64, _ low: UInt64, port: UInt16) {
        self.high = high
        self.low = low
        self.port = port
        family = high == 0 && low >> 32 == 0x0000_ffff ? .ipv4 : .ipv6
    }

    /// Whether there is none.
    @inline(__always) var isNone: Bool { family == .none }
    /// Whether it is an IPv6 address that does not stand for an IPv4 one.
    @inline(__always) var isIPv6: Bool { family == .ipv6 }

    /// The address without the port.
    struct Key: Hashable, BitwiseCopyable {
        let high: UInt64
        let low: UInt64
    }

    /// The address without the port.
    @inline(__always) var key: Key { Key(high: high, low: low) }

    /// The form that the C functions take: 4 bytes, or 16 for `asIPv6`.
    func raw(asIPv6: Bool) -> supd_address {
        var raw = supd_address()
        raw.port = port
        raw.length = asIPv6 ? 16 : 4
        withUnsafeMutableBytes(of: &raw.bytes) { bytes in
            if asIPv6 { bytes.storeBytes(of: high.bigEndian, as: UInt64.self) }
            if asIPv6 {
                bytes.storeBytes(of: low.bigEndian, toByteOffset: 8, as: UInt64.self)
            } else {
                bytes.storeBytes(of: UInt32(truncatingIfNeeded: low).bigEndian, as: UInt32.self)
            }
        }
        return raw
    }
}
