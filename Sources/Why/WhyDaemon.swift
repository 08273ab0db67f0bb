import ControlAPI
import Events

/// What supd as a whole is in the midst of, and what that waits for.
extension WhyReasoning {
    /// Sentences about a shutdown, and about an apply.
    package func supdAnswers() -> [String] { [shutdownAnswer(), applyAnswer()].compactMap { $0 } }

    // MARK: Shutdown

    private func shutdownAnswer() -> String? {
        let last = events.last { if case .daemon = $0.kind { true } else { false } }
        guard let last, case .daemon(let daemon) = last.kind, daemon.step == .stopping else { return nil }
        var who = ""
        // A signal ends it as well, which nobody has asked for here; then the last one was asked for of an earlier supd.
        for event in events.reversed() where event.number < last.number {
            if case .daemon = event.kind { break }
            guard case .command(let command) = event.kind, command.verb == "shutdown" else { continue }
            who = ", asked for by \(command.by)"
            break
        }
        return "supd stops everything since \(last.at)\(who); \(stillThere())"
    }

    /// What a shutdown waits for: those that are on their way out, for which the others wait.
    private func stillThere() -> String {
        let present = report.services.flatMap(\.instances).filter { $0.pid != nil }
        guard !present.isEmpty else { return "nothing runs any more" }
        let leaving = present.filter { ["stopping", "draining"].contains($0.state) }
        let blockers = leaving.isEmpty ? present : leaving
        let rest = present.count - blockers.count
        let others = rest > 0 ? "; \(rest) more stop\(rest == 1 ? "s" : "") after that" : ""
        return "it waits for \(listed(blockers))\(others)"
    }

    // MARK: Apply

    private func applyAnswer() -> String? {
        // What an earlier supd was in the midst of is over with it.
        let last = events.last { event in
            switch event.kind {
            case .apply(let step): step.step != .refused
            case .daemon(let step): step.step == .started
            default: false
            }
        }
        guard let last, case .apply(let step) = last.kind, step.step == .began else { return nil }
        let who = step.by.map { ", asked for by \($0)" } ?? ""
        let replaced = openRollouts.map(\.service)
        let what = replaced.isEmpty ? "" : "; it replaces \(replaced.joined(separator: ", "))"
        let blockers = report.services.flatMap { service in
            service.instances.filter { instance in
                guard Self.isOnTheWay(instance) else { return false }
                return replaced.contains(service.name) || ["stopping", "draining"].contains(instance.state)
                    || isNew(instance.id, since: last.number)
            }
        }
        let waits = blockers.isEmpty ? "" : "; it waits for \(listed(blockers))"
        return "an apply of \(step.manifest ?? "a manifest") is under way since \(last.at)\(who)\(what)\(waits)"
    }

    /// Whether an instance is there only since an event.
    private func isNew(_ id: String, since number: UInt64) -> Bool {
        own(id).contains { event in
            guard event.number > number, case .state(let change) = event.kind else { return false }
            return change.from == nil
        }
    }

    /// Whether it is not yet what it is to be, or what it is says why others wait.
    private static func isOnTheWay(_ instance: InstanceStatus) -> Bool {
        switch instance.state {
        case "down", "idle", "completed": false
        case "running": instance.detail != nil
        default: true
        }
    }

    // MARK: Rollouts

    /// What a rollout of a service waits for, as the end of a sentence.
    func waited(in service: ServiceStatus) -> String {
        let blockers = service.instances.filter(Self.isOnTheWay)
        return blockers.isEmpty ? "" : "; it waits for \(listed(blockers))"
    }

    /// Services whose rollout has begun and not ended, in the order of their beginnings.
    static func openRollouts(_ events: [EventRecord]) -> [(service: String, since: String)] {
        var open: [(service: String, since: String)] = []
        for event in events {
            if case .daemon(let step) = event.kind, step.step == .started { open = [] }
            guard case .rollout(let rollout) = event.kind, event.instance == nil, let service = event.service else {
                continue
            }
            switch rollout.step {
            case .began: if !open.contains(where: { $0.service == service }) { open.append((service, event.at)) }
            case .done, .wentBack, .gaveUp: open.removeAll { $0.service == service }
            case .replacing, .replaced, .switched, .goingBack: break
            }
        }
        return open
    }

    /// The first five, with what each waits for itself.
    private func listed(_ instances: [InstanceStatus]) -> String {
        let shown = instances.prefix(5).map { instance in
            guard let detail = instance.detail else { return "\(instance.id) (\(instance.state))" }
            let waits = ["waiting", "starting", "draining", "stopping"].contains(instance.state)
            let words = waits ? Self.waits(detail) : detail
            let ignored = ignoredSignal(instance).map { "; it ignores \($0)" } ?? ""
            return "\(instance.id) (\(instance.state); \(words)\(ignored))"
        }
        let more = instances.count > shown.count ? " and \(instances.count - shown.count) more" : ""
        return shown.joined(separator: ", ") + more
    }
}
