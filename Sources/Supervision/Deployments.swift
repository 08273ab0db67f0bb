import Manifest

/// A change of the manifest under way: what it replaces, adds and takes away, until all of it is done.
struct Deployment: Sendable, Hashable, Codable {
    /// The command that waits for it; nil: nobody does any more.
    var command: CommandID?
    /// Services whose processes are replaced, as long as they are.
    var rollouts: [Rollout]
    /// How many there were at first.
    let total: Int
    /// Instances that are new, and not up yet.
    var fresh: [InstanceID]
    /// Instances that are to go, of services that stay or go.
    var parting: [InstanceID]
    /// What has failed, in sentences.
    var failures: [String] = []
    /// What users have sent back, in sentences; nil: nothing.
    var recalls: [String]?
    /// Who has done so last.
    var recalledBy: String?
    /// How many of its rollouts have gone back, and are over; nil: none.
    var undone: Int?
    /// The instances that made rollouts fail.
    var culprits: [InstanceID] = []
    /// When the processes of these that failed were asked for; nil, as in a snapshot of before this was noted: nobody knows.
    var culpritsSince: [InstanceID: Instant]?
    /// What was said last.
    var progress: String?
    /// Whether it is a user's restart of one service; nil, as in a snapshot of before there were such: not.
    var restarts: Bool?
    /// The services whose number of instances it changes, and nothing else; nil: it is no such change.
    var scales: [String]?
    /// What others have taken over of what it was to scale, in sentences; nil: nothing.
    var superseded: [String]?

    /// Whether it is a user's restart of one service, and no manifest's.
    var isRestart: Bool { restarts == true }
    /// Whether it takes on a manifest as it was written: there is one of these at most.
    var isApply: Bool { !isRestart && scales == nil }
}

extension Application {
    /// Takes on a manifest: what is not changed by it is not touched.
    mutating func beginApplying(_ new: Manifest, _ command: CommandID, _ turn: inout Turn) {
        if let hindrance = applyHindrance { return turn.effects.append(.finished(command, .failed(hindrance))) }
        let before = Set(layout.names)
        let members = Set(instanceIDs)
        let rollouts = rollouts(to: new)
        supersedeRestarts(of: Set(rollouts.map(\.service)), &turn)
        supersedeScalings(under: new, &turn)
        for rollout in rollouts { markFormer(rollout.service) }
        let probed = probedProcesses
        let others =
            restarts(beside: Set(rollouts.map(\.service)), under: new) + deployments.filter { $0.scales != nil }
        takeOver(new)
        deployments =
            [Deployment(command: command, rollouts: rollouts, total: rollouts.count, fresh: [], parting: [])]
            + others
        reshape(&turn)
        deployments =
            [
                Deployment(
                    command: command, rollouts: rollouts, total: rollouts.count, fresh: freshInstances(beside: before),
                    parting: partingInstances(of: members, replacing: Set(rollouts.map(\.service))))
            ] + others
        turn.effects.append(.manifestChanged)
        turn.routesChanged = true
        for process in probed { exchangeProbes(of: process.generation, former: process.health, &turn) }
        turn.touched.append(contentsOf: instances.indices)
    }

    /// The services whose processes another manifest replaces.
    private func rollouts(to new: Manifest) -> [Rollout] {
        var rollouts: [Rollout] = []
        for change in Plan(from: self, to: new).changes where change.cost.replacesProcesses {
            guard let former = manifest.services.first(where: { $0.name == change.service }),
                let service = new.services.first(where: { $0.name == change.service })
            else { continue }
            var rollout = Rollout(service: change.service, other: former, surge: service.surge(replacing: former))
            if former.replicas < service.replicas {
                rollout.untried = Array(former.replicas + 1...service.replicas)
            }
            if change.cost == .blueGreen {
                rollout.blueGreen = BlueGreen()
            } else if let settings = change.canary {
                let canary = Canary(settings, of: service)
                rollout.canary = canary
                rollout.surge = max(rollout.surge, canary.replicas)
            }
            rollouts.append(rollout)
        }
        return rollouts
    }

    /// The instances of a service go by what is replaced, from now on.
    private mutating func markFormer(_ service: String) {
        for place in instances.indices where instances[place].id.service == service {
            instances[place].edition = .former
        }
    }

    /// Puts another manifest in the place of the one in force; what goes stays until it is down.
    mutating func takeOver(_ new: Manifest) {
        let kept = Set(new.services.map(\.name))
        let gone = manifest.services.filter { !kept.contains($0.name) }
        var next = new
        // The balancer keeps what it was started with: nobody's connections are worth a setting.
        next.supd.balancer = manifest.supd.balancer
        next.services += gone
        manifest = next
        leaving = Set(gone.map(\.name))
        revision &+= 1
    }

    /// Ready processes that stay, with how their health is probed.
    private var probedProcesses: [(generation: Generation, health: HealthSettings?)] {
        var found: [(generation: Generation, health: HealthSettings?)] = []
        for place in instances.indices where instances[place].edition == .current {
            if let generation = instances[place].readyGeneration {
                found.append((generation, service(of: place).health))
            }
        }
        return found
    }

    /// A process that stays may have to be probed in another way.
    private mutating func exchangeProbes(of generation: Generation, former: HealthSettings?, _ turn: inout Turn) {
        guard let place = owners[generation], instances[place].readyGeneration == generation,
            service(of: place).health != former
        else { return }
        if former != nil { turn.effects.append(.endHealthProbing(generation)) }
        instances[place].health = nil
        probeHealth(of: place, &turn)
    }

    /// Instances that there were not, and that are to run.
    func freshInstances(beside before: Set<InstanceID>) -> [InstanceID] {
        var fresh: [InstanceID] = []
        for instance in instances where instance.goal == .up && !before.contains(instance.id) {
            fresh.append(instance.id)
        }
        return fresh
    }

    /// Instances that are to go and are not gone. Those that stand beside the others are their rollout's, which ends when they are
    /// gone. `members` are those that the manifest asked for before: no rollout has brought them, even if they may stand in
    /// now for those that a restart replaces. Those of services that this very deployment replaces are its rollouts', however.
    func partingInstances(of members: Set<InstanceID>, replacing replaced: Set<String> = []) -> [InstanceID] {
        var parting: [InstanceID] = []
        for place in instances.indices where isExtra(place) && instances[place].state != .down {
            let id = instances[place].id
            let isMember = members.contains(id) && !replaced.contains(id.service)
            if isMember || rollout(of: id.service) == nil { parting.append(id) }
        }
        return parting
    }

    /// Ends all of them where they are.
    mutating func endDeployments(_ reason: String, _ turn: inout Turn) {
        for deployment in deployments where !deployment.isRestart {
            if deployment.isApply { turn.effects.append(.deploymentEnded(.failed(reason))) }
            if let command = deployment.command { turn.effects.append(.finished(command, .failed(reason))) }
        }
        // The instances keep their editions as long as their rollouts are known: they only stop from here.
        for index in deployments.indices {
            deployments[index].command = nil
            for position in deployments[index].rollouts.indices {
                endRecall(of: deployments[index].rollouts[position], trouble: reason, &turn)
                deployments[index].rollouts[position].recall = nil
            }
        }
    }

    /// Whether one of these is there no longer that nobody needs: a process of it may have come up late, after the deployment
    /// that took it away.
    private func hasLeft(among touched: [Int]) -> Bool {
        touched.contains { instances.indices.contains($0) && instances[$0].state == .down && isExtra($0) }
    }

    /// Takes them further after something has happened to these instances.
    /// `all`: whatever has been touched.
    mutating func advanceDeployments(_ touched: [Int], all: Bool, _ turn: inout Turn) {
        // Once the instances are those of the manifest again, all of them are looked at.
        guard !deployments.isEmpty || !leaving.isEmpty || hasLeft(among: touched), !isShuttingDown, !needsReshaping,
            all || !touched.isEmpty || deployments.contains(where: \.isOver)
        else { return }
        let services = all ? Set(manifest.services.indices) : Set(touched.map { layout.services[$0] })
        for index in deployments.indices {
            var deployment = deployments[index]
            advance(&deployment, services, index, &turn)
            deployments[index] = deployment
        }
        tellFailedRestarts(&turn)
        for deployment in deployments where deployment.isOver && !deployment.isRestart {
            turn.effects.append(
                deployment.scales.map { .scalingEnded($0, deployment.outcome) }
                    ?? .deploymentEnded(deployment.outcome))
            if let command = deployment.command { turn.effects.append(.finished(command, deployment.commandOutcome)) }
        }
        let count = deployments.count
        deployments.removeAll(where: \.isOver)
        if deployments.count != count { forgetEditions() }
        if deployments.count != count || hasIdleExtras { needsReshaping = true }
    }

    private mutating func advance(
        _ deployment: inout Deployment, _ services: Set<Int>, _ index: Int, _ turn: inout Turn
    ) {
        deployment.fresh.removeAll { id in
            guard let place = layout.places[id] else { return true }
            // A task that is at work may be so for hours: it was started, which is all that was asked for.
            let isAtWork = if case .running = instances[place].state { true } else { false }
            if isSettled(place) || isExtra(place) || isAtWork { return true }
            guard let hindrance = hindrance(place) else { return false }
            deployment.failures.append(hindrance)
            return true
        }
        deployment.parting.removeAll { id in
            layout.places[id].map { instances[$0].state == .down || !isExtra($0) } ?? true
        }
        var underWay = deployment.rollouts.count { !$0.isWaiting }
        var ended = false
        var position = 0
        while position < deployment.rollouts.count {
            var rollout = deployment.rollouts[position]
            guard let service = place(ofService: rollout.service) else {
                deployment.rollouts.remove(at: position)
                endRecall(of: rollout, trouble: "\(rollout.service) is there no longer", &turn)
                continue
            }
            if rollout.isWaiting {
                let isNext = underWay < Self.rolloutsAtATime && !waitsForOthers(service, deployment)
                guard isNext || rollout.isRecalled == true else {
                    position += 1
                    continue
                }
                rollout.isWaiting = false
                underWay += 1
            } else if !services.contains(service) {
                position += 1
                continue
            }
            deployment.rollouts[position] = rollout
            // What the instances go by is looked up in `deployments` meanwhile.
            deployments[index] = deployment
            let (isOver, culprit) = advance(&rollout, at: service, &turn)
            deployment.rollouts[position] = rollout
            deployments[index] = deployment
            if culprit != nil, !rollout.isRestart { turnedBack(service, &turn) }
            if let culprit, let failure = rollout.failure {
                // What a user sends back has not failed: no line of its log says why.
                if let who = rollout.sentBackBy {
                    deployment.recalls = (deployment.recalls ?? []) + [failure]
                    deployment.recalledBy = who
                } else {
                    deployment.failures.append(failure)
                    deployment.culprits.append(culprit)
                    deployment.culpritsSince = deployment.culpritsSince ?? [:]
                    deployment.culpritsSince?[culprit] = failureBegan(culprit, turn)
                }
            }
            if isOver {
                deployment.rollouts.remove(at: position)
                if !rollout.isRestart { end(rollout, of: service, in: &deployment, &turn) }
                deployments[index] = deployment
                for place in layout.instances[service] { instances[place].edition = .current }
                underWay -= 1
                ended = true
            } else {
                position += 1
            }
        }
        tellProgress(&deployment, &turn)
        tellRecalls(&deployment, &turn)
        // Those that waited for it are next.
        if ended, let place = instances.indices.first { turn.touched.append(place) }
    }

    /// One of its rollouts is over: what has come of one that went back.
    private func end(_ rollout: Rollout, of service: Int, in deployment: inout Deployment, _ turn: inout Turn) {
        guard rollout.failure != nil else {
            return endRecall(of: rollout, trouble: "the new version of \(rollout.service) is in force already", &turn)
        }
        let trouble = unrestored(service, beside: rollout.failure)
        if let trouble { deployment.failures.append(trouble) }
        deployment.undone = (deployment.undone ?? 0) + 1
        endRecall(of: rollout, trouble: trouble, &turn)
    }

    /// When the process of an instance that has just failed was asked for. It may have been started anew in the same turn.
    private func failureBegan(_ id: InstanceID, _ turn: Turn) -> Instant? {
        guard let place = layout.places[id], let asked = instances[place].asked else { return nil }
        return asked.latest == turn.now && instances[place].lastExit?.at == turn.now ? asked.previous : asked.latest
    }

    /// Where nothing is replaced any more there is but one settings.
    private mutating func forgetEditions() {
        let replaced = Set(deployments.flatMap(\.rollouts).map(\.service))
        for place in instances.indices where !replaced.contains(instances[place].id.service) {
            instances[place].edition = .current
        }
    }

    /// Whether a service that it depends on is replaced first.
    func waitsForOthers(_ service: Int, _ deployment: Deployment) -> Bool {
        dependencies.needs[service].contains { edge in
            let name = manifest.services[edge.service].name
            return deployment.rollouts.contains { $0.service == name }
        }
    }
}

extension Deployment {
    /// Some of the instances that made it fail, for who waits.
    func told(_ culprits: [InstanceID]) -> [Application.Culprit] {
        culprits.prefix(5).map { Application.Culprit(instance: $0, since: culpritsSince?[$0]) }
    }

    /// Nothing of it is left to do.
    var isOver: Bool { rollouts.isEmpty && fresh.isEmpty && parting.isEmpty }

    fileprivate var outcome: Application.CommandOutcome {
        let reasons = (recalls ?? []) + failures
        let text =
            reasons.prefix(5).joined(separator: "; ") + (reasons.count > 5 ? "; and \(reasons.count - 5) more" : "")
        if !culprits.isEmpty { return .rolledBack(text, culprits: told(culprits)) }
        if !failures.isEmpty { return .failed(text) }
        return reasons.isEmpty ? .done : .sentBack(text, by: recalledBy ?? "a user")
    }

    /// What comes of it for who waits: that a part of it was superseded is no failure of the services that are left.
    fileprivate var commandOutcome: Application.CommandOutcome {
        guard let superseded, !superseded.isEmpty else { return outcome }
        let services = Wording.list(scales ?? [])
        let rest = if case .failed(let text) = outcome { text } else { "\(services): done" }
        return .failed((superseded + [rest]).joined(separator: "; "))
    }
}

extension Service {
    /// Whether an instance is to have a fixed port that another one had.
    func hasPortsOf(_ former: Service) -> Bool {
        guard let port, let old = former.port, port != old else { return false }
        return abs(Int(port) - Int(old)) < max(replicas, former.replicas)
    }

    /// How many instances may run beside the others while this takes the place of `former`.
    func surge(replacing former: Service) -> Int {
        guard replicas > 0, kind == .service, former.kind == .service, port == nil, former.port == nil, isBalanced,
            former.isBalanced, balance.proxyProtocol == former.balance.proxyProtocol
        else { return 0 }
        return deploy.isBlueGreen ? replicas : min(deploy.surge, replicas)
    }
}
