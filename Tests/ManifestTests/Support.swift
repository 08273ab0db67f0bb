import FoundationEssentials
import Manifest
import TestSupport

/// The project's folder.
let repository = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()

/// The bytes of a file in `Configs`.
func config(_ name: String) throws -> [UInt8] {
    Array(try Data(contentsOf: repository.appending(path: "Configs").appending(path: name)))
}

/// The machine of these tests, so that they do not depend on the real one.
let testFacts = HostFacts(ephemeralPorts: 32768...60999, isRoot: true)

/// Loads a text as `t.json5` in `/srv`.
func load(
    _ text: String, environment: [String: String] = ["HOME": "/root", "SECRET": "hunter2"], facts: HostFacts = testFacts
) -> LoadedManifest {
    ManifestLoader.load(
        text: Array(text.utf8), file: "t.json5", directory: "/srv", environment: environment, facts: facts)
}

/// Loads a manifest with one service `a` of these fields beside its command.
func loadService(_ fields: String, facts: HostFacts = testFacts) -> LoadedManifest {
    load("{ services: { a: { command: ['a'], \(fields) } } }", facts: facts)
}

/// The only service of a manifest that must be right.
func service(_ fields: String) throws -> Service {
    let result = loadService(fields)
    guard let service = result.manifest?.services.first else { throw TestFailure(checkReport(result)) }
    return service
}

/// The manifest of a text that must be right.
func manifest(_ text: String) throws -> Manifest {
    let result = load(text)
    guard let manifest = result.manifest else { throw TestFailure(checkReport(result)) }
    return manifest
}

/// The errors of a text without file names: `1:5: services.a: found …`.
func errors(_ text: String) -> [String] { load(text).errors.map { String($0.description.dropFirst("t.json5:".count)) } }
