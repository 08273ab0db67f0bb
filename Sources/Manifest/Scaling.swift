/// A number of instances that a user has chosen in place of the manifest's, `supctl scale`, which holds until the manifest
/// says another number than it said then; or one that a service has come to by itself.
package struct ScaleOverride: Sendable, Hashable, Codable {
    /// The service's name.
    package var service: String
    /// How many instances it was scaled to.
    package var replicas: Int
    /// The manifest's own number; of a service that scales itself, the least.
    package var manifest: Int
    /// Whether the service has scaled itself; nil: a user has.
    package var isAutomatic: Bool?

    /// Creates an override.
    package init(service: String, replicas: Int, manifest: Int, isAutomatic: Bool? = nil) {
        self.service = service
        self.replicas = replicas
        self.manifest = manifest
        self.isAutomatic = isAutomatic
    }
}

extension Service {
    /// How many instances a service may have.
    package static let replicaCounts = 0...1000

    /// As the manifest has it, whatever a user has scaled it to.
    package var asWritten: Service { scaled(to: scaledFrom ?? replicas) }

    /// With another number of instances by a user's hand; the manifest's own number is no override.
    package func scaled(to count: Int) -> Service {
        let own = scaledFrom ?? replicas
        var service = self
        service.replicas = count
        service.scaledFrom = count == own ? nil : own
        return service
    }
}

extension Manifest {
    /// As it was written, whatever users have scaled.
    package var asWritten: Manifest { Manifest(supd: supd, services: services.map(\.asWritten), hooks: hooks) }

    /// What users have scaled.
    package var scaleOverrides: [ScaleOverride] {
        services.compactMap { service in
            service.scaledFrom.map {
                ScaleOverride(
                    service: service.name, replicas: service.replicas, manifest: $0,
                    isAutomatic: service.scaling == nil ? nil : true)
            }
        }
    }

    /// This manifest, as it was written, with the overrides that still hold; of each that does not, a sentence. A service
    /// that scales itself goes on with what it has, `present`, or had, as far as its bounds allow.
    package func keeping(
        _ overrides: [ScaleOverride], present: [String: Int] = [:]
    ) -> (manifest: Manifest, dropped: [String]) {
        var kept = asWritten
        var dropped: [String] = []
        let former = Dictionary(overrides.map { ($0.service, $0.replicas) }, uniquingKeysWith: { first, _ in first })
        for place in kept.services.indices {
            let service = kept.services[place]
            guard let rule = service.scaling, let count = present[service.name] ?? former[service.name] else {
                continue
            }
            let nearest = rule.nearest(to: count)
            guard kept.hindrance(toScaling: service.name, to: nearest) == nil else { continue }
            kept.services[place] = service.scaled(to: nearest)
        }
        for override in overrides where !kept.scalesItself(override.service) {
            // What a service has come to by itself holds only as long as it does so.
            if override.isAutomatic == true { continue }
            let (name, count) = (override.service, override.replicas)
            guard let place = kept.services.firstIndex(where: { $0.name == name }) else {
                dropped.append("\(name) is not in the manifest: that it was scaled to \(count) is forgotten")
                continue
            }
            let own = kept.services[place].replicas
            if own != override.manifest {
                dropped.append(
                    "\(name) was scaled to \(count) when the manifest said \(override.manifest); it says \(own) now, "
                        + "and that holds")
            } else if let hindrance = kept.hindrance(toScaling: name, to: count) {
                dropped.append("\(name) cannot stay scaled to \(count): \(hindrance); the manifest's \(own) holds")
            } else {
                kept.services[place] = kept.services[place].scaled(to: count)
            }
        }
        return (kept, dropped)
    }

    private func scalesItself(_ name: String) -> Bool { services.contains { $0.name == name && $0.scaling != nil } }

    /// Why a service cannot have so many instances; nil: it can.
    package func hindrance(toScaling name: String, to count: Int) -> String? {
        guard let service = services.first(where: { $0.name == name }) else { return "there is no such service" }
        guard Service.replicaCounts.contains(count) else {
            let (fewest, most) = (Service.replicaCounts.lowerBound, Service.replicaCounts.upperBound)
            return "a service has \(fewest) to \(most) instances, not \(count)"
        }
        if service.kind == .task { return "a task runs to its end, as often as the manifest says" }
        guard count > service.replicas else { return nil }
        let instances = services.reduce(0) { $0 + $1.replicas } - service.replicas + count
        if instances > ManifestLoader.maximumInstances {
            return "that were \(instances) instances in all, of \(ManifestLoader.maximumInstances) at most"
        }
        return service.port == nil ? lackOfPorts(for: service, count) : overlap(of: service, count)
    }

    /// Whether so many instances of a service find a port in the range, and with them the largest set that may run beside
    /// the others.
    private func lackOfPorts(for scaled: Service, _ count: Int) -> String? {
        let range = supd.portRange
        var needed = 0
        var beside: (service: String, count: Int)?
        var fixed: Set<UInt16> = []
        for service in services {
            guard service.port != nil else {
                let replicas = service.name == scaled.name ? count : service.replicas
                needed += replicas
                if service.mayHaveSetBeside, replicas > beside?.count ?? 0 { beside = (service.name, replicas) }
                continue
            }
            fixed.formUnion(service.fixedPorts(service.replicas).filter(range.contains))
        }
        let available = Int(range.last) - Int(range.first) + 1 - fixed.count
        let all = needed + (beside?.count ?? 0)
        guard all > available else { return nil }
        let text =
            "supd.portRange (\"\(range.first)-\(range.last)\") has \(max(0, available)) ports for instances, and "
            + "\(needed > available ? needed : all) would be needed"
        guard needed <= available, let beside else { return text }
        return "\(text), \(beside.count) of them for a whole new set of \(beside.service) beside the old one "
            + "(deploy.strategy \"blue-green\")"
    }

    /// Whether the next fixed ports of a service are somebody else's.
    private func overlap(of scaled: Service, _ count: Int) -> String? {
        guard let first = scaled.port else { return nil }
        guard UInt16(exactly: Int(first) + count - 1) != nil else {
            return "its fixed ports begin with \(first), and the last one would be \(Int(first) + count - 1)"
        }
        var claims = SocketClaims()
        for service in services {
            for socket in service.listen.flatMap(\.address.sockets) {
                _ = claims.claim(socket, for: .init(location: Location(offset: 0, path: "a front of \(service.name)")))
            }
            for port in service.fixedPorts(service.replicas) {
                let owner = Location(offset: 0, path: "an instance of \(service.name)")
                _ = claims.claim(.ipv4(address: "127.0.0.1", port: port), for: .init(location: owner))
            }
        }
        for port in scaled.fixedPorts(count).dropFirst(scaled.replicas) {
            if let owner = claims.claim(
                .ipv4(address: "127.0.0.1", port: port), for: .init(location: Location(offset: 0, path: "itself")))
            {
                return "its fixed port \(port) is that of \(owner.location.path)"
            }
        }
        return nil
    }
}

extension Service {
    /// Whether as many as there are may come to run beside them.
    fileprivate var mayHaveSetBeside: Bool { deploy.isBlueGreen && kind == .service && port == nil && isBalanced }

    /// The fixed ports of so many instances; none if they have ports of the range.
    package func fixedPorts(_ count: Int) -> [UInt16] {
        guard let port else { return [] }
        return (0..<max(0, count)).compactMap { UInt16(exactly: Int(port) + $0) }
    }
}
