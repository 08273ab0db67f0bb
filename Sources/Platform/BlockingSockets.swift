import Glibc

/// A listening TCP socket for small programs; the daemon's own sockets are non-blocking and live elsewhere.
package final class BlockingListener: Sendable {
    /// Becomes readable when a client waits.
    package let descriptor: Descriptor

    /// Takes over a listening socket. It may be one that others accept on as well: a client that is announced may be gone.
    package init(_ descriptor: Descriptor) { self.descriptor = descriptor }

    /// Listens on an IPv4 address in dotted form, with SO_REUSEADDR. Throws EINVAL for anything else.
    package init(host: String, port: UInt16, backlog: Int32 = 1024) throws(SystemError) {
        var address = try socketAddress(host: host, port: port)
        let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        let socket = Descriptor(owning: try systemCall("socket") { Glibc.socket(AF_INET, kind, 0) })
        try setOption(socket, SOL_SOCKET, SO_REUSEADDR, Int32(1))
        try systemCall("bind", "\(host):\(port)") {
            withGenericAddress(&address) { bind(socket.raw, $0, $1) }
        }
        try systemCall("listen", "\(host):\(port)") { listen(socket.raw, backlog) }
        descriptor = socket
    }

    /// The next client; nil if none waits, or it has gone again. The stream is blocking.
    package func accept() throws(SystemError) -> BlockingStream? {
        do throws(SystemError) {
            let client = Descriptor(owning: try systemCall("accept") { Glibc.accept(descriptor.raw, nil, nil) })
            try systemCall("fcntl") { fcntl(client.raw, F_SETFD, FD_CLOEXEC) }
            return BlockingStream(client)
        } catch {
            guard [EAGAIN, ECONNABORTED, EPROTO].contains(error.code) else { throw error }
            return nil
        }
    }
}

/// A connected stream socket whose calls block, each with a time limit.
package final class BlockingStream: Sendable {
    private let descriptor: Descriptor

    /// Takes over a connected socket.
    package init(_ descriptor: Descriptor) { self.descriptor = descriptor }

    /// Connects to `host:port` (IPv4 in dotted form) or `unix:/path`.
    package static func connect(to text: String, timeoutSeconds: Int = 10) throws(SystemError) -> BlockingStream {
        let isUnix = text.hasPrefix("unix:")
        let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let socket = Descriptor(
            owning: try systemCall("socket") { Glibc.socket(isUnix ? AF_UNIX : AF_INET, kind, 0) })
        let stream = BlockingStream(socket)
        try stream.limitWaiting(seconds: timeoutSeconds)
        if isUnix {
            var address = try socketAddress(path: String(text.dropFirst("unix:".count)))
            try systemCall("connect", text) { withGenericAddress(&address) { Glibc.connect(socket.raw, $0, $1) } }
        } else {
            guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else {
                throw SystemError(call: "connect", code: EINVAL, subject: text)
            }
            var address = try socketAddress(host: String(text[..<colon]), port: port)
            try systemCall("connect", text) { withGenericAddress(&address) { Glibc.connect(socket.raw, $0, $1) } }
        }
        return stream
    }

    /// Limits how long a read, a write or a connect waits (SO_RCVTIMEO, SO_SNDTIMEO); past it the call throws EAGAIN.
    package func limitWaiting(seconds: Int) throws(SystemError) {
        let time = timeval(tv_sec: seconds, tv_usec: 0)
        try setOption(descriptor, SOL_SOCKET, SO_RCVTIMEO, time)
        try setOption(descriptor, SOL_SOCKET, SO_SNDTIMEO, time)
    }

    /// Sends small pieces at once (TCP_NODELAY); without meaning for Unix sockets, where it does nothing.
    package func sendAtOnce() { try? setOption(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, Int32(1)) }

    /// Reads what is there, at most `count` bytes, by recv(2); empty at the end of input.
    package func read(upTo count: Int) throws(SystemError) -> [UInt8] {
        var failure: SystemError?
        let bytes = [UInt8](unsafeUninitializedCapacity: max(count, 0)) { buffer, used in
            do throws(SystemError) {
                used = try systemCall("recv") { recv(descriptor.raw, buffer.baseAddress, buffer.count, 0) }
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
        return bytes
    }

    /// Writes all bytes, by send(2); throws EPIPE or ECONNRESET if nobody reads, without a signal.
    package func write(_ bytes: [UInt8]) throws(SystemError) {
        var offset = 0
        while offset < bytes.count {
            offset += try systemCall("send") {
                bytes.withUnsafeBytes { buffer in
                    let rest = UnsafeRawBufferPointer(rebasing: buffer.dropFirst(offset))
                    return send(descriptor.raw, rest.baseAddress, rest.count, Int32(MSG_NOSIGNAL))
                }
            }
        }
    }

    /// Ends input: what has arrived can still be read, then comes the end. Wakes a thread that waits in `read`.
    package func shutdownReading() { _ = shutdown(descriptor.raw, Int32(SHUT_RD)) }

    /// Says that no more output will come.
    package func shutdownWriting() { _ = shutdown(descriptor.raw, Int32(SHUT_WR)) }
}

private func socketAddress(host: String, port: UInt16) throws(SystemError) -> sockaddr_in {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    guard inet_pton(AF_INET, host, &address.sin_addr) == 1 else {
        throw SystemError(call: "inet_pton", code: EINVAL, subject: host)
    }
    return address
}

private func socketAddress(path: String) throws(SystemError) -> sockaddr_un {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let bytes = Array(path.utf8)
    guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else {
        throw SystemError(call: "connect", code: ENAMETOOLONG, subject: path)
    }
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
    return address
}

private func withGenericAddress<Address>(
    _ address: inout Address, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
) -> Int32 {
    withUnsafePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            body($0, socklen_t(MemoryLayout<Address>.size))
        }
    }
}

private func setOption<Value: BitwiseCopyable>(
    _ socket: Descriptor, _ level: Int32, _ option: Int32, _ value: Value
) throws(SystemError) {
    var value = value
    try systemCall("setsockopt") {
        setsockopt(socket.raw, level, option, &value, socklen_t(MemoryLayout<Value>.size))
    }
}
