import Glibc

/// The socket on which systemd listens for a service's state: sd_notify(3) without libsystemd.
package final class NotifySocket: Sendable {
    private let socket: Descriptor
    private let address: [UInt8]

    /// `path` is the value of NOTIFY_SOCKET: an absolute path, or `@` and an abstract name. nil if it is neither.
    package init?(path: String) throws(SystemError) {
        var address = Array(path.utf8)
        guard address.count > 1, address.count < 108, !address.contains(0) else { return nil }
        switch address[0] {
        case UInt8(ascii: "/"): address.append(0)
        case UInt8(ascii: "@"): address[0] = 0
        default: return nil
        }
        self.address = address
        let type = Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        socket = Descriptor(owning: try systemCall("socket") { Glibc.socket(AF_UNIX, type, 0) })
    }

    /// Sends assignments such as `READY=1`, one a line. Never waits.
    package func send(_ text: String) throws(SystemError) {
        var target = sockaddr_un()
        target.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &target.sun_path) { $0.copyBytes(from: address) }
        // An abstract name ends where the address ends.
        let length = socklen_t(MemoryLayout<sa_family_t>.size + address.count)
        let bytes = Array(text.utf8)
        _ = try withUnsafePointer(to: &target) { pointer throws(SystemError) in
            try pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic throws(SystemError) in
                try systemCall("sendto", "NOTIFY_SOCKET") {
                    sendto(socket.raw, bytes, bytes.count, Int32(MSG_NOSIGNAL | MSG_DONTWAIT), generic, length)
                }
            }
        }
    }
}
