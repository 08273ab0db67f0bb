import Events

@testable import Supervision

/// What the world makes of the events: it writes them down, loses some with a supervisor, and gives what they come to to
/// the next one.
struct Chronicle {
    /// What follows from all that is written down.
    var ledger = EventLedger()
    /// Starts and ends that were written down, each once.
    var started: Set<UInt64> = []
    var ended: Set<UInt64> = []
    /// How many events there were, and how many of them about rollouts.
    var count = 0
    var rolloutSteps = 0
    /// How often services were kept from scaling themselves, or were so no longer.
    var hindrances = 0

    mutating func write(_ kind: EventKind, _ service: String, _ instance: InstanceID?) throws(Violation) {
        count += 1
        let hindrance = ledger.scaleHindrances?[service]
        ledger.take(kind, service: service, instance: instance?.description)
        switch kind {
        case .start(let start):
            guard started.insert(start.generation).inserted else {
                throw Violation(text: "the start of generation \(start.generation) is told twice")
            }
        case .exit(let end):
            guard ended.insert(end.generation).inserted else {
                throw Violation(text: "the end of generation \(end.generation) is told twice")
            }
        case .state(let change):
            guard change.from != change.to else {
                throw Violation(text: "\(change.to) is told of \(instance?.description ?? "") twice")
            }
        case .rollout: rolloutSteps += 1
        case .scaleHindered(let step):
            hindrances += 1
            guard step.reason != hindrance?.reason else {
                throw Violation(text: "\(service) is told to be kept from scaling twice: \(step.reason ?? "it is not")")
            }
        default: break
        }
    }
}

extension World {
    /// The events of a turn come to disk, before anything is released.
    mutating func writeEvents(_ effects: [Application.Effect]) throws(Violation) {
        for case .happened(let kind, let service, let instance) in effects {
            try chronicle.write(kind, service, instance)
        }
    }

    /// What the events come to is what is.
    func checkEvents() throws(Violation) {
        guard chronicle.ledger == app.told else {
            throw Violation(text: "the events come to \(chronicle.ledger), not to \(app.told)")
        }
        for instance in app.instances {
            let told = chronicle.ledger.told(of: instance.id.description)
            guard told.goal == instance.goal.rawValue, told.isDrained == (instance.parking != nil) else {
                throw Violation(text: "\(instance.id) is told to be \(told), but is \(instance.goal)")
            }
            // The end of its process was told before this supervisor, which has not heard of it yet.
            if let generation = instance.process?.generation, told.hasEnded(generation.number),
                !toldExit.contains(generation),
                instance.process?.pid != nil || children[generation]?.exit != nil
            {
                continue
            }
            guard told.state == app.eventState(of: instance) else {
                throw Violation(
                    text: "\(instance.id) is told to be \(told.state ?? "nothing"), but is \(instance.state)")
            }
            guard (told.health == .unhealthy) == instance.isUnhealthy || instance.readyGeneration == nil else {
                throw Violation(text: "\(instance.id) is told to be \(told.health), but is not")
            }
        }
        for (service, hindrance) in chronicle.ledger.scaleHindrances ?? [:]
        where app.instanceCounts[service] != hindrance.from {
            throw Violation(text: "\(service) has another number, and is told to be kept from \(hindrance)")
        }
        let names = Set(app.instances.map(\.id.description) + app.leftovers.map(\.instance.description))
        for name in chronicle.ledger.instances.keys where !names.contains(name) {
            throw Violation(text: "\(name) is gone, and no event tells it")
        }
    }

    /// Everything is down: each process that was told to have started was told to have ended.
    func checkEventsAtEnd() throws(Violation) {
        let open = chronicle.started.subtracting(chronicle.ended)
        guard open.isEmpty else { throw Violation(text: "the ends of generations \(open.sorted()) were never told") }
        guard chronicle.ledger.rollouts.isEmpty || isShuttingDown else {
            throw Violation(text: "rollouts without an end: \(chronicle.ledger.rollouts)")
        }
    }
}
