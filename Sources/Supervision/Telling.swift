package import Events
import Manifest

/// What a turn has changed, as events. The ledger says what was told; at the end of a turn every instance that was touched
/// is compared with it, here and nowhere else, so that no change of state can be forgotten. Only what leaves no trace in an
/// instance, how its process has ended, is noted where it happens.
///
/// The ledger is no part of the snapshot, which may be a little older than the last event: a new supervisor is given it
/// from what is on disk (`recall`). An exit that was told, but of which the snapshot knows nothing, is told to the core
/// again: until then its instance is not compared, for the state that it seems to have is one of before.
extension Application {
    /// Before `resume`: what was told by those before.
    package mutating func recall(_ ledger: EventLedger) { told = ledger }

    /// The end of a process that an instance, or the list of leftovers, knows.
    func noteExit(_ generation: Generation, _ status: ExitStatus, of id: InstanceID, _ turn: inout Turn) {
        let reason = Wording.reason(status, limits: layout.places[id].map { service(of: $0).limits } ?? [])
        var end = EventKind.ProcessEnd(generation: generation.number, reason: reason)
        switch status {
        case .code(let code): end.code = code
        case .signal(let number, _): end.signal = Wording.signalName(number)
        }
        turn.untold.append((.exit(end), id))
    }

    /// Tells what is otherwise than it was told.
    mutating func tellChanges(_ turn: inout Turn) {
        for (kind, instance) in turn.untold where !wasTold(kind, of: instance) {
            tell(withRestarts(kind, of: instance), of: instance, &turn)
        }
        turn.untold = []
        if let places = turn.changed {
            for place in places where instances.indices.contains(place) { tellChanges(of: place, &turn) }
        } else {
            for place in instances.indices { tellChanges(of: place, &turn) }
        }
        tellGone(&turn)
        tellRollouts(&turn)
        tellScalingRelief(&turn)
    }

    /// Of a start that came to nothing, which of the restarts by itself it was: that is counted after it was noted.
    private func withRestarts(_ kind: EventKind, of id: InstanceID) -> EventKind {
        guard case .startFailed(var failure) = kind, let place = layout.places[id] else { return kind }
        let instance = instances[place]
        if instance.ownRestarts > 0, instance.restartCounts?.hasWoken != true {
            failure.restarts = instance.ownRestarts
        }
        return .startFailed(failure)
    }

    private mutating func tell(_ kind: EventKind, of id: InstanceID, _ turn: inout Turn) {
        told.take(kind, service: id.service, instance: id.description)
        turn.effects.append(.happened(kind, service: id.service, instance: id))
    }

    /// Whether the end of this process was told before.
    private func wasTold(_ kind: EventKind, of id: InstanceID) -> Bool {
        guard layout.places[id] != nil || told.instances[id.description] != nil else { return true }
        let before = told.told(of: id.description)
        switch kind {
        case .exit(let end): return before.hasEnded(end.generation)
        default: return false
        }
    }

    private mutating func tellChanges(of place: Int, _ turn: inout Turn) {
        let instance = instances[place]
        let id = instance.id
        let before = told.told(of: id.description)
        if instance.goal.rawValue != before.goal {
            tell(.goal(.init(goal: instance.goal.rawValue, reason: goalReason(of: place, turn))), of: id, &turn)
        }
        if (instance.parking != nil) != before.isDrained {
            tell(.drain(.init(drained: instance.parking != nil)), of: id, &turn)
        }
        guard !isExitDue(instance, before) else { return }
        tellUnseenEnd(of: id, before, &turn)
        if let process = instance.process, let pid = process.pid, process.generation.number > before.started {
            let start = EventKind.ProcessStart(
                generation: process.generation.number, pid: pid, restarts: instance.ownRestarts,
                woken: instance.restartCounts?.hasWoken)
            tell(.start(start), of: id, &turn)
        }
        // Before the state: one that is unhealthy may be restarted in the same turn.
        tellHealth(of: instance, &turn)
        let state = eventState(of: instance)
        if state != before.state {
            var change = EventKind.StateChange(from: before.state, to: state, reason: eventReason(of: place))
            if case .backoff = instance.state { change.failures = instance.failures }
            tell(.state(change), of: id, &turn)
        }
    }

    /// The process that was told to have started is no more, and nobody has seen how it ended: while no supervisor was there, or
    /// before the word of it came.
    private mutating func tellUnseenEnd(of id: InstanceID, _ before: EventLedger.Instance, _ turn: inout Turn) {
        let generation = Generation(before.started)
        guard before.lives, owners[generation] == nil,
            !leftovers.contains(where: { $0.generation == generation })
        else { return }
        tell(.exit(.init(generation: before.started, reason: Self.unseen)), of: id, &turn)
    }

    /// A leftover is no more; its end was noted before, or nobody has seen it.
    func noteUnseenEnd(of leftover: Leftover, _ turn: inout Turn) {
        let generation = leftover.generation.number
        guard generation <= told.instances[leftover.instance.description]?.started ?? 0 else { return }
        let end = EventKind.ProcessEnd(generation: generation, reason: Self.unseen)
        turn.untold.append((.exit(end), leftover.instance))
    }

    private static let unseen = "ended while nobody looked"

    /// Its process has ended, which was told, and the core has not heard of it: it will.
    private func isExitDue(_ instance: Instance, _ before: EventLedger.Instance) -> Bool {
        guard let process = instance.process, before.hasEnded(process.generation.number) else { return false }
        if case .stopping(_, let stop) = instance.state { return !stop.leaderEnded }
        return true
    }

    private mutating func tellHealth(of instance: Instance, _ turn: inout Turn) {
        guard let process = instance.process else { return }
        let health = instance.health.flatMap { $0.generation == process.generation ? $0 : nil }
        // Of a ready one without any result, or any check, supd has nothing against it.
        guard health != nil || instance.readyGeneration != nil else { return }
        let outcome: EventKind.ProbeChange.Outcome =
            health?.unhealthySince != nil ? .unhealthy : health?.failures ?? 0 > 0 ? .failing : .passing
        guard outcome != told.told(of: instance.id.description).health else { return }
        let reason = outcome == .passing ? nil : health?.lastFailure?.reason
        tell(.probe(.init(outcome: outcome, reason: reason)), of: instance.id, &turn)
    }

    /// The state as `supctl status` has it.
    func eventState(of instance: Instance) -> String {
        if case .stopping(_, let stop) = instance.state, case .draining = stop.phase { return "draining" }
        return word(instance.state)
    }

    /// Why something else is wanted of it, where nobody has asked for that.
    private func goalReason(of place: Int, _ turn: Turn) -> String? {
        let instance = instances[place]
        guard instance.isAsleep == true else { return turn.wakeReasons[instance.id] }
        return service(of: place).idleAfter.map { "asleep after \(Wording.time($0)) without connections" }
    }

    /// Why it is in this state, where the state does not say it.
    private func eventReason(of place: Int) -> String? {
        switch instances[place].state {
        case .waiting: return missing(of: place)
        case .failed(let reason): return reason
        case .backoff: return instances[place].lastExit?.reason
        case .stopping(_, let stop):
            switch stop.cause {
            case .ending(let ending): return ending.reason
            case .replacement: return "to be replaced"
            case .goal: return nil
            }
        case .down, .starting, .running, .completed: return nil
        }
    }

    /// Instances that were taken away, once nothing of them is left.
    private mutating func tellGone(_ turn: inout Turn) {
        // Each that is there was told by now.
        guard told.instances.count > layout.names.count else { return }
        let known = Set(layout.names.map(\.description) + leftovers.map(\.instance.description))
        for name in told.instances.keys.filter({ !known.contains($0) }).sorted() {
            guard let id = InstanceID(name), let before = told.instances[name] else {
                told.instances[name] = nil
                continue
            }
            tellUnseenEnd(of: id, before, &turn)
            let stoodIn = turn.standInsGone.contains(id)
            tell(.gone(.init(reason: stoodIn ? "it stood in while \(id.service) was replaced" : nil)), of: id, &turn)
        }
    }

    // MARK: Rollouts

    private mutating func tellRollouts(_ turn: inout Turn) {
        guard !deployments.isEmpty || !told.rollouts.isEmpty else { return }
        let rollouts = deployments.flatMap(\.rollouts).filter { !$0.isWaiting }
        for rollout in rollouts { tellSteps(of: rollout, &turn) }
        let underWay = Set(deployments.flatMap(\.rollouts).map(\.service))
        for (service, before) in told.rollouts.sorted(by: { $0.key < $1.key }) where !underWay.contains(service) {
            for name in before.replacing.sorted() { tellLeft(name, of: service, &turn) }
            let turned = turn.wentBack[service]
            if let turned, !before.goesBack { tell(turned, of: service, nil, &turn) }
            let goesBack = before.goesBack || turned != nil
            let who = before.sentBackBy ?? turned?.by
            var step = EventKind.RolloutStep(step: goesBack ? .wentBack : .done, by: goesBack ? who : nil)
            if turn.isResumption { step = .init(step: .gaveUp, reason: "what came of it nobody knows any more") }
            tell(step, of: service, nil, &turn)
        }
    }

    private mutating func tell(
        _ step: EventKind.RolloutStep, of service: String, _ instance: InstanceID?, _ turn: inout Turn
    ) {
        told.take(.rollout(step), service: service, instance: instance?.description)
        turn.effects.append(.happened(.rollout(step), service: service, instance: instance))
    }

    private mutating func tellSteps(of rollout: Rollout, _ turn: inout Turn) {
        let service = rollout.service
        if told.rollouts[service] == nil { tell(.init(step: .began), of: service, nil, &turn) }
        let names = Set(rollout.underWay.map { InstanceID(service: service, number: $0).description })
        for name in (told.rollouts[service]?.replacing ?? []).subtracting(names).sorted() {
            tellLeft(name, of: service, &turn)
        }
        if let failure = rollout.failure, told.rollouts[service]?.goesBack != true {
            tell(.init(step: .goingBack, reason: failure, by: rollout.sentBackBy), of: service, nil, &turn)
        }
        if rollout.failure == nil, rollout.blueGreen?.hasSwitched == true, told.rollouts[service]?.hasSwitched != true {
            tell(.init(step: .switched), of: service, nil, &turn)
        }
        for number in rollout.underWay {
            let id = InstanceID(service: service, number: number)
            guard told.rollouts[service]?.replacing.contains(id.description) != true else { continue }
            tell(.init(step: .replacing), of: service, id, &turn)
        }
    }

    /// An instance was replaced, or is not waited for any longer.
    private mutating func tellLeft(_ name: String, of service: String, _ turn: inout Turn) {
        guard let id = InstanceID(name) else {
            told.rollouts[service]?.replacing.remove(name)
            return
        }
        // It may be gone by now, which those who read the events learn like anything else.
        var isReplaced = false
        if let place = layout.places[id] {
            isReplaced =
                switch instances[place].state {
                case .running, .completed: instances[place].edition == .current
                case .down, .waiting, .starting, .stopping, .backoff, .failed: false
                }
        }
        tell(.init(step: isReplaced ? .replaced : .gaveUp), of: service, id, &turn)
    }
}

extension InstanceID {
    /// The name in `api/2`.
    fileprivate init?(_ name: String) {
        guard let slash = name.lastIndex(of: "/"), let number = Int(name[name.index(after: slash)...]) else {
            return nil
        }
        self.init(service: String(name[..<slash]), number: number)
    }
}
