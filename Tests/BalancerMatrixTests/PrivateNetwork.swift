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

    /// A counter of the calling thread's namespace: of TcpExt in /proc/net/netstat, a line of names and one of numbers.
    /// DelayedACKs: those that the kernel has sent late, by its timer. TCPReqQFullDoCookies: SYNs that it has answered by a
    /// cookie, because too many connections were half open.
    static func count(_ name: String) throws -> Int {
        let text = String(decoding: try readSmallFile("/proc/thread-self/net/netstat", limit: 1 << 16), as: UTF8.self)
        let words = text.split(separator: "\n").filter { $0.hasPrefix("TcpExt:") }.map { $0.split(separator: " ") }
        guard words.count == 2, let place = words[0].firstIndex(of: name[...]), place < words[1].count,
            let count = Int(words[1][place])
        else { throw TestFailure("there is no number of \(name)") }
        return count
    }
}
