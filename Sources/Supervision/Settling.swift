import Manifest

/// What a service is to others: to those that depend on it, those it depends on, and the balancer.
struct ServiceFacts: Sendable, Hashable {
    /// Instances that are ready; of a task, those that have completed.
    var ready = 0
    /// Instances whose process was started; of a task also those that have completed.
    var started = 0
    /// Instances that have completed.
    var completed = 0
    /// Instances that get no further until somebody does something: failed, down by goal, three failed starts in a row,
    /// or waiting for such ones.
    var stuck = 0
    /// Instances that are not down.
    var present = 0
    /// An instance is to go down and has a process.
    var isLeaving = false
    /// An instance is to be up, and may come to be.
    var holds = false
    /// While an instance is replaced in place: until when connections wait.
    var holdUntil: Instant?
    /// An instance sleeps until a connection comes.
    var isAsleep = false

    /// Whether a condition on the service is met.
    func meets(_ condition: Dependency.Condition, of instances: Int) -> Bool {
        switch condition {
        case .ready: ready > 0
        case .started: started > 0
        case .completed: completed == instances
        }
    }

    /// Whether a condition that is not met will not be until somebody does something.
    func isStuck(for condition: Dependency.Condition, of instances: Int) -> Bool {
        switch condition {
        case .ready, .started: stuck == instances
        case .completed: stuck > 0
        }
    }
}

/// How what changed in one instance reaches the others in the same turn.
extension Application {
    /// Gives an event to an instance and notes what others may have to do about it.
    mutating func apply(_ event: Instance.Event, to place: Int, _ turn: inout Turn) {
        let service = layout.services[place]
        let endpoint = instances[place].endpoint
        let owned = instances[place].process?.generation
        let leavingPort = portOnItsWayOut(place)
        let port = instances[place].port
        let wasWaiting = instances[place].state == .waiting
        let readyGeneration = instances[place].readyGeneration
        let settings = self.service(of: place)
        let surroundings = Instance.Surroundings(
            mayStart: mayStart(place), mayStop: blockers[service] == 0, isShuttingDown: isShuttingDown,
            successor: successor(of: place))

        watchCanary(event, at: place)
        if port == 0 { instances[place].port = ports.free(after: 0) ?? 0 }
        instances[place].handle(event, of: settings, in: surroundings, &turn)

        instances[place].endHealing()
        if instances[place].goal == .up { instances[place].isAsleep = nil }
        if instances[place].readyGeneration != readyGeneration {
            exchangeHealthProbing(readyGeneration, of: settings, at: place, &turn)
        }

        let owns = instances[place].process?.generation
        if owns != owned {
            if let owned { owners[owned] = nil }
            if let owns { owners[owns] = place }
        }
        if instances[place].port != port { exchangePort(port, for: instances[place].port) }
        if instances[place].endpoint != endpoint, manifest.services[service].isBalanced {
            turn.routesChanged = true
        }
        if !wasWaiting, instances[place].state == .waiting {
            turn.report(instances[place].id, .info, "waits for \(missing(of: place))")
        }
        if let leavingPort, instances[place].process?.port != leavingPort { turn.freedPorts.insert(leavingPort) }
        turn.note(place, of: service)
    }

    /// Brings all facts up to date and lets those act who waited for them, until nothing changes any more. It ends
    /// because dependencies have no cycles and an instance only goes forward within a turn.
    mutating func settle(_ turn: inout Turn) {
        repeat { settleServices(&turn) } while wakeForPorts(&turn)
    }

    private mutating func settleServices(_ turn: inout Turn) {
        while let service = turn.nextUnsettled() {
            let old = facts[service]
            let new = gatherFacts(service)
            guard new != old else { continue }
            facts[service] = new
            let isNews = (new.holds, new.holdUntil, new.isAsleep) != (old.holds, old.holdUntil, old.isAsleep)
            if isNews, manifest.services[service].isBalanced {
                turn.routesChanged = true
            }
            if !turn.isTakingUp, mattersToDependants(service, old, new) { wakeDependants(of: service, &turn) }
            if new.isLeaving != old.isLeaving { updateBlockers(from: service, &turn) }
        }
    }

    /// Has the new ready process of an instance probed in place of the old one.
    private func exchangeHealthProbing(
        _ old: Generation?, of former: Service, at place: Int, _ turn: inout Turn
    ) {
        if let old, former.isHealthProbed { turn.effects.append(.endHealthProbing(old)) }
        probeHealth(of: place, &turn)
    }

    /// Has the process of an instance probed, if it is ready and its service asks for it.
    func probeHealth(of place: Int, _ turn: inout Turn) {
        guard service(of: place).isHealthProbed, case .running(let process) = instances[place].state else { return }
        turn.effects.append(.beginHealthProbing(process.generation, instances[place].id, port: process.port))
    }

    /// Settles, lets the commands go on, and says what the turn has come to.
    mutating func finish(_ turn: inout Turn) -> [Effect] {
        var wasReshaped = false
        repeat {
            settle(&turn)
            let touched = turn.touched
            turn.touched = []
            advanceOperations(touched, &turn)
            restartUnhealthy(touched, &turn)
            advanceDeployments(touched, all: wasReshaped, &turn)
            wasReshaped = turn.touched.isEmpty && needsReshaping
            if wasReshaped { reshape(&turn) }
        } while !turn.touched.isEmpty || wasReshaped
        nextGeneration = turn.nextGeneration
        tellChanges(&turn)
        if turn.routesChanged { turn.effects.append(.publish) }
        if isShuttingDown, !hasAnnouncedDown, leftovers.isEmpty, facts.allSatisfy({ $0.present == 0 }) {
            hasAnnouncedDown = true
            turn.effects.append(.allDown)
        }
        return turn.effects
    }

    /// Lets every instance look at its goal and its dependencies.
    mutating func reconsiderAll(_ turn: inout Turn) {
        for service in dependencies.order {
            for place in layout.instances[service] { apply(.reconsidered, to: place, &turn) }
            settle(&turn)
        }
    }

    /// Sets goals in one stroke, then lets the instances act.
    mutating func setGoal(_ goal: Goal, of places: [Int], _ turn: inout Turn) {
        for place in places {
            instances[place].goal = goal
            turn.note(place, of: layout.services[place])
        }
        settle(&turn)
        for place in places { apply(.reconsidered, to: place, &turn) }
    }

    /// The settings that an instance goes by.
    func service(of place: Int) -> Service {
        let service = manifest.services[layout.services[place]]
        guard instances[place].edition != .current else { return service }
        return rollout(of: service.name)?.other ?? service
    }

    /// Whether an instance may start: its dependencies are there, and nothing unknown of it is left.
    private func mayStart(_ place: Int) -> Bool {
        !isShuttingDown
            && dependencies.needs[layout.services[place]].allSatisfy { isMet($0) }
            && !leftovers.contains { $0.instance == instances[place].id }
            && portHolder(place) == nil
    }

    /// Whether a dependency is met.
    func isMet(_ edge: Dependencies.Edge) -> Bool {
        facts[edge.service].meets(edge.condition, of: layout.instances[edge.service].count)
    }

    /// Whether a dependency is not met, and will not be until somebody does something.
    func isStuck(_ edge: Dependencies.Edge) -> Bool {
        !isMet(edge) && facts[edge.service].isStuck(for: edge.condition, of: layout.instances[edge.service].count)
    }

    /// What an instance waits for, for people.
    func missing(of place: Int) -> String {
        let service = layout.services[place]
        guard dependencies.needs[service].allSatisfy({ isMet($0) }), let (port, holder) = portHolder(place) else {
            return missing(service)
        }
        return "port \(port), which \(holder) still has"
    }

    /// What a service waits for, for people: `db to be ready`, `migrate to be completed (migrate/1 has failed: …)`.
    /// `depth`: how many links of a chain of waiting services it goes down for the reason.
    func missing(_ service: Int, depth: Int = 3) -> String {
        let missing = dependencies.needs[service].filter { !isMet($0) }
        // Its dependencies are there: it waits for leftovers.
        guard !missing.isEmpty else { return "processes of an earlier start to end" }
        let names = missing.map { "\(manifest.services[$0.service].name) to be \($0.condition)" }
        let stuck = missing.first { isStuck($0) }
        return Wording.list(names) + (stuck.map { " (\(reason($0, depth: depth)))" } ?? "")
    }

    /// Why a dependency will not be met before somebody does something.
    private func reason(_ edge: Dependencies.Edge, depth: Int) -> String {
        let instances = layout.instances[edge.service]
        let name = manifest.services[edge.service].name
        guard !instances.isEmpty else { return "\(name) has no instances" }
        return instances.lazy.compactMap { self.hindrance($0, depth: depth - 1) }.first ?? "\(name) has completed"
    }

    /// Looks at all instances of a service.
    private func gatherFacts(_ service: Int) -> ServiceFacts {
        var facts = ServiceFacts()
        let settings = manifest.services[service]
        let isTask = settings.kind == .task
        let waitsInVain = dependencies.needs[service].contains { isStuck($0) }
        var active = 0
        for place in layout.instances[service] {
            let instance = instances[place]
            // A drained one takes no connections when it is ready: nobody waits for that.
            let mayServe = instance.goal == .up && instance.parking == nil
            var isStuck = instance.goal == .down || instance.failures >= Application.patience
            var isPresent = true
            switch instance.state {
            case .down: isPresent = false
            case .waiting:
                isStuck = isStuck || waitsInVain
                if instance.waitsToReplace, mayServe { facts.holdUntil = .never }
            case .starting(let process, _, _):
                if process.pid != nil { facts.started += 1 }
                if process.replaces, mayServe {
                    let until = process.pid == nil ? Instant.never : process.beganAt + settings.balance.queueTimeout
                    facts.holdUntil = max(facts.holdUntil ?? until, until)
                }
            case .running:
                if instance.parking == nil, isOnServingSide(place) { active += 1 }
                facts.started += 1
                if !isTask { facts.ready += 1 }
            case .stopping(_, let stop):
                if stop.cause == .replacement || instance.waitsToReplace, mayServe { facts.holdUntil = .never }
            case .backoff: break
            case .failed: isStuck = true
            case .completed:
                facts.completed += 1
                if isTask {
                    facts.ready += 1
                    facts.started += 1
                } else {
                    isStuck = true
                }
            }
            if isStuck { facts.stuck += 1 }
            if isPresent { facts.present += 1 }
            if instance.goal == .down, instance.process != nil { facts.isLeaving = true }
            if instance.goal == .up, !instance.isFinished { facts.holds = true }
            if instance.isAsleep == true, !isShuttingDown { (facts.holds, facts.isAsleep) = (true, true) }
        }
        if active > 0 { facts.holdUntil = nil }
        return facts
    }

    private func mattersToDependants(_ service: Int, _ old: ServiceFacts, _ new: ServiceFacts) -> Bool {
        let instances = layout.instances[service].count
        return [Dependency.Condition.ready, .started, .completed].contains { condition in
            old.meets(condition, of: instances) != new.meets(condition, of: instances)
                || old.isStuck(for: condition, of: instances) != new.isStuck(for: condition, of: instances)
        }
    }

    private mutating func wakeDependants(of service: Int, _ turn: inout Turn) {
        for dependant in dependencies.dependants[service] {
            for place in layout.instances[dependant] where instances[place].state == .waiting {
                apply(.reconsidered, to: place, &turn)
            }
        }
    }

    /// A service has begun, or ceased, to be on its way down: what it depends on must, or need not, wait for it. One
    /// that waits makes others wait in turn, although it has no process that is leaving itself.
    private mutating func updateBlockers(from service: Int, _ turn: inout Turn) {
        // Before the change of `isLeaving`, it blocked others if its own blockers did.
        guard blockers[service] == 0 else { return }
        var changed = [(service, facts[service].isLeaving)]
        while let (service, blocks) = changed.popLast() {
            for edge in dependencies.needs[service] {
                let needed = edge.service
                blockers[needed] += blocks ? 1 : -1
                if blockers[needed] == (blocks ? 1 : 0), !facts[needed].isLeaving { changed.append((needed, blocks)) }
                if blockers[needed] == 0 { wakeLeaving(needed, &turn) }
            }
        }
    }

    private mutating func wakeLeaving(_ service: Int, _ turn: inout Turn) {
        for place in layout.instances[service] where instances[place].goal == .down && instances[place].process != nil {
            apply(.reconsidered, to: place, &turn)
        }
    }

    /// Works out everything that follows from the instances and leftovers, from nothing.
    mutating func rebuild() {
        owners = [:]
        for place in instances.indices {
            if let process = instances[place].process { owners[process.generation] = place }
        }
        facts = Array(repeating: ServiceFacts(), count: manifest.services.count)
        blockers = Array(repeating: 0, count: manifest.services.count)
        // Dependencies first: what a service waits for in vain is a fact about them.
        for service in dependencies.order { facts[service] = gatherFacts(service) }
        for service in dependencies.order.reversed() where facts[service].isLeaving || blockers[service] > 0 {
            for edge in dependencies.needs[service] { blockers[edge.service] += 1 }
        }
    }
}

extension Instance {
    /// Whether it is to stay as it is until somebody asks for a start.
    var isFinished: Bool {
        switch state {
        case .failed, .completed: true
        case .down, .waiting, .starting, .running, .stopping, .backoff: false
        }
    }
}
