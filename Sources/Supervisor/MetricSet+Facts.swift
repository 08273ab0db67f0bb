import Links
import Logs
import Metrics
import Platform
import Supervision

// From what is known to samples; no look at anything.

extension MetricSet {
    /// The samples of `GET /metrics`.
    init(_ facts: MetricFacts) {
        self.init()
        add(.buildInfo, [facts.version], .integer(1))
        add(.startTime, .real(facts.time(facts.began)))
        add(.upgrades, MetricValue(facts.upgrades))
        addRoles(facts)
        for service in facts.services {
            addService(service)
            for instance in service.instances { addInstance(instance, of: service, facts) }
            addProbes(of: service.view.name, "ready", facts.readiness)
            addProbes(of: service.view.name, "health", facts.health)
        }
        if let counters = facts.counters { addBalancer(counters, facts) }
    }

    private mutating func add(_ family: MetricFamily, _ value: MetricValue) { add(family, [], value) }

    // MARK: Roles

    private mutating func addRoles(_ facts: MetricFacts) {
        var roles = ["keeper", "supervisor"]
        if facts.hasFronts { roles.append("balancer") }
        if facts.roleStarts.web != nil { roles.append("web") }
        for role in roles {
            let use = facts.roleUse[role] ?? nil
            add(.roleUp, [role], MetricValue(use != nil))
            guard let use else { continue }
            add(.roleProcessor, [role], .real(use.cpuSeconds))
            add(.roleMemory, [role], .integer(use.residentBytes))
            add(.roleThreads, [role], .integer(use.threads))
            add(.roleDescriptors, [role], ifKnown: use.openDescriptors.map { .integer($0) })
        }
        // The keeper is never started again; as long as it is there it was started once.
        add(.roleStarts, ["keeper"], .integer(1))
        add(.roleStarts, ["supervisor"], MetricValue(facts.roleStarts.supervisor))
        add(.roleStarts, ["balancer"], ifKnown: facts.roleStarts.balancer.map { MetricValue($0) })
        add(.roleStarts, ["web"], ifKnown: facts.roleStarts.web.map { MetricValue($0) })
    }

    // MARK: Services and instances

    private static let serviceStates = [
        "running", "degraded", "starting", "waiting", "stopping", "backoff", "failed", "completed", "idle", "down",
    ]
    private static let instanceStates = [
        "running", "draining", "starting", "waiting", "stopping", "backoff", "failed", "completed", "idle", "down",
    ]

    /// 1 for the state that it is in, 0 for all others; also for one that is not in the list.
    private mutating func add(_ family: MetricFamily, _ labels: [String], state: String, of known: [String]) {
        for word in known { add(family, labels + [word], MetricValue(word == state)) }
        if !known.contains(state) { add(family, labels + [state], MetricValue(true)) }
    }

    private mutating func addService(_ service: MetricFacts.Service) {
        let labels = [service.view.name]
        add(.serviceState, labels, state: service.view.state, of: Self.serviceStates)
        add(.serviceWanted, labels, MetricValue(service.view.goal == .up && service.view.state != "idle"))
        add(.serviceReplicas, labels, MetricValue(service.replicas))
        add(.serviceReady, labels, MetricValue(service.view.ready))
    }

    private mutating func addInstance(
        _ instance: MetricFacts.Instance, of service: MetricFacts.Service, _ facts: MetricFacts
    ) {
        let view = instance.view
        let labels = [view.id.service, String(view.id.number)]
        add(.instanceState, labels, state: view.state, of: Self.instanceStates)
        add(.instanceReady, labels, MetricValue(view.isReady))
        add(.instanceDrained, labels, MetricValue(view.isDrained))
        if let health = view.health {
            if health.state != "unknown" { add(.instanceHealthy, labels, MetricValue(health.state == "healthy")) }
            add(.instanceHealthFailures, labels, MetricValue(health.failures))
        }
        for reason in RestartReason.allCases {
            add(.instanceRestarts, labels + [reason.rawValue], MetricValue(instance.restarts[reason] ?? 0))
        }
        add(.instanceStart, labels, ifKnown: view.startedAt.map { .real(facts.time($0.nanoseconds)) })
        if let use = instance.use { addUse(use, labels, facts.ownLimits) }
        add(.logLines, labels, .integer(instance.output?.lines ?? 0))
        add(.logBytes, labels, .integer(instance.output?.bytes ?? 0))
        add(.logDroppedLines, labels, .integer(instance.dropped?.lines ?? 0))
        add(.logDroppedBytes, labels, .integer(instance.dropped?.bytes ?? 0))
        if service.sendsToJournal || instance.notInJournal != nil {
            add(.logJournalDroppedLines, labels, .integer(instance.notInJournal?.lines ?? 0))
        }
    }

    private mutating func addUse(_ use: Consumption, _ labels: [String], _ own: [String: LimitPair]) {
        add(.instanceProcesses, labels, MetricValue(use.processes))
        add(.instanceThreads, labels, .integer(use.threads))
        add(.instanceProcessor, labels, .real(use.cpuSeconds))
        add(.instanceMemory, labels, .integer(use.residentBytes))
        add(.instanceVirtual, labels, .integer(use.virtualBytes))
        add(.instanceDescriptors, labels, ifKnown: use.openDescriptors.map { .integer($0) })
        for name in ResourceLimits.names { addLimit(name, use, labels + [name], own[name]) }
    }

    /// A limit that is supd's own, and of which the kernel does not tell how much is used, would say the same of every instance.
    private mutating func addLimit(_ name: String, _ use: Consumption, _ labels: [String], _ own: LimitPair?) {
        let isOfInterest = use.usage[name] != nil || use.limits[name]?.soft != own?.soft
        if let limit = use.limits[name]?.soft, limit != LimitPair.unlimited, isOfInterest {
            switch name {
            case "as", "core", "data", "fsize", "memlock", "msgqueue", "rss", "stack":
                add(.limitBytes, labels, .integer(limit))
            case "cpu": add(.limitSeconds, labels, .integer(limit))
            case "rttime": add(.limitSeconds, labels, .real(Double(limit) / 1e6))
            default: add(.limitCount, labels, .integer(limit))
            }
        }
        add(.limitUsage, labels, ifKnown: use.usage[name].map { .real($0) })
    }

    private mutating func addProbes(of service: String, _ kind: String, _ tally: ProbeTally) {
        guard let counts = tally.services[service] else { return }
        add(.probesDone, [service, kind, "passed"], .integer(counts.passed))
        add(.probesDone, [service, kind, "failed"], .integer(counts.failed))
    }

    // MARK: The balancer

    private mutating func addBalancer(_ counters: BalancerCounters, _ facts: MetricFacts) {
        add(.acceptPauses, .integer(counters.acceptPauses))
        for front in counters.fronts { add(front.counts, [front.service, front.address], SessionFamilies.fronts) }
        let endpoints = Dictionary(
            counters.endpoints.map { ($0.instance, $0) }, uniquingKeysWith: { first, _ in first })
        for view in facts.services.flatMap(\.instances).map(\.view) {
            guard let endpoint = endpoints[view.id.description] else { continue }
            let labels = [view.id.service, String(view.id.number)]
            add(.endpointAside, labels, MetricValue(endpoint.setAsideFor != nil))
            add(.endpointsAside, labels, .integer(endpoint.counts.setAside))
            add(endpoint.counts, labels, SessionFamilies.endpoints)
        }
    }

    private mutating func add(_ counts: BalancerCounters.Counts, _ labels: [String], _ families: SessionFamilies) {
        let values: [(MetricFamily?, UInt64)] = [
            (families.connections, counts.current), (families.connectionsMax, counts.maximum),
            (families.connectionsTotal, counts.total), (families.rate, counts.rate),
            (families.rateMax, counts.maximumRate), (families.queued, counts.queued),
            (families.queuedMax, counts.maximumQueued), (families.received, counts.bytesIn),
            (families.sent, counts.bytesOut), (families.connectErrors, counts.connectErrors),
            (families.retries, counts.retries), (families.redispatches, counts.redispatches),
        ]
        for case (let family?, let value) in values { add(family, labels, .integer(value)) }
        if let turnedAway = families.turnedAway {
            let (known, overflow) = counts.denied.addingReportingOverflow(counts.limited)
            let other = overflow || known > counts.turnedAway ? 0 : counts.turnedAway - known
            add(turnedAway, labels + ["denied"], .integer(counts.denied))
            add(turnedAway, labels + ["limited"], .integer(counts.limited))
            add(turnedAway, labels + ["other"], .integer(other))
        }
        add(families.connectDuration, labels, sum: Double(counts.connectTime) / 1e9, count: counts.connects)
        if counts.connects > 0 {
            add(families.connectDurationMax, labels, .real(Double(counts.maximumConnectTime) / 1e9))
        }
        for (end, count) in counts.ends.sorted(by: { $0.key < $1.key }) {
            add(families.ended, labels + [end], .integer(count))
        }
    }
}
