import Glibc

/// Where a front listens.
package enum ListenEndpoint: Hashable, Sendable, CustomStringConvertible {
    /// An IPv4 address in dotted form (`127.0.0.1`, `0.0.0.0`) and a TCP port; port 0 lets the kernel choose.
    case ipv4(String, port: UInt16)
    /// An IPv6 address without brackets (`::1`, `::`) and a TCP port; IPv6 alone, never IPv4 addresses mapped into it.
    case ipv6(String, port: UInt16)
    /// The path of a Unix socket, at most 107 bytes.
    case unix(String)

    package var description: String {
        switch self {
        case .ipv4(let host, let port): "\(host):\(port)"
        case .ipv6(let host, let port): "[\(host)]:\(port)"
        case .unix(let path): "unix:\(path)"
        }
    }
}

/// An address as the kernel takes it: sockaddr_in, sockaddr_in6 or sockaddr_un.
package struct SocketAddress: Sendable {
    private var storage = sockaddr_storage()
    private var length: socklen_t = 0

    /// The address family, AF_….
    package var family: Int32 { Int32(storage.ss_family) }

    /// Reads an address; throws EINVAL for a text that is none (inet_pton(3)), ENAMETOOLONG for a path too long.
    package init(_ endpoint: ListenEndpoint) throws(SystemError) {
        switch endpoint {
        case .ipv4(let host, let port):
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = port.bigEndian
            guard inet_pton(AF_INET, host, &address.sin_addr) == 1 else {
                throw SystemError(call: "inet_pton", code: EINVAL, subject: host)
            }
            store(address)
        case .ipv6(let host, let port):
            var address = sockaddr_in6()
            address.sin6_family = sa_family_t(AF_INET6)
            address.sin6_port = port.bigEndian
            guard inet_pton(AF_INET6, host, &address.sin6_addr) == 1 else {
                throw SystemError(call: "inet_pton", code: EINVAL, subject: host)
            }
            store(address)
        case .unix(let path):
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            let bytes = Array(path.utf8)
            guard !bytes.isEmpty, !bytes.contains(0) else {
                throw SystemError(call: "bind", code: EINVAL, subject: path)
            }
            guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else {
                throw SystemError(call: "bind", code: ENAMETOOLONG, subject: path)
            }
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
            store(address)
        }
    }

    /// An empty address, to be filled by the kernel.
    fileprivate init() { length = socklen_t(MemoryLayout<sockaddr_storage>.size) }

    private mutating func store<Address>(_ address: Address) {
        length = socklen_t(MemoryLayout<Address>.size)
        withUnsafeMutableBytes(of: &storage) { target in
            withUnsafeBytes(of: address) { target.copyMemory(from: $0) }
        }
    }

    /// The address of a socket's own end, by getsockname(2).
    package static func local(of socket: Descriptor) throws(SystemError) -> SocketAddress {
        var address = SocketAddress()
        try systemCall("getsockname") {
            withUnsafeMutablePointer(to: &address.storage) { storage in
                storage.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    getsockname(socket.raw, $0, &address.length)
                }
            }
        }
        return address
    }

    /// The address of the other end of a connected socket, by getpeername(2).
    package static func remote(of socket: Descriptor) throws(SystemError) -> SocketAddress {
        var address = SocketAddress()
        try systemCall("getpeername") {
            withUnsafeMutablePointer(to: &address.storage) { storage in
                storage.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    getpeername(socket.raw, $0, &address.length)
                }
            }
        }
        return address
    }

    /// The bytes of the host's address, 4 or 16, without the port; none for a Unix socket.
    package var hostBytes: [UInt8] {
        switch family {
        case AF_INET:
            withUnsafeBytes(of: storage) {
                withUnsafeBytes(of: $0.loadUnaligned(as: sockaddr_in.self).sin_addr) { Array($0) }
            }
        case AF_INET6:
            withUnsafeBytes(of: storage) {
                withUnsafeBytes(of: $0.loadUnaligned(as: sockaddr_in6.self).sin6_addr) { Array($0) }
            }
        default: []
        }
    }

    /// The TCP port; nil for a Unix socket.
    package var port: UInt16? {
        switch family {
        case AF_INET:
            withUnsafeBytes(of: storage) { UInt16(bigEndian: $0.loadUnaligned(as: sockaddr_in.self).sin_port) }
        case AF_INET6:
            withUnsafeBytes(of: storage) { UInt16(bigEndian: $0.loadUnaligned(as: sockaddr_in6.self).sin6_port) }
        default: nil
        }
    }

    /// Gives the address to a system call.
    func withSockaddr<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
        withUnsafePointer(to: storage) { storage in
            storage.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, length) }
        }
    }
}
