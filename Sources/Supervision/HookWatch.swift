package import Events
package import Manifest

/// Which events are occasions for hooks. An instance is in trouble from the first `failed` or `unhealthy` until it has
/// recovered, was stopped, or is gone; only one in trouble can recover.
package struct HookWatch: Sendable {
    /// How long an instance must be up to have recovered, in nanoseconds: one that fails again and again is up in between.
    static let proof: Int64 = 10_000_000_000

    /// An occasion, and the event that is told of it.
    package struct Found: Sendable, Hashable {
        /// What hooks are run for.
        package var occasion: Hook.Occasion
        /// The event; of one that has recovered by being up, that of its coming up.
        package var event: EventRecord
    }

    private struct Trouble: Sendable {
        /// Since when it is up, and the event of that; nil: it is not.
        var up: (since: Instant, event: EventRecord)?
    }

    private var troubles: [String: Trouble] = [:]

    /// Nothing has happened yet.
    package init() {}

    /// A new supervisor knows from the ledger who is in trouble.
    package init(after ledger: EventLedger) {
        for (name, told) in ledger.instances where told.state == "failed" || told.health == .unhealthy {
            troubles[name] = Trouble()
        }
    }

    /// When `recovered` is to be asked; nil: never.
    package var nextDeadline: Instant? {
        troubles.values.compactMap { $0.up?.since.adding(Self.proof) }.min()
    }

    /// Takes an event; answers what it is an occasion for.
    package mutating func take(_ event: EventRecord, at now: Instant) -> Found? {
        if case .logDropped = event.kind { return Found(occasion: .logDropped, event: event) }
        guard let name = event.instance else { return nil }
        switch event.kind {
        case .state(let change): return take(change, of: name, event, at: now)
        case .probe(let change):
            switch change.outcome {
            case .unhealthy:
                troubles[name] = Trouble()
                return Found(occasion: .unhealthy, event: event)
            case .passing:
                return troubles.removeValue(forKey: name) == nil ? nil : Found(occasion: .recovered, event: event)
            case .failing: return nil
            }
        case .gone:
            troubles[name] = nil
            return nil
        default: return nil
        }
    }

    private mutating func take(
        _ change: EventKind.StateChange, of name: String, _ event: EventRecord, at now: Instant
    ) -> Found? {
        switch change.to {
        case "failed":
            troubles[name] = Trouble()
            return Found(occasion: .failed, event: event)
        case "backoff" where change.failures == Application.patience:
            troubles[name] = Trouble()
            return Found(occasion: .failed, event: event)
        case "running":
            if troubles[name] != nil { troubles[name]?.up = (now, event) }
            return nil
        case "completed":
            return troubles.removeValue(forKey: name) == nil ? nil : Found(occasion: .recovered, event: event)
        case "down":
            // Somebody has stopped it: it has not recovered, and need not.
            troubles[name] = nil
            return nil
        default:
            troubles[name]?.up = nil
            return nil
        }
    }

    /// Those that have been up for long enough, by their names.
    package mutating func recovered(at now: Instant) -> [Found] {
        var found: [Found] = []
        for (name, trouble) in troubles.sorted(by: { $0.key < $1.key }) {
            guard let up = trouble.up, up.since.adding(Self.proof) <= now else { continue }
            troubles[name] = nil
            found.append(Found(occasion: .recovered, event: up.event))
        }
        return found
    }
}
