import ControlAPI
import Events

/// The first line of an answer: why an instance is in its state, and what it waits for. It is to be enough for who reads no
/// further, so it follows a chain of those that wait for each other to its end.
extension WhyReasoning {
    /// The rest of the first line, after state and time. `depth`: how many links of a chain are followed.
    func summary(of instance: InstanceStatus, _ service: ServiceStatus, _ ends: [End], depth: Int = 4) -> String {
        switch instance.state {
        case "backoff", "failed": return trouble(instance, ends)
        case "waiting": return waiting(instance, depth)
        case "starting":
            let waits = instance.detail.map(Self.waits) ?? "waits to be ready"
            return joined([stopped(instance)?.text, waits, lastTime(ends)])
        case "draining", "stopping":
            return joined([
                stopCause(instance), instance.detail.map(Self.waits),
                stopped(instance)?.text ?? ignoredSignal(instance).map { "it ignores \($0)" },
            ])
        case "down": return asked(of: instance.id).map(Self.text) ?? "it has not been started"
        case "idle", "completed": return instance.detail ?? "nothing is wrong with it"
        case "running" where service.kind == "task":
            return stopped(instance)?.text ?? "it is at work: a task has completed when it ends"
        default:
            let (stopped, failing) = (stopped(instance), failing(instance))
            guard stopped != nil || failing != nil else { return running(instance, ends) }
            let isSick = instance.health?.failures ?? 0 > 0
            // What was long ago and may not be so any more hides nothing.
            let isUncertain = failing?.isTrouble == false && (instance.detail != nil || lastTime(ends) != nil)
            return joined([stopped?.text, failing?.text, isSick || isUncertain ? running(instance, ends) : nil])
        }
    }

    /// That something waits for what a detail says.
    static func waits(_ detail: String) -> String {
        detail.hasPrefix("to ") ? "waits \(detail)" : "waits for \(detail)"
    }

    private static func text(_ event: EventRecord) -> String { EventText.text(of: event).text }

    private func joined(_ parts: [String?]) -> String { parts.compactMap { $0 }.joined(separator: "; ") }

    // MARK: Those that are not up

    /// Of one that is tried again later, or not at all.
    private func trouble(_ instance: InstanceStatus, _ ends: [End]) -> String {
        guard let reason = instance.lastExit?.reason ?? ends.first?.reason else {
            return instance.detail ?? "why is not known any more"
        }
        var words = reason
        // The status may know of a later trouble that is no end: that there is no port left, for example.
        if let end = ends.first, end.stopReason == reason || reason.hasPrefix(end.reason) { words = end.words }
        guard let detail = instance.detail, detail != reason else { return words }
        guard detail.hasPrefix(reason) else { return "\(words); \(detail)" }
        // "exited with code 3 after 2 ms, and its restart policy is never", or "; its limit is …": how long it ran is said already.
        let rest = detail.dropFirst(reason.count).drop { $0 != "," && $0 != ";" }
        return words + (rest.hasPrefix(", and ") ? "; \(rest.dropFirst(6))" : rest)
    }

    /// What became of the one before, of one that is being started again for that.
    private func lastTime(_ ends: [End]) -> String? {
        guard let end = ends.first, end.exit.at >= anHourAgo, !end.wasStopped || end.stopReason != nil else {
            return nil
        }
        return "last time: \(end.words)"
    }

    /// What it waits for, and how those are.
    private func waiting(_ instance: InstanceStatus, _ depth: Int) -> String {
        guard let detail = instance.detail else { return "waits to be started" }
        guard depth > 1, let first = needed(by: instance).first, let worst = first.worst else {
            return Self.waits(detail)
        }
        let why = summary(
            of: worst, first.service, ends(of: worst, first.service, most: 1), depth: depth - 1)
        // What the core says of those that are stuck is said here with what lies behind it.
        let short = detail.firstIndex(of: "(").map { String(detail[..<$0].dropLast()) } ?? detail
        let more = worst.state == "waiting" ? "\(worst.id) \(why)" : "\(worst.id) is \(worst.state): \(why)"
        return "\(Self.waits(short)); \(more)"
    }

    /// The services that an instance waits for, each with the first instance of it that is not up.
    func needed(by instance: InstanceStatus) -> [(service: ServiceStatus, worst: InstanceStatus?)] {
        guard instance.state == "waiting", let detail = instance.detail else { return [] }
        let named = detail.prefix { $0 != "(" }
        let words = Set(named.split { !($0.isLetter || $0.isNumber || $0 == "-") }.map(String.init))
        let services = report.services.filter { words.contains($0.name) && !instance.id.hasPrefix("\($0.name)/") }
        return services.prefix(5).map { service in
            (service, service.instances.first { !$0.ready && $0.state != "completed" })
        }
    }

    /// The stop signal, if the process is to end by it and ignores it.
    func ignoredSignal(_ instance: InstanceStatus) -> String? {
        guard instance.state == "stopping", let pid = instance.pid, let detail = instance.detail,
            detail.hasPrefix("it to end after SIG"),
            let signal = detail.split(whereSeparator: { $0 == " " || $0 == "," }).first(where: { $0.hasPrefix("SIG") })
        else { return nil }
        return ignores(pid, String(signal)) ? String(signal) : nil
    }

    /// Why it is being stopped.
    private func stopCause(_ instance: InstanceStatus) -> String? {
        let own = own(instance.id)
        let start = own.last { if case .start = $0.kind { true } else { false } }?.number
        let state = own.last(where: \.isState)
        if case .state(let change)? = state?.kind, let reason = change.reason, reason != "to be replaced" {
            return reason
        }
        for event in own.reversed() {
            guard case .goal(let change) = event.kind, event.number > start ?? 0 else { continue }
            if let reason = change.reason { return reason }
            break
        }
        return ending(instance.id, before: .max, since: start).map(Self.text)
    }

    // MARK: Those that are up

    private func running(_ instance: InstanceStatus, _ ends: [End]) -> String {
        if instance.drained == true {
            return joined(["takes no new connections", asked(of: instance.id).map(Self.text), instance.detail])
        }
        if let detail = instance.detail {
            return detail.hasPrefix("what depends on it") ? Self.waits(detail) : detail
        }
        if let health = instance.health, let failure = health.lastFailure, health.failures > 0 {
            return "the last health probe has failed: \(failure.reason)"
        }
        guard let last = lastTime(ends) else { return "nothing is wrong with it" }
        return "it is up again; \(last)"
    }

    // MARK: Those that are not there

    /// The answer for a service without instances: who has scaled it.
    func withoutInstances(_ service: ServiceStatus) -> WhyAnswer {
        var answer = WhyAnswer(
            name: service.name, state: service.state, isFine: true, since: nil,
            summary: "no instances: the manifest says replicas: 0", waitsFor: nil, occasion: nil, besides: [],
            exits: [], restartsInLastHour: 0, help: [])
        let hint = "until the manifest says another number of replicas"
        guard let former = service.scaledFrom else {
            answer.help = ["\"supctl scale \(service.name)=1\" starts one, \(hint)"]
            return answer
        }
        let scaled = events.last { event in
            guard case .command(let command) = event.kind, command.verb == "scale" else { return false }
            return command.names.contains { wish in
                let name = wish.prefix { $0 != "=" }
                return wish.hasSuffix("=0") && Selector.matches(String(name), instance: "\(service.name)/1")
            }
        }
        answer.since = scaled?.at
        let who = scaled.map(Self.text) ?? "\"supctl scale\" has set it to 0"
        answer.summary = "no instances: \(who); the manifest says \(former)"
        answer.help = [
            "\"supctl scale \(service.name)=\(former)\" starts \(former == 1 ? "it" : "them") again, as the manifest says"
        ]
        return answer
    }
}
