import Manifest

// What users say to a rollout that is under way: that its trial is over, or that it is to go back.
//
// That it goes back is no failure. Whoever wants it is known by the rollout until it is over, and is named in what comes of the
// apply, in the events and in the history. The command that asks for it is done when the service runs as it did before, and has
// failed if it does not.
extension Application {
    /// Why a user's word on the rollout of a service has no effect; nil: it has.
    package func hindrance(of decision: RolloutDecision, on service: String) -> String? {
        guard let rollout = rollout(of: service), !rollout.isRestart else {
            return "no rollout of \(service) is under way"
        }
        if isShuttingDown { return "supd is shutting down" }
        if rollout.failure != nil || rollout.isRecalled == true {
            return "\(service) goes back to what ran before already"
        }
        guard decision == .promote else { return nil }
        if rollout.blueGreen?.hasSwitched == false {
            return
                "the new instances of \(service) are not all ready yet: they take over by themselves once they are"
        }
        guard rollout.isOnTrial else { return "no instance of \(service) is on trial" }
        return rollout.canary?.until == nil ? "the new instances of \(service) are not ready yet" : nil
    }

    /// A user promotes a canary, or sends a rollout back.
    mutating func decide(
        _ decision: RolloutDecision, on service: String, by who: String?, _ command: CommandID, _ turn: inout Turn
    ) {
        if let hindrance = hindrance(of: decision, on: service) {
            return turn.effects.append(.finished(command, .failed(hindrance)))
        }
        changeRollout(of: service) { rollout in
            switch decision {
            case .promote: rollout.canary?.isDue = true
            case .rollBack:
                rollout.isRecalled = true
                rollout.recalledBy = who
                rollout.recall = command
            }
        }
        touch(service, &turn)
        if decision == .promote { turn.effects.append(.finished(command, .done)) }
    }

    /// Says how far those rollouts are whose going back somebody waits for, where that has changed.
    func tellRecalls(_ deployment: inout Deployment, _ turn: inout Turn) {
        for position in deployment.rollouts.indices {
            let rollout = deployment.rollouts[position]
            guard let command = rollout.recall else { continue }
            let text = text(of: rollout)
            guard text != rollout.recallProgress else { continue }
            deployment.rollouts[position].recallProgress = text
            turn.effects.append(.progress(command, text))
        }
    }

    /// Tells who has sent a rollout back, now that it is over, what came of it. `trouble`: what does not run as it did before.
    func endRecall(of rollout: Rollout, trouble: String?, _ turn: inout Turn) {
        guard let command = rollout.recall else { return }
        turn.effects.append(.finished(command, trouble.map { .failed($0) } ?? .done))
    }

    /// What of a service does not come up, though its rollout has gone back; nil: all of it runs as it did before, or waits as it
    /// did, for what has sent it back, `failure`.
    func unrestored(_ service: Int, beside failure: String?) -> String? {
        for place in layout.instances[service] where !isExtra(place) && instances[place].goal == .up {
            guard !hasComeUp(place) else { continue }
            if let reason = hopelessness(of: place, service),
                instances[place].state != .waiting || failure?.hasPrefix(reason) != true
            {
                return "what ran before of \(manifest.services[service].name) does not come up: \(reason)"
            }
        }
        return nil
    }
}
