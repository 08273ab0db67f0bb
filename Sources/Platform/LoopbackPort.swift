import Glibc

/// TCP ports of this machine's loopback addresses.
package enum LoopbackPort {
    /// Whether a server with SO_REUSEADDR could listen on 127.0.0.1 and ::1 at this port, tried by bind(2). False when
    /// anything listens there or on the wildcard addresses; a port that the kernel refuses for another reason (below
    /// 1024 without the right) counts as free.
    package static func isFree(_ port: UInt16) throws(SystemError) -> Bool {
        // Mostly one trial tells: who could listen on all addresses of both families could on these two. If not, somebody
        // may be listening on another address of this machine.
        if try canBind(port, .all) { return true }
        guard try canBind(port, .ipv4) else { return false }
        return try canBind(port, .ipv6)
    }

    /// Addresses to try.
    private enum Trial {
        /// 127.0.0.1.
        case ipv4
        /// ::1.
        case ipv6
        /// ::, and 0.0.0.0 with it.
        case all
    }

    private static func canBind(_ port: UInt16, _ addresses: Trial) throws(SystemError) -> Bool {
        let family = addresses == .ipv4 ? AF_INET : AF_INET6
        let trial: Descriptor
        do {
            trial = Descriptor(
                owning: try systemCall("socket", "port \(port)") {
                    socket(family, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
                })
        } catch  where error.code == EAFNOSUPPORT {
            return addresses != .all
        }
        // Connections of an earlier process in TIME_WAIT are no hindrance.
        try setOption(trial, SOL_SOCKET, SO_REUSEADDR, to: 1)
        do {
            if addresses == .ipv4 {
                var address = loopbackAddress(port)
                try bind(trial, &address)
            } else {
                var address = sockaddr_in6()
                address.sin6_family = sa_family_t(AF_INET6)
                address.sin6_port = port.bigEndian
                if addresses == .all {
                    try setOption(trial, Int32(IPPROTO_IPV6), IPV6_V6ONLY, to: 0)
                } else {
                    address.sin6_addr = in6addr_loopback
                }
                try bind(trial, &address)
            }
            return true
        } catch {
            return addresses != .all && error.code != EADDRINUSE
        }
    }

    private static func bind<Address>(_ socket: Descriptor, _ address: inout Address) throws(SystemError) {
        let length = socklen_t(MemoryLayout<Address>.size)
        try systemCall("bind") {
            withUnsafeMutablePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { Glibc.bind(socket.raw, $0, length) }
            }
        }
    }

    static func setOption(_ socket: Descriptor, _ level: Int32, _ name: Int32, to value: Int32) throws(SystemError) {
        var value = value
        try systemCall("setsockopt") {
            setsockopt(socket.raw, level, name, &value, socklen_t(MemoryLayout<Int32>.size))
        }
    }

    /// 127.0.0.1 and a port.
    static func loopbackAddress(_ port: UInt16) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        return address
    }
}

extension LoopbackPort {
    /// The first port that anybody may listen on, net.ipv4.ip_unprivileged_port_start; 1024 if it cannot be read.
    package static func unprivilegedStart() -> UInt16 {
        guard let text = try? Files.read("/proc/sys/net/ipv4/ip_unprivileged_port_start", limit: 64) else {
            return 1024
        }
        // Up to 65536, which is one more than there are ports.
        let number = Int(String(decoding: text.prefix { $0 != 10 }, as: UTF8.self)) ?? 1024
        return UInt16(clamping: number)
    }

    /// The ports that the kernel gives to outgoing connections, net.ipv4.ip_local_port_range; nil if it cannot be read.
    package static func ephemeralRange() -> ClosedRange<UInt16>? {
        guard let text = try? Files.read("/proc/sys/net/ipv4/ip_local_port_range", limit: 64) else { return nil }
        let numbers = text.split { $0 == 9 || $0 == 10 || $0 == 32 }.map { UInt16(String(decoding: $0, as: UTF8.self)) }
        guard numbers.count == 2, let first = numbers[0], let last = numbers[1], first <= last else { return nil }
        return first...last
    }
}
