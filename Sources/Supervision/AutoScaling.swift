package import Events
package import Manifest

/// How quickly services scale themselves.
package struct ScalingPace: Sendable, Hashable {
    /// From one look at the load to the next.
    package var look: Duration
    /// Over so long a time the load must be too high on average.
    package var rise: Duration
    /// For so long fewer instances must have been enough.
    package var fall: Duration

    /// Every five seconds; half a minute; five minutes. `haste` makes all of it shorter.
    package init(haste: Double = 1) {
        let haste = haste.isFinite ? max(1, min(haste, 1000)) : 1
        look = .seconds(5) / haste
        rise = .seconds(30) / haste
        fall = .seconds(300) / haste
    }
}

/// When services scale themselves, from the load of the last minutes: a value without a clock.
///
/// The load is a sum over all instances that are ready, so that it says by itself how many are needed, however many there are.
/// It is too high if its average over `rise` is more than a tenth above the target of all instances together: then there are
/// to be as many as it needs, but never more than twice as many at once. Fewer are enough if its highest value in all of
/// `fall` is more than a tenth below the target of one instance less: then there is to be one less. Between the two nothing
/// happens, and so a load that does not change brings it to rest. After each step, and after any other change of the number
/// or the rule, it begins to look anew; so it does if it could not look for a while.
///
/// While some instances serve nobody, the load of the others says nothing about how many are enough: the five minutes of
/// fewer are such in which all of them served. More are asked for as ever, as what is missing only makes the load smaller.
package struct ScalingWatch: Sendable {
    private struct Entry: Sendable {
        var rule: ScalingRule
        var instances: Int
        var looks: [(at: Instant, load: Double, isWhole: Bool)] = []
    }

    /// How far the load may be from the target without anything being done.
    private static let tolerance = 0.1

    private let pace: ScalingPace
    private var entries: [String: Entry] = [:]

    /// Creates one that has seen nothing.
    package init(pace: ScalingPace = ScalingPace()) { self.pace = pace }

    /// A look at a service's load: connections, or CPU in percent of a core, of all instances that are ready; `isWhole`:
    /// none is missing. What is to be done; nil: nothing.
    package mutating func looked(
        at service: String, load: Double, instances: Int, isWhole: Bool = true, rule: ScalingRule, now: Instant
    ) -> EventKind.ScaleStep? {
        var entry = entries[service] ?? Entry(rule: rule, instances: instances)
        let isContinued =
            entry.rule == rule && entry.instances == instances
            && entry.looks.last.map { $0.at + pace.look * 3 >= now } ?? true
        if !isContinued { entry = Entry(rule: rule, instances: instances) }
        entry.looks.append((now, load.isFinite ? max(0, load) : 0, isWhole))
        // One from before the longest time stays, so that it is known to be covered.
        while entry.looks.count > 1, entry.looks[1].at + pace.fall <= now { entry.looks.removeFirst() }
        entries[service] = entry
        return rise(entry, now) ?? fall(entry, now)
    }

    /// Whether a service was looked at for long enough to know that its load asks for no more instances.
    package func hasSeenEnough(of service: String) -> Bool {
        guard let looks = entries[service]?.looks, let first = looks.first, let last = looks.last else { return false }
        return first.at + pace.rise <= last.at
    }

    /// Forgets all other services.
    package mutating func keep(_ services: Set<String>) {
        entries = entries.filter { services.contains($0.key) }
    }

    private func rise(_ entry: Entry, _ now: Instant) -> EventKind.ScaleStep? {
        guard let first = entry.looks.first, first.at + pace.rise <= now, entry.instances < entry.rule.max else {
            return nil
        }
        let recent = entry.looks.filter { $0.at + pace.rise > now }.map(\.load)
        let average = recent.reduce(0, +) / Double(max(1, recent.count))
        let target = Double(entry.rule.target.amount)
        let count = max(1, entry.instances)
        guard average > target * Double(count) * (1 + Self.tolerance) else { return nil }
        let needed = Int(min(average / target, 10_000).rounded(.up))
        let next = entry.rule.nearest(to: min(needed, count * 2))
        guard next > entry.instances else { return nil }
        let each = Self.text(average / Double(count), entry.rule.target)
        return EventKind.ScaleStep(
            from: entry.instances, to: next,
            reason: "\(each) per instance over \(Wording.time(pace.rise)), \(Self.text(of: entry.rule.target))")
    }

    private func fall(_ entry: Entry, _ now: Instant) -> EventKind.ScaleStep? {
        guard let first = entry.looks.first, first.at + pace.fall <= now, entry.instances > entry.rule.min,
            entry.looks.allSatisfy(\.isWhole)
        else { return nil }
        let highest = entry.looks.map(\.load).max() ?? 0
        let next = entry.instances - 1
        let enough = Double(entry.rule.target.amount) * Double(next) * (1 - Self.tolerance)
        guard highest <= enough else { return nil }
        let each = Self.text(highest / Double(max(1, entry.instances)), entry.rule.target)
        return EventKind.ScaleStep(
            from: entry.instances, to: next,
            reason: "at most \(each) per instance over \(Wording.time(pace.fall)), \(Self.text(of: entry.rule.target))")
    }

    private static func text(_ amount: Double, _ target: ScalingRule.Target) -> String {
        let tenths = (min(amount, 1e12) * 10).rounded() / 10
        let number = tenths < 10 && tenths != tenths.rounded() ? "\(tenths)" : "\(Int(tenths.rounded()))"
        switch target {
        case .connections: return number == "1" ? "1 connection" : "\(number) connections"
        case .cpu: return "\(number)% of a core"
        }
    }

    private static func text(of target: ScalingRule.Target) -> String {
        switch target {
        case .connections(let count): "the target is \(count)"
        case .cpu(let percent): "the target is \(percent)%"
        }
    }
}

/// A service that may scale itself now.
package struct ScalingCandidate: Sendable, Hashable {
    /// The service.
    package var service: String
    /// How it does so.
    package var rule: ScalingRule
    /// How many instances there are to be.
    package var instances: Int
    /// Those that are ready and take connections.
    package var ready: [InstanceID]
    /// Whether all of its instances are; only then it may be made smaller.
    package var isWhole: Bool
}

extension Application {
    /// Whether any service scales itself.
    package var hasScalingRules: Bool { manifest.services.contains { $0.scaling != nil } }

    /// How many instances each service is to have.
    package var instanceCounts: [String: Int] {
        let staying = manifest.services.filter { !leaving.contains($0.name) }
        return Dictionary(staying.map { ($0.name, $0.replicas) }, uniquingKeysWith: { first, _ in first })
    }

    /// The services that may scale themselves: nothing of them is being replaced, added or taken away, they do not sleep, no
    /// user has stopped them, and something of them is ready. As long as anything is not, because it crashes, is restarted
    /// or is drained, they may have more, and not fewer (`ScalingCandidate.isWhole`).
    package var scalingCandidates: [ScalingCandidate] {
        guard !isShuttingDown else { return [] }
        return manifest.services.indices.compactMap { place in
            let service = manifest.services[place]
            guard let rule = service.scaling, !leaving.contains(service.name), !isBeingChanged(service.name),
                !facts[place].isAsleep
            else { return nil }
            let places = layout.instances[place].filter { !isExtra($0) }
            // A stop of some by a user is no reason to start others.
            guard places.allSatisfy({ instances[$0].goal == .up }) else { return nil }
            let ready = places.filter(takesClients).map { instances[$0].id }
            guard !ready.isEmpty else { return nil }
            return ScalingCandidate(
                service: service.name, rule: rule, instances: service.replicas, ready: ready,
                isWhole: ready.count == places.count)
        }
    }
}
