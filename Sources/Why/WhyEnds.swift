import ControlAPI
import Events
import Platform

/// The last ends of an instance, each with what lies behind it.
extension WhyReasoning {
    /// An end, or a start that came to nothing.
    struct End {
        /// As it is shown.
        var exit: WhyAnswer.Exit
        /// What probably lies behind it.
        var guess: LikelyCause.Guess?
        /// In the core's words, as the status has them.
        var reason: String
        /// Why supd has ended it by itself: `not ready within 2 s (connection refused)`; nil: it has not.
        var stopReason: String?
        /// Whether supd has ended it, by itself or at somebody's wish.
        var wasStopped = false

        /// For the first line: with what it wrote last, if nothing else tells more.
        var words: String {
            if let stopReason { return stopReason }
            // Beside a guess only where that may hide something.
            let line = exit.cause == nil && guess == nil ? exit.log.last { !$0.isEmpty } : guess?.lastLine
            return exit.words + (line.map { "; \(LastLine.quoted($0))" } ?? "")
        }
    }

    /// The last ends, the newest first.
    func ends(of instance: InstanceStatus, _ service: ServiceStatus, most: Int) -> [End] {
        let own = own(instance.id)
        var found: [End] = []
        var next: String?
        for (index, event) in own.enumerated().reversed() where found.count < most {
            switch event.kind {
            case .start: next = event.at
            case .exit(let end): found.append(self.end(end, event, own[..<index], instance, service, until: next))
            case .startFailed(let failure):
                let exit = WhyAnswer.Exit(at: event.at, reason: "could not start: \(failure.reason)", log: [])
                found.append(End(exit: exit, guess: LikelyCause.ofStart(failure.reason), reason: failure.reason))
            default: break
            }
        }
        return found
    }

    private func end(
        _ end: EventKind.ProcessEnd, _ event: EventRecord, _ before: ArraySlice<EventRecord>,
        _ instance: InstanceStatus, _ service: ServiceStatus, until next: String?
    ) -> End {
        let start = before.last { earlier in
            guard case .start(let start) = earlier.kind else { return false }
            return start.generation == end.generation
        }
        // A start and an end are noted a little after they happen, and a program may write something between the two.
        let previous = before.last { if case .exit = $0.kind { true } else { false } }
        let began = previous.map { min(Self.moment(after: $0.at), start?.at ?? "9") }
        let lines = log(instance.id, began, min(next ?? "9", Self.moment(after: event.at)))
        let state = before.last(where: \.isState).flatMap { earlier -> EventKind.StateChange? in
            guard case .state(let change) = earlier.kind else { return nil }
            return change
        }
        let wasStopped = state.map { Self.isOnItsWayOut($0.to) } ?? false
        var guess = LikelyCause.guess(
            .init(
                code: end.code, signal: end.signal, reason: end.reason, wasStopped: wasStopped,
                isTask: service.kind == "task",
                // Of one whose log could not be written that is all that is known.
                log: lines.isEmpty ? [instance.droppedOutput?.reason].compactMap { $0 } : lines,
                memoryKills: memoryKills, limits: limits(instance, service, before, since: start?.number)))
        let ran = start.flatMap { Self.seconds(from: $0.at, to: event.at) }
        var exit = WhyAnswer.Exit(
            at: event.at, reason: end.reason, code: end.code, signal: end.signal, ranSeconds: ran, cause: guess?.cause,
            log: lines)
        if wasStopped {
            (exit.cause, exit.isGuess) = (stopped(state?.reason, event, since: start?.number), false)
        } else if let signal = signal(end.signal, before: event, since: start?.number) {
            (exit.cause, exit.isGuess, guess) = (signal, false, nil)
        }
        let isReplaced = state?.reason == "to be replaced"
        return End(
            exit: exit, guess: guess, reason: end.reason,
            stopReason: wasStopped && !isReplaced ? state?.reason : nil, wasStopped: wasStopped)
    }

    /// The soft limits that a process had: those of the manifest, and the others as they are in force now, with what was
    /// changed while it lived.
    private func limits(
        _ instance: InstanceStatus, _ service: ServiceStatus, _ before: ArraySlice<EventRecord>, since start: UInt64?
    ) -> [String: String] {
        var limits = (instance.limits ?? [:]).merging(service.limits ?? [:]) { _, own in own }
            .compactMapValues { $0.soft }
            .reduce(into: [String: String]()) { $0[$1.key] = Self.limitText($1.key, $1.value) }
        for event in before {
            guard case .limit(let change) = event.kind, let start, event.number > start else { continue }
            let soft = String(change.new.prefix { $0 != ":" })
            limits[change.limit] = UInt64(soft).map { Self.limitText(change.limit, $0) }
        }
        return limits
    }

    /// As the manifest writes it.
    private static func limitText(_ name: String, _ value: UInt64) -> String {
        if name == "cpu" { return "\(value) s" }
        guard ["as", "core", "data", "fsize", "memlock", "rss", "stack"].contains(name) else { return "\(value)" }
        for (unit, shift) in [("G", UInt64(30)), ("M", 20), ("K", 10)] where value > 0 && value % (1 << shift) == 0 {
            return "\(value >> shift)\(unit)"
        }
        return HumanText.bytes(value)
    }

    /// When the last lines of a process that has ended are in its log.
    private static func moment(after time: String) -> String {
        TimeArgument.read(time, now: 0).map { WallClock.text(nanoseconds: $0 + 200_000_000) } ?? time
    }

    /// Why supd has ended it, and at whose wish.
    private func stopped(_ reason: String?, _ end: EventRecord, since start: UInt64?) -> String {
        if let reason { return "supd ended it: \(reason)" }
        // Of one that sleeps, or whose rollout is over, nobody has asked for it.
        return ending(end.instance ?? "", before: end.number, since: start)
            .map { "supd ended it: \(EventText.text(of: $0).text)" } ?? "supd ended it"
    }

    /// What somebody has asked for that ends the process of an instance, which began with an event. What was asked for when it was
    /// on its way out already is not it.
    func ending(_ id: String, before end: UInt64, since start: UInt64?) -> EventRecord? {
        let wayOut = own(id).last { event in
            guard event.number < end, case .state(let change) = event.kind else { return false }
            return Self.isOnItsWayOut(change.to) && !(change.from.map(Self.isOnItsWayOut) ?? false)
        }
        return last(before: wayOut?.number ?? end, since: start) { event in
            switch event.kind {
            case .command(let command):
                return ["stop", "restart"].contains(command.verb)
                    && command.names.contains { Selector.matches($0, instance: id) }
            case .apply(let step): return step.step == .began
            case .daemon(let step): return step.step == .stopping
            default: return false
            }
        }
    }

    private static func isOnItsWayOut(_ state: String) -> Bool { ["stopping", "draining"].contains(state) }

    /// A signal that a user has sent it by supctl, and that may have ended it.
    private func signal(_ name: String?, before end: EventRecord, since start: UInt64?) -> String? {
        let sent = last(before: end.number, since: start) { event in
            guard case .command(let command) = event.kind, command.verb.hasPrefix("signal") else { return false }
            let word = command.verb.dropFirst("signal ".count).uppercased()
            guard name == nil || word.isEmpty || word.first?.isNumber == true || name?.hasSuffix(word) == true else {
                return false
            }
            return command.names.contains { Selector.matches($0, instance: end.instance ?? "") }
        }
        return sent.map { EventText.text(of: $0).text }
    }

    /// The last event of a kind while a process lived; none if it is not known when it began.
    private func last(
        before end: UInt64, since start: UInt64?, where isMeant: (EventRecord) -> Bool
    ) -> EventRecord? {
        guard let start else { return nil }
        return events.last { $0.number < end && $0.number > start && isMeant($0) }
    }

    private static func seconds(from start: String, to end: String) -> Double? {
        guard let from = TimeArgument.read(start, now: 0), let to = TimeArgument.read(end, now: 0) else { return nil }
        return max(0, Double(to - from) / 1e9)
    }
}
