import ControlAPI
import Dispatch
import Links
import Manifest
import Metrics
import Platform
import Supervision

/// What instances use over time: looks at /proc and at the balancer's counters, off the queue, one timer for all.
extension SupervisorRole {
    // MARK: Asked for

    /// Answers with what is known, and has it looked at for another day.
    func showUsage(
        _ names: [String], _ series: UsageSeriesName?, _ application: Application, _ responder: ControlResponder
    ) {
        guard let choice = resolve(names.isEmpty ? ["all"] : names, application, responder) else { return }
        let wanted = Set(choice.instances)
        let now = monotonicNanoseconds()
        usage.wantedUntil = now + usage.lease
        usage.waiting.append(
            UsageSampling.Waiting(
                request: statusRequests.begin(responder),
                instances: application.instanceIDs.map(\.description).filter(wanted.contains),
                series: series.map { $0 == .hour ? .hour : .day }))
        let known = usage.history.instances
        let asked = usage.waiting.last?.instances ?? []
        // Others may have been looked at since, for their limits.
        let last = asked.isEmpty ? usage.history.latest : usage.history.lookedAt(asked)
        let isFresh = last.map { now - $0 < usage.pause } ?? false
        let isWhole = asked.allSatisfy { known.contains($0) }
        // Of those without a process nothing is ever found: a look every two seconds is enough to say so.
        let isYoung = last.map { now - $0 < 2_000_000_000 } ?? false
        guard isFresh && isWhole || isYoung else { return lookAtUsage() }
        if !usage.isLooking { answerUsage() }
        arrangeUsageLook()
    }

    private func answerUsage() {
        let waiting = usage.waiting
        usage.waiting = []
        guard !waiting.isEmpty else { return }
        let (history, now, wall) = (usage.history, monotonicNanoseconds(), wallClockNanoseconds())
        let ends = Int((usage.wantedUntil - now) / 1_000_000_000)
        // Hundreds of instances are a megabyte of text: not on the queue that restarts things.
        Self.sampling.async { [role = self] in
            for one in waiting {
                let since = history.since(of: one.instances).map { WallClock.text(nanoseconds: wall - (now - $0)) }
                let report = UsageReport(
                    everySeconds: Int(UsageHistory.Span.hour.step), since: since, endsAfterSeconds: ends,
                    instances: one.instances.map { InstanceUsage($0, history, one.series, at: now) })
                let text = ControlJSON.encode(report)
                role.queue.async {
                    role.assumeIsolated { role in
                        guard let responder = role.statusRequests.end(one.request) else { return }
                        if let text { responder.finish(text: text) } else { responder.finish(json: report) }
                    }
                }
            }
        }
    }

    // MARK: Looking

    /// Another manifest is in force: other services may have to be looked at.
    func bringSamplingIntoLine(with application: Application) {
        let services = application.manifest.services
        usage.needed = Set(
            services.filter { $0.limits.contains { UsageSampling.limits.contains($0.resource.rawValue) } }.map(\.name))
        let names = Set(services.map(\.name))
        usage.history.keep { names.contains(String($0.prefix { $0 != "/" })) }
        arrangeUsageLook()
    }

    /// Arms the next look, if there is any need of it and none is armed or under way.
    func arrangeUsageLook() {
        let now = monotonicNanoseconds()
        guard !usage.isArmed, !usage.isLooking, !usage.needed.isEmpty || now < usage.wantedUntil else { return }
        usage.isArmed = true
        let due = max(0, (usage.history.latest ?? now) + usage.pause - now)
        usageTimer.schedule(deadline: .now() + .nanoseconds(Int(due)), leeway: .milliseconds(200))
    }

    /// The timer's time has come.
    func usageLookIsDue() {
        guard usage.isArmed else { return }
        usage.isArmed = false
        lookAtUsage()
    }

    func lookAtUsage() {
        guard !usage.isLooking, let application else { return }
        usage.isLooking = true
        let isForAll = monotonicNanoseconds() < usage.wantedUntil
        let needed = usage.needed
        let views = application.views(at: now).filter { isForAll || needed.contains($0.name) }.flatMap(\.instances)
        let running = running(views)
        let began = Dictionary(
            views.compactMap { view in
                view.generation.flatMap { generation in view.startedAt.map { (generation, $0.nanoseconds) } }
            }, uniquingKeysWith: { first, _ in first })
        let looked = application.instanceIDs.filter { isForAll || needed.contains($0.service) }.map(\.description)
        queryCounters { [role = self, processes, keeper = configuration.keeper] counters in
            Self.sampling.async {
                let found = processes.use(of: running, keeper: keeper)
                let connections = counters.map { counters in
                    Dictionary(
                        counters.endpoints.map { ($0.instance, $0.counts.current) },
                        uniquingKeysWith: { first, _ in first })
                }
                let readings = running.compactMap { instance in
                    found[instance.generation].map { use in
                        UsageHistory.Reading(
                            instance, use, began: began[instance.generation],
                            connections: connections?[instance.id.description])
                    }
                }
                role.queue.async { role.assumeIsolated { $0.usageWasFound(readings, of: Set(looked), isForAll) } }
            }
        }
    }

    private func usageWasFound(_ readings: [UsageHistory.Reading], of looked: Set<String>, _ isForAll: Bool) {
        usage.isLooking = false
        usage.history.take(readings, of: looked, at: monotonicNanoseconds())
        if let application {
            // One that is there for a rollout only leaves nothing behind.
            let known = Set(application.instanceIDs.map(\.description))
            usage.history.keep(known.contains)
        }
        keepUsageSoon()
        // Who has asked meanwhile may want to know of others as well.
        guard isForAll || usage.waiting.isEmpty else { return lookAtUsage() }
        answerUsage()
        arrangeUsageLook()
    }
}

extension UsageHistory.Reading {
    fileprivate init(_ instance: InstanceProcesses.Instance, _ use: InstanceUse, began: Int64?, connections: UInt64?) {
        self.init(
            instance: instance.id.description, process: instance.generation.number, began: began,
            cpuSeconds: use.cpuSeconds,
            usage: Usage(
                memoryBytes: use.residentBytes, connections: connections, threads: use.threads,
                descriptors: use.descriptors))
    }
}

extension InstanceUsage {
    /// So many points has the course of a span.
    private static let points = 30

    fileprivate init(_ name: String, _ history: UsageHistory, _ series: UsageHistory.Span?, at now: Int64) {
        let hour = history.series(of: name, .hour, at: now)
        let day = history.series(of: name, .day, at: now)
        let wanted = series.map { span in
            UsageSeries(
                everySeconds: Int(span.step), (span == .hour ? hour : day).map { $0.map { UsageValues($0) } })
        }
        self.init(
            id: name, now: UsageValues(history.now(of: name)), hour: Self.span(hour), day: Self.span(day),
            series: wanted)
    }

    private static func span(_ series: [Usage?]) -> UsageSpan {
        let summary = UsageHistory.Summary(of: series)
        return UsageSpan(
            steps: summary.steps, average: UsageValues(summary.average), highest: UsageValues(summary.highest),
            cpuPercent: condensed(series.map { $0?.cpuPercent }, to: points).map { $0.map(UsageValues.tenths) },
            memoryBytes: condensed(series.map { $0?.memoryBytes }, to: points))
    }
}

extension UsageValues {
    fileprivate init(_ usage: Usage) {
        self.init(
            cpuPercent: usage.cpuPercent.map(Self.tenths), memoryBytes: usage.memoryBytes,
            connections: usage.connections, threads: usage.threads, descriptors: usage.descriptors)
    }

    fileprivate static func tenths(_ percent: Double) -> Double { (percent * 10).rounded() / 10 }
}
