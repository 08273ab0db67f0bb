/// Why instances were started again: counted with each start after the first, one that comes to nothing included, by how the
/// process before has ended, or why it was ended. It is told from outside of the machine, by what an event has changed, so that no path can forget it.
package enum RestartReason: String, Sendable, Hashable, Codable, CaseIterable {
    /// It has exited by itself.
    case exited
    /// A signal of somebody else has ended it.
    case killed
    /// There was no process: it could not be started, or its port was taken.
    case startFailed = "start-failed"
    /// It was not ready in time.
    case notReady = "not-ready"
    /// Its health probes have failed.
    case unhealthy
    /// It was silent for too long, or said itself that it hangs.
    case watchdog
    /// It ended while no supervisor was there.
    case vanished
    /// Somebody wanted it: a start, a restart, another manifest.
    case requested
    /// A connection came while it slept.
    case woken

    /// Whether nobody has asked for it: what a reader of RESTARTS looks for.
    var isOwn: Bool {
        switch self {
        case .exited, .killed, .startFailed, .notReady, .unhealthy, .watchdog, .vanished: true
        case .requested, .woken: false
        }
    }
}

/// How often an instance was started again.
struct RestartCounts: Sendable, Hashable, Codable {
    /// Why the next start will be one.
    var next: RestartReason?
    /// By the reason's word: an older supd must be able to keep what a newer one has counted.
    var counts: [String: Int] = [:]
    /// The next start wakes it. No value of `next`, which an older supd could not read.
    var nextWakes: Bool?
    /// The latest start has woken it.
    var hasWoken: Bool?
    /// How many of them nobody has asked for, since somebody last has; nil, as in a snapshot of before this was counted: all of
    /// those that nobody has asked for.
    var own: Int?

    /// By reason, those that this version does not know left out.
    var byReason: [RestartReason: Int] {
        Dictionary(
            counts.compactMap { word, count in RestartReason(rawValue: word).map { ($0, count) } },
            uniquingKeysWith: { first, _ in first })
    }

    /// The same, whoever has counted.
    var ownSinceAsked: Int {
        own
            ?? counts.reduce(0) { sum, entry in
                guard RestartReason(rawValue: entry.key)?.isOwn == true else { return sum }
                let (total, isTooMuch) = sum.addingReportingOverflow(max(0, entry.value))
                return isTooMuch ? .max : total
            }
    }
}

extension Instance {
    /// An event was dealt with: what it means for the next start, and whether it was one.
    mutating func countRestart(after event: Event, from before: State, starts earlier: Int) {
        let reason = Self.reason(of: event, from: before, to: state)
        // A start that came to nothing was one for the reason of before, and is itself that of the next one.
        if reason == .startFailed { countStart(after: earlier) }
        if let reason {
            let isWake = reason == .requested && restartCounts?.nextWakes == true && before.isIdle
            restartCounts = restartCounts ?? RestartCounts()
            restartCounts?.next = reason
            if !isWake { restartCounts?.nextWakes = nil }
        }
        if reason != .startFailed { countStart(after: earlier) }
    }

    private mutating func countStart(after earlier: Int) {
        guard starts > earlier, earlier > 0 else { return }
        var counts = restartCounts ?? RestartCounts()
        let isWake = counts.nextWakes == true
        let why = isWake ? .woken : counts.next ?? .requested
        // A new version, and a process that somebody wants, begin anew; what sleeps and wakes goes on.
        counts.own = why.isOwn ? min(counts.ownSinceAsked, Int.max - 1) + 1 : isWake ? counts.ownSinceAsked : 0
        counts.counts[why.rawValue] = min(counts.counts[why.rawValue] ?? 0, Int.max - 1) + 1
        counts.nextWakes = nil
        counts.hasWoken = isWake ? true : nil
        restartCounts = counts
    }

    /// What comes next is a start because a connection waits.
    mutating func noteWake() {
        restartCounts = restartCounts ?? RestartCounts()
        restartCounts?.nextWakes = true
    }

    /// How often it was started again without anybody having asked, since somebody last has: by a start, a restart, or another
    /// manifest.
    var ownRestarts: Int { restartCounts?.ownSinceAsked ?? 0 }

    /// Why the process that there was will have to be replaced, if it was this event that has decided that.
    private static func reason(of event: Event, from before: State, to after: State) -> RestartReason? {
        switch before {
        case .down, .waiting, .backoff, .failed, .completed:
            return event.isAsked ? .requested : nil
        case .starting(let process, _, _):
            return reason(of: event, ofLosing: process, after, ifLate: .notReady)
        case .running(let process):
            return reason(of: event, ofLosing: process, after, ifLate: .watchdog)
        case .stopping(_, let stop):
            // What began the stop is the reason, unless a person asks for a start in place of what would come.
            guard case .ending = stop.cause, event.isAsked else { return nil }
            return .requested
        }
    }

    private static func reason(
        of event: Event, ofLosing process: Process, _ after: State, ifLate late: RestartReason
    ) -> RestartReason? {
        switch event {
        case .exited(.code, _): return .exited
        case .exited(.signal, _): return .killed
        case .vanished: return process.pid == nil ? nil : .vanished
        case .spawnFailed: return .startFailed
        case .portTaken:
            // Another port is tried at once; that is no new start.
            if case .starting = after { return nil }
            return .startFailed
        case .reconsidered, .deadlineReached, .startAsked, .restartAsked, .spawned, .groupChecked, .probed, .notified,
            .healthProbed, .healthRestartDue, .drained:
            guard case .stopping(_, let stop) = after else { return nil }
            guard case .ending = stop.cause else { return .requested }
            if case .healthRestartDue = event { return .unhealthy }
            if case .deadlineReached = event { return late }
            return .watchdog
        }
    }
}

extension Instance.State {
    /// Nothing of it runs, and nothing has failed.
    fileprivate var isIdle: Bool {
        switch self {
        case .down, .waiting: true
        case .starting, .running, .stopping, .backoff, .failed, .completed: false
        }
    }
}

extension Instance.Event {
    /// A person wants a process.
    fileprivate var isAsked: Bool {
        switch self {
        case .startAsked, .restartAsked: true
        case .reconsidered, .deadlineReached, .spawned, .spawnFailed, .portTaken, .exited, .groupChecked, .probed,
            .notified, .healthProbed, .healthRestartDue, .drained, .vanished:
            false
        }
    }
}

extension Application {
    /// How often an instance was started again, by reason; those that never happened left out.
    package func restarts(of id: InstanceID) -> [RestartReason: Int] {
        guard let place = layout.places[id], instances.indices.contains(place) else { return [:] }
        return instances[place].restartCounts?.byReason ?? [:]
    }
}

extension Snapshot {
    /// The same of each instance, as of then.
    package var restarts: [InstanceID: [RestartReason: Int]] {
        Dictionary(
            instances.map { ($0.id, $0.restartCounts?.byReason ?? [:]) }, uniquingKeysWith: { first, _ in first })
    }
}
