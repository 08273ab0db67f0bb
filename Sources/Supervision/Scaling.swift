import Events
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

    /// The manifest in force but for the number of instances of some services: what `scaled` takes on.
    package func manifest(scaling counts: [String: Int], itself: Bool = false) throws(ScaleRefusal) -> Manifest {
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
            if let rule = service.scaling, !itself {
                let advice = "change min or max of its replicas, or write a count there, and apply"
                throw ScaleRefusal(
                    text: "\(service.name) scales itself (\(rule.text)), and is not scaled by hand: \(advice)")
            }
            if let hindrance = next.hindrance(toScaling: service.name, to: count) {
                throw ScaleRefusal(text: "\(service.name) cannot be scaled to \(count): \(hindrance)")
            }
            next.services[place] = service.scaled(to: count)
        }
        return next
    }

    /// Why none of these services can be scaled now; nil: they can. What goes on with others is no reason, nor is that
    /// an instance of them is awaited: it may be just the one that nobody wants any more.
    package func scaleHindrance(of services: Set<String>) -> String? {
        if isShuttingDown { return "supd is shutting down" }
        let rollouts = deployments.filter(\.isApply).flatMap(\.rollouts)
        guard let rollout = rollouts.first(where: { services.contains($0.service) }) else { return nil }
        let hint = rollout.isOnTrial ? rollout.trialHint : "; scale it once that is done"
        return "\(rollout.service) cannot be scaled now: an apply under way replaces its processes\(hint)"
    }

    /// Changes the numbers of instances. It stands beside whatever else is under way, and takes the place of what has
    /// scaled the same services and is not done yet.
    mutating func beginScaling(_ counts: [String: Int], _ command: CommandID, _ turn: inout Turn) {
        if let hindrance = scaleHindrance(of: Set(counts.keys)) {
            return turn.effects.append(.finished(command, .failed(hindrance)))
        }
        do throws(ScaleRefusal) {
            carryOut(try manifest(scaling: counts), of: Set(counts.keys), command, &turn)
        } catch {
            turn.effects.append(.finished(command, .failed(error.text)))
        }
    }

    /// A service has scaled itself; what is out of its bounds, or comes while it is being changed, is not done. What there is no
    /// room for is told.
    mutating func beginScalingItself(_ name: String, _ step: EventKind.ScaleStep, _ turn: inout Turn) {
        guard let candidate = scalingCandidates.first(where: { $0.service == name }), candidate.instances == step.from,
            step.to > step.from || (step.to < step.from && candidate.isWhole),
            candidate.rule.nearest(to: step.to) == step.to
        else { return }
        let (part, hindrance) = feasible(step, of: name)
        if let hindrance, part.to == part.from { return noteScalingHindrance(hindrance, of: name, step, &turn) }
        guard let next = try? manifest(scaling: [name: part.to], itself: true) else { return }
        if let first = place(ofService: name).flatMap({ layout.instances[$0].first }) {
            turn.report(instances[first].id, .info, "\(name) scaled from \(part.from) to \(part.to): \(part.reason)")
        }
        tellScaling(.scale(part), of: name, &turn)
        carryOut(next, of: [name], nil, &turn)
    }

    private mutating func carryOut(
        _ next: Manifest, of services: Set<String>, _ command: CommandID?, _ turn: inout Turn
    ) {
        supersedeScalings(of: services, by: "a later scale", &turn)
        let before = Set(layout.names)
        let members = Set(instanceIDs)
        // Restarts go on, with as many that stand in as the service may have now.
        let others = deployments.filter { !$0.isRestart } + restarts(beside: [], under: next)
        takeOver(next)
        deployments = others
        reshape(&turn)
        deployments.append(
            Deployment(
                command: command, rollouts: [], total: 0,
                fresh: freshInstances(beside: before).filter { services.contains($0.service) },
                parting: partingInstances(of: members).filter { services.contains($0.service) },
                scales: services.sorted()))
        turn.effects.append(.manifestChanged)
        turn.routesChanged = true
        turn.touched.append(contentsOf: instances.indices)
    }

    /// What has scaled these services is not waited for any longer. What it has scaled beside them goes on, and so does
    /// the wait for that.
    private mutating func supersedeScalings(of services: Set<String>, by what: String, _ turn: inout Turn) {
        var left: [Deployment] = []
        for var deployment in deployments {
            guard let scaled = deployment.scales, !services.isDisjoint(with: scaled) else {
                left.append(deployment)
                continue
            }
            let rest = scaled.filter { !services.contains($0) }
            if rest.isEmpty {
                guard let command = deployment.command else { continue }
                let former = deployment.superseded ?? []
                let last = former.isEmpty ? "" : "\(Wording.list(scaled)): "
                let sentences = former + ["\(last)superseded by \(what)"]
                turn.effects.append(.finished(command, .failed(sentences.joined(separator: "; "))))
                continue
            }
            let gone = Wording.list(scaled.filter(services.contains))
            deployment.superseded = (deployment.superseded ?? []) + ["\(gone): superseded by \(what)"]
            deployment.scales = rest
            deployment.fresh.removeAll { services.contains($0.service) }
            deployment.parting.removeAll { services.contains($0.service) }
            left.append(deployment)
        }
        deployments = left
    }

    /// Another manifest is to be in force: what has scaled services of which it has another number is over.
    mutating func supersedeScalings(under new: Manifest, _ turn: inout Turn) {
        let counts = Dictionary(new.services.map { ($0.name, $0.replicas) }, uniquingKeysWith: { first, _ in first })
        let changed = manifest.services.filter { counts[$0.name] != $0.replicas }.map(\.name)
        supersedeScalings(of: Set(changed), by: "a later apply", &turn)
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
