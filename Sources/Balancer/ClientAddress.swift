import CPlatform

/// Who a client is: 16 bytes of address and a port.
///
/// An IPv4 address is kept as IPv6 maps it (::ffff:a.b.c.d), so that the two spellings of one client are one value. A
/// plain value without padding inside, small enough for the head of a connection.
struct ClientAddress: Equatable, BitwiseCopyable {
    enum Family: UInt8 {
        /// Not known, or not asked for.
        case none
        case ipv4
        case ipv6
    }

    /// The first and the last eight bytes, most significant byte first.
    var high: UInt64 = 0
    var low: UInt64 = 0
    var port: UInt16 = 0
    var family = Family.none

    /// What begins every IPv4 address that IPv6 maps: ::ffff:0:0/96.
    private static let mapped: UInt64 = 0xffff_0000_0000

    /// Nobody in particular.
    init() {}

    /// From the bytes as the kernel and the PROXY protocol have them, in network byte order: 16, or 4 of IPv4.
    init?(bytes: UnsafeRawBufferPointer, port: UInt16) {
        switch bytes.count {
        case 4:
            low = Self.mapped | UInt64(UInt32(bigEndian: bytes.loadUnaligned(as: UInt32.self)))
        case 16:
            high = UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self))
            low = UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
        default: return nil
        }
        family = high == 0 && low & ~0xffff_ffff == Self.mapped ? .ipv4 : .ipv6
        self.port = port
    }

    /// The peer of a socket, by getpeername(2); nobody if that fails or it is no TCP socket.
    init(peerOf socket: Int32) {
        var found = supd_address()
        self = supd_peer_address(socket, &found) == 0 ? ClientAddress(found) : ClientAddress()
    }

    /// As accept4(2) has told.
    init(_ address: supd_address) {
        let known = withUnsafeBytes(of: address.bytes) { bytes in
            ClientAddress(
                bytes: UnsafeRawBufferPointer(rebasing: bytes.prefix(Int(address.length))), port: address.port)
        }
        self = known ?? ClientAddress()
    }

    /// A number that is the same for all connections of one client, whatever its port, and spread over 64 bits.
    @inline(__always)
    var hash: UInt64 { mixed(mixed(high) ^ low) }
}
