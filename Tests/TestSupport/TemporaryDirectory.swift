import FoundationEssentials
import Glibc

/// A directory of a test's own, removed with all that is in it when the last reference is gone.
package final class TemporaryDirectory: Sendable {
    /// The absolute path.
    package let path: String

    /// Creates `/tmp/supd-test.XXXXXX` by mkdtemp(3).
    package init() throws {
        var template = Array("/tmp/supd-test.XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw TestFailure("mkdtemp: errno \(errno)") }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// The path of a file in it.
    package func file(_ name: String) -> String { "\(path)/\(name)" }

    /// Writes a file and returns its path.
    package func write(_ name: String, _ text: String) throws -> String {
        try Data(text.utf8).write(to: URL(filePath: file(name)))
        return file(name)
    }

    /// Writes a file that can be executed, and returns its path.
    package func writeProgram(_ name: String, _ bytes: some Sequence<UInt8>) throws -> String {
        let path = file(name)
        try Data(bytes).write(to: URL(filePath: path))
        guard chmod(path, 0o755) == 0 else { throw TestFailure("chmod: errno \(errno)") }
        // What is open for writing cannot be executed, and for a moment it is in every program that another test has just
        // forked. The kernel grants a lease for reading when nobody has it open for writing any more.
        let setLease: Int32 = 1024  // F_SETLEASE
        let raw = open(path, O_RDONLY | O_CLOEXEC)
        defer { close(raw) }
        try eventually("nobody to write \(path)") { fcntl(raw, setLease, F_RDLCK) == 0 ? true : nil }
        _ = fcntl(raw, setLease, F_UNLCK)
        return path
    }

    /// Writes a script that can be executed, and returns its path.
    package func writeProgram(_ name: String, _ text: String) throws -> String { try writeProgram(name, text.utf8) }
}

/// A test's own failure, with a sentence.
package struct TestFailure: Error, CustomStringConvertible {
    package let description: String

    /// Creates a failure.
    package init(_ description: String) { self.description = description }
}
