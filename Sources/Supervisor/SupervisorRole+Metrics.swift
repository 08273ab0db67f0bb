import ControlAPI
import Dispatch
import Links
import Logs
import Manifest
import Metrics
import Platform
import Supervision

/// The answer to `GET /metrics`. Nothing of it is looked at, or kept, while nobody asks.
extension SupervisorRole {
    func metrics(_ application: Application, _ responder: ControlResponder) {
        let running = running(application.views(at: now).flatMap(\.instances))
        let roles = rolePids
        let number = statusRequests.begin(responder)
        queryCounters { [role = self, processes, keeper = configuration.keeper] counters in
            Self.sampling.async {
                let consumption = processes.consumption(running, keeper: keeper)
                let ownLimits = (try? ResourceLimits.inForce(of: keeper)) ?? [:]
                let roleUse = roles.mapValues { pid in ProcessTable.entry(of: pid).map { RoleUse(of: $0) } }
                role.queue.async {
                    role.assumeIsolated { role in
                        guard let facts = role.metricFacts(counters, consumption, roleUse, ownLimits) else {
                            _ = role.statusRequests.end(number)
                            return
                        }
                        // Making a megabyte of text is nothing for the queue that restarts things.
                        Self.sampling.async {
                            let text = MetricSet(facts).bytes
                            role.queue.async { role.assumeIsolated { $0.answer(number, withMetrics: text) } }
                        }
                    }
                }
            }
        }
    }

    private func answer(_ number: UInt64, withMetrics text: [UInt8]) {
        statusRequests.end(number)?.finish(text, type: HTTPAnswer.metrics)
    }

    private func counted(_ use: Consumption?, of instance: InstanceID, _ generation: Generation) -> Consumption? {
        guard var use else { return nil }
        use.cpuSeconds = counts.processorTime(use.cpuSeconds, of: instance, generation)
        return use
    }

    private var rolePids: [String: Int32] {
        var pids = ["keeper": configuration.keeper, "supervisor": ownProcessID()]
        pids["balancer"] = balancer.pid
        pids["web"] = web.pid
        return pids
    }

    private func metricFacts(
        _ counters: BalancerCounters?, _ consumption: [Generation: Consumption], _ roleUse: [String: RoleUse?],
        _ ownLimits: [String: LimitPair]
    ) -> MetricFacts? {
        guard let application else { return nil }
        let now = now
        let kept = keptSnapshot?.restarts
        let services = zip(application.views(at: now), application.manifest.services).map { view, service in
            MetricFacts.Service(
                view: view, replicas: service.replicas, sendsToJournal: service.log.journal,
                instances: view.instances.map { instance in
                    let name = instance.id.description
                    return MetricFacts.Instance(
                        view: instance,
                        restarts: kept.map { $0[instance.id] ?? [:] } ?? application.restarts(of: instance.id),
                        use: instance.generation.flatMap { counted(consumption[$0], of: instance.id, $0) },
                        output: pump?.amounts[name],
                        dropped: pump?.losses[name], notInJournal: pump?.journalLosses[name])
                })
        }
        return MetricFacts(
            version: version, bootOffset: wallClockNanoseconds() &- now.nanoseconds, began: configuration.keeperBegan,
            upgrades: upgrades.count, hasFronts: !balancer.fronts.isEmpty, roleUse: roleUse, roleStarts: roleStarts,
            ownLimits: ownLimits, services: services, readiness: prober?.tally ?? ProbeTally(),
            health: healthProber?.tally ?? ProbeTally(), counters: counters)
    }
}

/// How often roles were started, as the keeper has told.
struct RoleStarts: Sendable, Hashable {
    /// The supervisors, this one included.
    var supervisor = 1
    /// The balancers; nil: none was there yet.
    var balancer: Int?
    /// The web roles; nil: none was there yet.
    var web: Int?
}

/// What one of supd's own processes uses. Its CPU time is its own: the keeper has waited for those of all services.
struct RoleUse: Sendable, Hashable {
    /// CPU time.
    var cpuSeconds: Double
    /// Resident memory.
    var residentBytes: UInt64
    /// Threads.
    var threads: UInt64
    /// Open descriptors; nil where they may not be counted.
    var openDescriptors: UInt64?

    /// Looks at a process.
    init(of process: ProcessEntry) {
        cpuSeconds = Double(process.ownTicks) / ProcessTable.ticksPerSecond
        residentBytes = process.residentBytes
        threads = process.threads
        openDescriptors = ProcessUse(of: process.pid).openDescriptors
    }
}
