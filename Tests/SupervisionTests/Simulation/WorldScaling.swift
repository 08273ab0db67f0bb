import Events
import Manifest
import TestSupport

@testable import Supervision

/// Services that scale themselves: their load changes, and the shell looks at it as it does with a real balancer.
extension World {
    /// Thirty times as quick as outside: a schedule is short.
    static let scalingPace = ScalingPace(haste: 30)

    /// One look of the shell.
    mutating func lookAtLoads() throws(Violation) {
        // Without counters nothing is known.
        guard isBalancerThere else { return }
        let candidates = app.scalingCandidates
        scalingWatch.keep(Set(candidates.map(\.service)))
        // Only at a look the watch can see that a number is another one: one that went and came back meanwhile it cannot.
        let counts = Dictionary(
            candidates.map { ($0.service, $0.instances) }, uniquingKeysWith: { first, _ in first })
        for (service, count) in counts where lookedCounts[service] != count { countChanges[service] = now }
        lookedCounts = counts
        let looking = epoch
        for candidate in candidates where epoch == looking {
            if random.oneIn(12) { loads[candidate.service] = random.pick([0, 5, 12, 25, 60]) }
            let step = scalingWatch.looked(
                at: candidate.service, load: loads[candidate.service] ?? 0, instances: candidate.instances,
                isWhole: candidate.isWhole, rule: candidate.rule, now: Instant(nanoseconds: now))
            guard let step else {
                if app.scalingHindrance(of: candidate.service) != nil, scalingWatch.hasSeenEnough(of: candidate.service)
                {
                    try turn(.scalingSettled(service: candidate.service))
                }
                continue
            }
            try check(step, of: candidate)
            isApplying = true
            isLoadsStep = true
            defer { (isApplying, isLoadsStep) = (false, false) }
            try turn(.scaledItself(service: candidate.service, step))
        }
    }

    /// Within the bounds, never in a hurry, and never fewer while one is missing.
    private func check(_ step: EventKind.ScaleStep, of candidate: ScalingCandidate) throws(Violation) {
        let isRise = step.to > step.from
        guard step.from == candidate.instances, step.to != step.from, candidate.rule.nearest(to: step.to) == step.to,
            isRise ? step.to <= max(1, step.from) * 2 : step.to == step.from - 1 && candidate.isWhole
        else { throw Violation(text: "\(candidate.service) would scale itself from \(step.from) to \(step.to)") }
        let since = max(looksSince, countChanges[candidate.service] ?? 0)
        let wait = isRise ? Self.scalingPace.rise : Self.scalingPace.fall
        guard now - since >= wait.wholeNanoseconds else {
            throw Violation(text: "\(candidate.service) scales itself \(now - since) ns after its number has changed")
        }
    }

    /// After a turn, notes whether a service has got another number of instances.
    mutating func countScaling(_ event: Application.Event, _ effects: [Application.Effect]) {
        if case .scaled = event, effects.contains(.manifestChanged) { tally.count(.scaledByHand) }
        if case .scaledItself = event, isLoadsStep, effects.contains(.manifestChanged) { tally.count(.scaledItself) }
    }
}
