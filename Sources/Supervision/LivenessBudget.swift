import Manifest

// Which unhealthy instances are restarted. Of several instances of a service only one is restarted for its health at a
// time, and never the last one that is ready: a check that fails everywhere is more often wrong, or about something that
// all of them need, than all of them are broken at once. A lone instance is restarted, because nothing else would help it.
//
// "Several" are those that are wanted and may come to serve: neither failed for good nor taken out by a user. Who waits is
// looked at again with whatever happens to an instance of the service, so that nobody waits without cause.
extension Application {
    /// Why an unhealthy instance is not restarted now.
    enum HealthHindrance: Sendable, Hashable {
        /// It is not wanted: it stops as soon as it may.
        case notWanted
        /// Its policy allows no restart.
        case policy
        /// A user has taken it out of the balancer, to look at it.
        case drained
        /// A user's restart is at work on the service.
        case command
        /// Another one is being restarted for its health.
        case turn(InstanceID)
        /// Clients would have no other one.
        case lastReady

        /// For people, after "not restarted ".
        var text: String {
            switch self {
            case .notWanted: "since it is to stop"
            case .policy: "since its restart policy is never"
            case .drained: "while it is drained"
            case .command: "while instances of its service are being restarted"
            case .turn(let other): "before \(other) is ready again"
            case .lastReady: "since no other instance is ready"
            }
        }
    }

    /// Restarts unhealthy instances of the services of these places, as far as the budget allows.
    mutating func restartUnhealthy(_ touched: [Int], _ turn: inout Turn) {
        guard !isShuttingDown else { return }
        var seen: Set<Int> = []
        for place in touched {
            let service = layout.services[place]
            guard manifest.services[service].health != nil, seen.insert(service).inserted,
                let next = nextToRestart(of: service)
            else { continue }
            let leavesNone = !layout.instances[service].contains { $0 != next && isServing($0) }
            apply(.healthRestartDue(leavesNone: leavesNone), to: next, &turn)
            settle(&turn)
        }
    }

    /// The instance that has been unhealthy for longest among those that may be restarted.
    private func nextToRestart(of service: Int) -> Int? {
        layout.instances[service]
            .filter { instances[$0].isUnhealthy && healthHindrance($0) == nil }
            .min {
                (instances[$0].health?.unhealthySince ?? .never, $0) < (
                    instances[$1].health?.unhealthySince ?? .never, $1
                )
            }
    }

    /// Why an unhealthy instance is not restarted now; nil: it is to be.
    func healthHindrance(_ place: Int) -> HealthHindrance? {
        let instance = instances[place]
        let service = layout.services[place]
        if instance.goal == .down || isShuttingDown { return .notWanted }
        if isToGo(place) { return .notWanted }
        if self.service(of: place).restart.policy == .never { return .policy }
        if instance.parking != nil { return .drained }
        let others = layout.instances[service].filter { $0 != place }
        if let other = others.first(where: { instances[$0].healing != nil }) { return .turn(instances[other].id) }
        if isRestarted(service) { return .command }
        let isAlone = !others.contains { mayServe($0) }
        return isAlone || others.contains { isServing($0) } ? nil : .lastReady
    }

    /// Whether an instance takes connections, or may come to do so before somebody does something.
    private func mayServe(_ place: Int) -> Bool {
        instances[place].goal == .up && instances[place].parking == nil && !instances[place].isFinished
    }

    /// Whether an instance takes connections and goes on to.
    private func isServing(_ place: Int) -> Bool {
        guard case .running = instances[place].state else { return false }
        return mayServe(place) && !isToGo(place)
    }

    /// Whether an instance stands in for others, and goes or is exchanged for one of other settings as soon as may be.
    private func isToGo(_ place: Int) -> Bool {
        guard isExtra(place) else { return false }
        return instances[place].edition != .current || rollout(of: instances[place].id.service)?.failure != nil
    }

    /// Whether a rollout that has not begun does so in this turn.
    private func isAboutToBegin(_ rollout: Rollout, _ service: Int) -> Bool {
        let deployment = deployments.first { $0.rollouts.contains { $0.service == rollout.service } }
        guard let deployment, !waitsForOthers(service, deployment) else { return false }
        return deployment.rollouts.count { !$0.isWaiting } < Self.rolloutsAtATime
    }

    /// Whether a user's restart has one of a service's instances in hand, or a rollout replaces them.
    private func isRestarted(_ service: Int) -> Bool {
        // A restart that has failed only holds others up until the instance is there again.
        if let rollout = rollout(of: manifest.services[service].name),
            !rollout.isWaiting || isAboutToBegin(rollout, service),
            !rollout.isRestart || rollout.failure == nil
        {
            return true
        }
        return operations.contains { operation in
            operation.verb == .restart
                && layout.instances[service].contains { place in
                    switch operation.statuses[place] {
                    case .begun, .proving: true
                    case .queued, nil: false
                    }
                }
        }
    }
}

extension Application {
    /// What `status` shows of an instance's health.
    package struct HealthView: Sendable, Hashable {
        /// healthy, unhealthy, or unknown before the first probe.
        package var state: String
        /// Failures in a row.
        package var failures: Int
        /// The last failure, perhaps one of an earlier process: why.
        package var reason: String?
        /// What the probe printed then, or the body of the answer.
        package var output: String?
        /// When that was.
        package var at: Instant?
    }

    /// Whether the core has to hear of a probe of this process: a pass that follows a pass changes nothing.
    package func isNews(_ outcome: ProbeOutcome, of generation: Generation) -> Bool {
        guard let place = owners[generation], instances[place].readyGeneration == generation else { return false }
        guard outcome.passed, let health = instances[place].health, health.generation == generation else { return true }
        return health.failures > 0 || health.successes == 0 || health.unhealthySince != nil
    }

    /// The health of an instance whose service has `health`.
    func healthView(of place: Int) -> HealthView? {
        guard service(of: place).health != nil, service(of: place).kind == .service else { return nil }
        let instance = instances[place]
        let failure = instance.health?.lastFailure
        let output = failure.flatMap { $0.output.isEmpty ? nil : $0.output }
        guard let health = instance.health, let readyGeneration = instance.readyGeneration,
            health.generation == readyGeneration,
            health.failures + health.successes > 0
        else {
            return HealthView(state: "unknown", failures: 0, reason: failure?.reason, output: output, at: failure?.at)
        }
        return HealthView(
            state: health.unhealthySince == nil ? "healthy" : "unhealthy", failures: health.failures,
            reason: failure?.reason, output: output, at: failure?.at)
    }

    /// What to say of an unhealthy instance that is still there; nil if it is none.
    func healthDetail(of place: Int) -> String? {
        guard instances[place].isUnhealthy, let health = instances[place].health else { return nil }
        guard let hindrance = healthHindrance(place) else { return health.reason }
        return "\(health.reason); not restarted \(hindrance.text)"
    }
}
