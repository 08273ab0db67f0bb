import CPlatform
import Glibc

/// A datagram socket on which a service says how it is, the receiving side of sd_notify(3). Never waits.
package final class NoticeSocket: Sendable {
    /// The socket, to be polled and to be held elsewhere.
    package let descriptor: Descriptor

    /// Takes over a socket that was opened before.
    package init(_ descriptor: Descriptor) { self.descriptor = descriptor }

    /// Opens one at a path, in place of whatever is there. Nobody but its owner and root may send to it, unless it is
    /// `open` to all. Throws ENAMETOOLONG for a path of more than 107 bytes, EACCES and ENOENT among others.
    package init(path: String, owner: (user: UInt32, group: UInt32)?, isOpen: Bool) throws(SystemError) {
        let address = try SocketAddress(.unix(path))
        let type = Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        descriptor = Descriptor(owning: try systemCall("socket", path) { socket(AF_UNIX, type, 0) })
        let raw = descriptor.raw
        // Before anybody can send: what came earlier would have no sender.
        var one: Int32 = 1
        try systemCall("setsockopt", "SO_PASSCRED") {
            setsockopt(raw, SOL_SOCKET, SO_PASSCRED, &one, socklen_t(MemoryLayout<Int32>.size))
        }
        try systemCall("fchmod", path) { fchmod(raw, 0o600) }
        _ = unlink(path)
        try systemCall("bind", path) { address.withSockaddr { bind(raw, $0, $1) } }
        if let owner { try systemCall("lchown", path) { lchown(path, owner.user, owner.group) } }
        if isOpen { try systemCall("chmod", path) { chmod(path, 0o666) } }
    }

    /// A datagram and who has sent it.
    package struct Datagram: Sendable {
        /// What it says; nil if it is longer than the limit.
        package var bytes: [UInt8]?
        /// The sender's process id; 0 if nobody can tell.
        package var processID: Int32
        /// The sender's effective user id.
        package var userID: UInt32
    }

    /// The first datagram of the queue, which stays there until `drop`; nil: there is none. Nothing beside it is opened.
    package func peek(limit: Int) -> Datagram? {
        var sender = supd_notice_sender()
        var length = -1
        let bytes = [UInt8](unsafeUninitializedCapacity: max(limit, 1)) { buffer, count in
            repeat {
                length = supd_notice_peek(descriptor.raw, buffer.baseAddress, buffer.count, &sender)
            } while length < 0 && errno == EINTR
            count = max(0, length)
        }
        guard length >= 0 else { return nil }
        return Datagram(
            bytes: sender.truncated == 0 ? bytes : nil, processID: sender.is_known != 0 ? sender.pid : 0,
            userID: sender.is_known != 0 ? sender.uid : .max)
    }

    /// Takes the first datagram off the queue, and closes descriptors that came beside it.
    package func drop() { while supd_notice_drop(descriptor.raw) < 0 && errno == EINTR {} }

    /// Removes what is left of a socket at a path.
    package static func remove(path: String) { _ = unlink(path) }

    /// Creates a directory for sockets, or takes the one that is there, and removes every file in it. It may be searched by
    /// all: who may send is said by each socket.
    package static func makeDirectory(_ path: String) throws(SystemError) {
        do {
            try systemCall("mkdir", path) { mkdir(path, 0o711) }
        } catch {
            guard error.code == EEXIST else { throw error }
            for name in try Files.names(in: path, limit: 100_000) { _ = unlink("\(path)/\(name)") }
        }
        // Whatever the umask says.
        try systemCall("chmod", path) { chmod(path, 0o711) }
    }
}
