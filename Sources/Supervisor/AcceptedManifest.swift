import Manifest
import Supervision

/// What the keeper holds of the manifest in force.
struct AcceptedManifest: Codable, Sendable {
    /// `Application.revision`, by which the snapshot that belongs to it is known.
    var revision: UInt64
    /// The manifest.
    var manifest: Manifest
    /// The services that are in it only until they are down.
    var leaving: Set<String> = []
    /// What ran when it came into force: a supervisor that is lost before it has kept another snapshot loses nothing.
    var snapshot: Snapshot?
}
