import Manifest

// The machine of one instance. A sentence for every state and each goal:
//
//            goal up                                                goal down
// down       starts at once, or waits for its dependencies          rests
// waiting    starts in the turn in which they are there             goes down at once
// starting   becomes ready (running), or is stopped when            is stopped without draining; if its spawn was not
//            `ready.timeout` is over, or ends by itself; the        confirmed yet, the signal follows once it is
//            latter two count as failures
// running    serves; when it ends, the restart policy decides;      is stopped once no dependant that is to go down,
//                                                                   too, has a process: drained if it is an endpoint,
//                                                                   then signalled, then killed
// stopping   goes on to its end, then starts at once (a person      goes on to its end, then down
//            wanted it) or as the policy decides (not ready, or
//            ended by itself and has left processes behind)
// backoff    starts when the pause is over                          goes down at once
// failed     rests until a person asks for a start                  goes down at once
// completed  rests until a person asks for a start                  goes down at once
//
// What health probes have shown stands beside the state (Health.swift): nothing follows from it until the budget of its
// service lets it be restarted; then it is stopped like one that was not ready in time, but drained first.
//
// Whether a user has drained it stands beside the state and changes no transition: it only decides how a running one is
// published (Parking.swift).
//
// "Ended" means: the leader's exit was seen *and* nothing of its process group is left. A generation is released then,
// and never before; so there are never two at a time. What a crash leaves behind blocks the restart and gets little
// time: the stop signal, and SIGKILL after `stop.timeout`, two seconds at most.
//
// A process that has a watchdog and is silent for too long is stopped, as one that is not ready in time (Said.swift).
//
// An event about a process only comes here if its generation is the present one; where it cannot mean anything (a probe
// of a process that is being stopped), the switch says so. None of them has a `default`: a new state or event does not
// compile until every pair has its answer.
extension Instance {
    /// What happened to an instance.
    enum Event: Sendable, Hashable {
        /// The goal, the dependencies or the dependants may have changed.
        case reconsidered
        /// Time has passed.
        case deadlineReached
        /// A person wants it up now. Sets the goal.
        case startAsked
        /// A person wants a new process in place of this one; `leavesNone`: clients have no other endpoint.
        case restartAsked(leavesNone: Bool)
        /// The process was started.
        case spawned(pid: Int32)
        /// It was not.
        case spawnFailed(StartFailure)
        /// Its port is in use by a stranger; `next` is another one that may be tried.
        case portTaken(holder: String, next: UInt16?)
        /// The leader has ended.
        case exited(ExitStatus, groupEmpty: Bool)
        /// Whether anything of the group is left.
        case groupChecked(empty: Bool)
        /// A readiness probe has ended.
        case probed(passed: Bool, detail: String, nobodyListens: Bool = false)
        /// The process has said something of itself.
        case notified(ServiceNotice)
        /// A health probe of the ready process has ended.
        case healthProbed(Application.ProbeOutcome)
        /// It is unhealthy, and may be restarted now; `leavesNone`: clients have no other endpoint.
        case healthRestartDue(leavesNone: Bool)
        /// No connection is left.
        case drained
        /// A new supervisor finds that nobody knows the process any more.
        case vanished
    }

    /// What its decisions depend on beside itself.
    struct Surroundings: Sendable, Hashable {
        /// Its dependencies are there, and nothing of an earlier generation is left.
        var mayStart: Bool
        /// No dependant that is to go down as well has a process.
        var mayStop: Bool
        /// The whole daemon stops.
        var isShuttingDown: Bool
        /// What its next start goes by, and on which port, if that is something else than its present process goes by.
        var successor: Successor?
    }

    /// The settings of the next process of an instance whose present one has others.
    struct Successor: Sendable, Hashable {
        /// The settings.
        var service: Service
        /// The port; 0: none was free.
        var port: UInt16
    }

    /// Takes an event; leaves effects in the turn.
    mutating func handle(
        _ event: Event, of service: Service, in surroundings: Surroundings, _ turn: inout Turn
    ) {
        let (before, startsBefore) = (state, starts)
        defer { countRestart(after: event, from: before, starts: startsBefore) }
        switch state {
        case .down: whileDown(event, service, surroundings, &turn)
        case .waiting: whileWaiting(event, service, surroundings, &turn)
        case .starting(let process, let until, let probe):
            whileStarting(process, until, probe, event, service, surroundings, &turn)
        case .running(let process): whileRunning(process, event, service, surroundings, &turn)
        case .stopping(let process, let stop): whileStopping(process, stop, event, service, surroundings, &turn)
        case .backoff(let until): whileBackingOff(until, event, service, surroundings, &turn)
        case .failed, .completed: whileFinished(event, service, surroundings, &turn)
        }
    }

    private mutating func whileDown(
        _ event: Event, _ service: Service, _ surroundings: Surroundings, _ turn: inout Turn
    ) {
        switch event {
        case .reconsidered:
            if goal == .up { start(replacing: false, service, surroundings, &turn) }
        case .startAsked, .restartAsked:
            startAfresh(service, surroundings, &turn)
        case .deadlineReached, .spawned, .spawnFailed, .portTaken, .exited, .groupChecked, .probed, .notified, .drained,
            .vanished, .healthProbed, .healthRestartDue:
            break
        }
    }

    private mutating func whileWaiting(
        _ event: Event, _ service: Service, _ surroundings: Surroundings, _ turn: inout Turn
    ) {
        switch event {
        case .reconsidered:
            if goal == .down {
                waitsToReplace = false
                state = .down
            } else if surroundings.mayStart {
                start(replacing: false, service, surroundings, &turn)
            }
        case .startAsked, .restartAsked:
            startAfresh(service, surroundings, &turn)
        case .deadlineReached, .spawned, .spawnFailed, .portTaken, .exited, .groupChecked, .probed, .notified, .drained,
            .vanished, .healthProbed, .healthRestartDue:
            break
        }
    }

    private mutating func whileBackingOff(
        _ until: Instant, _ event: Event, _ service: Service, _ surroundings: Surroundings, _ turn: inout Turn
    ) {
        switch event {
        case .reconsidered:
            if goal == .down { state = .down }
        case .deadlineReached:
            guard until <= turn.now else { return }
            if goal == .down { state = .down } else { start(replacing: false, service, surroundings, &turn) }
        case .startAsked, .restartAsked:
            startAfresh(service, surroundings, &turn)
        case .spawned, .spawnFailed, .portTaken, .exited, .groupChecked, .probed, .notified, .drained,
            .vanished, .healthProbed, .healthRestartDue:
            break
        }
    }

    /// Failed or completed.
    private mutating func whileFinished(
        _ event: Event, _ service: Service, _ surroundings: Surroundings, _ turn: inout Turn
    ) {
        switch event {
        case .reconsidered:
            if goal == .down { state = .down }
        case .startAsked, .restartAsked:
            startAfresh(service, surroundings, &turn)
        case .deadlineReached, .spawned, .spawnFailed, .portTaken, .exited, .groupChecked, .probed, .notified, .drained,
            .vanished, .healthProbed, .healthRestartDue:
            break
        }
    }

    private mutating func whileStarting(
        _ process: Process, _ until: Instant, _ probe: String?, _ event: Event, _ service: Service,
        _ surroundings: Surroundings, _ turn: inout Turn
    ) {
        switch event {
        case .reconsidered:
            if goal == .down && surroundings.mayStop { stop(process, cause: .goal, service, &turn) }
        case .deadlineReached:
            if until <= turn.now { readyTimeoutElapsed(process, service, &turn) }
        case .startAsked:
            goal = .up
            failures = 0
        case .restartAsked:
            goal = .up
            failures = 0
            stop(process, cause: .replacement, service, &turn)
        case .spawned(let pid):
            processBegan(process, pid: pid, service, &turn)
        case .spawnFailed(let failure):
            startFailed(process, failure.text, service, surroundings, &turn)
        case .portTaken(let holder, let next):
            portFoundTaken(process, by: holder, next: next, service, surroundings, &turn)
        case .exited(let status, let groupEmpty):
            endProbing(process, service, &turn)
            endedByItself(process, status, groupEmpty: groupEmpty, wasReady: false, service, surroundings, &turn)
        case .probed(true, _, _):
            // A pass before the start was confirmed can only be somebody else's.
            if process.pid != nil { becameReady(process, service, &turn) }
        case .probed(false, let detail, let nobodyListens):
            self.nobodyListens = nobodyListens ? true : nil
            state = .starting(process, until: until, probe: Wording.bounded(detail))
        case .notified(let notice):
            noticeWhileStarting(process, until, probe, notice, service, &turn)
        case .vanished:
            vanished(process, wasReady: false, service, surroundings, &turn)
        case .groupChecked, .drained, .healthProbed, .healthRestartDue:
            break
        }
    }

    private mutating func whileRunning(
        _ process: Process, _ event: Event, _ service: Service, _ surroundings: Surroundings, _ turn: inout Turn
    ) {
        switch event {
        case .reconsidered:
            if goal == .down && surroundings.mayStop { drain(process, cause: .goal, surroundings, service, &turn) }
        case .startAsked:
            goal = .up
        case .restartAsked(let leavesNone):
            goal = .up
            failures = 0
            drain(process, cause: .replacement, leavesNone: leavesNone, surroundings, service, &turn)
        case .exited(let status, let groupEmpty):
            endedByItself(process, status, groupEmpty: groupEmpty, wasReady: true, service, surroundings, &turn)
        case .vanished:
            vanished(process, wasReady: true, service, surroundings, &turn)
        case .healthProbed(let outcome):
            healthProbed(process, outcome, service, &turn)
        case .healthRestartDue(let leavesNone):
            restartUnhealthy(process, leavesNone: leavesNone, surroundings, service, &turn)
        case .drained:
            connectionsEnded(of: process)
        case .notified(let notice):
            noticeWhileRunning(process, notice, service, &turn)
        case .deadlineReached:
            if let due = watchdogDue, due <= turn.now {
                watchdogElapsed(process, wasTriggered: false, wasReady: true, service, &turn)
            }
        case .spawned, .spawnFailed, .portTaken, .groupChecked, .probed:
            break
        }
    }

    private mutating func whileStopping(
        _ process: Process, _ stop: Stop, _ event: Event, _ service: Service, _ surroundings: Surroundings,
        _ turn: inout Turn
    ) {
        switch event {
        case .reconsidered:
            if surroundings.isShuttingDown { hurry(process, stop, &turn) }
        case .deadlineReached:
            stopDeadlineReached(process, stop, service, &turn)
        case .startAsked:
            goal = .up
            failures = 0
            // Nothing was sent to it yet: it goes on, unless it would be restarted for its health at once.
            if case .draining = stop.phase, stop.cause == .goal, !surroundings.isShuttingDown,
                !wasFoundUnhealthy(process.generation)
            {
                turn.report(id, .info, "goes on: it is wanted again, and its connections had not ended yet")
                return state = .running(process)
            }
            if case .ending = stop.cause { changeCause(to: .goal, process, stop) }
        case .restartAsked(let leavesNone):
            goal = .up
            failures = 0
            var stop = stop
            if leavesNone, case .draining(let until) = stop.phase {
                let half = service.balance.queueTimeout.wholeNanoseconds / 2
                stop.phase = .draining(until: min(until, turn.now.adding(half)))
            }
            changeCause(to: .replacement, process, stop)
        case .spawned(let pid):
            processBeganTooLate(process, pid: pid, stop, service, &turn)
        case .spawnFailed, .portTaken, .vanished:
            stopEnded(process, stop, service, surroundings, &turn)
        case .exited(let status, let groupEmpty):
            leaderEnded(process, status, groupEmpty: groupEmpty, stop, service, surroundings, &turn)
        case .groupChecked(let empty):
            groupSeen(process, empty: empty, stop, service, surroundings, &turn)
        case .drained:
            connectionsEnded(of: process)
            if case .draining = stop.phase { terminate(process, stop, service, &turn) }
        case .notified(let notice):
            noticeWhileStopping(process, stop, notice, &turn)
        case .probed, .healthProbed, .healthRestartDue:
            break
        }
    }
}
