import Manifest
import Platform

/// Reads a manifest from a file: the shell around the pure loader.
package enum ManifestFile {
    /// More than any manifest needs, in bytes.
    private static let limit = 16 << 20

    /// Reads and checks a manifest; what is wrong with the file itself is an error like any other.
    package static func load(_ path: String, environment: [String: String]) -> ManifestLoader.Result {
        do throws(SystemError) {
            let text = try Files.read(path, limit: limit)
            return ManifestLoader.load(
                text: text, file: path, directory: directory(of: path), environment: environment, host: hostFacts())
        } catch {
            return ManifestLoader.Result(
                unreadable: path, reason: error.code == ErrorCode.fileTooLarge ? "larger than 16 MiB" : error.reason)
        }
    }

    private static func directory(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    private static func hostFacts() -> HostFacts {
        HostFacts(ephemeralPorts: LoopbackPort.ephemeralRange, isRoot: Accounts.ownUser == 0)
    }
}
