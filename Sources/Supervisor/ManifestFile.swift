package import Manifest
import Platform

/// Reads a manifest from a file: the shell around the pure loader.
package enum ManifestFile {
    /// Why the file could not be read at all; a complete sentence.
    package struct Unreadable: Error {
        /// The sentence.
        package var text: String
    }

    /// Reads and checks a manifest. `isOnlyChecked`: it is not run here and now, so that what this machine lacks for it is
    /// looked up and warned about.
    package static func load(
        _ path: String, environment: [String: String], isOnlyChecked: Bool = false
    ) throws(Unreadable) -> LoadedManifest {
        let text = try reading(path) { () throws(SystemError) in try Files.read(path, limit: JSON5Reader.maximumSize) }
        return ManifestLoader.load(
            text: text, file: path, directory: directory(of: path), environment: environment,
            facts: HostFacts(
                ephemeralPorts: LoopbackPort.ephemeralRange(), isRoot: Accounts.ownUser == 0,
                unprivilegedPortStart: LoopbackPort.unprivilegedStart(), isOnlyChecked: isOnlyChecked),
            lookup: isOnlyChecked ? .thisMachine : nil)
    }

    /// Whether there is a file that can be read. Nothing of it is kept: the keeper, whose memory every fork copies, asks.
    package static func checkReadable(_ path: String) throws(Unreadable) {
        _ = try reading(path) { () throws(SystemError) in try Files.readPrefix(path, count: 0) }
    }

    private static func reading(
        _ path: String, _ body: () throws(SystemError) -> [UInt8]
    ) throws(Unreadable) -> [UInt8] {
        do throws(SystemError) {
            return try body()
        } catch {
            let reason =
                switch error.code {
                case ErrorCode.fileTooLarge: "it is larger than \(sizeText(UInt64(JSON5Reader.maximumSize)))"
                case ErrorCode.isDirectory: "it is a directory"
                case ErrorCode.invalid: "it is no regular file; what comes through a pipe must be saved first"
                default: error.reason
                }
            throw Unreadable(text: "cannot read the manifest \(path): \(reason)")
        }
    }

    /// The folder of a file, absolute.
    static func directory(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }
}

extension HostLookup {
    /// The machine that we run on.
    fileprivate static let thisMachine = HostLookup(
        hasUser: HostQueries.hasUser, hasUserID: HostQueries.hasUserID, hasGroup: HostQueries.hasGroup,
        entry: { path in
            guard let status = HostQueries.status(path) else { return nil }
            return Entry(
                isThere: status != nil, isDirectory: status?.kind == .directory, isRegular: status?.kind == .regular,
                mode: status?.mode ?? 0)
        },
        hasAddress: HostQueries.hasAddress,
        contents: { try? Files.read($0, limit: maximumEnvironmentFileSize) })
}
