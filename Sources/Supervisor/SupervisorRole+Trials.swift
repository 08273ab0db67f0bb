import ControlAPI
import Dispatch
import Links
import Platform
import Supervision

/// New instances on trial: what the balancer says of them, and what users do.
extension SupervisorRole {
    /// How often the balancer's counters are looked at while instances are on trial.
    private static let countingInterval = DispatchTimeInterval.seconds(1)

    /// While instances are on trial, tells the core every second what the balancer has counted.
    func countForTrials() {
        guard !isCountingForTrials, application?.servicesOnTrial.isEmpty == false else { return }
        isCountingForTrials = true
        queryCounters { [weak self] counters in
            self?.assumeIsolated { role in
                role.queue.asyncAfter(deadline: .now() + Self.countingInterval) { [weak role] in
                    role?.assumeIsolated {
                        $0.isCountingForTrials = false
                        $0.countForTrials()
                    }
                }
                if let counters { role.takeCounts(counters) }
            }
        }
    }

    private func takeCounts(_ counters: BalancerCounters) {
        guard let application else { return }
        let services = Set(application.servicesOnTrial)
        let known = Dictionary(
            counters.endpoints.map { ($0.instance, $0.counts) }, uniquingKeysWith: { first, _ in first })
        let counts = application.views(at: now).filter { services.contains($0.name) }.flatMap(\.instances).map {
            // What it does not know yet has had no connection.
            let counts = known[$0.id.description]
            return Application.ConnectCount(
                instance: $0.id, connects: counts?.connects ?? 0, errors: counts?.connectErrors ?? 0)
        }
        if !counts.isEmpty { take(.connectsCounted(counts)) }
    }

    /// A user promotes a canary, or sends a rollout back.
    func decide(
        _ verb: RolloutVerb, on service: String, _ application: Application, _ options: ControlRoute.WaitOptions,
        _ peer: PeerCredentials, _ responder: ControlResponder
    ) {
        guard application.service(named: service) != nil else {
            // The answer suggests what may have been meant.
            guard resolve([service], application, responder) != nil else { return }
            return responder.fail(
                400, code: "usage", "\(verb.rawValue) takes the name of a service, not \"\(service)\"")
        }
        guard !isShuttingDown else {
            return responder.fail(409, code: "shutting-down", "supd is shutting down")
        }
        log.write(.notice, "\(verb.rawValue) \(service), asked for by \(peer)")
        noteCommand(verb.rawValue, [service], by: peer)
        let decision: Application.RolloutDecision
        let summary: String
        let accepted: String
        switch verb {
        case .promote:
            (decision, summary) = (.promote, "promoted: the other instances follow")
            accepted = "the other instances follow"
        case .rollback:
            (decision, summary) = (.rollBack, "went back to what ran before")
            accepted = "it goes back to what ran before"
        }
        if let hindrance = application.hindrance(of: decision, on: service) {
            return responder.fail(409, code: "failed", hindrance)
        }
        let command = commands.begin()
        carryOut(command, options, responder, summary: summary, accepted: accepted) {
            take(.decided(command, service: service, decision, by: "\(peer)"))
        }
    }
}
