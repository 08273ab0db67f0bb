import ControlAPI
import Events
import Dispatch
import Links
import Logs
import Manifest
import Platform
import Supervision

/// The answer to `GET /v1/status`: the application's view, the balancer's counters and what /proc says, put together.
extension SupervisorRole {
    /// Looking at /proc for hundreds of processes takes milliseconds: not on the queue that restarts things.
    static let sampling = DispatchQueue(label: "supd.status", qos: .utility)

    func status(
        _ names: [String], withLimits: Bool, _ application: Application, _ responder: ControlResponder
    ) {
        let views = application.views(at: now)
        let shown = application.shownInstanceIDs
        guard let choice = resolve(names.isEmpty ? ["all"] : names, application, among: shown, responder) else {
            return
        }
        let wanted = Set(choice.instances)
        let running = running(views.flatMap(\.instances).filter { wanted.contains($0.id.description) })
        let number = statusRequests.begin(responder)
        queryCounters { [role = self, processes, keeper = configuration.keeper] counters in
            Self.sampling.async {
                let usage = processes.sample(running, keeper: keeper)
                let limits = withLimits ? ProcessSampler.limits(of: running) : [:]
                role.queue.async {
                    role.assumeIsolated { role in
                        guard let application = role.application else {
                            _ = role.statusRequests.end(number)
                            return
                        }
                        let report = role.report(application, counters, usage, limits)
                        role.answer(number, names.isEmpty ? report : report.selecting(choice))
                    }
                }
            }
        }
    }

    /// Hundreds of instances are some 200 KB of text: made where no start waits for it.
    private func answer(_ number: UInt64, _ report: StatusReport) {
        Self.sampling.async { [role = self] in
            let text = ControlJSON.encode(report)
            role.queue.async {
                role.assumeIsolated { role in
                    guard let responder = role.statusRequests.end(number) else { return }
                    if let text { responder.finish(text: text) } else { responder.finish(json: report) }
                }
            }
        }
    }

    /// The instances that have a process.
    func running(_ views: [Application.InstanceView]) -> [InstanceProcesses.Instance] {
        views.compactMap { view in
            guard let pid = view.pid, let generation = view.generation else { return nil }
            return InstanceProcesses.Instance(generation: generation, id: view.id, leader: pid, scope: scope)
        }
    }

    private func report(
        _ application: Application, _ counters: BalancerCounters?, _ usage: [Generation: InstanceProcesses.Usage],
        _ limits: [Generation: [String: LimitPair]]
    ) -> StatusReport {
        let now = now
        let flows = counters.map { counters in
            Dictionary(counters.endpoints.map { ($0.instance, $0.counts) }, uniquingKeysWith: { first, _ in first })
        }
        let fronts = counters.map { Dictionary(grouping: $0.fronts, by: \.service) }
        let services = zip(application.views(at: now), application.manifest.services).map { view, service in
            return ServiceStatus(
                name: view.name, kind: service.kind.rawValue, state: view.state, goal: view.goal.rawValue,
                ready: view.ready, replicas: service.replicas,
                scaledFrom: service.scaling == nil ? service.scaledFrom : nil, scaling: service.scaling?.text,
                scalingHindrance: application.scalingHindrance(of: view.name)?.reason,
                listen: openAddresses(of: service), passed: (passedFronts[view.name] ?? []).map(\.address),
                logFormat: service.log.format.rawValue, readiness: service.readinessWords,
                limits: service.limitStatus,
                fronts: passedFronts[view.name] != nil && !service.isBalanced
                    ? []
                    : fronts.map { ($0[view.name] ?? []).map { FlowStatus(of: $0) } },
                instances: view.instances.map { instance in
                    let used = instance.generation.flatMap { usage[$0] }
                    return InstanceStatus(
                        instance, now: now, usage: used, dropped: pump?.losses[instance.id.description],
                        notInJournal: pump?.journalLosses[instance.id.description],
                        limits: instance.generation.flatMap { limits[$0] },
                        flow: flows?[instance.id.description].map { FlowStatus(ofInstance: $0) })
                })
        }
        return StatusReport(services: services, daemon: daemonStatus)
    }

    /// Where clients reach a service: the addresses of its fronts that are open, in the order of `listen`.
    func openAddresses(of service: Service) -> [String] {
        let fronts = (balancer.fronts[service.name] ?? []) + (passedFronts[service.name] ?? [])
        let open = Set(fronts.map(\.address))
        return service.listen.map(\.address.description).filter(open.contains)
    }

    private var daemonStatus: DaemonStatus {
        var roles = ["keeper": configuration.keeper, "supervisor": ownProcessID()]
        roles["balancer"] = balancer.pid
        roles["web"] = web.pid
        return DaemonStatus(
            version: version, manifest: configuration.manifestPath, roles: roles,
            uptimeSeconds: Double(monotonicNanoseconds() &- configuration.keeperBegan) / 1e9,
            logDirectory: configuration.logDirectory, lastEvent: events.kept)
    }
}

/// Who waits for a status; a responder cannot leave the queue it lives on.
struct StatusRequests {
    private var waiting: [UInt64: ControlResponder] = [:]
    private var last: UInt64 = 0

    /// Keeps a responder until its status is complete.
    mutating func begin(_ responder: ControlResponder) -> UInt64 {
        last += 1
        waiting[last] = responder
        return last
    }

    /// Gives it back.
    mutating func end(_ number: UInt64) -> ControlResponder? { waiting.removeValue(forKey: number) }
}

extension FlowStatus {
    /// The balancer's counters of an instance as the API shows them. It has no queue: that is the service's.
    init(ofInstance counts: BalancerCounters.Counts) {
        self.init(
            address: nil, connections: counts.current, connectionsTotal: counts.total, bytesIn: counts.bytesIn,
            bytesOut: counts.bytesOut, connectErrors: counts.connectErrors, retries: counts.retries)
    }

    /// The balancer's counters of a front as the API shows them.
    init(of front: BalancerCounters.Front) {
        self.init(ofInstance: front.counts)
        address = front.address
        queued = front.counts.queued
        turnedAway = front.counts.turnedAway
    }
}

extension InstanceStatus {
    /// The application's view of an instance with what /proc and the balancer add to it.
    init(
        _ view: Application.InstanceView, now: Instant, usage: InstanceProcesses.Usage?, dropped: LogLoss?,
        notInJournal: LogLoss?, limits: [String: LimitPair]?, flow: FlowStatus?
    ) {
        let uptime = view.startedAt.map { Double(now.nanoseconds &- $0.nanoseconds) / 1e9 }
        self.init(
            id: view.id.description, state: view.state, detail: view.detail, pid: view.pid, port: view.port,
            ready: view.isReady, drained: view.isDrained, statusText: view.status,
            health: view.health.map { HealthStatus($0, now: now) }, restarts: view.restarts, uptimeSeconds: uptime,
            cpuPercent: uptime.flatMap { seconds in
                guard let usage, seconds > 0 else { return nil }
                return (usage.cpuSeconds / seconds * 1000).rounded() / 10
            },
            memoryBytes: usage?.residentBytes, lastExit: view.lastExit.map { ExitReport($0, now: now) },
            droppedOutput: dropped.map {
                DroppedOutput(lines: $0.lines, bytes: $0.bytes, reason: $0.reason)
            },
            notInJournal: notInJournal.map {
                DroppedOutput(lines: $0.lines, bytes: $0.bytes, reason: SystemJournal.reason($0.code))
            },
            limits: limits?.mapValues { LimitStatus(soft: $0.soft.unlessUnlimited, hard: $0.hard.unlessUnlimited) },
            flow: flow)
    }
}

/// The core counts in CLOCK_MONOTONIC; people read the wall clock.
private func wallClockText(_ instant: Instant, now: Instant) -> String {
    let age = now.nanoseconds &- instant.nanoseconds
    return WallClock.text(nanoseconds: wallClockNanoseconds() &- age)
}

extension HealthStatus {
    /// The application's view for the API.
    init(_ view: Application.HealthView, now: Instant) {
        var failure: FailedProbe?
        if let reason = view.reason, let at = view.at {
            failure = FailedProbe(reason: reason, output: view.output, at: wallClockText(at, now: now))
        }
        self.init(state: view.state, failures: view.failures, lastFailure: failure)
    }
}

extension ExitReport {
    /// The application's view for the API.
    init(_ exit: Application.LastExit, now: Instant) {
        let at = wallClockText(exit.at, now: now)
        switch exit.status {
        case .code(let code): self.init(code: code, signal: nil, reason: exit.reason, at: at)
        case .signal(let number, _):
            self.init(code: nil, signal: Signals.name(of: number), reason: exit.reason, at: at)
        case nil: self.init(code: nil, signal: nil, reason: exit.reason, at: at)
        }
    }
}

extension Service {
    /// What shows that it is ready, as the API says it; nil of a task.
    fileprivate var readinessWords: String? {
        guard kind == .service else { return nil }
        return switch ready {
        case .started: "started"
        case .tcp: "tcp"
        case .http(let http): "http \(http.path.written)"
        case .command: "command"
        case .notify(.systemd): "notify"
        case .notify(.descriptor(let number)): "descriptor \(number)"
        case .log: "log"
        }
    }

    /// Its limits as the API shows them; nil if it has none.
    fileprivate var limitStatus: [String: LimitStatus]? {
        guard !limits.isEmpty else { return nil }
        return limits.reduce(into: [String: LimitStatus]()) { shown, limit in
            shown[limit.resource.rawValue] = LimitStatus(soft: limit.soft, hard: limit.hard)
        }
    }
}

extension UInt64 {
    /// nil for RLIM_INFINITY.
    fileprivate var unlessUnlimited: UInt64? { self == LimitPair.unlimited ? nil : self }
}
