import Events
import Manifest

// A rollout that goes back.
//
// It puts the former settings of one service beside those that the same manifest has brought of the others, which stay. What
// cannot be had beside them is left out, and said with the reason why it goes back: a dependency on what is gone, or on what
// depends on this service now, for the two would wait for each other. (A front that is another service's by now is left to it,
// see SupervisorRole+Fronts.swift.) The next manifest that is applied brings all of it anew.
extension Application {
    /// What was new is from now on what has to be replaced.
    mutating func goBack(
        _ rollout: inout Rollout, _ reason: String, culprit: Int, _ service: Int, _ turn: inout Turn
    ) {
        let failed = manifest.services[service]
        let (restored, leftOut) = restored(rollout.other)
        let reason = leftOut.map { "\(reason); \($0)" } ?? reason
        rollout.failure = reason
        turn.wentBack[rollout.service] = .init(step: .goingBack, reason: reason, by: rollout.sentBackBy)
        manifest.services[service] = restored
        rollout.other = failed
        revision &+= 1
        needsReshaping = true
        for place in layout.instances[service] {
            switch instances[place].edition {
            // What is on its way out under the old settings comes back under them.
            case .former, .leaving: instances[place].edition = .current
            case .current:
                // A task that had completed, or has done so now, is not run again as what it was.
                let hadCompleted = rollout.hadCompleted.contains(instances[place].id.number)
                if failed.kind == .task, instances[place].state == .completed {
                    continue
                } else if hadCompleted, instances[place].process == nil {
                    if instances[place].goal == .up { instances[place].state = .completed }
                    turn.note(place, of: service)
                } else {
                    instances[place].edition = .former
                }
            }
        }
        turnBack(&rollout, service)
        // What was being replaced has to be replaced again, but for what waits: that is taken back at once, and comes up.
        rollout.underWay.removeAll { number in
            layout.instances[service].contains {
                instances[$0].id.number == number && instances[$0].edition == .former && instances[$0].state != .waiting
            }
        }
        turn.effects.append(.manifestChanged)
        turn.routesChanged = true
        turn.report(
            instances[culprit].id, rollout.sentBackBy == nil ? .error : .info,
            "the rollout of \(rollout.service) stops and goes back to what ran before: \(reason)")
    }

    /// A rollout has turned back just now: what waits to be started is what it was again, before anything has it start as what has
    /// failed; and what was to be replaced and was not told to end yet goes on, unless a user has asked for its restart.
    mutating func turnedBack(_ service: Int, _ turn: inout Turn) {
        for place in layout.instances[service] where instances[place].edition == .former && !isExtra(place) {
            if instances[place].state == .waiting { takeOver(place, &turn) }
        }
        for place in layout.instances[service] where instances[place].edition == .current {
            guard !operations.contains(where: { $0.verb == .restart && $0.statuses[place] != nil }),
                instances[place].withdrawReplacement()
            else { continue }
            apply(.startAsked, to: place, &turn)
        }
        settle(&turn)
    }

    /// Why a service cannot have its fixed ports: another one's rollout, which was to give one of them up, has gone back and has it
    /// again. A manifest that is applied gives no port to two; nil: it can.
    func lostPort(of service: Int) -> String? {
        let settings = manifest.services[service]
        guard settings.port != nil else { return nil }
        let own = Set(settings.fixedPorts(settings.replicas))
        for other in manifest.services where other.port != nil && other.name != settings.name {
            guard !leaving.contains(other.name), let port = other.fixedPorts(other.replicas).first(where: own.contains)
            else { continue }
            return "\(settings.name) cannot have port \(port): \(other.name), which has gone back, has it again"
        }
        return nil
    }

    /// The settings of a service from before, as far as they can be had beside the others as they are now, and what of them
    /// cannot, for the end of a sentence; nil: all can.
    private func restored(_ former: Service) -> (settings: Service, leftOut: String?) {
        var restored = former
        // Nobody waits for what is no more.
        restored.dependsOn.removeAll { dependency in
            leaving.contains(dependency.service) || place(ofService: dependency.service) == nil
        }
        let turned = Dependencies.leading(back: restored, among: manifest.services)
        restored.dependsOn.removeAll { turned.contains($0.service) }
        guard !turned.isEmpty else { return (restored, nil) }
        return (
            restored,
            "it goes back without waiting for \(Wording.list(turned)), which by now \(turned.count == 1 ? "depends" : "depend") on it"
        )
    }
}

extension Instance {
    /// A process that is to be replaced, and was not told to end yet, is not to be replaced any more: whether there is such a one.
    fileprivate mutating func withdrawReplacement() -> Bool {
        guard goal == .up, case .stopping(let process, let stop) = state, case .draining = stop.phase,
            case .replacement = stop.cause, !stop.leaderEnded, !wasFoundUnhealthy(process.generation)
        else { return false }
        changeCause(to: .goal, process, stop)
        return true
    }
}
