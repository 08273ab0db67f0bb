import Foundation
import TestSupport

/// Programs of a test's own, installed as a package would.
enum Installed {
    /// A supd of a directory's own, installed as a package would: by a rename.
    static func supd(in directory: TemporaryDirectory) throws -> String {
        let path = directory.file("supd")
        try put(copyOf: Daemon.supd, at: path)
        return path
    }

    /// Writes a program by another process: what is open for writing here, a child of another test may have as well, and
    /// then it cannot be executed (ETXTBSY).
    static func put(copyOf source: String, at path: String, mode: String = "755") throws {
        let script = "cp \"$1\" \"$2.new\" && chmod \"$3\" \"$2.new\" && mv \"$2.new\" \"$2\""
        let result = try Program.run("/bin/sh", ["-c", script, "sh", source, path, mode])
        guard result.code == 0 else { throw TestFailure(result.output) }
    }

    static func put(_ contents: Data, at path: String, mode: String = "755") throws {
        try contents.write(to: URL(fileURLWithPath: path + ".contents"))
        try put(copyOf: path + ".contents", at: path, mode: mode)
    }

    static func put(_ script: String, at path: String) throws { try put(Data(script.utf8), at: path) }
}
