import CPlatform

/// Who a connection comes from: an Internet address and port; none for clients of a Unix front.
///
/// One form for both families: IPv4 is kept as IPv6 has it, `::ffff:a.b.c.d`, so that a client is the same by whichever
/// socket it came. Equal and hashed by the address alone is `key`.
struct ClientAddress: BitwiseCopyable {
    /// The 16 bytes as two numbers, the first eight first; both 0 is none.
    var bytes: (UInt64, UInt64) = (0, 0)
    /// The port.
    var port: UInt16 = 0
    /// Whether it is an IPv6 address that is no IPv4 one.
    var isIPv6 = false

    /// No address.
    static var none: ClientAddress { ClientAddress() }

    init() {}

    /// The IPv4 address with this number, 0x7f000001 for 127.0.0.1.
    init(ipv4: UInt32, port: UInt16) {
        bytes = (0, 0x0000_ffff_0000_0000 | UInt64(ipv4))
        self.port = port
    }

    /// The IPv6 address of these 16 bytes; one that stands for an IPv4 address becomes that.
    init(ipv6 high: UInt64, _ low: UInt64, port: UInt16) {
        bytes = (high, low)
        self.port = port
        isIPv6 = !(high == 0 && low >> 32 == 0x0000_ffff)
    }

    /// What the kernel has said.
    init(_ address: supd_internet_address) {
        bytes = (address.high, address.low)
        port = address.port
        isIPv6 = address.is_ipv6 != 0
    }

    /// Whether there is none.
    @inline(__always) var isNone: Bool { bytes.0 == 0 && bytes.1 == 0 }

    /// The address without the port.
    struct Key: Hashable, BitwiseCopyable {
        let high: UInt64
        let low: UInt64
    }

    /// The address without the port.
    @inline(__always) var key: Key { Key(high: bytes.0, low: bytes.1) }

    /// The form that the C functions take.
    @inline(__always) var raw: supd_internet_address {
        supd_internet_address(high: bytes.0, low: bytes.1, port: port, is_ipv6: isIPv6 ? 1 : 0)
    }
}

extension ClientAddress: Equatable {
    static func == (left: ClientAddress, right: ClientAddress) -> Bool {
        left.bytes == right.bytes && left.port == right.port && left.isIPv6 == right.isIPv6
    }
}
