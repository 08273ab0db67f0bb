package import Manifest

extension Application {
    /// What cannot be worked out anew when a supervisor takes over: all but the manifest, which is large, does not change
    /// and is kept by itself. A command's queue is in it, so that a restart of many instances goes on when the supervisor
    /// is lost in the middle of it. A copy costs nothing until either side changes.
    package struct Snapshot: Codable, Sendable {
        var instances: [Instance]
        var nextGeneration: Generation
        var leftovers: [Leftover]
        var operations: [Operation]
        var isShuttingDown: Bool
    }

    /// Why a snapshot is of no use.
    package struct SnapshotMismatch: Error, Sendable, Hashable, CustomStringConvertible {
        package let description: String
    }

    /// The application as it is now.
    package var snapshot: Snapshot {
        Snapshot(
            instances: instances, nextGeneration: nextGeneration, leftovers: leftovers, operations: operations,
            isShuttingDown: isShuttingDown)
    }

    /// The application as it was. Throws if the parts do not fit together: a snapshot that would lead to nonsense is no
    /// better than none.
    package init(manifest: Manifest, snapshot: Snapshot) throws(SnapshotMismatch) {
        let layout = Layout(of: manifest)
        guard snapshot.instances.map(\.id) == layout.names else {
            throw SnapshotMismatch(description: "the instances are not those of the manifest")
        }
        guard snapshot.operations.allSatisfy({ $0.steps.allSatisfy { layout.names.indices.contains($0.place) } }) else {
            throw SnapshotMismatch(description: "a command is about an unknown instance")
        }
        self.init(
            manifest: manifest, layout: layout, instances: snapshot.instances, nextGeneration: snapshot.nextGeneration)
        leftovers = snapshot.leftovers
        operations = snapshot.operations
        isShuttingDown = snapshot.isShuttingDown
        assignPorts()
        rebuild()
    }
}
