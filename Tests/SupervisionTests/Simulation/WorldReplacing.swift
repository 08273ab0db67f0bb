import Manifest

@testable import Supervision

/// What a rollout that replaces a service's instances a few at a time has taken away.
struct Replacement {
    /// How many instances the service is to have.
    var replicas: Int
    /// The numbers of those that served, were taken away to be replaced, and serve neither as what they were nor as what
    /// they are to be.
    var away: Set<Int> = []
    /// It goes back.
    var goesBack = false
}

// A rollout never drops below its minimum. As many as are to run, but for `maxUnavailable`, serve at every moment, and those
// count as serving that do not for another reason: that they failed by themselves, or that a user stopped or drained them.
// So of those that did serve the rollout takes no more away than others stand in for, and `maxUnavailable` besides; where
// none can stand in (`surge: 0`) and none may be missing, one at a time, as something has to go. And it sends nobody away
// who stands in before those are back. A stand-in that fails by itself while others are away is no breach; that more are taken
// away meanwhile is.
//
// A rollout that goes back owes nothing for what was just starting with the settings that failed, and takes its stand-ins along
// that serve nobody: what it took away comes back by itself. Of what serves it keeps the
// same minimum, the larger of the two settings' `maxUnavailable` being allowed.
//
// Blue-green has a rule of its own (`checkSwitches`); what cannot run side by side goes all at once, and a task serves nobody.
extension World {
    /// After a turn that began with these instances.
    mutating func followReplacements(from earlier: [Instance]) throws(Violation) {
        var open: [String: Replacement] = [:]
        defer { replacements = open }
        guard !app.isShuttingDown, !app.deployments.isEmpty else { return }
        var old: [InstanceID: Instance]?
        for rollout in app.deployments.flatMap(\.rollouts) where !rollout.isWaiting {
            guard let settings = app.manifest.services.first(where: { $0.name == rollout.service }),
                isFewAtATime(rollout, settings)
            else { continue }
            let earlier = old ?? Dictionary(earlier.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
            old = earlier
            open[rollout.service] = try followed(rollout, settings, earlier)
        }
    }

    private mutating func followed(
        _ rollout: Rollout, _ settings: Service, _ old: [InstanceID: Instance]
    ) throws(Violation) -> Replacement {
        let members = app.instances.filter { $0.id.service == rollout.service }
        let stay = members.filter { $0.id.number <= settings.replicas }
        var replacement = Replacement(replicas: settings.replicas, goesBack: rollout.failure != nil)
        // Another number of instances is another minimum.
        if let before = replacements[rollout.service], before.replicas == settings.replicas {
            let gone = stay.filter { isAway($0, rollout) }.map(\.id.number)
            replacement.away = before.away.intersection(gone)
            if replacement.goesBack, !before.goesBack, !before.away.isEmpty { tally.count(.turnedBack) }
        }
        let taken = stay.filter { instance in old[instance.id].map { isTaken(instance, from: $0) } ?? false }
        tally.count(.replacement, taken.count)
        replacement.away.formUnion(taken.map(\.id.number))
        // One that has failed by itself meanwhile still stands for its place, but lets nobody else go.
        let standIns = members.count { instance in
            guard instance.id.number > settings.replicas, instance.goal == .up else { return false }
            return taken.isEmpty || rollout.failure != nil || serves(instance)
        }
        let spare = max(settings.deploy.maxUnavailable, rollout.other.deploy.maxUnavailable)
        let most = max(rollout.surge == 0 ? 1 : 0, standIns + spare)
        // As it goes back, one that stood in and served stays; what did not come up, or has failed by itself, is of no use.
        let isSentAway = members.contains { instance in
            guard let before = old[instance.id], instance.id.number > settings.replicas,
                // Neither one that is ended for its watchdog or its health, nor one that was started anew in this very turn, after
                // the other has ended by itself.
                case .stopping(let process, let stop) = instance.state, stop.cause == .goal, !stop.leaderEnded,
                process.generation == before.process?.generation
            else { return false }
            return before.goal == .up && serves(before) && instance.goal == .down
        }
        let isHarmless = rollout.failure != nil && taken.isEmpty && !isSentAway
        guard replacement.away.count <= most || isHarmless else {
            let names = replacement.away.sorted().map(String.init).joined(separator: ", ")
            throw Violation(
                text: "of \(settings.replicas) instances of \(rollout.service) \(names) are away, with "
                    + "\(standIns) of \(rollout.surge) that stand in and \(spare) that may be missing")
        }
        return replacement
    }

    /// Whether the instances of a service are replaced a few at a time.
    private func isFewAtATime(_ rollout: Rollout, _ settings: Service) -> Bool {
        settings.kind == .service && rollout.blueGreen == nil && !app.leaving.contains(settings.name)
            && settings.balance.proxyProtocol == rollout.other.balance.proxyProtocol
            && !settings.hasPortsOf(rollout.other)
    }

    /// It served, and is on its way out to be replaced by a rollout. (A user's restart that reaches it before the rollout does
    /// starts it again as what it was.)
    func isTaken(_ instance: Instance, from old: Instance) -> Bool {
        guard old.edition == .former, instance.edition != .former, case .running = old.state, old.goal == .up,
            old.parking == nil, case .stopping(_, let stop) = instance.state
        else { return false }
        return stop.cause == .replacement
    }

    /// It was taken away, and is not back.
    private func isAway(_ instance: Instance, _ rollout: Rollout) -> Bool {
        // Of the settings that have failed nothing is owed.
        guard instance.goal == .up, instance.edition != .former, !serves(instance) else { return false }
        switch instance.state {
        case .failed: return false
        case .waiting, .backoff: return rollout.failure == nil
        case .down, .starting, .stopping, .running, .completed:
            // It does not come up as what it was: it has failed by itself, too.
            return rollout.failure == nil || (instance.failures == 0 && !instance.missedReadiness && instance.port != 0)
        }
    }

    private func serves(_ instance: Instance) -> Bool {
        if case .running = instance.state { return true }
        return instance.state == .completed
    }
}
