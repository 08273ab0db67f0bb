import Manifest
import TestSupport

@testable import Supervision

/// What must hold after every turn of the core, worked out from the world and from the plain states of the instances,
/// never from what the core keeps beside them.
extension World {
    /// Before the effects are performed: what they say together.
    mutating func checkEffects(_ effects: [Application.Effect], before: Application?) throws(Violation) {
        // The endpoint that is gone leaves the routes in the same turn, and no change of them is kept back.
        if !effects.contains(.publish), app.routes != published {
            throw Violation(text: "the routes have changed, and the balancer does not hear of it")
        }
        // An apply takes its own on, and some of them may turn back at once.
        let due = asked ?? before?.manifest
        wentBack = Set(
            app.manifest.services.filter { service in
                due?.services.contains { $0.name == service.name && $0.dependsOn != service.dependsOn } == true
            }.map(\.name))
        guard let before else { return }
        let earlier = Dictionary(before.instances.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
        let switched = Set(
            before.deployments.flatMap(\.rollouts).filter { $0.blueGreen?.hasSwitched == true }.map(\.service))
        for place in app.instances.indices {
            guard let old = earlier[app.instances[place].id] else { continue }
            try checkStopOrder(place, old)
            // What has taken over may have troubles of its own.
            if !switched.contains(old.id.service) { try checkReplacement(place, old) }
        }
        try checkSwitches(before)
    }

    /// An instance begins to go down only after those that depend on it, however indirectly, and are to go down too. What a service
    /// has got back of its former dependencies in this turn counts from the next one on.
    private func checkStopOrder(_ place: Int, _ old: Instance) throws(Violation) {
        guard case .stopping(_, let stop) = app.instances[place].state, stop.cause == .goal else { return }
        if case .stopping(_, let earlier) = old.state, earlier.cause == .goal { return }
        guard app.instances[place].goal == .down else { return }
        var services = [app.instances[place].id.service]
        var seen: Set<String> = []
        while let name = services.popLast() {
            for dependant in app.manifest.services where dependant.dependsOn.contains(where: { $0.service == name }) {
                guard !wentBack.contains(dependant.name) else { continue }
                guard seen.insert(dependant.name).inserted else { continue }
                services.append(dependant.name)
                for other in app.instances
                // A rollout may send those beside the others away in the same turn, only afterwards.
                where other.id.service == dependant.name && other.goal == .down && !other.isSurplus {
                    guard other.process == nil else {
                        throw Violation(
                            text: "\(app.instances[place].id) stops before \(other.id), which depends on it")
                    }
                }
            }
        }
    }

    /// A rollout that may have instances beside the others takes none away before those are ready.
    private func checkReplacement(_ place: Int, _ old: Instance) throws(Violation) {
        let instance = app.instances[place]
        guard instance.edition == .leaving, old.edition == .former, case .running = old.state,
            let rollout = app.rollout(of: instance.id.service), rollout.failure == nil, rollout.surge > 0
        else { return }
        guard !rollout.isOnTrial else {
            throw Violation(text: "\(instance.id) is replaced while the first new instances are on trial")
        }
        let service = app.service(of: place)
        let replicas = app.manifest.services.first { $0.name == service.name }?.replicas ?? 0
        let extras = app.instances.count { other in
            guard other.id.service == service.name, other.id.number > replicas else { return false }
            if case .running = other.state { return true }
            // One whose policy lets it end has done so.
            return other.state == .completed
        }
        guard extras >= rollout.surge else {
            throw Violation(text: "\(instance.id) is replaced while only \(extras) of \(rollout.surge) stand in for it")
        }
    }

    /// A new supervisor ends nothing that could go on.
    func checkResumed(_ effects: [Application.Effect], old: Application) throws(Violation) {
        for case .signal(let generation, "KILL") in effects {
            // One that stands in for others is nobody's if the snapshot is of before that; the restart begins anew.
            guard let child = children[generation], let place = app.layout.places[child.instance],
                app.isOfManifest(child.instance)
            else { continue }
            let others = children.values.filter { $0.instance == child.instance && $0.generation != generation }
            if case .stopping = app.instances[place].state { continue }
            if !old.leftovers.contains(where: { $0.generation == generation }), others.isEmpty {
                throw Violation(text: "\(child.instance) could have gone on and is ended")
            }
        }
    }

    /// A spawn that is about to be performed.
    mutating func checkSpawn(_ generation: Generation, _ instance: InstanceID, _ port: UInt16) throws(Violation) {
        if let other = children.values.first(where: { $0.instance == instance && !$0.isGone }) {
            throw Violation(text: "\(instance) is started while its generation \(other.generation) lives")
        }
        if let other = pendingSpawns.first(where: { $0.value == instance }) {
            throw Violation(text: "\(instance) is started while the start of \(other.key) is under way")
        }
        if generation <= highestGeneration || pendingSpawns[generation] != nil {
            throw Violation(text: "generation \(generation) is used twice")
        }
        if app.isShuttingDown { throw Violation(text: "\(instance) is started during the shutdown") }
        if port == 0 { throw Violation(text: "\(instance) is started without a port") }
        let sharers = app.instances.filter { $0.process != nil && $0.process?.port == port && $0.id != instance }
        if !sharers.isEmpty { throw Violation(text: "\(instance) shares port \(port) with \(sharers.map(\.id))") }
        guard let service = app.manifest.services.first(where: { $0.name == instance.service }) else {
            throw Violation(text: "\(instance) is of no service")
        }
        // The next port is tried at once, whatever has become of the dependencies, and counts as the same start.
        if retriedPort == instance { return }
        for dependency in service.dependsOn where !isThere(dependency) && !isThere(dependency, in: previous) {
            // It had others, until it went back in the same turn.
            if wentBack.contains(instance.service) { continue }
            // It was for a moment, until the same turn took a rollout, or a restart, on to its next instance.
            if app.rollout(of: dependency.service) != nil || previousRestarts.contains(dependency.service) { continue }
            // A process that was taken up as ready, and is ended for its health in the same turn.
            let taken = app.instances.filter { $0.id.service == dependency.service }.compactMap(\.process?.generation)
            if isResuming, taken.contains(where: toldReady.contains) { continue }
            if app.operations.contains(where: { operation in
                operation.verb == .restart
                    && operation.open.contains { app.instances[$0].id.service == dependency.service }
            }) {
                continue
            }
            throw Violation(text: "\(instance) is started before \(dependency.service) is \(dependency.condition)")
        }
        // A restart reaches the instances one by one, and forgets what they did before.
        if let place = app.layout.places[instance],
            app.operations.contains(where: { $0.verb == .restart && $0.open.contains(place) })
        {
            badEndOf[instance] = nil
            startsOf[instance] = nil
        }
        if let old = previous.first(where: { $0.id == instance }), case .stopping(_, let stop) = old.state, stop.isAsked
        {
            startsOf[instance] = nil
        }
        // A rollout begins anew with every instance that it replaces, and goes by other settings before.
        if app.rollout(of: instance.service) != nil || before(service.name) != service {
            badEndOf[instance] = nil
            startsOf[instance] = nil
        }
        if let limit = service.restart.limit {
            let horizon = now - limit.within.wholeNanoseconds
            startsOf[instance] = startsOf[instance, default: []].filter { $0 > horizon } + [now]
            if startsOf[instance, default: []].count > limit.starts {
                throw Violation(text: "\(instance) is started more often than its limit allows")
            }
        }
        if let end = badEndOf[instance] {
            let shortest = Double(min(service.restart.initialDelay, service.restart.maxDelay).wholeNanoseconds) * 0.89
            if Double(now - end) < shortest { throw Violation(text: "\(instance) is started without a pause") }
        }
        badEndOf[instance] = nil
    }

    /// What the service was before the turn.
    private func before(_ name: String) -> Service? { previousManifest.services.first { $0.name == name } }

    private func isThere(_ dependency: Dependency, in instances: [Instance]? = nil) -> Bool {
        let others = (instances ?? app.instances).filter { $0.id.service == dependency.service }
        let isTask = app.manifest.services.contains { $0.name == dependency.service && $0.kind == .task }
        func isCompleted(_ instance: Instance) -> Bool { instance.state == .completed }
        func isRunning(_ instance: Instance) -> Bool { if case .running = instance.state { true } else { false } }
        func isStarting(_ instance: Instance) -> Bool {
            if case .starting(let process, _, _) = instance.state { process.pid != nil } else { false }
        }
        switch dependency.condition {
        case .ready: return others.contains { isTask ? isCompleted($0) : isRunning($0) }
        case .started: return others.contains { isRunning($0) || isStarting($0) || (isTask && isCompleted($0)) }
        case .completed: return others.allSatisfy(isCompleted)
        }
    }

    /// After a turn.
    mutating func checkState() throws(Violation) {
        if isNumberReused { throw Violation(text: "an heir has a number that was given out before") }
        for service in app.manifest.services {
            guard let rule = service.scaling, rule.nearest(to: service.replicas) != service.replicas else { continue }
            throw Violation(text: "\(service.name) has \(service.replicas) instances, out of \(rule.text)")
        }
        try checkDependencies()
        // A process that was asked to end has its successor start afresh, also if that waits for others first.
        let waiting = Set(app.instances.filter { $0.state == .waiting }.map(\.id))
        for old in previous where waiting.contains(old.id) {
            if case .stopping(_, let stop) = old.state, stop.isAsked { startsOf[old.id] = nil }
        }
        // So does one that a restart has reached in its pause, also if the restart has failed in the same turn, since what
        // the instance needs is not there.
        for old in previous where waiting.contains(old.id) && previousRestarts.contains(old.id.service) {
            guard case .backoff(let until) = old.state, until.nanoseconds > now else { continue }
            badEndOf[old.id] = nil
            startsOf[old.id] = nil
        }
        // A rollout begins anew with every instance that it replaces.
        for rollout in app.deployments.flatMap(\.rollouts) {
            for instance in app.instances where instance.id.service == rollout.service {
                badEndOf[instance.id] = nil
                startsOf[instance.id] = nil
            }
        }
        // So it does if it has ended in the same turn, gone back to other settings.
        for service in app.manifest.services where before(service.name) != service {
            for instance in app.instances where instance.id.service == service.name {
                badEndOf[instance.id] = nil
                startsOf[instance.id] = nil
            }
        }
        // Those that are there for a rollout, or no more, are not drained by anybody.
        let known = Set(app.instanceIDs)
        let drained = Set(app.instances.filter { $0.parking != nil }.map(\.id))
        parked = parked.filter { known.contains($0) || drained.contains($0) }
        // Nor are those that are new, or were taken back, be it in the same turn.
        if isApplying { parked.formIntersection(drained) }
        for instance in app.instances
        where known.contains(instance.id) && (instance.parking != nil) != parked.contains(instance.id) {
            throw Violation(text: "\(instance.id) is drained: \(instance.parking != nil), against what was asked")
        }
        for instance in app.instances { try check(instance) }
        for route in published { try check(route) }
        try checkHealthProbing()
        for operation in app.operations where operation.verb == .restart {
            var busy: Set<Int> = []
            for place in operation.open {
                guard case .begun = operation.statuses[place] else { continue }
                // Where others stand in, a rollout sees to it: `checkReplacement`.
                if operation.rollouts?.contains(app.instances[place].id.service) == true { continue }
                guard busy.insert(app.layout.services[place]).inserted else {
                    throw Violation(text: "two instances of a service are restarted at a time")
                }
            }
        }
        if random.oneIn(30) {
            var fresh = app
            fresh.rebuild()
            guard fresh.facts == app.facts, fresh.blockers == app.blockers, fresh.owners == app.owners else {
                throw Violation(text: "what is kept beside the states is not what follows from them")
            }
            _ = app.views(at: Instant(nanoseconds: now))
        }
    }

    /// Whatever has gone back beside whatever has not: nobody waits for itself, nor for what is not there.
    private func checkDependencies() throws(Violation) {
        var open = app.manifest.services
        while true {
            let names = Set(open.map(\.name))
            let rest = open.filter { $0.dependsOn.contains { names.contains($0.service) } }
            if rest.isEmpty { return }
            guard rest.count < open.count else {
                let circle = rest.map { "\($0.name) for \($0.dependsOn.map(\.service))" }
                throw Violation(text: "wait for each other: \(circle)")
            }
            open = rest
        }
    }

    private func check(_ instance: Instance) throws(Violation) {
        let living = children.values.filter { $0.instance == instance.id && !$0.isGone }
        let owned = living.filter { child in !app.leftovers.contains { $0.generation == child.generation } }
        if owned.count > 1 {
            throw Violation(text: "\(instance.id) has \(owned.count) processes at a time: \(owned.map(\.generation))")
        }
        guard let process = instance.process else {
            // A leftover is nobody's; it keeps its instance from starting.
            let known = Set(app.leftovers.map(\.generation))
            if let child = living.first(where: { !known.contains($0.generation) }) {
                throw Violation(text: "\(instance.id) is \(instance.state), but generation \(child.generation) lives")
            }
            if instance.isAsleep == true, instance.goal == .up || service(of: instance.id)?.idleAfter == nil {
                throw Violation(text: "\(instance.id) sleeps, and nothing says why")
            }
            if instance.goal == .up, instance.state == .down {
                throw Violation(text: "\(instance.id) is wanted and nothing happens")
            }
            if instance.goal == .down, instance.state != .down {
                throw Violation(text: "\(instance.id) is not wanted and is \(instance.state)")
            }
            return
        }
        guard app.owners[process.generation] != nil else {
            throw Violation(text: "\(instance.id): generation \(process.generation) would get no events")
        }
        switch instance.state {
        case .running:
            guard !toldExit.contains(process.generation) else {
                throw Violation(text: "\(instance.id) is running although its exit was told")
            }
        case .starting:
            guard instance.deadline != nil else { throw Violation(text: "\(instance.id) may wait for ever") }
            guard process.pid == nil || !isProbed(instance.id) || probing.contains(process.generation) else {
                throw Violation(text: "\(instance.id) is not probed")
            }
        case .stopping(_, let stop):
            guard instance.deadline != nil else { throw Violation(text: "\(instance.id) may wait for ever") }
            if case .draining = stop.phase { break }
            guard process.pid == nil || stop.leaderEnded || signalled.contains(process.generation) else {
                throw Violation(text: "\(instance.id) is to end and was not told")
            }
        case .down, .waiting, .backoff, .failed, .completed: break
        }
        if case .stopping(let process, let stop) = instance.state, case .draining(let until) = stop.phase {
            let balance = app.manifest.services.first { $0.name == instance.id.service }?.balance
            let bound = app.isShuttingDown ? Duration.seconds(5) : balance?.drainTimeout ?? .zero
            guard until <= Instant(nanoseconds: now) + bound else {
                throw Violation(text: "generation \(process.generation) drains for too long")
            }
        }
    }

    private func check(_ route: Application.Route) throws(Violation) {
        let members = app.instances.filter { $0.id.service == route.service }
        for endpoint in route.endpoints {
            guard toldReady.contains(endpoint.generation), !toldExit.contains(endpoint.generation),
                children[endpoint.generation] != nil
            else { throw Violation(text: "\(endpoint) is published, but no ready process is behind it") }
            guard endpoint.state != .active || !parked.contains(endpoint.instance) else {
                throw Violation(text: "\(endpoint) takes connections although it was drained")
            }
            let isDoneServing = app.rollout(of: route.service)?.blueGreen?.hasSwitched == true
            guard endpoint.state != .parked || parked.contains(endpoint.instance) || isDoneServing else {
                throw Violation(text: "\(endpoint) takes no connections although nobody has drained it")
            }
        }
        try checkVersions(of: route)
        let sleeps = !app.isShuttingDown && members.contains { $0.isAsleep == true }
        guard route.isAsleep == sleeps else { throw Violation(text: "\(route.service) sleeps: \(route.isAsleep)") }
        let mayCome = sleeps || members.contains { $0.goal == .up && $0.state != .completed && !isFailed($0) }
        guard route.holds == mayCome else { throw Violation(text: "\(route.service) holds: \(route.holds)") }
        if let until = route.holdUntil {
            guard route.holds, !route.endpoints.contains(where: { $0.state == .active }) else {
                throw Violation(text: "\(route.service) keeps connections waiting without need")
            }
            let bound = app.manifest.services.first { $0.name == route.service }?.balance.queueTimeout ?? .zero
            guard until == .never || until <= Instant(nanoseconds: now) + bound else {
                throw Violation(text: "\(route.service) keeps connections waiting for too long")
            }
        }
    }

    private func isFailed(_ instance: Instance) -> Bool { if case .failed = instance.state { true } else { false } }

    /// Long after the last trouble: everything is as it is wanted, or it is known why not.
    func checkAtRest() throws(Violation) {
        let portsAreShort = app.instances.contains { $0.port == 0 }
        for instance in app.instances {
            switch instance.state {
            case .backoff where instance.port == 0: continue
            case .down, .running, .completed, .failed: continue
            case .waiting:
                let dependencies = app.manifest.services.first { $0.name == instance.id.service }?.dependsOn ?? []
                if dependencies.contains(where: { !isThere($0) }) { continue }
            case .starting, .stopping, .backoff: break
            }
            throw Violation(text: "\(instance.id) hangs: \(instance.state)")
        }
        let isWatched = app.instances.contains { $0.watchdogDue != nil && $0.process != nil }
        if app.nextDeadline != nil, !portsAreShort, !isWatched {
            throw Violation(text: "a deadline is left that nothing waits for")
        }
        try checkHealthAtRest()
        if !app.deployments.isEmpty { throw Violation(text: "deployments hang: \(app.deployments)") }
        if !app.leaving.isEmpty { throw Violation(text: "services do not leave: \(app.leaving)") }
        for instance in app.instances where instance.edition != .current {
            throw Violation(text: "\(instance.id) is left with settings that nobody has")
        }
        for service in app.manifest.services
        where app.instances.count(where: { $0.id.service == service.name }) != service.replicas {
            throw Violation(text: "\(service.name) has not the instances that it should have")
        }
        if !app.operations.isEmpty { throw Violation(text: "operations hang: \(app.operations)") }
        if !openCommands.isEmpty { throw Violation(text: "commands hang: \(openCommands) \(app.operations)") }
    }
}
