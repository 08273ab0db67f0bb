import Glibc

/// An open file descriptor that this value owns: closed when the last reference to it is gone, by close(2).
package final class Descriptor: Sendable {
    /// The number, valid as long as this object lives. Borrow it for a call; never close it.
    package let raw: Int32

    /// Takes ownership of an open descriptor.
    package init(owning raw: Int32) { self.raw = raw }

    deinit { _ = close(raw) }

    /// A second descriptor of the same open file description, close-on-exec, by fcntl(F_DUPFD_CLOEXEC).
    package func duplicate() throws(SystemError) -> Descriptor {
        Descriptor(owning: try systemCall("fcntl", "F_DUPFD_CLOEXEC") { fcntl(raw, F_DUPFD_CLOEXEC, 3) })
    }

    /// A second descriptor of what this number stands for in this process, close-on-exec and above 2, by
    /// fcntl(F_DUPFD_CLOEXEC).
    package static func duplicate(of number: Int32) throws(SystemError) -> Descriptor {
        Descriptor(owning: try systemCall("fcntl", "F_DUPFD_CLOEXEC \(number)") { fcntl(number, F_DUPFD_CLOEXEC, 3) })
    }
}
