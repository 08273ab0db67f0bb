import Manifest

/// An instance that a user has drained takes no new connections, whatever else becomes of it: this is stored beside the
/// state, as the goal is. An exit, a restart by the policy or by a user, a stop and a start leave it; only `undrain`, or
/// a new keeper, ends it. (Whoever took an instance out of the balancer to look at it does not want it back because it
/// crashed, or was restarted on the way.)
struct Parking: Sendable, Hashable, Codable {
    /// The generation of which no connection is left.
    var emptied: Generation?
}

extension Instance {
    /// Whether no connection reaches it, and none is left.
    var isDrained: Bool {
        guard let parking else { return false }
        return endpoint.map { parking.emptied == $0.process.generation } ?? true
    }

    /// The balancer has no connection of the process any more.
    mutating func connectionsEnded(of process: Process) {
        if parking != nil { parking?.emptied = process.generation }
    }
}

extension Application {
    /// Takes instances out of the balancer, or puts them back.
    mutating func setParked(_ isParked: Bool, _ places: [Int], _ turn: inout Turn) {
        for place in places where (instances[place].parking != nil) != isParked {
            instances[place].parking = isParked ? Parking() : nil
            let service = layout.services[place]
            if instances[place].endpoint != nil, manifest.services[service].isBalanced {
                turn.routesChanged = true
            }
            turn.report(
                instances[place].id, .info,
                isParked ? "drained: takes no new connections until undrain" : "undrained: takes connections again")
            turn.note(place, of: service)
        }
        settle(&turn)
    }

    /// The services whose clients would find no instance, but wait for one, if these instances took no connections.
    package func servicesLeftWithout(_ targets: [InstanceID]) -> [String] {
        let taken = Set(targets)
        return manifest.services.indices.filter { service in
            let places = layout.instances[service]
            return manifest.services[service].isBalanced && facts[service].holds
                && places.contains { taken.contains(instances[$0].id) }
                && !places.contains { place in
                    // A connection wakes what sleeps.
                    let serves =
                        if case .running = instances[place].state { isOnServingSide(place) } else {
                            instances[place].isAsleep == true
                        }
                    return serves && instances[place].parking == nil && !taken.contains(instances[place].id)
                }
        }.map { manifest.services[$0].name }
    }

    /// Drains that somebody waits for, with the generations that still have connections, as far as is known.
    package var drainsUnderWay: [(command: CommandID, waiting: [(generation: Generation, instance: InstanceID)])] {
        operations.compactMap { operation in
            guard operation.verb == .drain, let command = operation.command else { return nil }
            return (
                command,
                operation.open.compactMap { place in
                    instances[place].endpoint.map { ($0.process.generation, instances[place].id) }
                }
            )
        }
    }
}
