import Events
import Manifest
import TestSupport

@testable import Supervision

/// What the keeper, the balancer and the processes do.
extension World {
    mutating func perform(_ effect: Application.Effect) throws(Violation) {
        switch effect {
        case .spawn(let generation, let instance, let port):
            try checkSpawn(generation, instance, port)
            pendingSpawns[generation] = instance
            pendingVersions[generation] = app.settings(of: instance)?.environment
            let delay = random.pick(10_000...1_000_000)
            schedule(.spawnArrives(generation, instance, port, epoch: epoch), in: delay)
        case .signal(let generation, let name):
            // Of one that could not be started the core may not have heard yet.
            let mayBeThere = pendingSpawns[generation] != nil || refused.contains(generation)
            guard mayBeThere || children[generation] != nil || heirs.contains(generation) else {
                throw Violation(text: "a signal to generation \(generation), which is not there")
            }
            // The withdrawal is on its way: an end before it arrives is still followed.
            if !random.oneIn(4) { orders[generation] = nil }
            signal(generation, name)
        case .checkGroup(let generation):
            // Requests are answered in order: one whose start is still on its way there is not gone.
            send(.groupChecked(generation, empty: children[generation]?.isGone ?? (pendingSpawns[generation] == nil)))
        case .release(let generation):
            if let child = children[generation], !child.isGone {
                throw Violation(text: "generation \(generation) is released but not gone")
            }
            children[generation] = nil
            probing.remove(generation)
            strikes[generation] = nil
        case .beginProbing(let generation, _, _):
            guard probing.insert(generation).inserted else {
                throw Violation(text: "generation \(generation) is probed twice")
            }
            schedule(.probe(generation, epoch: epoch), in: 1_000_000)
        case .endProbing(let generation):
            probing.remove(generation)
        case .keepReadiness(let generation, _, _):
            children[generation]?.saidReady = true
        case .beginHealthProbing(let generation, _, _):
            guard healthProbing.insert(generation).inserted else {
                throw Violation(text: "generation \(generation) is probed for its health twice")
            }
            schedule(.healthProbe(generation, epoch: epoch), in: random.pick(0...1_000_000_000))
        case .endHealthProbing(let generation):
            healthProbing.remove(generation)
        case .publish:
            publish()
        case .manifestChanged:
            // The shell keeps both before it does anything else.
            keepSnapshot()
        case .deploymentEnded, .scalingEnded, .happened: break
        case .report(let report):
            if report.text.contains("goes back without waiting for") { tally.count(.leftOut) }
            guard !report.text.isEmpty else { throw Violation(text: "an empty report") }
        case .progress(let command, let text):
            guard openCommands[command] != nil, !text.isEmpty else {
                throw Violation(text: "progress of a command that is over")
            }
        case .finished(let command, _):
            guard openCommands.removeValue(forKey: command) != nil else {
                throw Violation(text: "a command ends twice")
            }
        case .allDown:
            guard isShuttingDown else { throw Violation(text: "all down without having been asked") }
            isAllDown = true
        }
    }

    /// Notes what an event tells the core, before it is told.
    mutating func remember(_ event: Application.Event) {
        switch event {
        case .spawned(let generation, _):
            if let child = children[generation], !isProbed(child.instance) { toldReady.insert(generation) }
        case .probed(let generation, true, _, _):
            toldReady.insert(generation)
        case .notified(let generation, let notice):
            if notice.isReady { toldReady.insert(generation) }
        case .exited(let generation, _, _, _):
            if children[generation] != nil { toldExit.insert(generation) }
            if let place = app.owners[generation], let process = app.instances[place].process {
                let settings = app.service(of: place).restart
                let wasReady = if case .running = app.instances[place].state { true } else { false }
                let healthy = wasReady && now - process.beganAt.nanoseconds >= settings.resetAfter.wholeNanoseconds
                // What was asked to end has not failed; and an exit may be told to the next supervisor again.
                if case .stopping(_, let stop) = app.instances[place].state {
                    if stop.isAsked || stop.leaderEnded { return }
                    // It was ended by its watchdog, or for its health, after a healthy run.
                    if case .ending(let ending) = stop.cause, ending.wasHealthy {
                        return badEndOf[app.instances[place].id] = nil
                    }
                }
                badEndOf[app.instances[place].id] = healthy ? nil : now
            }
        case .spawnFailed(let generation, _):
            refused.remove(generation)
            guard let place = app.owners[generation] else { return }
            // What was asked to end need not begin first.
            if case .stopping(_, let stop) = app.instances[place].state, stop.isAsked { return }
            badEndOf[app.instances[place].id] = now
        case .portTaken(let generation, _):
            refused.remove(generation)
            if let place = app.owners[generation] { retriedPort = app.instances[place].id }
        case .commanded(_, let verb, let targets, _):
            if verb == .start || verb == .restart {
                badEndOf = [:]
                startsOf = [:]
            }
            guard !isShuttingDown else { break }
            if verb == .drain {
                parked.formUnion(targets)
                schedule(.countConnections(epoch: epoch), in: 1_000_000_000)
            }
            if verb == .undrain { parked.subtract(targets) }
        case .healthProbed(let generation, let outcome): rememberHealth(generation, outcome)
        // It is started as by a user.
        case .connectionWaited:
            badEndOf = [:]
            startsOf = [:]
        case .applied, .scaled, .scaledItself:
            // What failed before is forgotten where processes are replaced.
            badEndOf = [:]
            startsOf = [:]
        case .started, .commandForgotten, .deadlineReached, .groupChecked, .probed, .drained, .decided,
            .connectsCounted, .wentIdle, .scalingSettled, .shutdownRequested:
            break
        }
    }

    mutating func spawnArrives(
        _ generation: Generation, _ instance: InstanceID, _ port: UInt16
    ) throws(Violation) {
        if strangers.contains(port) {
            refused.insert(generation)
            return send(.portTaken(generation, holder: "pid 1 (nginx)"))
        }
        highestGeneration = max(highestGeneration, generation)
        if !isCalm, random.oneIn(15) {
            refused.insert(generation)
            return send(.spawnFailed(generation, StartFailure(text: "no such file")))
        }
        if let other = children.values.first(where: { $0.port == port && !$0.isGone }) {
            throw Violation(text: "\(instance) and \(other.instance) both get port \(port)")
        }
        let service = app.manifest.services.first { $0.name == instance.service }
        var child = Child(
            generation: generation, instance: instance, port: port, pid: nil, isTask: service?.kind == .task, readyAt: 0
        )
        child.ignoresTerm = random.oneIn(8)
        child.version = pendingVersions.removeValue(forKey: generation)
        children[generation] = child
        schedule(.executed(generation), in: isCalm || !random.oneIn(20) ? 500_000 : random.pick(0...8_000_000_000))
    }

    mutating func executed(_ generation: Generation) {
        guard var child = children[generation], child.leaderAlive else { return }
        nextPid += 1
        child.pid = nextPid
        child.readyAt = now + random.pick(0...(isCalm ? 300_000_000 : 3_000_000_000))
        if random.oneIn(5) { child.others = 1 }
        if !isCalm, random.oneIn(2) {
            let from = now + random.pick([0, 1_000_000_000, 12_000_000_000])
            child.sick = from..<(from + random.pick([2_000_000_000, 1_000_000_000_000]))
        }
        children[generation] = child
        send(.spawned(generation, pid: nextPid))
        if service(of: child.instance)?.watchdog != nil { schedule(.feed(generation), in: 2_000_000_000) }
        let status = random.pick([ExitStatus.code(0), .code(1), .signal(11, coreDumped: true)])
        if child.isTask {
            schedule(
                .leaderDies(generation, isCalm ? .code(0) : status), in: random.pick(1_000_000...3_000_000_000))
        } else if !isCalm, random.oneIn(2) {
            schedule(.leaderDies(generation, status), in: random.pick([1_000_000, 1_000_000_000, 15_000_000_000]))
        }
    }

    mutating func signal(_ generation: Generation, _ name: String) {
        signalled.insert(generation)
        guard let child = children[generation] else { return }
        if name == "KILL" {
            // One in a while cannot be killed for a time (state D); of the strangers every other one.
            let isStuck = child.isStranger ? generation.number % 2 == 0 : random.oneIn(40)
            let delay: Int64 = isStuck ? 4_000_000_000 : 200_000
            schedule(.leaderDies(generation, .signal(9, coreDumped: false)), in: delay)
            schedule(.othersDie(generation), in: delay * 2)
        } else if !child.ignoresTerm {
            schedule(.leaderDies(generation, .signal(15, coreDumped: false)), in: random.pick(100_000...1_000_000_000))
            if random.oneIn(2) { schedule(.othersDie(generation), in: random.pick(100_000...1_000_000_000)) }
        }
    }

    mutating func leaderDies(_ generation: Generation, _ status: ExitStatus) {
        guard var child = children[generation], child.leaderAlive else { return }
        child.leaderAlive = false
        // Between fork and exec there is nobody else, and nobody hears of the execution.
        if child.pid == nil { child.others = 0 }
        child.exit = status
        children[generation] = child
        reportExit(generation, heir: startHeir(of: child))
    }

    mutating func reportExit(_ generation: Generation, heir: Heir? = nil) {
        guard let child = children[generation], let exit = child.exit else { return }
        send(.exited(generation, exit, groupEmpty: child.others == 0, heir: heir?.generation))
        if let heir, children[heir.generation] == nil {
            let failure = StartFailure(text: "no such file")
            schedule(.event(.spawnFailed(heir.generation, failure), epoch: epoch), in: Self.afterExit)
        }
    }

    /// The link keeps the order of messages: what is said of an heir comes after the exit that tells of it.
    private static let afterExit: Int64 = 2_500_000

    /// The keeper follows a standing order.
    private mutating func startHeir(of child: Child) -> Heir? {
        guard let heir = orders.removeValue(forKey: child.generation), child.isGone, !isShuttingDown,
            !strangers.contains(heir.port)
        else { return nil }
        isNumberReused = isNumberReused || children[heir.generation] != nil || !heirs.insert(heir.generation).inserted
        highestGeneration = max(highestGeneration, heir.generation)
        if !isCalm, random.oneIn(15) { return heir }
        var fresh = Child(
            generation: heir.generation, instance: heir.instance, port: heir.port, pid: nil, isTask: false, readyAt: 0)
        fresh.ignoresTerm = random.oneIn(8)
        fresh.version = child.version
        children[heir.generation] = fresh
        schedule(.executed(heir.generation), in: Self.afterExit)
        return heir
    }

    /// The shell gives and withdraws orders a little after things have changed.
    mutating func arrangeHeirs() {
        let (candidates, _) = app.heirCandidates(at: Instant(nanoseconds: now))
        let wanted = Set(candidates.map(\.generation))
        orders = orders.filter { wanted.contains($0.key) }
        for candidate in candidates where orders[candidate.generation] == nil {
            orders[candidate.generation] = Heir(
                generation: app.reserveGeneration(), instance: candidate.instance, port: candidate.port)
        }
    }

    mutating func publish() {
        let routes = app.routes
        for endpoint in routes.flatMap(\.endpoints) where endpoint.state == .active {
            emptied.remove(endpoint.generation)
        }
        let before = Dictionary(uniqueKeysWithValues: published.flatMap(\.endpoints).map { ($0.generation, $0.state) })
        for endpoint in routes.flatMap(\.endpoints) where endpoint.state != .active {
            guard before[endpoint.generation] != endpoint.state else { continue }
            // Connections may hang, but those of a drained one must end, or who waits for it would wait for ever.
            if endpoint.state == .draining, random.oneIn(5) { continue }
            // A balancer that is not there yet is told later.
            guard isBalancerThere else { continue }
            schedule(
                .connectionsEnd(endpoint.generation, balancer: balancerEpoch),
                in: random.pick([0, 1_000_000_000, 20_000_000_000]))
        }
        published = routes
    }
}

extension Instance.Stop {
    /// Whether somebody wanted it to end.
    var isAsked: Bool {
        switch cause {
        case .goal, .replacement: true
        case .ending: false
        }
    }
}
