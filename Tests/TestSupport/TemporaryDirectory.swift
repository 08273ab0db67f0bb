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
}

/// A test's own failure, with a sentence.
package struct TestFailure: Error, CustomStringConvertible {
    package let description: String

    /// Creates a failure.
    package init(_ description: String) { self.description = description }
}
