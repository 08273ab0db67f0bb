package import ControlAPI
import FoundationEssentials
package import Manifest
import Platform

/// The manifests that were in force, or should have come into force, the latest twenty: two files each, what is known of it
/// and the manifest itself as it was resolved, so that going back needs neither the file nor the environment of then. Readable
/// by supd alone: values of `environment` may be secrets.
package struct ManifestHistory: Sendable {
    /// So many are kept.
    package static let kept = 20
    /// A manifest in its resolved form is hardly longer than ten times the longest text.
    private static let sizeLimit = 128 << 20

    private let directory: String

    /// The history below a state directory; nothing is opened yet.
    package init(stateDirectory: String) { directory = "\(stateDirectory)/history" }

    /// All entries that can be read, the oldest first.
    package func entries() -> [HistoryEntry] { numbers().compactMap(entry) }

    /// A manifest; nil if it cannot be read.
    package func manifest(_ number: Int) -> Manifest? {
        guard let bytes = try? Files.read(path(number, "manifest"), limit: Self.sizeLimit) else { return nil }
        return try? JSONDecoder().decode(Manifest.self, from: Data(bytes))
    }

    /// The last one of a file that is one to go back to, and can be read.
    package func lastGood(from source: String) -> (entry: HistoryEntry, manifest: Manifest)? {
        for entry in entries().reversed() where entry.source == source && entry.outcome.isGood {
            if let manifest = manifest(entry.number) { return (entry, manifest) }
        }
        return nil
    }

    /// Whether there is one of a file to go back to.
    package func hasGood(from source: String) -> Bool {
        entries().contains { $0.source == source && $0.outcome.isGood }
    }

    /// The last one to go back to that is something else than this.
    package func lastGood(otherThan present: Manifest) -> (entry: HistoryEntry, manifest: Manifest)? {
        for entry in entries().reversed() where entry.outcome.isGood {
            if let manifest = manifest(entry.number), manifest.services != present.services { return (entry, manifest) }
        }
        return nil
    }

    /// Adds one, and takes away what is more than twenty. Returns its number.
    package func add(_ entry: HistoryEntry, _ manifest: Manifest) throws -> Int {
        try FileIO.createDirectories(directory, mode: 0o700)
        let numbers = numbers()
        var entry = entry
        entry.number = (numbers.last ?? 0) + 1
        // The manifest first: an entry without one would promise too much.
        try write(JSONEncoder().encode(manifest), to: path(entry.number, "manifest"))
        try write(JSONEncoder().encode(entry), to: path(entry.number, "entry"))
        for old in numbers.dropLast(Self.kept - 1) {
            try? FileIO.remove(path(old, "entry"))
            try? FileIO.remove(path(old, "manifest"))
        }
        return entry.number
    }

    /// Notes what came of the one that is under way.
    package func end(_ outcome: HistoryEntry.Outcome, _ reason: String?, rolledBackBy who: String? = nil) throws {
        guard var entry = entries().last(where: { $0.outcome == .underWay }) else { return }
        entry.outcome = outcome
        entry.reason = reason
        entry.rolledBackBy = who
        try write(JSONEncoder().encode(entry), to: path(entry.number, "entry"))
    }

    private func entry(_ number: Int) -> HistoryEntry? {
        guard let bytes = try? Files.read(path(number, "entry"), limit: 1 << 20) else { return nil }
        return try? JSONDecoder().decode(HistoryEntry.self, from: Data(bytes))
    }

    private func numbers() -> [Int] {
        let names = (try? Files.names(in: directory, limit: 10_000)) ?? []
        return names.compactMap { name in
            name.hasSuffix(".entry.json") ? Int(name.dropLast(".entry.json".count)) : nil
        }.filter { $0 > 0 && $0 < Int.max }.sorted()
    }

    private func path(_ number: Int, _ kind: String) -> String { "\(directory)/\(number).\(kind).json" }

    private func write(_ data: Data, to path: String) throws {
        try FileIO.replaceContents(of: path, with: [UInt8](data), mode: 0o600)
    }
}
