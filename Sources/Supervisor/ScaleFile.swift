import FoundationEssentials
package import Manifest
package import Platform

/// The file of the state directory that keeps what users have scaled over restarts of supd and of the machine.
package struct ScaleFile: Sendable {
    /// Why it cannot be used; a sentence.
    package struct Unusable: Error, Sendable, Hashable {
        /// The text.
        package let text: String
    }

    private struct Contents: Codable {
        var version: Int
        var services: [ScaleOverride]
    }

    /// An entry takes some 120 bytes, and there are no more services than instances.
    private static let sizeLimit = 1 << 20
    private static let version = 1

    private let directory: String
    /// Where it is.
    package let path: String

    /// The file in a state directory; nothing is opened yet.
    package init(stateDirectory: String) {
        directory = stateDirectory
        path = "\(stateDirectory)/scaling.json"
    }

    /// What it says; empty if there is no such file.
    package func read() throws(Unusable) -> [ScaleOverride] {
        let bytes: [UInt8]
        do throws(SystemError) {
            bytes = try Files.read(path, limit: Self.sizeLimit)
        } catch {
            if error.meansMissing { return [] }
            throw unusable("\(error)")
        }
        guard let contents = try? JSONDecoder().decode(Contents.self, from: Data(bytes)) else {
            throw unusable("it is not what supd has written")
        }
        guard contents.version == Self.version else { throw unusable("it is that of another version of supd") }
        let counts = Service.replicaCounts
        guard contents.services.allSatisfy({ counts.contains($0.replicas) && counts.contains($0.manifest) }),
            Set(contents.services.map(\.service)).count == contents.services.count
        else { throw unusable("it says what cannot be") }
        return contents.services
    }

    private func unusable(_ reason: String) -> Unusable {
        Unusable(
            text: "cannot use \(path): \(reason); the manifest's replicas hold: scale again, or remove the file")
    }

    /// Puts these in the place of what it said, at once or not at all.
    package func write(_ overrides: [ScaleOverride]) throws(SystemError) {
        if overrides.isEmpty {
            do throws(SystemError) {
                return try FileIO.remove(path)
            } catch {
                if error.meansMissing { return }
                throw error
            }
        }
        let contents = Contents(version: Self.version, services: overrides)
        guard let data = try? JSONEncoder().encode(contents) else { return }
        try FileIO.createDirectories(directory)
        try FileIO.replaceContents(of: path, with: [UInt8](data), mode: 0o600)
    }
}
