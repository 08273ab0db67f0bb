import CPlatform
import Glibc
package import Platform

/// Where a test listens.
package enum TestAddress: String, Sendable, CaseIterable {
    case loopbackIPv4, anyIPv4, loopbackIPv6, anyIPv6, onlyIPv6
}

/// A TCP socket that is bound, and listens unless told otherwise; port 0 lets the kernel choose.
package func testListener(
    _ where: TestAddress = .loopbackIPv4, port: UInt16 = 0, listens: Bool = true, backlog: Int32 = 16
) throws -> (port: UInt16, socket: Descriptor) {
    let isIPv4 = `where` == .loopbackIPv4 || `where` == .anyIPv4
    let socket = Descriptor(
        owning: try systemCall("socket") {
            Glibc.socket(isIPv4 ? AF_INET : AF_INET6, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        })
    var one: Int32 = 1
    let optionLength = socklen_t(MemoryLayout<Int32>.size)
    try systemCall("setsockopt") { setsockopt(socket.raw, SOL_SOCKET, SO_REUSEADDR, &one, optionLength) }
    if !isIPv4 {
        var only: Int32 = `where` == .anyIPv6 ? 0 : 1
        try systemCall("setsockopt") { setsockopt(socket.raw, Int32(IPPROTO_IPV6), IPV6_V6ONLY, &only, optionLength) }
    }
    var storage = sockaddr_storage()
    let bound = try withUnsafeMutableBytes(of: &storage) { bytes -> UInt16 in
        guard let base = bytes.baseAddress else { throw TestFailure("no storage") }
        var length: socklen_t
        if isIPv4 {
            let address = base.assumingMemoryBound(to: sockaddr_in.self)
            address.pointee.sin_family = sa_family_t(AF_INET)
            address.pointee.sin_port = port.bigEndian
            address.pointee.sin_addr.s_addr = `where` == .anyIPv4 ? 0 : UInt32(0x7f00_0001).bigEndian
            length = socklen_t(MemoryLayout<sockaddr_in>.size)
        } else {
            let address = base.assumingMemoryBound(to: sockaddr_in6.self)
            address.pointee.sin6_family = sa_family_t(AF_INET6)
            address.pointee.sin6_port = port.bigEndian
            address.pointee.sin6_addr = `where` == .loopbackIPv6 ? in6addr_loopback : in6addr_any
            length = socklen_t(MemoryLayout<sockaddr_in6>.size)
        }
        let generic = base.assumingMemoryBound(to: sockaddr.self)
        try systemCall("bind") { bind(socket.raw, generic, length) }
        try systemCall("getsockname") { getsockname(socket.raw, generic, &length) }
        // Both families have the port at the same place.
        return UInt16(bigEndian: base.assumingMemoryBound(to: sockaddr_in.self).pointee.sin_port)
    }
    if listens { try systemCall("listen") { listen(socket.raw, backlog) } }
    return (bound, socket)
}

/// Waits for a connection and accepts it: a blocking socket, and close-on-exec from the first moment, since other tests
/// start programs at the same time.
package func acceptConnection(from listener: Descriptor, within seconds: Double = 30) throws -> Descriptor {
    try eventually("a connection", within: seconds) {
        var entry = pollfd(fd: listener.raw, events: Int16(POLLIN), revents: 0)
        let ready = try systemCall("poll") { poll(&entry, 1, 100) }
        let raw = ready > 0 ? supd_accept(listener.raw) : -1
        // Whoever has come may have left again.
        guard raw >= 0 else { return nil }
        let connection = Descriptor(owning: raw)
        try systemCall("fcntl") { fcntl(raw, F_SETFL, 0) }
        return connection
    }
}

/// The inode of an open socket, as /proc/PID/fd shows it, by fstat(2).
package func inode(of socket: Descriptor) throws -> UInt64 {
    var status = stat()
    try systemCall("fstat") { fstat(socket.raw, &status) }
    return UInt64(status.st_ino)
}

/// Whether the loopback interface has its IPv6 address.
package let hasIPv6: Bool = (try? testListener(.loopbackIPv6, listens: false)) != nil
