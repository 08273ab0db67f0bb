import Glibc

/// A TCP socket of this machine, as the kernel's tables show it.
package struct TCPSocket: Sendable, Hashable {
    /// Where a listener accepts connections, as far as this machine's own addresses matter.
    package enum Address: Sendable, Hashable {
        /// 127.0.0.1.
        case loopbackIPv4
        /// 0.0.0.0.
        case anyIPv4
        /// ::1.
        case loopbackIPv6
        /// ::, with IPV6_V6ONLY or without.
        case anyIPv6
        /// Any other one.
        case other
    }

    /// The local address.
    package var address: Address
    /// The local port.
    package var port: UInt16
    /// Whether it is a listener (the state LISTEN).
    package var isListener: Bool
    /// The inode of the socket, which /proc/PID/fd shows too; 0 when no process holds it any more (TIME_WAIT).
    package var inode: UInt64
    /// The user id of its owner.
    package var user: UInt32

    /// Creates an entry.
    package init(address: Address, port: UInt16, isListener: Bool, inode: UInt64, user: UInt32) {
        self.address = address
        self.port = port
        self.isListener = isListener
        self.inode = inode
        self.user = user
    }
}

/// The kernel's tables of TCP sockets: by sock_diag(7) over netlink, else by /proc/net/tcp and tcp6.
package enum SocketDiagnostics {
    /// All listeners on a port, of both families.
    package static func listeners(onPort port: UInt16) throws(SystemError) -> [TCPSocket] {
        try sockets(onPort: port, states: 1 << listenState)
    }

    /// All sockets with this local port, in any state.
    package static func sockets(onPort port: UInt16) throws(SystemError) -> [TCPSocket] {
        try sockets(onPort: port, states: 0xfff)
    }

    /// By /proc/net/tcp and tcp6 alone, for kernels without sock_diag; at most the first 4 MiB of each, where the
    /// listeners come first.
    package static func socketsFromProc(onPort port: UInt16) throws(SystemError) -> [TCPSocket] {
        let ipv4 = parseProc(try Files.readPrefix("/proc/net/tcp", count: 4 << 20))
        // Missing where IPv6 is switched off.
        let ipv6 = (try? Files.readPrefix("/proc/net/tcp6", count: 4 << 20)).map(parseProc) ?? []
        return (ipv4 + ipv6).filter { $0.port == port }
    }

    private static let listenState: UInt32 = 10

    private static func sockets(onPort port: UInt16, states: UInt32) throws(SystemError) -> [TCPSocket] {
        do {
            let link = try openLink()
            return try query(link, family: UInt8(AF_INET), port: port, states: states)
                + query(link, family: UInt8(AF_INET6), port: port, states: states)
        } catch {
            // No such netlink family, no module for TCP, or barred by a sandbox.
            let found = try socketsFromProc(onPort: port)
            return states == 1 << listenState ? found.filter(\.isListener) : found
        }
    }

    // MARK: sock_diag

    private static func openLink() throws(SystemError) -> Descriptor {
        let diagnostics: Int32 = 4  // NETLINK_SOCK_DIAG
        let link = Descriptor(
            owning: try systemCall("socket", "sock_diag") {
                socket(AF_NETLINK, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), diagnostics)
            })
        // The kernel answers at once; this is only against waiting for good.
        var limit = timeval(tv_sec: 1, tv_usec: 0)
        try systemCall("setsockopt", "sock_diag") {
            setsockopt(link.raw, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        }
        return link
    }

    private static func query(
        _ link: Descriptor, family: UInt8, port: UInt16, states: UInt32
    ) throws(SystemError) -> [TCPSocket] {
        let request = dumpRequest(family: family, port: port, states: states)
        try systemCall("send", "sock_diag") { send(link.raw, request, request.count, 0) }
        var found: [TCPSocket] = []
        var buffer = [UInt8](repeating: 0, count: 32_768)
        while true {
            let count = try systemCall("recv", "sock_diag") { recv(link.raw, &buffer, buffer.count, 0) }
            switch parseReply(buffer[..<count], into: &found) {
            case .more: continue
            case .done: return found.filter { $0.port == port }
            case .failed(let code): throw SystemError(call: "sock_diag", code: code, subject: "port \(port)")
            }
        }
    }

    /// A `struct nlmsghdr` and a `struct inet_diag_req_v2` of <linux/inet_diag.h>.
    private static func dumpRequest(family: UInt8, port: UInt16, states: UInt32) -> [UInt8] {
        var bytes: [UInt8] = []
        func append<Number: FixedWidthInteger>(_ number: Number) {
            withUnsafeBytes(of: number) { bytes.append(contentsOf: $0) }
        }
        append(UInt32(72))  // length
        append(UInt16(20))  // SOCK_DIAG_BY_FAMILY
        append(UInt16(0x301))  // NLM_F_REQUEST | NLM_F_DUMP
        append(UInt32(0))  // sequence
        append(UInt32(0))  // sender: the kernel fills it in
        append(family)
        append(UInt8(IPPROTO_TCP))
        append(UInt16(0))  // extensions, padding
        append(states)
        append(port.bigEndian)  // only sockets with this local port
        bytes.append(contentsOf: [UInt8](repeating: 0, count: 46))
        return bytes
    }

    private enum Reply {
        case more, done, failed(Int32)
    }

    /// Reads the netlink messages of one datagram.
    private static func parseReply(_ datagram: ArraySlice<UInt8>, into found: inout [TCPSocket]) -> Reply {
        var rest = datagram
        while let length: UInt32 = number(rest, 0), let type: UInt16 = number(rest, 4), length >= 16,
            length <= rest.count
        {
            let body = rest.dropFirst(16).prefix(Int(length) - 16)
            switch type {
            case 3: return .done
            case 2:
                let code: Int32? = number(body, 0)
                return .failed(code.map { 0 &- $0 } ?? EPROTO)
            case 20: if let socket = parseSocket(body) { found.append(socket) }
            default: break
            }
            rest = rest.dropFirst((Int(length) + 3) & ~3)
        }
        return datagram.isEmpty ? .done : .more
    }

    /// A `struct inet_diag_msg`.
    private static func parseSocket(_ body: ArraySlice<UInt8>) -> TCPSocket? {
        guard let family: UInt8 = number(body, 0), let state: UInt8 = number(body, 1),
            let port: UInt16 = number(body, 4),
            let user: UInt32 = number(body, 64), let inode: UInt32 = number(body, 68)
        else { return nil }
        let address = Array(body.dropFirst(8).prefix(family == UInt8(AF_INET6) ? 16 : 4))
        return TCPSocket(
            address: TCPSocket.Address(address), port: UInt16(bigEndian: port),
            isListener: UInt32(state) == listenState,
            inode: UInt64(inode), user: user)
    }

    private static func number<Number: FixedWidthInteger>(_ bytes: ArraySlice<UInt8>, _ offset: Int) -> Number? {
        let field = bytes.dropFirst(offset).prefix(MemoryLayout<Number>.size)
        guard field.count == MemoryLayout<Number>.size else { return nil }
        return field.withUnsafeBytes { $0.loadUnaligned(as: Number.self) }
    }

    // MARK: /proc/net/tcp

    private static func parseProc(_ text: [UInt8]) -> [TCPSocket] {
        text.split(separator: UInt8(ascii: "\n")).dropFirst().compactMap { line in
            let fields = line.split(separator: UInt8(ascii: " ")).map { String(decoding: $0, as: UTF8.self) }
            guard fields.count > 9, let colon = fields[1].firstIndex(of: ":"),
                let port = UInt16(fields[1][fields[1].index(after: colon)...], radix: 16),
                let state = UInt32(fields[3], radix: 16), let user = UInt32(fields[7]), let inode = UInt64(fields[9])
            else { return nil }
            // Words of four bytes, each printed as a number of this machine.
            let digits = Array(fields[1][..<colon].utf8)
            let words = stride(from: 0, to: digits.count, by: 8).compactMap { start in
                UInt32(String(decoding: digits[start...].prefix(8), as: UTF8.self), radix: 16)
            }
            let address = words.flatMap { word in withUnsafeBytes(of: word) { Array($0) } }
            return TCPSocket(
                address: TCPSocket.Address(address), port: port, isListener: state == listenState, inode: inode,
                user: user)
        }
    }
}

extension TCPSocket.Address {
    /// From the address's bytes, four or sixteen; an IPv4 address in IPv6 counts as the IPv4 one.
    fileprivate init(_ bytes: [UInt8]) {
        let mapped: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]
        let bytes = bytes.count == 16 && bytes.starts(with: mapped) ? Array(bytes.dropFirst(12)) : bytes
        let isZero = bytes.dropLast().allSatisfy { $0 == 0 }
        switch (bytes.count, bytes.last) {
        case (4, 0) where isZero: self = .anyIPv4
        case (4, _) where bytes == [127, 0, 0, 1]: self = .loopbackIPv4
        case (16, 0) where isZero: self = .anyIPv6
        case (16, 1) where isZero: self = .loopbackIPv6
        default: self = .other
        }
    }
}
