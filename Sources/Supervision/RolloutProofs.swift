import Manifest

/// When a rollout takes an instance for one that has come up.
extension Application {
    /// Whether an instance does what it is for; one without a readiness check has to run for a moment.
    func hasComeUp(_ place: Int) -> Bool {
        guard instances[place].edition == .current else { return false }
        let service = service(of: place)
        switch instances[place].state {
        case .completed: return service.kind == .task || !service.isProbed
        case .running(let process):
            return service.kind == .service && (service.isProbed || instances[place].proven == process.generation)
        case .down: return instances[place].goal == .down
        case .waiting, .starting, .stopping, .backoff, .failed: return false
        }
    }

    /// When the next process has run for the moment that a rollout waits for.
    var nextRolloutProof: Instant? {
        var next: Instant?
        forEachUnproven { _, _, until in if until < next ?? .never { next = until } }
        return next
    }

    /// Looks at those rollouts again whose processes have lived long enough.
    mutating func rolloutProofsDue(_ turn: inout Turn) {
        var due: [(Int, Generation)] = []
        forEachUnproven { place, generation, until in if until <= turn.now { due.append((place, generation)) } }
        for (place, generation) in due {
            instances[place].proven = generation
            turn.touched.append(place)
        }
    }

    private func forEachUnproven(_ body: (Int, Generation, Instant) -> Void) {
        for rollout in deployments.lazy.flatMap(\.rollouts) where !rollout.isWaiting {
            guard let service = place(ofService: rollout.service), !manifest.services[service].isProbed else {
                continue
            }
            for place in layout.instances[service] where instances[place].edition == .current {
                guard case .running(let process) = instances[place].state,
                    instances[place].proven != process.generation
                else { continue }
                body(place, process.generation, process.beganAt.adding(Self.startMoment))
            }
        }
    }
}
