import CMatrixSupport
import Glibc
import Platform
import TestSupport

/// A network namespace of a test's own. Needs root.
enum PrivateNetwork {
    /// Runs a body in a thread whose sockets and children are in the namespace; it has a loopback interface and nothing
    /// else, and ends with the thread.
    static func run(_ body: @escaping @Sendable () throws -> Void) throws {
        let worker = try Worker {
            try systemCall("unshare") { matrix_enter_network() }
            try body()
        }
        try worker.join()
    }

    /// Writes a setting below /proc/sys. Those of `net` belong to the namespace of the thread that opens them.
    static func set(_ name: String, _ value: String) throws {
        guard name.hasPrefix("net/ipv4/") else { throw TestFailure("\(name) is not the namespace's own") }
        let path = "/proc/sys/\(name)"
        let file = Descriptor(owning: try systemCall("open", path) { open(path, O_WRONLY | O_CLOEXEC) })
        try systemCall("write", path) { write(file.raw, value, value.utf8.count) }
    }
}
