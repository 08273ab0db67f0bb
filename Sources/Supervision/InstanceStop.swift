import Manifest

/// How a process is ended: draining, terminating, killing, and what comes afterwards.
extension Instance {
    /// How long connections may go on while the whole daemon stops.
    static let shutdownDrain: Int64 = 5_000_000_000
    /// How long what a crash has left behind may take to end after the stop signal: it blocks the restart.
    static let leftoverPatience: Int64 = 2_000_000_000

    /// Begins to stop a ready process. An endpoint may finish its connections first: for `drainTimeout`, but for half
    /// of `queueTimeout` if clients have no other endpoint and wait for the replacement.
    mutating func drain(
        _ process: Process, cause: Cause, leavesNone: Bool = false, _ surroundings: Surroundings, _ service: Service,
        _ turn: inout Turn
    ) {
        var bound = service.balance.drainTimeout.wholeNanoseconds
        if leavesNone { bound = min(bound, service.balance.queueTimeout.wholeNanoseconds / 2) }
        if surroundings.isShuttingDown { bound = min(bound, Instance.shutdownDrain) }
        // One that was drained before has none: the balancer said so then, and says it once.
        guard service.isBalanced, bound > 0, !isDrained else { return stop(process, cause: cause, service, &turn) }
        let phase = Phase.draining(until: turn.now.adding(bound))
        state = .stopping(process, Stop(cause: cause, phase: phase, wasEndpoint: true))
    }

    /// Begins to stop a process without draining.
    mutating func stop(_ process: Process, cause: Cause, _ service: Service, _ turn: inout Turn) {
        endProbing(process, service, &turn)
        let stop = Stop(cause: cause, phase: .draining(until: turn.now), wasEndpoint: endpoint != nil)
        terminate(process, stop, service, &turn)
    }

    /// Sends the stop signal. An unconfirmed process gets it once it is there.
    mutating func terminate(_ process: Process, _ stop: Stop, _ service: Service, _ turn: inout Turn) {
        var stop = stop
        said?.extensionEnd = nil
        var patience = service.stop.timeout.wholeNanoseconds
        if stop.leaderEnded { patience = min(patience, Instance.leftoverPatience) }
        let check = Check(at: turn.now).notYet(at: turn.now)
        stop.phase = .terminating(until: turn.now.adding(patience), check: check)
        state = .stopping(process, stop)
        if process.pid != nil { turn.effects.append(.signal(process.generation, service.stop.signal)) }
    }

    /// Sends SIGKILL, and looks whether it has worked.
    private mutating func kill(_ process: Process, _ stop: Stop, _ check: Check, _ turn: inout Turn) {
        var stop = stop
        stop.phase = .killing(check.asked(at: turn.now))
        state = .stopping(process, stop)
        // Also if its start was not confirmed: it may hang before or in execve(2).
        turn.effects.append(.signal(process.generation, "KILL"))
        turn.effects.append(.checkGroup(process.generation))
    }

    mutating func stopDeadlineReached(_ process: Process, _ stop: Stop, _ service: Service, _ turn: inout Turn) {
        switch stop.phase {
        case .draining(let until):
            if until <= turn.now { terminate(process, stop, service, &turn) }
        case .terminating(let until, let check):
            if until <= turn.now {
                let signal = "SIG\(service.stop.signal)"
                let text =
                    stop.leaderEnded
                    ? "processes that it has left behind did not end after \(signal)"
                    : "did not end within \(Wording.time(service.stop.timeout)) of \(signal)"
                turn.report(id, .warning, "\(text); sending SIGKILL")
                kill(process, stop, Check(at: turn.now), &turn)
            } else if stop.leaderEnded, check.at <= turn.now {
                var stop = stop
                stop.phase = .terminating(until: until, check: check.asked(at: turn.now))
                state = .stopping(process, stop)
                turn.effects.append(.checkGroup(process.generation))
            }
        case .killing(let check):
            if check.at <= turn.now { kill(process, stop, check, &turn) }
        }
    }

    /// The daemon stops: connections get less time than they were promised.
    mutating func hurry(_ process: Process, _ stop: Stop, _ turn: inout Turn) {
        guard case .draining(let until) = stop.phase else { return }
        var stop = stop
        stop.phase = .draining(until: min(until, turn.now.adding(Instance.shutdownDrain)))
        state = .stopping(process, stop)
    }

    mutating func changeCause(to cause: Cause, _ process: Process, _ stop: Stop) {
        var stop = stop
        stop.cause = cause
        state = .stopping(process, stop)
    }

    /// The process that nobody wants any more was started all the same: it gets the signal that is due.
    mutating func processBeganTooLate(
        _ process: Process, pid: Int32, _ stop: Stop, _ service: Service, _ turn: inout Turn
    ) {
        guard process.pid == nil else { return }
        var process = process
        process.pid = pid
        process.beganAt = turn.now
        starts += 1
        state = .stopping(process, stop)
        switch stop.phase {
        case .draining: break
        case .terminating: turn.effects.append(.signal(process.generation, service.stop.signal))
        case .killing: turn.effects.append(.signal(process.generation, "KILL"))
        }
    }

    /// The leader has ended while it was being stopped.
    mutating func leaderEnded(
        _ process: Process, _ status: ExitStatus, groupEmpty: Bool, _ stop: Stop, _ service: Service,
        _ surroundings: Surroundings, _ turn: inout Turn
    ) {
        if !stop.leaderEnded { rememberExit(status, of: service, stop, &turn) }
        if groupEmpty { return stopEnded(process, stop, service, surroundings, &turn) }
        guard !stop.leaderEnded else { return }
        var stop = stop
        stop.leaderEnded = true
        switch stop.phase {
        case .draining: terminate(process, stop, service, &turn)
        case .terminating(let until, _):
            stop.phase = .terminating(until: until, check: Check(at: turn.now).notYet(at: turn.now))
            state = .stopping(process, stop)
        case .killing(let check): kill(process, stop, check, &turn)
        }
    }

    /// Somebody has looked at the group.
    mutating func groupSeen(
        _ process: Process, empty: Bool, _ stop: Stop, _ service: Service, _ surroundings: Surroundings,
        _ turn: inout Turn
    ) {
        // Requests are answered in order: a process that nobody has confirmed, of an empty group, was never started.
        if empty && (stop.leaderEnded || process.pid == nil) {
            return stopEnded(process, stop, service, surroundings, &turn)
        }
        var stop = stop
        switch stop.phase {
        case .draining: return
        case .terminating(let until, let check):
            stop.phase = .terminating(until: until, check: check.notYet(at: turn.now))
        case .killing(let check): stop.phase = .killing(check.notYet(at: turn.now))
        }
        state = .stopping(process, stop)
    }

    /// Nothing of the process is left.
    mutating func stopEnded(
        _ process: Process, _ stop: Stop, _ service: Service, _ surroundings: Surroundings, _ turn: inout Turn
    ) {
        turn.effects.append(.release(process.generation))
        switch stop.cause {
        case .ending(let ending):
            ended(ending, service, surroundings, &turn)
        case .goal, .replacement:
            guard goal == .up else { return wentDown(&turn) }
            window.clear()
            missedReadiness = false
            start(replacing: stop.cause == .replacement, service, surroundings, &turn)
        }
    }

    private mutating func wentDown(_ turn: inout Turn) {
        state = .down
        turn.report(id, .info, "stopped")
    }

    /// The process has ended and nobody asked it to.
    mutating func endedByItself(
        _ process: Process, _ status: ExitStatus, groupEmpty: Bool, wasReady: Bool, _ service: Service,
        _ surroundings: Surroundings, _ turn: inout Turn
    ) {
        let lasted = turn.now.elapsed(since: process.beganAt)
        let reason = Wording.reason(status, limits: service.limits)
        lastExit = Application.LastExit(status: status, reason: reason, at: turn.now)
        var succeeded = false
        if case .code(let code) = status { succeeded = service.restart.successExitCodes.contains(Int(code)) }
        let ending = Ending(
            succeeded: succeeded,
            wasHealthy: wasReady && lasted >= service.restart.healthyRun,
            reason: process.pid == nil ? reason : "\(reason) after \(Wording.time(lasted))")
        if groupEmpty {
            turn.effects.append(.release(process.generation))
            return ended(ending, service, surroundings, &turn)
        }
        turn.report(id, .warning, "\(reason), but has left processes behind; ending them first")
        let stop = Stop(
            cause: .ending(ending), phase: .draining(until: turn.now), leaderEnded: true, wasEndpoint: false)
        terminate(process, stop, service, &turn)
    }

    /// A process that nobody knows any more: it ended while there was no supervisor, or was never started.
    mutating func vanished(
        _ process: Process, wasReady: Bool, _ service: Service, _ surroundings: Surroundings, _ turn: inout Turn
    ) {
        turn.effects.append(.release(process.generation))
        guard process.pid != nil else {
            guard goal == .up else { return state = .down }
            return start(replacing: process.replaces, service, surroundings, &turn)
        }
        let lasted = turn.now.elapsed(since: process.beganAt)
        let reason = "ended while the supervisor was away"
        lastExit = Application.LastExit(status: nil, reason: reason, at: turn.now)
        let ending = Ending(
            succeeded: false, wasHealthy: wasReady && lasted >= service.restart.healthyRun, reason: reason)
        ended(ending, service, surroundings, &turn)
    }

    /// Nothing is left of a run, or of an attempt, that ended by itself: the policy decides.
    mutating func ended(
        _ ending: Ending, _ service: Service, _ surroundings: Surroundings, _ turn: inout Turn
    ) {
        guard goal == .up else { return wentDown(&turn) }
        let verdict = verdict(
            on: ending, service: service, failures: failures, window: window, at: turn.now, jitter: turn.jitter)
        switch verdict {
        case .completed:
            failures = 0
            state = .completed
            turn.report(id, .info, "completed: \(ending.reason)")
        case .givenUp(let reason):
            state = .failed(reason)
            turn.report(id, .error, "given up: \(reason)")
        case .again(let pause, let failures):
            self.failures = failures
            guard pause > .zero else {
                start(replacing: false, service, surroundings, &turn)
                return turn.report(id, .warning, "\(ending.reason); started again at once")
            }
            state = .backoff(until: turn.now + pause)
            turn.report(id, .warning, "\(ending.reason); next try in \(Wording.time(pause))")
        }
    }

    private mutating func rememberExit(_ status: ExitStatus, of service: Service, _ stop: Stop, _ turn: inout Turn) {
        var reason = Wording.reason(status, limits: service.limits)
        switch (stop.cause, stop.phase) {
        // The reason that is already there says more: `not ready within 60 s`.
        case (.ending, _): return
        case (.goal, .killing), (.replacement, .killing):
            reason = "\(reason): did not end within \(Wording.time(service.stop.timeout)) of SIG\(service.stop.signal)"
        case (.goal, _), (.replacement, _): break
        }
        lastExit = Application.LastExit(status: status, reason: reason, at: turn.now)
    }
}
