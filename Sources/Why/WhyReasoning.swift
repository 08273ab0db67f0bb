package import ControlAPI
package import Events
import Platform

/// Works out why instances are as they are, from what `supctl status` and `supctl events` say and what they wrote.
package struct WhyReasoning {
    /// All services.
    let report: StatusReport
    /// All events that are kept, the oldest first.
    let events: [EventRecord]
    /// A time an hour ago, as events have it.
    let anHourAgo: String
    /// How many processes the kernel has ended for want of memory.
    var memoryKills: UInt64?
    /// What instances have used in the last hour, as far as supd has looked.
    package var usage: [String: InstanceUsage] = [:]
    /// The last lines that an instance wrote between two times.
    let log: (_ instance: String, _ from: String?, _ to: String?) -> [String]

    /// Creates one from what is known.
    package init(
        report: StatusReport, events: [EventRecord], anHourAgo: String, memoryKills: UInt64? = nil,
        log: @escaping (_ instance: String, _ from: String?, _ to: String?) -> [String]
    ) {
        self.report = report
        self.events = events
        self.anHourAgo = anHourAgo
        self.memoryKills = memoryKills
        self.log = log
    }

    /// So many ends are told of each instance.
    static let exits = 3

    // MARK: supd as a whole

    /// What is under way in supd as a whole.
    package func supdAnswers() -> [String] {
        var answers: [String] = []
        for event in events.reversed() {
            guard case .daemon(let daemon) = event.kind else { continue }
            if daemon.step == .stopping { answers.append("supd stops everything since \(event.at); \(stillThere())") }
            break
        }
        for event in events.reversed() {
            guard case .apply(let step) = event.kind, step.step != .refused else { continue }
            guard step.step == .began else { break }
            let rollouts = openRollouts()
            let what = rollouts.isEmpty ? "" : "; it replaces \(rollouts.joined(separator: ", "))"
            let who = step.by.map { ", asked for by \($0)" } ?? ""
            answers.append("an apply of \(step.manifest ?? "a manifest") is under way since \(event.at)\(who)\(what)")
            break
        }
        return answers
    }

    /// What a shutdown waits for.
    private func stillThere() -> String {
        let present = report.services.flatMap(\.instances).filter { $0.pid != nil }
        guard !present.isEmpty else { return "nothing runs any more" }
        let shown = present.prefix(5).map { instance in
            instance.id + (instance.detail.map { " (\(instance.state); waits for \($0))" } ?? " (\(instance.state))")
        }
        let more = present.count > shown.count ? " and \(present.count - shown.count) more" : ""
        return "it waits for \(shown.joined(separator: ", "))\(more)"
    }

    /// Services whose rollout has begun and not ended.
    private func openRollouts() -> [String] {
        var open: [String] = []
        for event in events {
            guard case .rollout(let rollout) = event.kind, event.instance == nil, let service = event.service else {
                continue
            }
            switch rollout.step {
            case .began: if !open.contains(service) { open.append(service) }
            case .done, .wentBack, .gaveUp: open.removeAll { $0 == service }
            case .replacing, .replaced, .switched, .goingBack: break
            }
        }
        return open
    }

    // MARK: One instance

    /// The answer for an instance.
    package func answer(_ instance: InstanceStatus, of service: ServiceStatus) -> WhyAnswer {
        let own = events.filter { $0.instance == instance.id }
        let exits = exits(of: instance, own)
        let isWanted = service.goal == "up"
        let isFine =
            instance.state == "idle"
            || instance.ready && instance.drained != true && instance.health?.isUnhealthy != true
        let since = own.last { isState($0) }?.at
        var answer = WhyAnswer(
            name: instance.id, state: instance.state, isFine: isFine || !isWanted && instance.pid == nil, since: since,
            waitsFor: instance.detail, occasion: occasion(of: instance, service, own), besides: [],
            exits: exits.map(\.exit), restartsInLastHour: restarts(own), help: [])
        answer.besides = besides(instance, service)
        if let resource = exits.first?.guess?.resource, let line = WhyUsage.growth(of: resource, usage[instance.id]) {
            answer.besides.append(line)
        }
        answer.help = help(instance, service, exits.first)
        return answer
    }

    private func isState(_ event: EventRecord) -> Bool {
        if case .state = event.kind { true } else { false }
    }

    private func restarts(_ own: [EventRecord]) -> Int {
        own.count { event in
            guard case .start(let start) = event.kind else { return false }
            return start.restarts > 0 && start.woken != true && event.at >= anHourAgo
        }
    }

    /// The command, apply or rollout that the last change of goal or of the manifest goes back to.
    private func occasion(of instance: InstanceStatus, _ service: ServiceStatus, _ own: [EventRecord]) -> String? {
        let change = own.last { event in
            switch event.kind {
            case .goal, .drain: true
            default: false
            }
        }
        guard instance.state == "down" || instance.drained == true, let change else { return nil }
        let before = events.last { event in
            guard event.number < change.number else { return false }
            switch event.kind {
            case .command(let command):
                return command.names.contains { Selector.matches($0, instance: instance.id) } || command.names.isEmpty
            case .apply(let step): return step.step == .began
            case .daemon(let step): return step.step == .stopping
            default: return false
            }
        }
        return before.map { "\($0.at): \(EventText.text(of: $0).text)" }
    }

    // MARK: Ends

    private func exits(
        of instance: InstanceStatus, _ own: [EventRecord]
    ) -> [(exit: WhyAnswer.Exit, guess: LikelyCause.Guess?)] {
        var found: [(WhyAnswer.Exit, LikelyCause.Guess?)] = []
        var next: String?
        for (index, event) in own.enumerated().reversed() where found.count < Self.exits {
            switch event.kind {
            case .start: next = event.at
            case .exit(let end): found.append(exit(end, event, own[..<index], instance, until: next))
            case .startFailed(let failure):
                let exit = WhyAnswer.Exit(at: event.at, reason: "could not start: \(failure.reason)", log: [])
                found.append((exit, LikelyCause.ofStart(failure.reason)))
            default: break
            }
        }
        return found
    }

    private func exit(
        _ end: EventKind.ProcessEnd, _ event: EventRecord, _ before: ArraySlice<EventRecord>,
        _ instance: InstanceStatus, until next: String?
    ) -> (WhyAnswer.Exit, LikelyCause.Guess?) {
        let start = before.last { earlier in
            guard case .start(let start) = earlier.kind else { return false }
            return start.generation == end.generation
        }
        // A start and an end are noted a little after they happen, and a program may write something between the two.
        let previous = before.last { if case .exit = $0.kind { true } else { false } }
        let began = previous.map { min(Self.moment(after: $0.at), start?.at ?? "9") }
        let lines = log(instance.id, began, min(next ?? "9", Self.moment(after: event.at)))
        let state = before.last(where: isState).flatMap { earlier -> EventKind.StateChange? in
            guard case .state(let change) = earlier.kind else { return nil }
            return change
        }
        let wasStopped = state.map { ["stopping", "draining"].contains($0.to) } ?? false
        let guess = LikelyCause.guess(
            .init(
                code: end.code, signal: end.signal, wasStopped: wasStopped, isTask: isTask(event), log: lines,
                memoryKills: memoryKills,
                limits: instance.limits ?? [:]))
        let ran = start.flatMap { seconds(from: $0.at, to: event.at) }
        var exit = WhyAnswer.Exit(at: event.at, reason: end.reason, ranSeconds: ran, cause: guess?.cause, log: lines)
        if wasStopped {
            (exit.cause, exit.isGuess) = (stopped(state?.reason, event, since: start?.number), false)
        } else if let signal = signal(before: event, since: start?.number) {
            exit.cause = signal
        }
        return (exit, guess)
    }

    /// When the last lines of a process that has ended are in its log.
    private static func moment(after time: String) -> String {
        TimeArgument.read(time, now: 0).map { WallClock.text(nanoseconds: $0 + 200_000_000) } ?? time
    }

    /// Why supd has ended it, and at whose wish.
    private func stopped(_ reason: String?, _ end: EventRecord, since start: UInt64?) -> String {
        if let reason { return "supd ended it: \(reason)" }
        let occasion = last(before: end, since: start) { event in
            switch event.kind {
            case .command(let command):
                return ["stop", "restart"].contains(command.verb)
                    && command.names.contains { Selector.matches($0, instance: end.instance ?? "") }
            case .apply(let step): return step.step == .began
            case .daemon(let step): return step.step == .stopping
            default: return false
            }
        }
        // Of one that sleeps, or whose rollout is over, nobody has asked for it.
        return occasion.map { "supd ended it: \(EventText.text(of: $0).text)" } ?? "supd ended it"
    }

    /// A signal that a user has sent it by supctl.
    private func signal(before end: EventRecord, since start: UInt64?) -> String? {
        let sent = last(before: end, since: start) { event in
            guard case .command(let command) = event.kind, command.verb == "signal" else { return false }
            return command.names.contains { Selector.matches($0, instance: end.instance ?? "") }
        }
        return sent.map { EventText.text(of: $0).text }
    }

    /// The last event of a kind while a process lived; none if it is not known when it began.
    private func last(
        before end: EventRecord, since start: UInt64?, where isMeant: (EventRecord) -> Bool
    ) -> EventRecord? {
        guard let start else { return nil }
        return events.last { $0.number < end.number && $0.number > start && isMeant($0) }
    }

    private func isTask(_ event: EventRecord) -> Bool {
        report.services.contains { $0.name == event.service && $0.kind == "task" }
    }

    private func seconds(from start: String, to end: String) -> Double? {
        guard let from = TimeArgument.read(start, now: 0), let to = TimeArgument.read(end, now: 0) else { return nil }
        return max(0, Double(to - from) / 1e9)
    }

    // MARK: Beside it

    private func besides(_ instance: InstanceStatus, _ service: ServiceStatus) -> [String] {
        var lines: [String] = []
        if let failure = instance.health?.lastFailure, let health = instance.health, health.failures > 0 {
            lines.append("\(health.failures) health probes in a row have failed: \(failure.reason)")
            if let output = failure.output {
                lines += output.split(whereSeparator: \.isNewline).suffix(5).map { "  | \($0)" }
            }
        }
        if let text = instance.statusText { lines.append("it says: \(text)") }
        if openRollouts().contains(service.name) { lines.append("a rollout of \(service.name) is under way") }
        // Once for the service.
        if let hindrance = service.scalingHindrance, service.instances.first?.id == instance.id {
            lines.append("\(service.name) cannot have as many instances as its load asks for: \(hindrance)")
        }
        for front in service.fronts ?? [] {
            guard let queued = front.queued, queued > 0 else { continue }
            lines.append("\(HumanText.count(queued)) connections to \(front.address ?? "?") wait for an instance")
        }
        if let dropped = instance.droppedOutput {
            lines.append("\(dropped.lines) lines of its output are in no log: \(dropped.reason)")
        }
        if instance.state == "waiting" { lines += needed(instance) }
        return lines
    }

    /// What those are doing that it waits for.
    private func needed(_ instance: InstanceStatus) -> [String] {
        guard let detail = instance.detail else { return [] }
        let words = Set(detail.split { !($0.isLetter || $0.isNumber || $0 == "-") }.map(String.init))
        return report.services.filter { words.contains($0.name) && !instance.id.hasPrefix("\($0.name)/") }.prefix(5).map
        {
            service in
            let worst = service.instances.first { !$0.ready && $0.state != "completed" }
            let detail = worst.flatMap { $0.detail ?? $0.lastExit?.reason }.map { ": \($0)" } ?? ""
            return "\(service.name) is \(service.state)\(detail); \"supctl why \(service.name)\" tells more"
        }
    }

    // MARK: What helps

    private func help(
        _ instance: InstanceStatus, _ service: ServiceStatus, _ last: (exit: WhyAnswer.Exit, guess: LikelyCause.Guess?)?
    ) -> [String] {
        var help: [String] = []
        let isUp = instance.ready && instance.health?.isUnhealthy != true
        // What once ended a process that runs well again is of no interest.
        if !isUp, instance.state != "down", let text = last?.guess?.help {
            help.append(text.replacing("NAME", with: service.name))
        }
        switch instance.state {
        case "backoff": help.append("it is tried again by itself; \"supctl start \(instance.id)\" tries at once")
        case "failed": help.append("supd does not try again: \"supctl start \(instance.id)\", once the cause is gone")
        case "down" where service.goal == "down" || instance.pid == nil:
            help.append("\"supctl start \(instance.id)\" starts it")
        case "starting":
            help.append("supd looks whether it is ready as the manifest says in ready; it has to listen on $PORT")
        case "stopping": help.append("\"supctl signal KILL \(instance.id)\" ends it at once")
        default: break
        }
        if instance.drained == true { help.append("\"supctl undrain \(instance.id)\" puts it back into the balancer") }
        if !help.isEmpty, last?.exit.log.isEmpty == false, instance.state != "down" {
            help.append("\"supctl logs -n 50 \(instance.id)\" shows more of what it wrote")
        }
        return help
    }
}
