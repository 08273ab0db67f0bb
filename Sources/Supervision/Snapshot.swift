package import Manifest

/// All of an application but its manifest and what follows from both: what a new supervisor needs beside the accepted
/// manifest. A command's queue is part of it, so that a restart of many instances goes on when the supervisor is lost in
/// the middle of it.
package struct Snapshot: Sendable, Hashable, Codable {
    let instances: [Instance]
    let nextGeneration: Generation
    let leftovers: [Leftover]
    let operations: [Operation]
    let isShuttingDown: Bool
    let revision: UInt64
    let leaving: Set<String>
    let deployments: [Deployment]
}

/// A snapshot that does not belong to the manifest: one that would lead to nonsense is no better than none.
package struct SnapshotMismatch: Error, Sendable, Hashable {
    /// What does not fit.
    package let text: String
}

extension Application {
    /// What has changed since the beginning. The manifest, which is most of the encoded form, is not in it.
    package var snapshot: Snapshot {
        Snapshot(
            instances: instances, nextGeneration: nextGeneration, leftovers: leftovers, operations: operations,
            isShuttingDown: isShuttingDown, revision: revision, leaving: leaving, deployments: deployments)
    }

    /// The application as it was when the snapshot was taken; `resume` must follow.
    package init(manifest: Manifest, revision: UInt64 = 0, snapshot: Snapshot) throws(SnapshotMismatch) {
        guard snapshot.revision == revision else {
            throw SnapshotMismatch(text: "it is of revision \(snapshot.revision) of the manifest, not \(revision)")
        }
        var counts: [String: Int] = [:]
        for instance in snapshot.instances { counts[instance.id.service, default: 0] += 1 }
        let layout = Layout(of: manifest, counts: counts)
        // More there may be, for a rollout or until they are down; fewer never.
        let isWhole = manifest.services.allSatisfy { service in
            snapshot.leaving.contains(service.name) || counts[service.name, default: 0] >= service.replicas
        }
        guard isWhole, snapshot.instances.map(\.id) == layout.names else {
            throw SnapshotMismatch(text: "the instances are not those of the manifest")
        }
        let places = layout.names.indices
        guard snapshot.operations.allSatisfy({ $0.open.allSatisfy(places.contains) }) else {
            throw SnapshotMismatch(text: "a command is about an instance that there is not")
        }
        self.init(
            manifest: manifest, layout: layout, instances: snapshot.instances, nextGeneration: snapshot.nextGeneration)
        leftovers = snapshot.leftovers
        operations = snapshot.operations
        isShuttingDown = snapshot.isShuttingDown
        self.revision = revision
        leaving = snapshot.leaving
        deployments = snapshot.deployments
        assignPorts()
        rebuild()
    }
}

/// Manifest and snapshot in one.
extension Application: Codable {
    private enum CodingKeys: String, CodingKey {
        case manifest, snapshot
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(manifest, forKey: .manifest)
        try container.encode(snapshot, forKey: .snapshot)
    }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        let manifest = try container.decode(Manifest.self, forKey: .manifest)
        let snapshot = try container.decode(Snapshot.self, forKey: .snapshot)
        do {
            try self.init(manifest: manifest, revision: snapshot.revision, snapshot: snapshot)
        } catch {
            throw DecodingError.dataCorruptedError(
                forKey: .snapshot, in: container, debugDescription: error.text)
        }
    }
}
