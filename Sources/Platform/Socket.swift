import Glibc

/// A listening stream socket, non-blocking and close-on-exec: socket(2), bind(2), listen(2).
///
/// TCP_NODELAY is set here because accepted sockets inherit it. SO_REUSEADDR is set, so that a restart does not wait for
/// connections of the past. A Unix socket's path that nobody listens on is taken over; anything else there is an error.
/// `backlog` is cut to net.core.somaxconn by the kernel. Throws EADDRINUSE, EACCES (a port below 1024 or a directory
/// that may not be written), EADDRNOTAVAIL, EINVAL, ENAMETOOLONG among others; the subject is the address.
package func listen(
    on endpoint: ListenEndpoint, backlog: Int32 = 4096, mode: UInt32? = nil
) throws(SystemError) -> Descriptor {
    let address = try SocketAddress(endpoint)
    let name = endpoint.description
    let socket = try streamSocket(address.family, name)
    switch endpoint {
    case .ipv4:
        try setOption(socket, SOL_SOCKET, SO_REUSEADDR, "SO_REUSEADDR")
        try setOption(socket, Int32(IPPROTO_TCP), TCP_NODELAY, "TCP_NODELAY")
        try bindSocket(socket, to: address, name)
    case .ipv6:
        try setOption(socket, SOL_SOCKET, SO_REUSEADDR, "SO_REUSEADDR")
        try setOption(socket, Int32(IPPROTO_TCP), TCP_NODELAY, "TCP_NODELAY")
        try setOption(socket, Int32(IPPROTO_IPV6), IPV6_V6ONLY, "IPV6_V6ONLY")
        try bindSocket(socket, to: address, name)
    case .unix(let path):
        // unix(7): the file has the socket's own mode less the umask. Whoever wants more open it afterwards.
        if let mode { try systemCall("fchmod", path) { fchmod(socket.raw, mode) } }
        do {
            try bindSocket(socket, to: address, name)
        } catch {
            guard error.code == EADDRINUSE, try isAbandoned(path, address) else { throw error }
            try systemCall("unlink", path) { unlink(path) }
            try bindSocket(socket, to: address, name)
        }
    }
    try systemCall("listen", name) { Glibc.listen(socket.raw, backlog) }
    return socket
}

/// A non-blocking, close-on-exec stream socket of a family.
private func streamSocket(_ family: Int32, _ subject: String) throws(SystemError) -> Descriptor {
    let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
    return Descriptor(owning: try systemCall("socket", subject) { socket(family, type, 0) })
}

/// Switches a socket's option on.
private func setOption(
    _ socket: Descriptor, _ level: Int32, _ option: Int32, _ name: String
) throws(SystemError) {
    var one: Int32 = 1
    try systemCall("setsockopt", name) {
        setsockopt(socket.raw, level, option, &one, socklen_t(MemoryLayout<Int32>.size))
    }
}

/// Whether calls on a socket wait, for all who have it, by fcntl(F_SETFL).
package func setBlocking(_ socket: Descriptor, _ isBlocking: Bool) throws(SystemError) {
    let flags = try systemCall("fcntl", "F_GETFL") { fcntl(socket.raw, F_GETFL) }
    let wanted = isBlocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK
    if wanted != flags { try systemCall("fcntl", "F_SETFL") { fcntl(socket.raw, F_SETFL, wanted) } }
}

private func bindSocket(_ socket: Descriptor, to address: SocketAddress, _ name: String) throws(SystemError) {
    try systemCall("bind", name) { address.withSockaddr { bind(socket.raw, $0, $1) } }
}

/// Whether a path is a socket that its listener has left behind: connect(2) to it is refused. One whose backlog is full
/// (EAGAIN), and one that we may not open, are in use.
private func isAbandoned(_ path: String, _ address: SocketAddress) throws(SystemError) -> Bool {
    var information = stat()
    try systemCall("lstat", path) { lstat(path, &information) }
    guard information.st_mode & S_IFMT == S_IFSOCK else { return false }
    let probe = try streamSocket(AF_UNIX, path)
    do {
        try systemCall("connect", path) { address.withSockaddr { connect(probe.raw, $0, $1) } }
        return false
    } catch {
        return error.code == ECONNREFUSED
    }
}
