package import Manifest

/// What the shell looks up.
extension Application {
    /// All instances, in the order of the manifest.
    package var instanceIDs: [InstanceID] { layout.names }

    /// A service of the accepted manifest.
    package func service(named name: String) -> Service? {
        // Every service with an instance is found by its first one; one without has nothing to look up.
        guard let place = layout.places[InstanceID(service: name, number: 1)], layout.services.indices.contains(place),
            manifest.services.indices.contains(layout.services[place])
        else { return nil }
        return manifest.services[layout.services[place]]
    }

    /// The process id of a generation that an instance owns now.
    package func pid(of generation: Generation) -> Int32? {
        guard let place = owners[generation], instances.indices.contains(place) else { return nil }
        return instances[place].process?.pid
    }
}
