import Manifest

@testable import Supervision

/// Health: what probes find, and what must hold for restarts because of it.
extension World {
    /// What the core was told of a process, counted anew.
    struct Strikes {
        var failures = 0
        var passes = 0
        var isUnhealthy = false

        mutating func count(_ passed: Bool, _ settings: HealthSettings) {
            if passed {
                passes += 1
                failures = 0
                if passes >= settings.successes { isUnhealthy = false }
            } else {
                failures += 1
                passes = 0
                if failures >= settings.failures { isUnhealthy = true }
            }
        }
    }

    private func settings(_ instance: InstanceID) -> Service? {
        app.manifest.services.first { $0.name == instance.service }
    }

    /// The shell's health prober.
    mutating func probeHealth(_ generation: Generation) {
        guard let child = children[generation], let health = settings(child.instance)?.health else { return }
        let isSick = child.sick.map { $0.contains(now) } ?? false
        let passed = child.leaderAlive && !isSick && !sickServices.contains(child.instance.service)
        let outcome = Application.ProbeOutcome(passed: passed, reason: passed ? "fine" : "no answer")
        let isNews = app.isNews(outcome, of: generation)
        if isNews { send(.healthProbed(generation, outcome)) }
        // Once all is calm, a healthy one stays so.
        if isCalm, passed, !isNews { return }
        schedule(.healthProbe(generation, epoch: epoch), in: health.interval.wholeNanoseconds)
    }

    /// Notes what the core is told.
    mutating func rememberHealth(_ generation: Generation, _ outcome: Application.ProbeOutcome) {
        guard let place = app.owners[generation], case .running = app.instances[place].state,
            let health = settings(app.instances[place].id)?.health
        else { return }
        strikes[generation, default: Strikes()].count(outcome.passed, health)
    }

    /// A new supervisor knows what the snapshot knew.
    mutating func rememberHealth() {
        strikes = [:]
        healing = []
        for instance in app.instances {
            if instance.healing != nil { healing.insert(instance.id) }
            guard let health = instance.health else { continue }
            strikes[health.generation] = Strikes(
                failures: health.failures, passes: health.successes, isUnhealthy: health.unhealthySince != nil)
        }
    }

    /// After a turn: who was restarted for its health might be, and who had to be was.
    mutating func checkHealth(after event: Application.Event?, _ before: Application) throws(Violation) {
        let old = Dictionary(before.instances.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
        // Those that another manifest has taken away are nobody's any more.
        healing.formIntersection(app.instances.map(\.id))
        for instance in app.instances where healing.contains(instance.id) {
            switch instance.state {
            case .running, .down, .failed, .completed: healing.remove(instance.id)
            case .waiting, .starting, .stopping, .backoff:
                if instance.goal == .down { healing.remove(instance.id) }
            }
        }
        for instance in app.instances {
            guard case .running(let process)? = old[instance.id]?.state,
                case .stopping(_, let stop) = instance.state, case .ending(let ending) = stop.cause,
                ending.reason.hasPrefix("unhealthy")
            else { continue }
            try checkRestart(instance, process, ending)
            healing.insert(instance.id)
            tally.count(.healthRestart)
        }
        for name in Set(healing.map(\.service)) where healing.count(where: { $0.service == name }) > 1 {
            throw Violation(text: "two instances of \(name) are restarted for their health at a time")
        }
        if case .healthProbed(let generation, _) = event { try checkNotIgnored(generation) }
    }

    private func checkRestart(
        _ instance: Instance, _ process: Instance.Process, _ ending: Ending
    ) throws(Violation) {
        guard let service = settings(instance.id), strikes[process.generation]?.isUnhealthy == true else {
            throw Violation(text: "\(instance.id) is restarted for its health, and is not unhealthy")
        }
        guard service.restart.policy != .never, !parked.contains(instance.id), instance.goal == .up, !app.isShuttingDown
        else {
            throw Violation(text: "\(instance.id) is restarted for its health, and must not be")
        }
        let others = rivals(of: instance)
        guard others.isEmpty || others.contains(where: isRunning) else {
            throw Violation(text: "\(instance.id) was the last ready one, and is restarted for its health")
        }
        let lasted = now - process.beganAt.nanoseconds
        guard !ending.wasHealthy || lasted >= service.restart.healthyRun else {
            throw Violation(text: "\(instance.id) counts as healthy after \(lasted) ns")
        }
    }

    /// Nothing keeps a lone unhealthy instance from being restarted.
    private func checkNotIgnored(_ generation: Generation) throws(Violation) {
        guard let place = app.owners[generation], strikes[generation]?.isUnhealthy == true else { return }
        let instance = app.instances[place]
        guard isRunning(instance), let service = settings(instance.id), service.restart.policy != .never,
            instance.goal == .up, !parked.contains(instance.id), !isShuttingDown
        else { return }
        let restarts = app.operations.filter { operation in
            operation.verb == .restart
                && operation.open.contains { app.instances[$0].id.service == instance.id.service }
        }
        // A rollout replaces it, or has done so; its end is waited for.
        guard app.rollout(of: instance.id.service) == nil else { return }
        guard restarts.isEmpty, !healing.contains(where: { $0.service == instance.id.service }) else { return }
        let others = rivals(of: instance)
        if others.isEmpty { throw Violation(text: "\(instance.id) is alone, unhealthy, and not restarted") }
        if others.contains(where: isRunning) {
            throw Violation(text: "\(instance.id) is unhealthy, not the last ready one, and not restarted")
        }
    }

    private func isRunning(_ instance: Instance) -> Bool { if case .running = instance.state { true } else { false } }

    /// The other instances of its service that serve, or may come to.
    private func rivals(of instance: Instance) -> [Instance] {
        app.instances.filter { other in
            guard other.id.service == instance.id.service, other.id != instance.id, other.goal == .up,
                !parked.contains(other.id)
            else { return false }
            if case .failed = other.state { return false }
            return other.state != .completed
        }
    }

    /// After the effects: exactly the ready processes of services with a health section are probed.
    func checkHealthProbing() throws(Violation) {
        var wanted: Set<Generation> = []
        for instance in app.instances {
            guard case .running(let process) = instance.state, let service = settings(instance.id),
                service.kind == .service, service.health != nil
            else { continue }
            wanted.insert(process.generation)
        }
        guard wanted == healthProbing else {
            throw Violation(text: "probed for their health are \(healthProbing), not \(wanted)")
        }
    }

    /// Long after the last trouble.
    func checkHealthAtRest() throws(Violation) {
        for instance in app.instances where isRunning(instance) {
            guard let generation = instance.process?.generation, strikes[generation]?.isUnhealthy != true else {
                throw Violation(text: "\(instance.id) is unhealthy for ever")
            }
        }
        // One that waits for a dependency in vain is still on its way: the others had better not follow it.
        for instance in app.instances where instance.healing != nil || healing.contains(instance.id) {
            guard instance.state == .waiting || instance.port == 0 else {
                throw Violation(text: "the restart of \(instance.id) for its health hangs")
            }
        }
    }
}
