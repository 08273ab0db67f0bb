import Manifest

/// One instance of a service: what is wanted of it, what it is doing, and what it remembers of its past. How it goes
/// from state to state is in InstanceMachine.swift.
struct Instance: Sendable, Hashable, Codable {
    /// Its name.
    let id: InstanceID
    /// What is wanted.
    var goal: Goal
    /// What it is doing.
    var state: State
    /// A user has drained it; see Parking.swift.
    var parking: Parking?
    /// Its goal is down because the manifest does not ask for it, not because a user stopped it.
    var isSurplus = false
    /// Its goal is down because nobody connects to its service; nil, as in a snapshot of before there was such: not. See
    /// Sleeping.swift.
    var isAsleep: Bool?
    /// It was started to stand beside the others while they are replaced; nil, as in a snapshot of before this was noted: not.
    var stoodIn: Bool?
    /// When its last processes were asked for; nil, as in a snapshot of before this was noted: nobody knows.
    var asked: Asked?
    /// Which of two settings its process has, while a rollout replaces processes.
    var edition = Edition.current
    /// The latest readiness probe of its process found nobody listening on its port; nil: not so. See Advice.swift.
    var nobodyListens: Bool?
    /// Its latest process was not ready in time.
    var missedReadiness = false
    /// The process that has run for the moment that shows that a program without a readiness check has started.
    var proven: Generation?
    /// The port of its next process; 0: none was free.
    var port: UInt16
    /// It waits to take the place of a process that was stopped for it: clients wait with it.
    var waitsToReplace = false
    /// Failed starts and short runs in a row.
    var failures = 0
    /// How often a process was started, or could not be.
    var starts = 0
    /// How often it was started again, and why; nil: never.
    var restartCounts: RestartCounts?
    /// How many ports were found taken in a row.
    var portTries = 0
    /// Its starts of late.
    var window = RestartWindow()
    /// How its last process ended, or why it could not be started.
    var lastExit: Application.LastExit?
    /// The generation of its latest process or attempt.
    var latest: Generation?
    /// What its latest process has said of itself; nil: nothing.
    var said: Said?
    /// What health probes of its process have shown; see Health.swift.
    var health: Health?
    /// The process that was stopped because it was unhealthy, until the instance is ready again.
    var healing: Generation?

    /// When its last two processes were asked for.
    struct Asked: Sendable, Hashable, Codable {
        /// The last one.
        var latest: Instant
        /// The one before; nil: there was none.
        var previous: Instant?
    }

    /// Which settings hold for it: see Rollout.swift.
    enum Edition: String, Sendable, Hashable, Codable {
        /// The manifest's.
        case current
        /// Those that its rollout replaces, also for its next start.
        case former
        /// Its process has those that are replaced; its next one has the manifest's.
        case leaving
    }

    /// What it is doing. Whatever has, or may have, a process carries that one's generation; whatever waits for a
    /// moment carries that moment, so no timer can be stale.
    enum State: Sendable, Hashable, Codable {
        /// Nothing of it runs, nothing is due.
        case down
        /// It is to start as soon as its dependencies are there.
        case waiting
        /// A process is asked for or there, and not ready; `probe` is what the last probe found.
        case starting(Process, until: Instant, probe: String?)
        /// The process is ready; a task's is at work.
        case running(Process)
        /// The process, or what is left of its group, is on its way out.
        case stopping(Process, Stop)
        /// The pause before the next start.
        case backoff(until: Instant)
        /// Nothing more is tried; why.
        case failed(String)
        /// It has ended with success and is not started again.
        case completed
    }

    /// A process, or the attempt to start one.
    struct Process: Sendable, Hashable, Codable {
        /// Its generation.
        var generation: Generation
        /// Its port.
        var port: UInt16
        /// Its pid; nil while nobody has confirmed that it was started.
        var pid: Int32?
        /// When it was started; before that, when it was asked for.
        var beganAt: Instant
        /// Whether it takes the place of one that was stopped for it, so that clients wait for it.
        var replaces: Bool
    }

    /// How a process is being ended.
    struct Stop: Sendable, Hashable, Codable {
        /// Why, which says what comes afterwards.
        var cause: Cause
        /// How far it is.
        var phase: Phase
        /// The leader's exit was seen; others of the group are left.
        var leaderEnded = false
        /// It was an endpoint of the balancer when the stop began.
        var wasEndpoint: Bool
    }

    /// Why a process is being ended.
    enum Cause: Sendable, Hashable, Codable {
        /// The goal was down when it began; if it is up at the end, the start is at once.
        case goal
        /// A new process is to take its place.
        case replacement
        /// It ended by itself, or was not ready in time: the restart policy decides.
        case ending(Ending)
    }

    /// How far a stop is.
    enum Phase: Sendable, Hashable, Codable {
        /// Its connections may end first.
        case draining(until: Instant)
        /// The stop signal was sent to the group (or will be once the process is there); once the leader has ended, the
        /// rest of the group is looked after.
        case terminating(until: Instant, check: Check)
        /// SIGKILL was sent to the group, and is sent again with every outcome.
        case killing(Check)
    }

    /// The next look at a process group that should be gone. The kernel tells nobody when a group becomes empty, so one
    /// looks again after growing pauses, and only while something is stopping.
    struct Check: Sendable, Hashable, Codable {
        /// When.
        var at: Instant
        /// The pause after it in nanoseconds.
        var pause: Int64 = Check.firstPause

        /// 5 ms.
        static let firstPause: Int64 = 5_000_000
        /// 1 s; also how long an answer is waited for before one asks again.
        static let longestPause: Int64 = 1_000_000_000

        /// It has been asked for: the answer brings the next one.
        func asked(at now: Instant) -> Check { Check(at: now.adding(Check.longestPause), pause: pause) }

        /// The answer was "not yet".
        func notYet(at now: Instant) -> Check {
            Check(at: now.adding(pause), pause: min(max(pause, 1) * 2, Check.longestPause))
        }
    }
}

extension Instance {
    /// The process that there is or may be.
    var process: Process? {
        switch state {
        case .starting(let process, _, _), .running(let process), .stopping(let process, _): process
        case .down, .waiting, .backoff, .failed, .completed: nil
        }
    }

    /// When time alone changes something.
    var deadline: Instant? {
        switch state {
        case .starting(_, let until, _), .backoff(let until): until
        case .stopping(_, let stop):
            switch stop.phase {
            case .draining(let until): until
            case .terminating(let until, let check): stop.leaderEnded ? min(until, check.at) : until
            case .killing(let check): check.at
            }
        case .running: watchdogDue
        case .down, .waiting, .failed, .completed: nil
        }
    }

    /// Whether it is, or still is, an endpoint of the balancer, if its service has a front.
    var endpoint: Endpoint? {
        switch state {
        case .running(let process): Endpoint(process: process, state: parking == nil ? .active : .parked)
        case .stopping(let process, let stop):
            stop.wasEndpoint && !stop.leaderEnded ? Endpoint(process: process, state: .draining) : nil
        case .down, .waiting, .starting, .backoff, .failed, .completed: nil
        }
    }

    /// A process that takes connections or drains.
    struct Endpoint: Sendable, Hashable {
        /// The process.
        var process: Process
        /// Whether it takes new ones.
        var state: Application.Route.Endpoint.State
    }
}
