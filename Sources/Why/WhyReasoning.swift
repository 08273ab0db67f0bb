package import ControlAPI
package import Events
import Platform

/// Works out why instances are as they are, from what `supctl status` and `supctl events` say and what they wrote.
package struct WhyReasoning {
    /// All services.
    let report: StatusReport
    /// All events that are kept, the oldest first.
    let events: [EventRecord]
    /// Those of each instance.
    private let eventsByInstance: [String: [EventRecord]]
    /// Services whose rollout has begun and not ended, with the time of its beginning.
    let openRollouts: [(service: String, since: String)]
    /// A time an hour ago, as events have it.
    let anHourAgo: String
    /// How many processes the kernel has ended for want of memory.
    let memoryKills: UInt64?
    /// What instances have used in the last hour, as far as supd has looked.
    package var usage: [String: InstanceUsage] = [:]
    /// What the balancer has counted of instances, as far as it has answered.
    package var balanced: [String: BalancedInstance] = [:]
    /// Whether a process ignores a signal: `SIGTERM`.
    package var ignores: (_ pid: Int32, _ signal: String) -> Bool = { _, _ in false }
    /// The state letter of a process, as in proc_pid_stat(5); nil: it is not known.
    package var processState: (_ pid: Int32) -> UInt8? = { _ in nil }
    /// The last lines that an instance wrote between two times.
    let log: (_ instance: String, _ from: String?, _ to: String?) -> [String]

    /// Creates one from what is known.
    package init(
        report: StatusReport, events: [EventRecord], anHourAgo: String, memoryKills: UInt64? = nil,
        log: @escaping (_ instance: String, _ from: String?, _ to: String?) -> [String]
    ) {
        self.report = report
        self.events = events
        eventsByInstance = Dictionary(grouping: events.filter { $0.instance != nil }) { $0.instance ?? "" }
        openRollouts = Self.openRollouts(events)
        self.anHourAgo = anHourAgo
        self.memoryKills = memoryKills
        self.log = log
    }

    /// So many ends are told of each instance.
    static let exits = 3

    /// The events of an instance.
    func own(_ id: String) -> [EventRecord] { eventsByInstance[id] ?? [] }

    /// The answers for a service, one for each instance, or one for a service that has none.
    package func answers(_ service: ServiceStatus) -> [WhyAnswer] {
        service.instances.isEmpty ? [withoutInstances(service)] : service.instances.map { answer($0, of: service) }
    }

    /// The answers for all instances that are not as they should be.
    package func troubles() -> [WhyAnswer] {
        report.services.flatMap { service in
            service.instances.filter { !isFine($0, service) }.map { answer($0, of: service) }
        }
    }

    // MARK: One instance

    /// The answer for an instance.
    package func answer(_ instance: InstanceStatus, of service: ServiceStatus) -> WhyAnswer {
        let own = own(instance.id)
        let ends = ends(of: instance, service, most: Self.exits)
        var answer = WhyAnswer(
            name: instance.id, state: instance.state, isFine: isFine(instance, service),
            since: own.last(where: \.isState)?.at, summary: summary(of: instance, service, ends),
            waitsFor: instance.detail, occasion: occasion(of: instance), besides: besides(instance, service, ends),
            exits: ends.map(\.exit), restartsInLastHour: restarts(own), help: help(instance, service, ends.first))
        if let resource = ends.first?.guess?.resource, let line = WhyUsage.growth(of: resource, usage[instance.id]) {
            answer.besides.append(line)
        }
        return answer
    }

    /// Whether it does what it is for, or is not wanted.
    private func isFine(_ instance: InstanceStatus, _ service: ServiceStatus) -> Bool {
        instance.state == "idle"
            || stopped(instance) == nil && failing(instance)?.isTrouble != true && instance.ready
                && instance.drained != true
                && instance.health?.isUnhealthy != true
            || service.goal != "up" && instance.pid == nil
    }

    private func restarts(_ own: [EventRecord]) -> Int {
        own.count { event in
            guard event.at >= anHourAgo else { return false }
            switch event.kind {
            case .start(let start): return start.restarts > 0 && start.woken != true
            case .startFailed(let failure): return failure.restarts ?? 0 > 0
            default: return false
            }
        }
    }

    /// The command, apply or rollout that the last change of goal or of the manifest goes back to.
    private func occasion(of instance: InstanceStatus) -> String? {
        guard instance.state == "down" || instance.drained == true else { return nil }
        return asked(of: instance.id).map { "\($0.at): \(EventText.text(of: $0).text)" }
    }

    /// The same as an event.
    func asked(of id: String) -> EventRecord? {
        let change = own(id).last { event in
            switch event.kind {
            case .goal, .drain: true
            default: false
            }
        }
        guard let change else { return nil }
        return events.last { event in
            guard event.number < change.number else { return false }
            switch event.kind {
            case .command(let command):
                return command.names.contains { Selector.matches($0, instance: id) } || command.names.isEmpty
            case .apply(let step): return step.step == .began
            case .daemon(let step): return step.step == .stopping
            default: return false
            }
        }
    }

    // MARK: Beside it

    private func besides(_ instance: InstanceStatus, _ service: ServiceStatus, _ ends: [End]) -> [String] {
        var lines: [String] = []
        if let health = instance.health, let failure = health.lastFailure {
            if health.failures > 0 {
                lines.append("\(health.failures) health probes in a row have failed: \(failure.reason)")
                lines += Self.quoted(failure.output)
            } else if let reason = ends.first?.stopReason, reason.hasPrefix("unhealthy"), failure.output != nil {
                lines.append("the last probe that failed: \(failure.reason)")
                lines += Self.quoted(failure.output)
            }
        }
        if let text = instance.statusText { lines.append("it says: \(text)") }
        if let rollout = openRollouts.first(where: { $0.service == service.name }) {
            lines.append("a rollout of \(service.name) is under way since \(rollout.since)\(waited(in: service))")
        }
        // Once for the service.
        if let hindrance = service.scalingHindrance, service.instances.first?.id == instance.id {
            lines.append("\(service.name) cannot have as many instances as its load asks for: \(hindrance)")
        }
        for front in service.fronts ?? [] {
            guard let queued = front.queued, queued > 0 else { continue }
            let who = queued == 1 ? "a connection" : "\(HumanText.count(queued)) connections"
            let wait = queued == 1 ? "waits" : "wait"
            lines.append("\(who) to \(front.address ?? "?") \(wait) for an instance")
        }
        if let dropped = instance.droppedOutput {
            lines.append("\(dropped.lines) lines of its output are in no log: \(dropped.reason)")
        }
        return lines
    }

    /// The end of what a probe has printed.
    private static func quoted(_ output: String?) -> [String] {
        (output ?? "").split(whereSeparator: \.isNewline).suffix(5).map { "  | \($0)" }
    }

    // MARK: What helps

    private func help(_ instance: InstanceStatus, _ service: ServiceStatus, _ last: End?) -> [String] {
        var help: [String] = []
        let isUp = instance.ready && instance.health?.isUnhealthy != true
        // What once ended a process that runs well again is of no interest.
        if !isUp, instance.state != "down", let text = last?.guess?.help {
            help.append(text.replacing("NAME", with: service.name))
        }
        if let stopped = stopped(instance) {
            help.append(stopped.help)
        } else if let failing = failing(instance) {
            help += failing.help
        }
        switch instance.state {
        case "backoff": help.append("it is tried again by itself; \"supctl start \(instance.id)\" tries at once")
        case "failed": help.append("supd does not try again: \"supctl start \(instance.id)\", once the cause is gone")
        case "down" where service.goal == "down" || instance.pid == nil:
            help.append("\"supctl start \(instance.id)\" starts it")
        case "starting" where stopped(instance) == nil: help += Self.help(toBeReady: service)
        case "stopping" where stopped(instance) != nil:
            help.append("\"supctl signal KILL \(instance.id)\" ends it at once")
        case "stopping":
            if let signal = ignoredSignal(instance) {
                help.append("a program should end at \(signal); stop.signal is another one, stop.timeout ends the wait")
            }
            help.append("\"supctl signal KILL \(instance.id)\" ends it at once")
        case "waiting": help += needed(by: instance).map { "\"supctl why \($0.service.name)\" tells more" }
        default: break
        }
        if instance.drained == true { help.append("\"supctl undrain \(instance.id)\" puts it back into the balancer") }
        if !help.isEmpty, last?.exit.log.isEmpty == false, instance.state != "down" {
            help.append("\"supctl logs -n 50 \(instance.id)\" shows more of what it wrote")
        }
        return help
    }
}

extension WhyReasoning {
    /// What a process has to do for its readiness to be seen.
    private static func help(toBeReady service: ServiceStatus) -> [String] {
        let text: String? =
            switch service.readiness?.prefix(while: { $0 != " " }) {
            case "started": nil
            case "http":
                "it has to answer \(service.readiness?.dropFirst(5) ?? "") on $PORT as ready in the manifest says"
            case "command":
                "it is ready once the command of ready in the manifest exits with code 0; supd runs it again and again"
            case "notify":
                "it has to say READY=1 to $NOTIFY_SOCKET, as systemd-notify does; a program that cannot needs another ready"
            case "descriptor":
                "it has to write a newline to descriptor \(service.readiness?.dropFirst(11) ?? "") once it is ready"
            case "log": "it has to write a line that contains what log of ready in the manifest says"
            // From an older supd, too.
            default: "supd looks whether it is ready as the manifest says in ready; it has to listen on $PORT"
            }
        return text.map { [$0] } ?? []
    }

    /// Of one whose process is there and does nothing: that it is stopped, and what lets it go on. One that is traced is so for a
    /// moment at each of its system calls, which says nothing.
    func stopped(_ instance: InstanceStatus) -> (text: String, help: String)? {
        guard let pid = instance.pid, processState(pid) == UInt8(ascii: "T") else { return nil }
        return (
            "its process is stopped, by SIGSTOP or from a terminal, and does nothing until SIGCONT",
            "\"supctl signal CONT \(instance.id)\" lets it go on"
        )
    }
}

extension EventRecord {
    /// Whether it is about another state.
    var isState: Bool { if case .state = kind { true } else { false } }
}
