import Glibc

/// A Unix socket that sends datagrams to a path, and waits a while for a receiver that is slow.
package final class DatagramSender {
    private let socket: Descriptor
    private let address: SocketAddress
    private let path: String

    /// Opens a socket; nobody is looked for before the first `send`. `patience` is how long each may wait.
    package init(path: String, patience: Duration) throws(SystemError) {
        self.path = path
        address = try SocketAddress(.unix(path))
        let type = Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let opened = Descriptor(owning: try systemCall("socket", path) { Glibc.socket(AF_UNIX, type, 0) })
        var timeout = timeval(
            tv_sec: Int(patience.components.seconds),
            tv_usec: Int(patience.components.attoseconds / 1_000_000_000_000))
        try systemCall("setsockopt", path) {
            setsockopt(opened.raw, SOL_SOCKET, SO_SNDTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
        }
        socket = opened
    }

    /// Sends a datagram by sendto(2). Throws EAGAIN when nobody has made room in time, ENOENT where there is no such socket,
    /// ECONNREFUSED where nobody has it open, EMSGSIZE for one that is too long.
    package func send(_ bytes: [UInt8]) throws(SystemError) {
        _ = try systemCall("sendto", path) {
            address.withSockaddr { sendto(socket.raw, bytes, bytes.count, Int32(MSG_NOSIGNAL), $0, $1) }
        }
    }
}
