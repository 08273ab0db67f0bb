import Glibc

/// Who is at the other end of a Unix socket, as the kernel noted it when they connected.
package struct PeerCredentials: Sendable, Hashable, CustomStringConvertible {
    /// The process id; 0 if it lies in a namespace that we cannot see.
    package var processID: Int32
    /// The effective user id.
    package var userID: UInt32
    /// The effective group id.
    package var groupID: UInt32
    /// What supd calls it if it is one of its own roles; nil: anybody else.
    package var role: String?

    /// Creates credentials.
    package init(processID: Int32, userID: UInt32, groupID: UInt32, role: String? = nil) {
        self.processID = processID
        self.userID = userID
        self.groupID = groupID
        self.role = role
    }

    package var description: String { role ?? "uid \(userID) (pid \(processID))" }

    /// Asks the kernel, by getsockopt(SO_PEERCRED), see unix(7).
    package init(of stream: UnixStream) throws(SystemError) {
        // struct ucred (pid, uid, gid) is hidden from Swift behind _GNU_SOURCE: three words of 32 bits.
        var words: (UInt32, UInt32, UInt32) = (0, 0, 0)
        var length = socklen_t(MemoryLayout.size(ofValue: words))
        try systemCall("getsockopt", "SO_PEERCRED") {
            getsockopt(stream.descriptor.raw, SOL_SOCKET, SO_PEERCRED, &words, &length)
        }
        self.init(processID: Int32(bitPattern: words.0), userID: words.1, groupID: words.2)
    }
}
