import Glibc

/// A nonblocking TCP connection to a port on 127.0.0.1, as a probe makes it.
package struct LoopbackConnection: Sendable {
    /// The socket; it stays open as long as this lives.
    package let descriptor: Descriptor

    /// How far connecting has come.
    package enum Progress: Sendable, Hashable {
        /// The server's kernel has not answered yet: wait until the descriptor is writable.
        case pending
        /// Connected.
        case connected
        /// Connected to itself: nothing listened, and the kernel chose the port wanted as the local one too, which
        /// happens in the ephemeral range.
        case connectedToItself
    }

    /// What one receive gave.
    package enum Received: Sendable, Hashable {
        /// Nothing yet: wait until the descriptor is readable.
        case nothing
        /// Some bytes.
        case bytes([UInt8])
        /// The peer has sent all it will.
        case end
    }

    /// Begins to connect, by connect(2).
    package init(port: UInt16) throws(SystemError) {
        descriptor = Descriptor(
            owning: try systemCall("socket", "port \(port)") {
                socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
            })
        let raw = descriptor.raw
        var address = LoopbackPort.loopbackAddress(port)
        do {
            try systemCall("connect", "port \(port)") {
                withUnsafePointer(to: &address) { pointer in
                    pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                        connect(raw, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                    }
                }
            }
        } catch  where error.code == EINPROGRESS {}
    }

    /// Looks whether it is connected by now, without waiting. Throws what connect failed with: ECONNREFUSED and others.
    package func progress() throws(SystemError) -> Progress {
        var state = pollfd(fd: descriptor.raw, events: Int16(POLLOUT), revents: 0)
        guard try systemCall("poll", "", { poll(&state, 1, 0) }) > 0 else { return .pending }
        var code: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        try systemCall("getsockopt") { getsockopt(descriptor.raw, SOL_SOCKET, SO_ERROR, &code, &length) }
        guard code == 0 else { throw SystemError(call: "connect", code: code) }
        return try name("getsockname", getsockname) == name("getpeername", getpeername)
            ? .connectedToItself : .connected
    }

    /// Sends a short text at once, by send(2); what does not fit into the empty send buffer is an error (EAGAIN).
    package func send(_ bytes: [UInt8]) throws(SystemError) {
        let sent = try systemCall("send") { Glibc.send(descriptor.raw, bytes, bytes.count, Int32(MSG_NOSIGNAL)) }
        guard sent == bytes.count else { throw SystemError(call: "send", code: EAGAIN) }
    }

    /// Takes what has come, 16 KiB at most, by recv(2).
    package func receive() throws(SystemError) -> Received {
        var buffer = [UInt8](repeating: 0, count: 16_384)
        do {
            let count = try systemCall("recv") { recv(descriptor.raw, &buffer, buffer.count, 0) }
            return count == 0 ? .end : .bytes(Array(buffer[..<count]))
        } catch  where error.code == EAGAIN {
            return .nothing
        }
    }

    /// Port and address of one end.
    private func name(
        _ call: StaticString, _ body: (Int32, UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Int32
    ) throws(SystemError) -> [UInt32] {
        var address = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        try systemCall(call) {
            withUnsafeMutablePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body(descriptor.raw, $0, &length) }
            }
        }
        return [UInt32(address.sin_port), address.sin_addr.s_addr]
    }
}
