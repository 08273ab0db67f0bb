import Manifest

/// What is said of an apply while it is under way: each line is so when it is said, the last one as well.
extension Application {
    /// Whether an instance is where it is to be.
    func isSettled(_ place: Int) -> Bool {
        switch instances[place].state {
        case .running: service(of: place).kind == .service
        case .completed: true
        case .down: instances[place].goal == .down
        case .waiting, .starting, .stopping, .backoff, .failed: false
        }
    }

    /// Says what an apply waits for, if that has changed.
    func tellProgress(_ deployment: inout Deployment, _ turn: inout Turn) {
        guard let command = deployment.command, !deployment.isOver else { return }
        var parts: [String] = []
        if deployment.total > 1 {
            let undone = deployment.undone ?? 0
            let done = deployment.total - deployment.rollouts.count - undone
            let rest = undone == 0 ? "" : ", \(undone) gone back"
            parts.append("\(done) of \(deployment.total) services replaced\(rest)")
        }
        for rollout in deployment.rollouts.filter({ !$0.isWaiting }).prefix(3) { parts.append(text(of: rollout)) }
        if !deployment.fresh.isEmpty {
            parts.append("\(Wording.list(deployment.fresh.prefix(100).map(\.description))) to come up")
        }
        if !deployment.parting.isEmpty {
            parts.append("\(Wording.list(deployment.parting.prefix(100).map(\.description))) to stop")
        }
        let text = parts.joined(separator: "; ")
        guard text != deployment.progress else { return }
        deployment.progress = text
        turn.effects.append(.progress(command, text))
    }

    /// How far a rollout is.
    func text(of rollout: Rollout) -> String {
        guard let service = place(ofService: rollout.service) else { return rollout.service }
        if rollout.failure != nil { return textOfGoingBack(rollout, service) }
        let replicas = manifest.services[service].replicas
        let stay = layout.instances[service].filter { instances[$0].id.number <= replicas }
        let done = stay.count { isReplaced($0, rollout) }
        if let text = canaryText(rollout, service) ?? blueGreenText(rollout, service) { return text }
        let extras = layout.instances[service].filter {
            instances[$0].id.number > replicas && instances[$0].goal == .up && !isSettled($0)
        }
        let active =
            extras + stay.filter { rollout.underWay.contains(instances[$0].id.number) || isUntried($0, rollout) }
        // At the end those that have stood in go, and may take their time.
        let leaving = layout.instances[service].first { place in
            guard instances[place].id.number > replicas, case .stopping = instances[place].state else { return false }
            return true
        }
        let doing = (active.first ?? leaving).map { ": \(activity($0))" } ?? ""
        return "\(rollout.service): \(done) of \(stay.count) replaced\(doing)"
    }

    /// Whether an instance goes by what the rollout brings, or brings back, and is not waited for.
    private func isReplaced(_ place: Int, _ rollout: Rollout) -> Bool {
        instances[place].edition == .current && !rollout.underWay.contains(instances[place].id.number)
            && !isUntried(place, rollout)
    }

    /// How far one is that goes back. What the new version has brought has no future: nothing is said of it but that it goes.
    private func textOfGoingBack(_ rollout: Rollout, _ service: Int) -> String {
        let places = layout.instances[service]
        let replicas = manifest.services[service].replicas
        let stay = places.filter { instances[$0].id.number <= replicas }
        let done = stay.count { isReplaced($0, rollout) }
        let open = stay.filter { !isReplaced($0, rollout) }
        let extras = places.filter { instances[$0].id.number > replicas && instances[$0].state != .down }
        // What comes up as it was before says most, then what is on its way out.
        let comesUp = (open + extras).first {
            instances[$0].edition == .current && instances[$0].goal == .up && !isSettled($0)
        }
        let leaves = (open + extras).first { if case .stopping = instances[$0].state { true } else { false } }
        let doing: String
        if let place = comesUp ?? leaves {
            doing = ", \(activity(place))"
        } else if let place = open.first {
            doing = ", \(instances[place].id) is to be replaced"
        } else if let place = extras.first {
            doing = ", \(instances[place].id) is to stop"
        } else {
            doing = ""
        }
        return "\(rollout.service) goes back to what ran before: \(done) of \(stay.count) as before\(doing)"
    }
}
