/// What follows from all events so far: what was told of each instance. A supervisor compares with it what is, and tells the
/// difference; the next one gets it by reading what the one before has written down, so that nothing is told twice and
/// nothing is left out.
package struct EventLedger: Sendable, Hashable, Codable {
    /// What was told of an instance.
    package struct Instance: Sendable, Hashable, Codable {
        /// Its state; nil: none was told.
        package var state: String?
        /// What is wanted of it.
        package var goal = "up"
        /// The highest generation whose start was told.
        package var started: UInt64 = 0
        /// Whether the end of that one was not told.
        package fileprivate(set) var lives = false
        /// The last generations whose end was told; no supervisor asks for older ones.
        package fileprivate(set) var ended: [UInt64] = []
        /// What its health probes came to.
        package var health = EventKind.ProbeChange.Outcome.passing
        /// A user has taken it out of the balancer.
        package var isDrained = false

        /// Nothing was told of it.
        package init() {}

        /// Whether the end of a process was told.
        package func hasEnded(_ generation: UInt64) -> Bool {
            ended.contains(generation) || generation == started && !lives
        }

        /// The end of a process is told.
        fileprivate mutating func end(_ generation: UInt64) {
            if generation == started { lives = false }
            if ended.count == 8 { ended.removeFirst() }
            ended.append(generation)
        }
    }

    /// What was told of a rollout under way.
    package struct Rollout: Sendable, Hashable, Codable {
        /// It goes back.
        package var goesBack = false
        /// At whose wish it goes back; nil: because of a failure, or it does not.
        package var sentBackBy: String?
        /// All its new instances have taken over at once; nil: not, or it goes on one after the other.
        package var hasSwitched: Bool?
        /// The instances that are being replaced.
        package var replacing: Set<String> = []

        /// It has begun.
        package init() {}
    }

    /// By their names.
    package var instances: [String: Instance] = [:]
    /// Of the last instances that are gone: which processes were told of. The keeper may still have one, and the instance come
    /// back with a snapshot of before.
    package private(set) var gone: [String: Instance] = [:]
    /// By the services' names.
    package var rollouts: [String: Rollout] = [:]
    /// What keeps services from having as many instances as their load asks for, by their names; nil: nothing does.
    package private(set) var scaleHindrances: [String: EventKind.ScaleHindrance]?
    /// The process of the last balancer that was told to have started, and not to have ended.
    package var balancer: Int32?

    /// So many that are gone are known.
    private static let mostGone = 256

    /// Nothing has happened.
    package init() {}

    /// What was told of an instance, which may be nothing.
    package func told(of name: String) -> Instance { instances[name] ?? gone[name] ?? Instance() }

    private mutating func forget(_ name: String) {
        guard let told = instances.removeValue(forKey: name) else { return }
        var past = Instance()
        (past.started, past.lives, past.ended) = (told.started, told.lives, told.ended)
        gone[name] = past
        guard gone.count > Self.mostGone else { return }
        let oldest = gone.min { ($0.value.started, $0.key) < ($1.value.started, $1.key) }
        if let oldest { gone[oldest.key] = nil }
    }

    /// One more event.
    package mutating func take(_ kind: EventKind, service: String?, instance: String?) {
        switch kind {
        case .daemon(let daemon) where daemon.step == .started: self = EventLedger()
        case .role(let step) where step.role == "balancer": balancer = step.step == "started" ? step.pid : nil
        case .rollout(let step):
            if let service { takeRollout(step, of: service, instance) }
        case .scale:
            if let service { takeHindrance(nil, of: service) }
        case .scaleHindered(let hindrance):
            if let service { takeHindrance(hindrance.reason == nil ? nil : hindrance, of: service) }
        case .gone:
            if let instance { forget(instance) }
        default:
            if let instance { takeInstance(kind, instance) }
        }
    }

    private mutating func takeInstance(_ kind: EventKind, _ name: String) {
        // What is no change of an instance's own leaves no trace of it.
        var told = told(of: name)
        switch kind {
        case .state(let change): told.state = change.to
        case .goal(let change): told.goal = change.goal
        case .start(let start):
            // The word of its end may come before that of its start.
            if start.generation > told.started {
                (told.started, told.lives) = (start.generation, !told.ended.contains(start.generation))
            }
            // A new process has not failed yet.
            told.health = .passing
        case .exit(let end): told.end(end.generation)
        case .probe(let change): told.health = change.outcome
        case .drain(let change): told.isDrained = change.drained
        // The number of a start that the keeper never heard of is given again.
        case .startFailed: return
        case .gone, .rollout, .scale, .scaleHindered, .limit, .logDropped, .command, .apply, .role, .daemon, .lost,
            .other:
            return
        }
        instances[name] = told
        gone[name] = nil
    }

    private mutating func takeHindrance(_ hindrance: EventKind.ScaleHindrance?, of service: String) {
        var all = scaleHindrances ?? [:]
        all[service] = hindrance
        scaleHindrances = all.isEmpty ? nil : all
    }

    private mutating func takeRollout(
        _ step: EventKind.RolloutStep, of service: String, _ instance: String?
    ) {
        var rollout = rollouts[service] ?? Rollout()
        switch step.step {
        case .began: rollout = Rollout()
        case .replacing:
            if let instance { rollout.replacing.insert(instance) }
        case .replaced, .gaveUp:
            guard let instance else { return rollouts[service] = nil }
            rollout.replacing.remove(instance)
        case .switched: rollout.hasSwitched = true
        case .goingBack:
            rollout.goesBack = true
            rollout.sentBackBy = step.by
            rollout.replacing = []
        case .done, .wentBack: return rollouts[service] = nil
        }
        rollouts[service] = rollout
    }
}
