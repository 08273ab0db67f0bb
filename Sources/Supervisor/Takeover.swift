import FoundationEssentials
import Links
import Manifest
import Platform
import Supervision

/// Why a supervisor of this program could not go on with what another one has left; nil: it could. The numbers are those
/// of descriptors of files in memory; nil: there is none.
package func takeoverObstacle(configuration: String, manifest: Int32?, snapshot: Int32?) -> String? {
    do {
        _ = try JSONDecoder().decode(SupervisorConfiguration.self, from: Data(configuration.utf8))
    } catch {
        return unreadable("the supervisor's configuration", error)
    }
    // Without one nothing was accepted yet: the file is read, as at every start.
    guard let manifest else { return nil }
    let accepted: AcceptedManifest
    do {
        let bytes = try MemoryFile.contents(ofDescriptor: manifest, limit: LinkCodec.messageLimit)
        accepted = try JSONDecoder().decode(AcceptedManifest.self, from: Data(bytes))
    } catch {
        return unreadable("the accepted manifest", error)
    }
    guard let snapshot else { return nil }
    do {
        let bytes = try MemoryFile.contents(ofDescriptor: snapshot, limit: LinkCodec.messageLimit)
        let last = try JSONDecoder().decode(Snapshot.self, from: Data(bytes))
        do throws(SnapshotMismatch) {
            _ = try Application(manifest: accepted.manifest, revision: accepted.revision, snapshot: last)
        } catch {
            guard let kept = accepted.snapshot else { throw error }
            _ = try Application(manifest: accepted.manifest, revision: accepted.revision, snapshot: kept)
        }
        return nil
    } catch {
        return unreadable("the snapshot of what runs", error)
    }
}

/// Two versions that do not write these things the same way have nothing but the file of the manifest in common.
private func unreadable(_ what: String, _ error: any Error) -> String {
    "it cannot read \(what), which another version has written; it needs a restart of supd, which stops the services: "
        + "systemctl restart supd (\(error))"
}
