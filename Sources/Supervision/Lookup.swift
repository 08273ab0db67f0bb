package import Manifest

/// What the shell looks up.
extension Application {
    /// All instances that the manifest asks for, in its order. Others may be there without any deployment: a process of one
    /// that was taken away may have come up late.
    package var instanceIDs: [InstanceID] {
        layout.names.indices.filter { !isExtra($0) }.map { layout.names[$0] }
    }

    /// Whether an instance is one that the manifest asks for, and not there for a rollout or until it is down.
    package func isOfManifest(_ id: InstanceID) -> Bool {
        guard let place = layout.places[id], instances.indices.contains(place) else { return false }
        return !isExtra(place)
    }

    /// The services whose processes are being replaced by such with other settings.
    package var servicesUnderRollout: [String] {
        deployments.filter { !$0.isRestart }.flatMap(\.rollouts).map(\.service)
    }

    /// Whether an apply is under way.
    package var isDeploying: Bool { deployments.contains(where: \.isApply) }

    /// The settings that an instance goes by, which during a rollout need not be the manifest's.
    package func settings(of id: InstanceID) -> Service? {
        guard let place = layout.places[id], instances.indices.contains(place) else {
            return service(named: id.service)
        }
        return service(of: place)
    }

    /// The names of services with `replicas: 0`, in the order of the manifest.
    package var servicesWithoutInstances: [String] {
        zip(manifest.services, layout.instances).compactMap { service, instances in
            instances.isEmpty ? service.name : nil
        }
    }

    /// Whether a user has drained an instance.
    package func isParked(_ id: InstanceID) -> Bool {
        guard let place = layout.places[id], instances.indices.contains(place) else { return false }
        return instances[place].parking != nil
    }

    /// A service of the accepted manifest.
    package func service(named name: String) -> Service? {
        // Every service with an instance is found by its first one; one without may have a front all the same.
        guard let place = layout.places[InstanceID(service: name, number: 1)], layout.services.indices.contains(place),
            manifest.services.indices.contains(layout.services[place])
        else { return manifest.services.first { $0.name == name } }
        return manifest.services[layout.services[place]]
    }

    /// The process id of a generation that an instance owns now.
    package func pid(of generation: Generation) -> Int32? {
        guard let place = owners[generation], instances.indices.contains(place) else { return nil }
        return instances[place].process?.pid
    }
}
