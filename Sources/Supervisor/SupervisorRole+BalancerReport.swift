import ControlAPI
import Links
import Manifest
import Supervision

/// The answer to `GET /v1/balancer`.
extension SupervisorRole {
    func balancerReport(_ names: [String], _ application: Application, _ responder: ControlResponder) {
        guard let choice = resolve(names.isEmpty ? ["all"] : names, application, responder) else { return }
        guard !balancer.fronts.isEmpty else {
            return responder.finish(json: BalancerReport(services: [], acceptPauses: 0))
        }
        let number = statusRequests.begin(responder)
        queryCounters(isPatient: true) { [weak self] counters in
            self?.assumeIsolated { role in
                guard let responder = role.statusRequests.end(number), let application = role.application else {
                    return
                }
                guard let counters else {
                    return responder.fail(
                        503, code: "failed", "the balancer does not answer: it has ended, or is starting; try again")
                }
                responder.finish(json: role.report(application, counters, choice))
            }
        }
    }

    private func report(
        _ application: Application, _ counters: BalancerCounters, _ choice: Selector.Choice
    ) -> BalancerReport {
        BalancerReport(
            counters, Array(zip(application.views(at: now), application.manifest.services)),
            selected: Set(choice.instances), without: Set(choice.servicesWithout))
    }
}

extension BalancerReport {
    /// The balancer's counters beside what is known of services and instances. `selected`: the instances asked for;
    /// `without`: the services asked for that have none.
    init(
        _ counters: BalancerCounters, _ services: [(view: Application.ServiceView, service: Service)],
        selected: Set<String>, without: Set<String>
    ) {
        let endpoints = Dictionary(
            counters.endpoints.map { ($0.instance, $0) }, uniquingKeysWith: { first, _ in first })
        let fronts = Dictionary(grouping: counters.fronts, by: \.service)
        let services = services.compactMap { view, service -> BalancedService? in
            let instances = view.instances.filter { selected.contains($0.id.description) }
            guard service.isBalanced, !instances.isEmpty || without.contains(view.name) else { return nil }
            return BalancedService(
                name: view.name, algorithm: service.balance.algorithm.rawValue,
                fronts: (fronts[view.name] ?? []).map {
                    BalancedFront(address: $0.address, counters: SessionCounters($0.counts))
                },
                instances: instances.map { instance in
                    let endpoint = endpoints[instance.id.description]
                    return BalancedInstance(
                        id: instance.id.description, state: instance.state, drained: instance.isDrained,
                        setAsideSeconds: endpoint?.setAsideFor.map { Double($0) / 1e9 },
                        failedSecondsAgo: endpoint?.failedAgo.map { Double($0) / 1e9 },
                        counters: SessionCounters(endpoint?.counts ?? BalancerCounters.Counts()))
                })
        }
        self.init(services: services, acceptPauses: counters.acceptPauses)
    }
}

extension SessionCounters {
    /// The balancer's counters as the API shows them.
    init(_ counts: BalancerCounters.Counts) {
        self.init()
        connections = counts.current
        connectionsMax = counts.maximum
        connectionsTotal = counts.total
        rate = counts.rate
        rateMax = counts.maximumRate
        queued = counts.queued
        queuedMax = counts.maximumQueued
        bytesIn = counts.bytesIn
        bytesOut = counts.bytesOut
        turnedAway = counts.turnedAway
        denied = counts.denied
        limited = counts.limited
        connectErrors = counts.connectErrors
        retries = counts.retries
        redispatches = counts.redispatches
        setAside = counts.setAside
        connects = counts.connects
        if counts.connects > 0 {
            connectSecondsAverage = Double(counts.connectTime) / Double(counts.connects) / 1e9
            connectSecondsMax = Double(counts.maximumConnectTime) / 1e9
        }
        ends = counts.ends
    }
}
