import Manifest
import TestSupport

@testable import Supervision

/// Connects of a balancer, done and failed.
struct Connects {
    var done: UInt64 = 0
    var failed: UInt64 = 0

    mutating func add(_ done: UInt64, _ failed: UInt64) {
        self.done += done
        self.failed += failed
    }
}

/// A rollout whose first instances are on trial, as seen from outside.
struct CanaryWatch {
    /// Since when all of them have been up.
    var upSince: Int64?
    /// A user has ended the trial.
    var isPromoted = false
    /// It was counted that it has begun, and what came of it.
    var isBegun = false
    var isDecided = false
    /// What clients did since the rollout began, with the new instances and with the others.
    var new = Connects()
    var old = Connects()
}

/// Trials, and the connections by which new instances are judged.
extension World {
    /// Nobody follows before the trial is over, whoever was lost meanwhile; and nothing is counted that did not happen.
    mutating func followCanaries(_ effects: [Application.Effect], from earlier: [Instance]) throws(Violation) {
        for case .finished(let command, .done) in effects {
            if let service = promotions.removeValue(forKey: command) { canaries[service]?.isPromoted = true }
        }
        guard !app.isShuttingDown, !canaries.isEmpty || !app.deployments.isEmpty else { return canaries = [:] }
        let rollouts = app.deployments.flatMap(\.rollouts).filter { !$0.isRestart }
        canaries = canaries.filter { service, _ in rollouts.contains { $0.service == service } }
        for rollout in rollouts where !rollout.isWaiting {
            guard rollout.failure == nil else {
                if let watch = canaries[rollout.service], watch.isBegun, !watch.isDecided {
                    tally.count(.trialSentBack)
                    canaries[rollout.service]?.isDecided = true
                }
                continue
            }
            guard let settings = app.manifest.services.first(where: { $0.name == rollout.service }),
                let canary = settings.deploy.canary, rollout.blueGreen == nil,
                settings.surge(replacing: rollout.other) > 0
            else { continue }
            let watch = try followed(rollout, settings, canary, earlier)
            canaries[rollout.service] = watch
        }
    }

    private mutating func followed(
        _ rollout: Rollout, _ settings: Service, _ canary: CanarySettings, _ earlier: [Instance]
    ) throws(Violation) -> CanaryWatch {
        var watch = canaries[rollout.service] ?? CanaryWatch()
        let members = app.instances.filter { $0.id.service == rollout.service }
        let up = members.count { instance in
            guard instance.id.number > settings.replicas, instance.edition == .current else { return false }
            if case .running = instance.state { return instance.goal == .up }
            return instance.state == .completed
        }
        if watch.upSince == nil, up >= min(canary.replicas, settings.replicas) { watch.upSince = now }
        let mayFollow =
            watch.isPromoted || watch.upSince.map { now - $0 >= canary.hold.wholeNanoseconds } == true
        for instance in members where !mayFollow && instance.id.number <= settings.replicas {
            guard let old = earlier.first(where: { $0.id == instance.id }), isTaken(instance, from: old) else {
                continue
            }
            throw Violation(text: "\(instance.id) is replaced before the trial of \(rollout.service) is over")
        }
        guard let seen = rollout.canary else { return watch }
        if seen.until != nil, !watch.isBegun {
            watch.isBegun = true
            tally.count(.trialBegun)
        }
        if seen.isOver, !watch.isDecided {
            watch.isDecided = true
            tally.count(watch.isPromoted ? .trialPromoted : .trialPassed)
        }
        for (record, truth) in [(seen.new, watch.new), (seen.old, watch.old)] {
            guard record.connects <= truth.done, record.connectErrors <= truth.failed else {
                throw Violation(
                    text: "\(rollout.service) counts \(record) on trial, but there were \(truth.done) connects and "
                        + "\(truth.failed) that failed")
            }
        }
        return watch
    }

    /// Clients come to services on trial, and the shell looks at the balancer's counters.
    mutating func countConnects() throws(Violation) {
        let services = Set(app.servicesOnTrial)
        guard !services.isEmpty, isBalancerThere else { return }
        for route in published where services.contains(route.service) {
            let replicas = app.manifest.services.first { $0.name == route.service }?.replicas ?? 0
            for endpoint in route.endpoints where endpoint.state == .active {
                let done = UInt64(random.pick(0...1000))
                let failed = UInt64(random.oneIn(12) ? random.pick(0...10) : 0)
                counters[endpoint.instance, default: Connects()].add(done, failed)
                let isNew = endpoint.instance.number > replicas
                guard var watch = canaries[route.service] else { continue }
                if isNew { watch.new.add(done, failed) } else { watch.old.add(done, failed) }
                canaries[route.service] = watch
            }
        }
        let counts = app.instances.filter { services.contains($0.id.service) }.map { instance in
            let counted = counters[instance.id] ?? Connects()
            return Application.ConnectCount(instance: instance.id, connects: counted.done, errors: counted.failed)
        }
        if !counts.isEmpty { try turn(.connectsCounted(counts)) }
    }

    /// Somebody says a word on a rollout, if there is one.
    mutating func decide() throws(Violation) {
        let onTrial = app.servicesOnTrial.first
        guard let service = onTrial ?? app.servicesUnderRollout.first ?? app.manifest.services.first?.name else {
            return
        }
        let id = CommandID(nextCommand)
        nextCommand += 1
        openCommands[id] = .start
        let decision: Application.RolloutDecision = random.oneIn(3) ? .rollBack : .promote
        if decision == .promote { promotions[id] = service }
        try turn(.decided(id, service: service, decision))
        promotions[id] = nil
    }
}
