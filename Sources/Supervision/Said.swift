import Manifest

/// What a process has said of itself so far.
struct Said: Sendable, Hashable, Codable {
    /// Its last status; nil: none, or an empty one.
    var status: String?
    /// What it says that it is doing.
    var phase: ServiceNotice.Phase?
    /// Its watchdog, which counts while it runs; nil: it has none.
    var watchdog: Watchdog?
    /// Where all extensions of the present timeout end.
    var extensionEnd: Instant?

    /// A watchdog.
    struct Watchdog: Sendable, Hashable, Codable {
        /// How long it may be silent, in nanoseconds; 0: for ever.
        var interval: Int64
        /// When it was heard last.
        var heardAt: Instant

        /// When it has been silent for too long.
        var due: Instant? { interval > 0 ? heardAt.adding(interval) : nil }
    }

    /// The most that one message extends a timeout by: an hour.
    static let longestExtension: Int64 = 3_600_000_000_000
    /// The most that all together extend the start by: a day, which the longest recovery of a database should do with.
    static let startExtensions: Int64 = 86_400_000_000_000
    /// The most that all together extend the stop by: an hour. A machine that is to go down waits for it.
    static let stopExtensions: Int64 = 3_600_000_000_000
}

/// How an instance takes what its process says.
extension Instance {
    /// Notes what is not about the state that it is in.
    mutating func hear(_ notice: ServiceNotice, _ turn: Turn) {
        var said = said ?? Said()
        if let status = notice.status { said.status = status.isEmpty ? nil : status }
        if notice.isReady || notice.phase != nil { said.phase = notice.phase }
        if let interval = notice.watchdogInterval {
            said.watchdog = Said.Watchdog(interval: interval, heardAt: turn.now)
        } else if notice.watchdog != nil {
            said.watchdog?.heardAt = turn.now
        }
        self.said = said
    }

    /// When the present process has been silent for too long.
    var watchdogDue: Instant? { said?.watchdog?.due }

    /// From now on the process must be heard of, if it has a watchdog at all. It may have said how often before.
    mutating func startWatchdog(_ service: Service, _ turn: Turn) {
        let interval = said?.watchdog?.interval ?? service.watchdog?.wholeNanoseconds
        said?.extensionEnd = nil
        guard let interval, interval > 0 else { return }
        var said = said ?? Said()
        said.watchdog = Said.Watchdog(interval: interval, heardAt: turn.now)
        self.said = said
    }

    /// A timeout that ends at `until` with the extension that the process asks for. The bounds hold, whatever it says.
    mutating func extended(_ until: Instant, by notice: ServiceNotice, atMost most: Int64, _ turn: Turn) -> Instant {
        guard let wanted = notice.timeoutExtension else { return until }
        var said = said ?? Said()
        let end = said.extensionEnd ?? turn.now.adding(most)
        said.extensionEnd = end
        self.said = said
        return max(until, min(turn.now.adding(min(wanted, Said.longestExtension)), end))
    }

    mutating func noticeWhileStarting(
        _ process: Process, _ until: Instant, _ probe: String?, _ notice: ServiceNotice, _ service: Service,
        _ turn: inout Turn
    ) {
        // What nobody has started says nothing.
        guard process.pid != nil else { return }
        hear(notice, turn)
        if notice.watchdog == .trigger {
            return watchdogElapsed(process, wasTriggered: true, wasReady: false, service, &turn)
        }
        if notice.isReady, service.kind == .service, service.ready == .notify(.systemd) {
            turn.effects.append(.endProbing(process.generation))
            return becameReady(process, service, &turn)
        }
        let until = extended(until, by: notice, atMost: Said.startExtensions, turn)
        let awaited = service.ready == .notify(.systemd) ? service.wordAwaited(after: said) : nil
        state = .starting(process, until: until, probe: awaited ?? probe)
    }

    mutating func noticeWhileRunning(
        _ process: Process, _ notice: ServiceNotice, _ service: Service, _ turn: inout Turn
    ) {
        hear(notice, turn)
        if notice.watchdog == .trigger { watchdogElapsed(process, wasTriggered: true, wasReady: true, service, &turn) }
    }

    mutating func noticeWhileStopping(_ process: Process, _ stop: Stop, _ notice: ServiceNotice, _ turn: inout Turn) {
        hear(notice, turn)
        guard case .terminating(let until, let check) = stop.phase, !stop.leaderEnded else { return }
        var stop = stop
        stop.phase = .terminating(
            until: extended(until, by: notice, atMost: Said.stopExtensions, turn), check: check)
        state = .stopping(process, stop)
    }

    /// The process has been silent for too long, or wants to be taken for that: it is stopped, and the policy decides.
    mutating func watchdogElapsed(
        _ process: Process, wasTriggered: Bool, wasReady: Bool, _ service: Service, _ turn: inout Turn
    ) {
        let reason =
            wasTriggered
            ? "watchdog: triggered by the service itself"
            : "watchdog: silent for \(Wording.time(said?.watchdog?.interval ?? 0))"
        let lasted = turn.now.elapsed(since: process.beganAt)
        lastExit = Application.LastExit(status: nil, reason: reason, at: turn.now)
        turn.report(id, .warning, "\(reason); stopping it")
        let ending = Ending(
            succeeded: false, wasHealthy: wasReady && lasted >= service.restart.healthyRun, reason: reason)
        stop(process, cause: .ending(ending), service, &turn)
    }
}

extension Service {
    /// What a start that waits for the service's own word waits for, for people; nil if it waits for something else.
    func wordAwaited(after said: Said?) -> String? {
        switch ready {
        case .started, .tcp, .http, .command: return nil
        case .log(let pattern): return "no line with \"\(Wording.bounded(pattern.source))\" has come"
        case .notify(.descriptor(let number)): return "no newline has come by descriptor \(number)"
        case .notify(.systemd):
            let status = said?.status.map { "; its status: \($0)" } ?? ""
            return "READY=1 has not come\(status)"
        }
    }
}

extension Application {
    /// The processes that have been silent for too long: what they may have said meanwhile is read before they are ended.
    package func silent(at now: Instant) -> [Generation] {
        instances.compactMap { instance in
            guard case .running(let process) = instance.state, let due = instance.watchdogDue, due <= now else {
                return nil
            }
            return process.generation
        }
    }

    /// The time that instances on their way down still have, in nanoseconds; with what they have asked for.
    package func longestStopUnderWay(at now: Instant) -> Int64 {
        instances.reduce(0) { longest, instance in
            guard case .stopping(_, let stop) = instance.state, case .terminating(let until, _) = stop.phase else {
                return longest
            }
            return max(longest, until.elapsed(since: now))
        }
    }
}
