import Events
import Manifest

/// How an instance gets a process, and how that becomes ready.
extension Instance {
    /// A person asked: what went wrong before is forgotten.
    mutating func startAfresh(_ service: Service, _ surroundings: Surroundings, _ turn: inout Turn) {
        goal = .up
        failures = 0
        missedReadiness = false
        window.clear()
        start(replacing: false, service, surroundings, &turn)
    }

    /// Starts, if the dependencies are there; else waits.
    mutating func start(
        replacing: Bool, _ service: Service, _ surroundings: Surroundings, _ turn: inout Turn
    ) {
        let replacing = replacing || waitsToReplace
        waitsToReplace = replacing && !surroundings.mayStart
        var service = service
        if edition == .leaving, turn.heir?.instance == id, surroundings.successor?.service != service {
            // What the keeper has started in its place was planned by the old settings: it is replaced again.
            edition = .former
        } else if edition == .leaving, let successor = surroundings.successor {
            edition = .current
            service = successor.service
            port = successor.port
        }
        guard surroundings.mayStart else { return state = .waiting }
        guard port != 0 else { return portsExhausted(service, &turn) }
        window.record(service.restart.limit, at: turn.now)
        portTries = 0
        spawn(replacing: replacing, service, &turn)
    }

    /// There is no port to start on; one may become free.
    private mutating func portsExhausted(_ service: Service, _ turn: inout Turn) {
        let reason = "no port of supd.portRange is free: widen it"
        lastExit = Application.LastExit(status: nil, reason: reason, at: turn.now)
        failures = min(failures + 1, 1_000_000)
        let pause = max(.seconds(1), backoff(afterFailures: failures, service.restart, jitter: turn.jitter))
        state = .backoff(until: turn.now + pause)
        turn.report(id, .error, "\(reason); next try in \(Wording.time(pause))")
    }

    private mutating func spawn(replacing: Bool, _ service: Service, _ turn: inout Turn) {
        let heir = turn.heir.flatMap { $0.instance == id ? $0 : nil }
        let process = Process(
            generation: heir?.generation ?? turn.newGeneration(), port: heir?.port ?? port, pid: nil, beganAt: turn.now,
            replaces: replacing)
        latest = process.generation
        asked = Asked(latest: turn.now, previous: asked?.latest)
        said = nil
        nobodyListens = nil
        // The spawn is always answered; the bound is for a program whose file system hangs in execve(2).
        state = .starting(process, until: turn.now + service.readyTimeout, probe: nil)
        if heir == nil { turn.effects.append(.spawn(process.generation, id, port: port)) }
    }

    /// The process is there: it is probed, or ready at once.
    mutating func processBegan(_ process: Process, pid: Int32, _ service: Service, _ turn: inout Turn) {
        guard process.pid == nil else { return }
        var process = process
        process.pid = pid
        process.beganAt = turn.now
        starts += 1
        portTries = 0
        guard service.isProbed else { return becameReady(process, service, &turn) }
        state = .starting(
            process, until: turn.now + service.readyTimeout, probe: service.wordAwaited(after: nil))
        turn.effects.append(.beginProbing(process.generation, id, port: process.port))
        turn.report(id, .info, "started as pid \(pid)")
    }

    /// It serves from now on; a task is at work.
    mutating func becameReady(_ process: Process, _ service: Service, _ turn: inout Turn) {
        state = .running(process)
        startWatchdog(service, turn)
        missedReadiness = false
        let pid = process.pid.map { " as pid \($0)" } ?? ""
        let drained = parking == nil ? "" : "; still drained: takes no connections until undrain"
        if service.isProbed {
            if service.ready.isSaidOnce {
                turn.effects.append(.keepReadiness(process.generation, id, port: process.port))
            }
            let port = service.usesPort ? " on port \(process.port)" : ""
            let time = Wording.time(turn.now.elapsed(since: process.beganAt))
            turn.report(id, .info, "ready\(port) after \(time)\(drained)")
            tellTurnedAway(process, service, &turn)
        } else {
            turn.report(id, .info, "started\(pid)\(drained)")
        }
    }

    /// Clients wait for a process that takes another one's place, or is woken by them, no longer than that.
    private func tellTurnedAway(_ process: Process, _ service: Service, _ turn: inout Turn) {
        let limit = service.balance.queueTimeout
        let time = turn.now.elapsed(since: process.beganAt)
        guard process.replaces, service.isBalanced, time > limit.wholeNanoseconds else { return }
        turn.report(
            id, .warning,
            "its start took longer than balance.queueTimeout (\(Wording.time(limit))): who waited for it was turned away"
        )
    }

    /// There is no process, and why.
    mutating func startFailed(
        _ process: Process, _ text: String, _ service: Service, _ surroundings: Surroundings, _ turn: inout Turn
    ) {
        turn.effects.append(.release(process.generation))
        starts += 1
        let reason = Wording.bounded(text)
        turn.untold.append((.startFailed(.init(generation: process.generation.number, reason: reason)), id))
        lastExit = Application.LastExit(status: nil, reason: reason, at: turn.now)
        ended(Ending(succeeded: false, wasHealthy: false, reason: reason), service, surroundings, &turn)
    }

    /// A port of the range is exchanged for the next one at once; a fixed one, or the last of the range, is a failure.
    mutating func portFoundTaken(
        _ process: Process, by holder: String, next: UInt16?, _ service: Service, _ surroundings: Surroundings,
        _ turn: inout Turn
    ) {
        var text = "port \(process.port) is in use by \(holder)"
        if service.port == nil, next == nil { text += ", and no other port of supd.portRange is free: widen it" }
        guard goal == .up, let next else { return startFailed(process, text, service, surroundings, &turn) }
        // Which ports were passed over, whoever looked says once for all instances: `SkippedPorts`.
        turn.effects.append(.release(process.generation))
        port = next
        portTries += 1
        spawn(replacing: process.replaces, service, &turn)
    }

    /// `ready.timeout` is over: the start has failed, and the process is stopped.
    mutating func readyTimeoutElapsed(_ process: Process, _ service: Service, _ turn: inout Turn) {
        var reason = "not ready within \(Wording.time(service.readyTimeout))"
        if process.pid == nil {
            reason = "not started within \(Wording.time(service.readyTimeout))"
        } else if case .starting(_, _, let probe?) = state {
            reason += " (\(probe)\(listeningAdvice(process) ?? ""))"
        }
        missedReadiness = true
        lastExit = Application.LastExit(status: nil, reason: reason, at: turn.now)
        turn.report(id, .warning, "\(reason); stopping it")
        let ending = Ending(succeeded: false, wasHealthy: false, reason: reason)
        stop(process, cause: .ending(ending), service, &turn)
    }

    /// Every way out of `starting` but readiness ends the probes, if there are any.
    func endProbing(_ process: Process, _ service: Service, _ turn: inout Turn) {
        guard service.isProbed, process.pid != nil, case .starting = state else { return }
        turn.effects.append(.endProbing(process.generation))
    }
}

extension Service {
    /// Whether readiness is probed for. A task has none: it is at work from its start until it has completed.
    var isProbed: Bool { kind == .service && ready != .started }

    /// Whether its ready instances are probed for their health. A task is at work, and never ready.
    var isHealthProbed: Bool { kind == .service && health != nil }

    /// Whether people know it by its port.
    var usesPort: Bool {
        switch ready {
        case .tcp, .http: true
        case .started, .command, .notify, .log: port != nil || isBalanced
        }
    }
}
