import FoundationEssentials
import Manifest
import Platform

let checkVerb = Verb(
    name: "check", synopsis: "FILE", summary: "see whether a manifest is right, without a daemon",
    details: """
        Reads a manifest as supd would, and tells all errors at once, and what will probably not do what was meant.
        What it names and this machine does not have, users, groups, directories, files and programs, is warned about:
        the machine that will run it may be another one. Exit code 1 if there are errors.
        """,
    operands: .file
) { invocation throws(VerbFailure) in
    guard invocation.operands.count == 1, let file = invocation.operands.first, !file.isEmpty else {
        throw invocation.misused("which manifest? name one file")
    }
    let text: [UInt8]
    do throws(SystemError) {
        text = try Files.read(file, limit: JSON5Reader.maximumSize)
    } catch {
        let reason =
            switch error.code {
            case ErrorCode.fileTooLarge: "it is larger than \(sizeText(UInt64(JSON5Reader.maximumSize)))"
            case ErrorCode.isDirectory: "it is a directory"
            default: error.reason
            }
        throw VerbFailure(.failed, "cannot read the manifest \(file): \(reason)")
    }
    let path = absolutePath(file)
    let result = ManifestLoader.load(
        text: text, file: file, directory: String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)]),
        environment: ProcessInfo.processInfo.environment,
        facts: HostFacts(
            ephemeralPorts: LoopbackPort.ephemeralRange(), isRoot: Accounts.ownUser == 0,
            unprivilegedPortStart: LoopbackPort.unprivilegedStart(), isOnlyChecked: true),
        lookup: .thisMachine)
    try invocation.console.print(checkReport(result))
    return result.manifest == nil ? .failed : .done
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
