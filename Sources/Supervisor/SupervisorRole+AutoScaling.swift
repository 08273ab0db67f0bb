import Dispatch
import Links
import Manifest
import Platform
import Supervision

/// Services that scale themselves: looks at their load, and tells the core what `ScalingWatch` makes of it.
extension SupervisorRole {
    /// Arms the next look, if any service may scale itself and none is armed; while none may, nothing is looked at.
    func arrangeScalingLook() {
        guard autoScaling.isWanted, !autoScaling.isArmed, let candidates = application?.scalingCandidates,
            !candidates.isEmpty
        else { return }
        autoScaling.isArmed = true
        scalingTimer.schedule(
            deadline: .now() + .nanoseconds(Int(autoScaling.pace.look.wholeNanoseconds)), leeway: .milliseconds(20))
    }

    /// Asks the balancer for its counters, and looks at /proc if a target is about CPU.
    func scalingLookIsDue() {
        let candidates = application?.scalingCandidates ?? []
        let measured = Set(candidates.filter { $0.rule.target.isCPU }.flatMap(\.ready))
        let views = application?.views(at: now).flatMap(\.instances).filter { measured.contains($0.id) } ?? []
        let running = running(views)
        queryCounters { [role = self, processes, keeper = configuration.keeper] counters in
            Self.sampling.async {
                let usage = processes.sample(running, keeper: keeper)
                let used = running.compactMap { instance in
                    usage[instance.generation].map { (instance, $0.cpuSeconds) }
                }
                let cpu = Dictionary(
                    used.map { ($0.0.id, AutoScaling.CPU(generation: $0.0.generation, seconds: $0.1)) },
                    uniquingKeysWith: { first, _ in first })
                role.queue.async { role.assumeIsolated { $0.scale(by: counters, cpu) } }
            }
        }
    }

    private func scale(by counters: BalancerCounters?, _ cpu: [InstanceID: AutoScaling.CPU]) {
        autoScaling.isArmed = false
        let candidates = application?.scalingCandidates ?? []
        autoScaling.watch.keep(Set(candidates.map(\.service)))
        let shares = autoScaling.shares(cpu, at: now)
        for candidate in candidates {
            guard let load = load(of: candidate, counters, shares) else { continue }
            let step = autoScaling.watch.looked(
                at: candidate.service, load: load, instances: candidate.instances, isWhole: candidate.isWhole,
                rule: candidate.rule, now: now)
            if let step {
                let before = application?.revision
                take(.scaledItself(service: candidate.service, step))
                // What there is no room for changes nothing, and is tried again with the next look.
                if application?.revision != before { keepSnapshotNow() }
            } else if application?.scalingHindrance(of: candidate.service) != nil,
                autoScaling.watch.hasSeenEnough(of: candidate.service)
            {
                take(.scalingSettled(service: candidate.service))
            }
        }
        arrangeScalingLook()
    }

    /// The load of all that is ready; nil: not all of it is known.
    private func load(
        of candidate: ScalingCandidate, _ counters: BalancerCounters?, _ shares: [InstanceID: Double]
    ) -> Double? {
        switch candidate.rule.target {
        case .connections:
            guard let counters else { return nil }
            let ready = Set(candidate.ready.map(\.description))
            let open = counters.endpoints.filter { ready.contains($0.instance) }.map { Double($0.counts.current) }
            // What waits for a place would be theirs as well.
            let queued = counters.fronts.filter { $0.service == candidate.service }.map { Double($0.counts.queued) }
            return open.reduce(0, +) + (queued.max() ?? 0)
        case .cpu:
            let known = candidate.ready.compactMap { shares[$0] }
            return known.count == candidate.ready.count ? known.reduce(0, +) : nil
        }
    }
}

/// What is known of the load of services that scale themselves. It begins anew with every supervisor.
struct AutoScaling {
    /// CPU time of an instance's process so far.
    struct CPU: Sendable {
        var generation: Generation
        var seconds: Double
    }

    /// Tests are in a hurry.
    private static let hasteVariable = "SUPD_TEST_SCALING_HASTE"

    var watch: ScalingWatch
    let pace: ScalingPace
    /// Any service scales itself.
    var isWanted = false
    /// A look is armed, or under way.
    var isArmed = false
    private var last: (cpu: [InstanceID: CPU], at: Instant)?

    init(_ environment: [String: String] = [:]) {
        pace = ScalingPace(haste: environment[Self.hasteVariable].flatMap(Double.init) ?? 1)
        watch = ScalingWatch(pace: pace)
    }

    /// CPU in percent of a core since the look before, of those that were there then.
    mutating func shares(_ cpu: [InstanceID: CPU], at now: Instant) -> [InstanceID: Double] {
        defer { last = (cpu, now) }
        guard let last else { return [:] }
        let seconds = Double(now.nanoseconds &- last.at.nanoseconds) / 1e9
        guard seconds > 0 else { return [:] }
        var shares: [InstanceID: Double] = [:]
        for (instance, now) in cpu {
            guard let before = last.cpu[instance], before.generation == now.generation else { continue }
            shares[instance] = max(0, now.seconds - before.seconds) / seconds * 100
        }
        return shares
    }
}

extension ScalingRule.Target {
    fileprivate var isCPU: Bool { if case .cpu = self { true } else { false } }
}
