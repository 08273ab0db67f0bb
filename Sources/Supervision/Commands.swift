import Manifest

/// A command of a user that is not done yet.
struct Operation: Sendable, Hashable, Codable {
    /// Its number; nil: whoever gave it is gone, together with the supervisor that served them.
    var command: CommandID?
    /// What was asked.
    let verb: Verb
    /// How many instances it is about.
    var total: Int
    /// The places of those whose goal was not reached yet, in the order in which they are dealt with.
    var open: [Int]
    /// How far each of these is.
    var statuses: [Int: Status]
    /// The first restarts of each service were begun.
    var hasBegun = false
    /// The services that a restart replaces with others standing in; see Restarts.swift.
    var rollouts: Set<String>?
    /// Services that go on without what is stopped here.
    var goOn: [String] = []
    /// What was said last.
    var progress: String?

    /// How far an instance is.
    enum Status: Sendable, Hashable, Codable {
        /// Its turn has not come.
        case queued
        /// It was begun; what has a later generation than this is its doing.
        case begun(after: Generation)
        /// Nothing but a moment's life shows that this process has started: until then.
        case proving(Generation, until: Instant)
    }

    /// The goal of an instance was reached.
    fileprivate mutating func close(_ place: Int) {
        statuses[place] = nil
        open.removeAll { $0 == place }
    }
}

extension Application {
    /// How many failed starts of an instance in a row a command waits for before it fails.
    static let patience = 3
    /// How long a program without a readiness check must run, in nanoseconds, before a restart goes on to the next
    /// instance: one that finds its configuration wrong ends sooner, and must not take all replicas along.
    static let startMoment: Int64 = 500_000_000

    /// When the next process has lived for a moment that a command waits for; nil: none does.
    var nextProof: Instant? {
        var next: Instant?
        for operation in operations {
            for case .proving(_, let until) in operation.statuses.values where until < next ?? .never { next = until }
        }
        return next
    }

    /// Looks at those commands again whose processes have lived long enough.
    mutating func proofsDue(_ turn: inout Turn) {
        for operation in operations {
            for place in operation.open {
                guard case .proving(_, let until) = operation.statuses[place], until <= turn.now else { continue }
                turn.touched.append(place)
            }
        }
    }

    /// Begins a command; those older that it takes instances from are over.
    mutating func begin(
        _ id: CommandID, _ verb: Verb, _ targets: [InstanceID], by who: String? = nil, _ turn: inout Turn
    ) {
        guard !isShuttingDown else {
            return turn.effects.append(.finished(id, .failed("supd is shutting down")))
        }
        if let unknown = targets.first(where: { layout.places[$0] == nil }) {
            return turn.effects.append(.finished(id, .failed("there is no instance \(unknown)")))
        }
        if let hindrance = rolloutHindrance(to: verb, targets) {
            return turn.effects.append(.finished(id, .failed(hindrance)))
        }
        // Dependencies first, so that a dependant finds out in this turn what it has to wait for.
        let places = inOrder(Set(targets.compactMap { layout.places[$0] }))
        let implied = verb == .start || verb == .restart ? dependenciesDown(of: places) : []
        supersede(places, implied: implied, by: verb, &turn)

        let after = Generation(turn.nextGeneration.number &- 1)
        let status = verb == .restart ? Operation.Status.queued : .begun(after: after)
        var operation = Operation(
            command: id, verb: verb, total: places.count, open: places,
            statuses: Dictionary(uniqueKeysWithValues: places.map { ($0, status) }))
        switch verb {
        case .stop:
            forgetSleep(of: places)
            let unjudged = unjudgedServices(of: places)
            setGoal(.down, of: places, &turn)
            stopStandIns(of: &operation, after: after, &turn)
            recall(unjudged, stoppedBy: who, &turn)
            operation.goOn = servicesGoingOn(without: places)
        case .start, .restart:
            for place in inOrder(Set(implied + (verb == .start ? places : []))) {
                apply(.startAsked, to: place, &turn)
                settle(&turn)
            }
            wakeOthers(than: places, &turn)
        case .drain, .undrain:
            setParked(verb == .drain, places, &turn)
        }
        turn.touched.append(contentsOf: places)
        if places.isEmpty { return turn.effects.append(.finished(id, .done)) }
        operations.append(operation)
    }

    /// Nobody waits for a command any more. What a drain does stands beside each instance's state, and it may take for ever:
    /// without anybody to be told, nothing is kept of it. The others bring about what was asked, and supersede each other.
    mutating func forget(_ id: CommandID) {
        operations.removeAll { $0.verb == .drain && $0.command == id }
        for index in deployments.indices {
            for position in deployments[index].rollouts.indices
            where deployments[index].rollouts[position].recall == id {
                deployments[index].rollouts[position].recall = nil
            }
        }
    }

    /// Takes the commands further after something has happened to these instances.
    mutating func advanceOperations(_ touched: [Int], _ turn: inout Turn) {
        guard !operations.isEmpty, !touched.isEmpty else { return }
        var open: [Operation] = []
        // What is begun here may touch instances of other commands: they are looked at in the next round.
        for operation in operations {
            let places = touched.filter { operation.statuses[$0] != nil }
            guard !places.isEmpty || touched.contains(where: { standsIn($0, for: operation) }) else {
                open.append(operation)
                continue
            }
            var operation = operation
            if let outcome = advance(&operation, places, &turn) {
                finish(operation, outcome, &turn)
                abandonRestarts(of: operation, besides: open, &turn)
            } else {
                open.append(operation)
            }
        }
        operations = open
    }

    /// Says that a command is over.
    func finish(_ operation: Operation, _ outcome: CommandOutcome, _ turn: inout Turn) {
        if let command = operation.command { turn.effects.append(.finished(command, outcome)) }
    }

    private mutating func advance(
        _ operation: inout Operation, _ touched: [Int], _ turn: inout Turn
    ) -> CommandOutcome? {
        let before = operation.open.count
        for place in touched {
            switch operation.statuses[place] {
            case .begun(let after):
                if operation.verb == .restart, isBeingRestarted(place) { continue }
                // Not by a command, which would have taken its place: by a scale, there and back.
                if operation.verb == .stop, instances[place].goal == .up {
                    return .failed("superseded: \(instances[place].id) is to be up again")
                }
                if isReached(operation.verb, place, after: after) {
                    if operation.verb == .restart, let latest = instances[place].latest, isUnproven(place),
                        instances[place].proven != latest
                    {
                        operation.statuses[place] = .proving(latest, until: turn.now.adding(Application.startMoment))
                    } else {
                        operation.close(place)
                    }
                } else if operation.verb == .start || operation.verb == .restart, let hindrance = hindrance(place) {
                    return .failed(hindrance)
                }
            case .proving(let generation, let until):
                if let text = endedAtOnce(place, generation) { return .failed(text) }
                if until <= turn.now || !isUnproven(place) { operation.close(place) }
            case .queued, nil: continue
            }
        }
        if operation.open.isEmpty { return .done }
        if operation.verb == .restart, !operation.hasBegun || operation.open.count < before {
            operation.hasBegun = true
            beginNextRestarts(&operation, &turn)
        }
        tellProgress(&operation, &turn)
        return nil
    }

    /// One instance of each service at a time; the services side by side.
    private mutating func beginNextRestarts(_ operation: inout Operation, _ turn: inout Turn) {
        var busy: Set<Int> = []
        for place in operation.open {
            if operation.statuses[place] != .queued { busy.insert(layout.services[place]) }
        }
        for place in operation.open where operation.statuses[place] == .queued {
            let service = layout.services[place]
            guard busy.insert(service).inserted else { continue }
            let queued = layout.instances[service].filter { operation.statuses[$0] == .queued }
            if restartBeside(queued, of: service, &operation, &turn) { continue }
            // What serves nobody comes first where others stand in for the rest.
            let place = mayRestartBeside(service) ? queued.first { !takesClients($0) } ?? place : place
            // Of one instance later starts have higher numbers; an heir's may be lower than some of other instances.
            operation.statuses[place] = .begun(after: instances[place].latest ?? Generation(0))
            let leavesNone =
                instances[place].parking == nil
                && !layout.instances[service].contains { other in
                    guard case .running = instances[other].state, instances[other].parking == nil else { return false }
                    return other != place
                }
            apply(.restartAsked(leavesNone: leavesNone), to: place, &turn)
            settle(&turn)
        }
    }

    /// Whether what was asked of an instance has come to be.
    private func isReached(_ verb: Verb, _ place: Int, after: Generation) -> Bool {
        let instance = instances[place]
        switch verb {
        case .stop: return instance.goal == .down && instance.state == .down
        case .start: return instance.goal == .up && isUp(place)
        case .restart: return instance.goal == .up && isUp(place) && instance.latest ?? after > after
        case .drain:
            // Without a front there is no balancer that could say so, and no connection.
            return instance.isDrained || !service(of: place).isBalanced
        case .undrain: return instance.parking == nil
        }
    }

    /// Whether an instance counts as up only because its program runs.
    private func isUnproven(_ place: Int) -> Bool {
        guard case .running = instances[place].state else { return false }
        return !service(of: place).isProbed
    }

    /// What to say if the process of a restart has ended in its first moment; nil: it runs, or has done what it was for.
    private func endedAtOnce(_ place: Int, _ generation: Generation) -> String? {
        let instance = instances[place]
        if instance.latest == generation {
            switch instance.state {
            case .running, .completed, .starting: return nil
            case .down, .waiting, .stopping, .backoff, .failed: break
            }
        }
        if case .failed(let reason) = instance.state { return "\(instance.id) has failed: \(reason)" }
        let reason = instance.lastExit.map { ": \($0.reason)" } ?? ""
        return "\(instance.id) has ended at once\(reason); supd goes on trying"
    }

    /// Whether it is ready, or has done what it was for.
    private func isUp(_ place: Int) -> Bool {
        switch instances[place].state {
        case .running: service(of: place).kind == .service
        case .completed: true
        case .down, .waiting, .starting, .stopping, .backoff, .failed: false
        }
    }

    /// Why an instance does not come up before somebody does something; nil: it may.
    func hindrance(_ place: Int, depth: Int = 3) -> String? {
        let instance = instances[place]
        if instance.goal == .down { return "\(instance.id) is stopped" }
        switch instance.state {
        case .failed(let reason): return "\(instance.id) has failed: \(reason)"
        case .running, .completed: return nil
        case .waiting:
            let edges = dependencies.needs[layout.services[place]]
            if edges.contains(where: { isStuck($0) }) {
                guard depth > 0 else { return "\(instance.id) waits, too" }
                return "\(instance.id) waits for \(missing(layout.services[place], depth: depth))"
            }
        case .down, .starting, .stopping, .backoff: break
        }
        guard instance.failures >= Application.patience else { return nil }
        let reason = instance.lastExit.map { ": \($0.reason)" } ?? ""
        return "\(instance.id) failed to start \(instance.failures) times\(reason); supd goes on trying"
    }

    /// Older commands lose the instances of a newer one that contradicts them, and are over with that. A stop is over,
    /// too, when a newer command needs what it stops.
    private mutating func supersede(_ places: [Int], implied: [Int], by verb: Verb, _ turn: inout Turn) {
        let taken = Set(places)
        let needed = Set(implied)
        let (over, open) = operations.reduce(into: ([Operation](), [Operation]())) { parts, operation in
            let isOver = operation.open.contains {
                verb.takesOver(from: operation.verb) && taken.contains($0)
                    || operation.verb == .stop && needed.contains($0)
            }
            if isOver { parts.0.append(operation) } else { parts.1.append(operation) }
        }
        operations = open
        for operation in over {
            finish(operation, .failed("superseded by a later \(verb)"), &turn)
            abandonRestarts(of: operation, besides: [], &turn)
        }
    }

    /// The instances, of all that these depend on, that are down by goal and are started with them: of a service that
    /// is down as a whole, or that must complete as a whole.
    private func dependenciesDown(of places: [Int]) -> [Int] {
        var seen = Set(places.map { layout.services[$0] })
        var services = seen.sorted()
        var down: Set<Int> = []
        while let service = services.popLast() {
            for edge in dependencies.needs[service] {
                let members = layout.instances[edge.service]
                let stopped = members.filter { instances[$0].goal == .down && !isExtra($0) }
                let isWanted = edge.condition == .completed ? !isMet(edge) : stopped.count == members.count
                if isWanted { down.formUnion(stopped) }
                if seen.insert(edge.service).inserted { services.append(edge.service) }
            }
        }
        return Array(down.subtracting(places))
    }

    /// Instances sorted so that each comes after what it depends on.
    private func inOrder(_ places: Set<Int>) -> [Int] {
        dependencies.order.flatMap { layout.instances[$0].filter(places.contains) }
    }

    /// Services that depend on what is being stopped and are not stopped themselves.
    private func servicesGoingOn(without places: [Int]) -> [String] {
        let stopped = Set(places.map { layout.services[$0] }).filter { service in
            layout.instances[service].allSatisfy { instances[$0].goal == .down }
        }
        let dependants = Set(stopped.flatMap { dependencies.dependants[$0] }).sorted()
        return dependants.filter { dependant in
            layout.instances[dependant].contains { instances[$0].goal == .up && !instances[$0].isFinished }
        }.map { manifest.services[$0].name }
    }

    /// Says what a command waits for, if that has changed.
    private func tellProgress(_ operation: inout Operation, _ turn: inout Turn) {
        guard let command = operation.command else { return }
        // Of thousands it does not matter which ones are named.
        let begun = operation.open.prefix(100).filter { operation.statuses[$0] != .queued }
        let isDrain = operation.verb == .drain
        var parts: [String] = []
        for place in begun where parts.count < 3 {
            let part = isDrain ? "\(instances[place].id) lets its connections end" : restartActivity(place)
            if let part, !parts.contains(part) { parts.append(part) }
        }
        var text = parts.joined(separator: "; ")
        if operation.total > 1 { text = "\(operation.open.count) of \(operation.total) to go: \(text)" }
        if !operation.goOn.isEmpty {
            let verb = operation.goOn.count == 1 ? "goes" : "go"
            text += " (\(Wording.list(operation.goOn)) \(verb) on without it)"
        }
        guard text != operation.progress, !parts.isEmpty else { return }
        operation.progress = text
        turn.effects.append(.progress(command, text))
    }

    /// What an instance is doing, without numbers that change with time.
    func activity(_ place: Int) -> String {
        let instance = instances[place]
        switch instance.state {
        case .down: return "\(instance.id) is down"
        case .waiting:
            return "\(instance.id) waits for \(missing(of: place))"
        case .starting: return "\(instance.id) is starting"
        case .running:
            guard instance.goal == .down else { return "\(instance.id) is running" }
            return "\(instance.id) stops once what depends on it has stopped"
        case .stopping(_, let stop):
            switch stop.phase {
            case .draining: return "\(instance.id) lets its connections end"
            case .terminating:
                return stop.leaderEnded ? "\(instance.id) is gone but for leftovers" : "\(instance.id) is stopping"
            case .killing: return "\(instance.id) was sent SIGKILL"
            }
        case .backoff:
            let tries = instance.failures == 1 ? "1 failed start" : "\(instance.failures) failed starts"
            return "\(instance.id) is tried again after \(tries)"
        case .failed: return "\(instance.id) has failed"
        case .completed: return "\(instance.id) has completed"
        }
    }
}
