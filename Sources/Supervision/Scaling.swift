package import Manifest

/// Why a service cannot be scaled; a sentence.
package struct ScaleRefusal: Error, Sendable, Hashable {
    /// The text.
    package let text: String
}

extension Application {
    /// What users have scaled of the services that are to stay.
    package var scaleOverrides: [ScaleOverride] {
        manifest.scaleOverrides.filter { !leaving.contains($0.service) }
    }

    /// The manifest in force but for the number of instances of some services. To be taken on as every other manifest is
    /// (`applied`): it differs in `replicas` only, so that nothing but what is added or taken away is touched.
    package func manifest(scaling counts: [String: Int]) throws(ScaleRefusal) -> Manifest {
        var next = manifest
        next.services.removeAll { leaving.contains($0.name) }
        let known = Set(next.services.map(\.name))
        for name in counts.keys.sorted() where !known.contains(name) {
            let text = leaving.contains(name) ? "is not in the manifest any more, and is being stopped" : "is not known"
            throw ScaleRefusal(text: "\(name) \(text)")
        }
        // What is given back first may be what another one needs.
        let places = next.services.indices.filter { counts[next.services[$0].name] != nil }
        let order = places.sorted { isLess($0, $1, next, counts) }
        for place in order {
            let service = next.services[place]
            let count = counts[service.name] ?? service.replicas
            if let hindrance = next.hindrance(toScaling: service.name, to: count) {
                throw ScaleRefusal(text: "\(service.name) cannot be scaled to \(count): \(hindrance)")
            }
            next.services[place] = service.scaled(to: count)
        }
        return next
    }

    /// In the order of what each adds.
    private func isLess(_ left: Int, _ right: Int, _ manifest: Manifest, _ counts: [String: Int]) -> Bool {
        func added(_ place: Int) -> Int {
            let service = manifest.services[place]
            return (counts[service.name] ?? service.replicas) - service.replicas
        }
        return (added(left), left) < (added(right), right)
    }

    /// The fixed ports that scaled services would have besides those they have.
    package func fixedPortsAdded(by next: Manifest) -> [(instance: InstanceID, port: UInt16)] {
        let before = Dictionary(manifest.services.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        return next.services.flatMap { service in
            let count = before[service.name]?.replicas ?? 0
            return service.fixedPorts(service.replicas).enumerated().dropFirst(count).map { index, port in
                (InstanceID(service: service.name, number: index + 1), port)
            }
        }
    }
}
