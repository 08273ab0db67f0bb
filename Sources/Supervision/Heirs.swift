import Manifest

/// A process that the keeper has started by a standing order, as its predecessor ended.
struct Heir: Sendable, Hashable {
    /// Its generation, from `reserveGeneration`.
    let generation: Generation
    /// Its instance.
    let instance: InstanceID
    /// Its port.
    let port: UInt16
}

/// Standing orders: for a process whose end, whatever it is, would be followed by a start at once, the keeper can be
/// given that start in advance. It then needs nobody's decision, and happens even while no supervisor is there.
extension Application {
    /// A process that should have an heir.
    package struct HeirCandidate: Sendable, Hashable {
        /// The process.
        package var generation: Generation
        /// Its instance.
        package var instance: InstanceID
        /// The port of its next process.
        package var port: UInt16
    }

    /// A number for a start that may never happen.
    package mutating func reserveGeneration() -> Generation {
        defer { nextGeneration.number &+= 1 }
        return nextGeneration
    }

    /// The processes that should have heirs now, and when there may be another one; nil: not by time alone.
    ///
    /// They are ready, were started at least `resetAfter` ago (an earlier end is a failure, and calls for a pause), and are
    /// wanted; their policy is `always` without a `limit`. What a start needs a look at gets none: services that depend on
    /// what may go at any moment, or whose user or environment files are read at every start anew, or that get something of their
    /// own to speak by.
    package func heirCandidates(at now: Instant) -> (candidates: [HeirCandidate], next: Instant?) {
        var candidates: [HeirCandidate] = []
        var next: Instant?
        guard !isShuttingDown else { return ([], nil) }
        for (service, settings) in manifest.services.enumerated()
        where settings.mayHaveHeirs
            && dependencies.needs[service].allSatisfy({ $0.condition == .completed && isMet($0) })
        {
            for place in layout.instances[service] {
                let instance = instances[place]
                guard case .running(let process) = instance.state, instance.goal == .up, instance.port == process.port,
                    instance.edition == .current
                else { continue }
                let due = process.beganAt.adding(settings.restart.healthyRun)
                if due <= now {
                    candidates.append(
                        HeirCandidate(generation: process.generation, instance: instance.id, port: process.port))
                } else if due < next ?? .never {
                    next = due
                }
            }
        }
        return (candidates, next)
    }
}

extension Service {
    fileprivate var mayHaveHeirs: Bool {
        kind == .service && restart.policy == .always && restart.limit == nil && environmentFiles.isEmpty && user == nil
            && group == nil && !ready.isSaidOnce && !hasNotifySocket
    }
}
