import Manifest

// A user's restart, where other instances may stand in.
//
// The command is an `Operation`, as all are. Of a service that may surge, the instances that serve clients are replaced by a
// rollout whose two settings are the same: a process beside the others comes up first, then each is replaced in its place,
// then what stood in drains and goes. The command is done when the instances that were named are up again, and does not wait
// for that last part. If one does not come up, the command fails and what was not replaced goes on. Everything else is
// restarted in place: what serves nobody, and services with a fixed port, without fronts, or with `surge: 0`.
//
// There is one rollout for a service: a second restart that names others joins it, one that names the same ones takes over. An
// apply that replaces the service's processes takes its place.
extension Application {
    /// Whether the ready instances of a service can be replaced with others standing in.
    func mayRestartBeside(_ service: Int) -> Bool {
        let settings = manifest.services[service]
        guard !leaving.contains(settings.name), settings.surge(replacing: settings) > 0 else { return false }
        if let rollout = rollout(of: settings.name) { return rollout.isRestart }
        return spareLoopbackPorts > 0
    }

    /// Ports that instances beside the others could have, without those that were promised in this turn.
    private var spareLoopbackPorts: Int {
        let promised = deployments.filter(\.isRestart).flatMap(\.rollouts).map { rollout in
            guard let service = place(ofService: rollout.service) else { return 0 }
            return manifest.services[service].replicas + rollout.surge - layout.instances[service].count
        }
        return ports.freeCount - promised.map { max(0, $0) }.reduce(0, +)
    }

    /// Whether clients of the balancer are served by an instance.
    func takesClients(_ place: Int) -> Bool {
        guard case .running = instances[place].state else { return false }
        return instances[place].goal == .up && instances[place].parking == nil
    }

    /// Begins to replace all of these instances of a service with others standing in; false: they cannot be, or some of
    /// them serve nobody and come first.
    mutating func restartBeside(
        _ places: [Int], of service: Int, _ operation: inout Operation, _ turn: inout Turn
    ) -> Bool {
        guard mayRestartBeside(service), places.allSatisfy(takesClients) else { return false }
        let settings = manifest.services[service]
        let surge = min(settings.surge(replacing: settings), places.count, max(1, spareLoopbackPorts))
        for place in places {
            operation.statuses[place] = .begun(after: instances[place].latest ?? Generation(0))
            instances[place].edition = .former
            turn.note(place, of: service)
        }
        operation.rollouts = (operation.rollouts ?? []).union([settings.name])
        needsReshaping = true
        for index in deployments.indices {
            guard let position = deployments[index].rollouts.firstIndex(where: { $0.service == settings.name }) else {
                continue
            }
            // What has taken over already may be on its way out.
            if deployments[index].rollouts[position].blueGreen?.hasSwitched == true {
                letAllServe(settings.name, &turn)
            }
            deployments[index].rollouts[position].failure = nil
            deployments[index].rollouts[position].surge = max(surge, deployments[index].rollouts[position].surge)
            return true
        }
        var rollout = Rollout(service: settings.name, other: settings, surge: surge)
        rollout.restarts = true
        let wanted = layout.instances[service].count { !isExtra($0) && instances[$0].goal == .up }
        if settings.deploy.isBlueGreen, surge == settings.replicas, places.count == wanted {
            rollout.blueGreen = BlueGreen()
        }
        var deployment = Deployment(command: nil, rollouts: [rollout], total: 1, fresh: [], parting: [])
        deployment.restarts = true
        deployments.append(deployment)
        return true
    }

    /// Whether an instance is still to be replaced by a restart's rollout, or not up again.
    func isBeingRestarted(_ place: Int) -> Bool {
        guard let rollout = rollout(of: instances[place].id.service), rollout.isRestart else { return false }
        return instances[place].edition != .current || rollout.underWay.contains(instances[place].id.number)
    }

    /// Whether an instance stands in for those of a command.
    func standsIn(_ place: Int, for operation: Operation) -> Bool {
        operation.rollouts?.contains(instances[place].id.service) == true && isExtra(place)
    }

    /// A restart is over before it was done: nobody asks any more for what was not replaced yet.
    mutating func abandonRestarts(of operation: Operation, besides others: [Operation], _ turn: inout Turn) {
        guard operation.rollouts != nil else { return }
        for place in operation.open where instances[place].edition == .former {
            guard rollout(of: instances[place].id.service)?.isRestart == true,
                !others.contains(where: { $0.verb == .restart && $0.statuses[place] != nil })
            else { continue }
            letAllServe(instances[place].id.service, &turn)
            instances[place].edition = .current
            turn.note(place, of: layout.services[place])
        }
    }

    /// A stop of a whole service is one of those that stand in, too.
    mutating func stopStandIns(of operation: inout Operation, after: Generation, _ turn: inout Turn) {
        guard !deployments.isEmpty else { return }
        for service in Set(operation.open.map { layout.services[$0] }).sorted() {
            let places = layout.instances[service]
            let standIns = places.filter { isExtra($0) && instances[$0].state != .down }
            guard places.allSatisfy({ isExtra($0) || instances[$0].goal == .down }) else { continue }
            for place in standIns where operation.statuses[place] == nil {
                operation.open.append(place)
                operation.total += 1
                operation.statuses[place] = .begun(after: after)
            }
            setGoal(.down, of: standIns, &turn)
        }
    }

    // MARK: Failure

    /// A new process does not come up: what was not replaced goes on.
    mutating func giveUp(
        _ rollout: inout Rollout, _ reason: String, culprit: Int, _ service: Int, _ turn: inout Turn
    ) {
        let rest =
            isExtra(culprit)
            ? "what ran before goes on (a program that must not run twice at a time needs deploy: { surge: 0 })"
            : "supd goes on trying"
        rollout.failure = "\(reason); \(rest)"
        rollout.blueGreen = nil
        letAllServe(rollout.service, &turn)
        for place in layout.instances[service] where instances[place].edition == .former {
            instances[place].edition = .current
            turn.note(place, of: service)
        }
        // What is left of the rollout is looked at once more.
        turn.touched.append(culprit)
        turn.report(
            instances[culprit].id, .error, "the restart of \(rollout.service) stops: \(reason); \(rest)")
    }

    /// Whether an instance that does not come up is tried again by itself: others stand in for it until it is there.
    func goesOnTrying(_ place: Int) -> Bool {
        guard instances[place].goal == .up, instances[place].port != 0 else { return false }
        switch instances[place].state {
        case .starting, .stopping, .backoff: return true
        case .down, .waiting, .running, .failed, .completed: return false
        }
    }

    /// Tells those who wait for restarts that have failed.
    mutating func tellFailedRestarts(_ turn: inout Turn) {
        for index in deployments.indices where deployments[index].isRestart && !deployments[index].culprits.isEmpty {
            let services = Set(deployments[index].rollouts.map(\.service))
            let text = deployments[index].failures.joined(separator: "; ")
            let culprits = deployments[index].told(deployments[index].culprits)
            deployments[index].failures = []
            deployments[index].culprits = []
            deployments[index].culpritsSince = nil
            let failed = operations.filter {
                $0.open.contains(where: { services.contains(instances[$0].id.service) })
                    && $0.rollouts?.isDisjoint(with: services) == false
            }
            operations.removeAll { failed.contains($0) }
            for operation in failed {
                finish(operation, .rolledBack(text, culprits: culprits), &turn)
                abandonRestarts(of: operation, besides: operations, &turn)
            }
        }
    }

    // MARK: Another manifest

    /// An apply that replaces the processes of these services takes over from their restarts.
    mutating func supersedeRestarts(of services: Set<String>, _ turn: inout Turn) {
        let over = operations.filter { operation in
            guard operation.verb == .restart else { return false }
            let standIns = operation.rollouts?.isDisjoint(with: services) == false
            return operation.open.contains { place in
                // One whose turn has come in its place comes up as what it was, and is replaced then like all others.
                services.contains(instances[place].id.service)
                    && (standIns && isBeingRestarted(place) || operation.statuses[place] == .queued)
            }
        }
        operations.removeAll { over.contains($0) }
        for operation in over {
            finish(operation, .failed("superseded by a later apply"), &turn)
            abandonRestarts(of: operation, besides: operations, &turn)
        }
    }

    /// The restarts that go on under another manifest, which replaces the processes of some services itself.
    func restarts(beside replaced: Set<String>, under new: Manifest) -> [Deployment] {
        deployments.compactMap { deployment in
            guard deployment.isRestart else { return nil }
            var deployment = deployment
            deployment.rollouts = deployment.rollouts.compactMap { rollout in
                guard !replaced.contains(rollout.service),
                    let settings = new.services.first(where: { $0.name == rollout.service })
                else { return nil }
                var rollout = rollout
                // Another number of instances, or another strategy, and the new ones are no set that could take over at once.
                if settings != rollout.other { rollout.blueGreen = nil }
                rollout.other = settings
                rollout.surge = min(rollout.surge, settings.surge(replacing: settings))
                return rollout
            }
            return deployment.rollouts.isEmpty ? nil : deployment
        }
    }

    /// What an instance does that a command waits for; nil: nothing that is worth telling.
    func restartActivity(_ place: Int) -> String? {
        guard instances[place].edition == .former, isBeingRestarted(place) else { return activity(place) }
        let standIns = layout.instances[layout.services[place]].filter { isExtra($0) && instances[$0].goal == .up }
        return standIns.first { !hasComeUp($0) }.map { "\(activity($0)) beside the others" }
    }
}
