import Manifest

/// Whether a start was one. A service without a readiness check counts as up once its program runs; one that ends in the
/// same breath did not start in anybody's eyes.
extension Application {
    /// Which of the instances that are to be started would be called started before anything shows that they are: those
    /// that have no process yet, of services without a readiness check. (A task is done when it has completed.)
    package func unproven(among targets: [InstanceID]) -> [InstanceID] {
        targets.filter { id in
            guard let place = layout.places[id], instances.indices.contains(place) else { return false }
            if case .running = instances[place].state { return false }
            return service(of: place).kind == .service && !service(of: place).isProbed
        }
    }

    /// What to say of instances that were started then, have ended since without having been asked to, and are not up
    /// again: nil if there are none. One that has completed, as its policy allows, has done what it was for.
    package func endedAndNotUp(_ started: [InstanceID], since began: Instant) -> String? {
        let ended = started.compactMap { id -> String? in
            guard let place = layout.places[id], instances.indices.contains(place),
                let exit = instances[place].lastExit, exit.at >= began, instances[place].goal == .up
            else { return nil }
            if case .failed(let reason) = instances[place].state { return "\(id) has failed: \(reason)" }
            guard instances[place].failures > 0 else { return nil }
            switch instances[place].state {
            // Up again: whether it stays, its next end tells.
            case .starting, .running: return nil
            default: return "\(id) has ended: \(exit.reason); supd goes on trying"
            }
        }
        guard !ended.isEmpty else { return nil }
        return ended.prefix(3).joined(separator: ", ") + (ended.count > 3 ? ", and \(ended.count - 3) more" : "")
    }
}
