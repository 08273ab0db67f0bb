import Manifest

/// The trial of a rollout's first instances: they run beside the old ones and take their share of connections for a while.
/// What the new ones and the old ones do meanwhile is counted, and compared whenever something was: if the new ones fail
/// more often, by instance or by connect, the rollout goes back; if the time passes in silence, it goes on.
struct Canary: Sendable, Hashable, Codable {
    /// How many instances are on trial.
    let replicas: Int
    /// For how long, in nanoseconds.
    let hold: Int64
    /// When the trial ends; nil: not all of them are ready yet.
    var until: Instant?
    /// Its time is over: it has passed as soon as all of them serve.
    var isDue = false
    /// It has passed.
    var isOver = false
    /// What the new instances have done since it began.
    var new = Record()
    /// What the old ones have.
    var old = Record()
    /// The balancer's counters when they were last looked at, by the numbers of instances.
    var seen: [Int: Seen] = [:]

    /// What went wrong, and right, in a group of instances.
    struct Record: Sendable, Hashable, Codable {
        /// Processes that have ended without having been asked to.
        var exits = 0
        /// Health probes that have failed.
        var failedProbes = 0
        /// Connects of the balancer that were done.
        var connects: UInt64 = 0
        /// Those that failed.
        var connectErrors: UInt64 = 0

        /// All of them.
        var tried: UInt64 { connects &+ connectErrors }
    }

    /// The balancer's counters of an instance.
    struct Seen: Sendable, Hashable, Codable {
        var connects: UInt64
        var errors: UInt64
    }

    /// A trial that has not begun.
    init(_ settings: CanarySettings, of service: Service) {
        replicas = max(1, min(settings.replicas, service.replicas))
        hold = settings.hold.wholeNanoseconds
    }

    /// Why the new instances are worse than the old ones; nil: they are not, as far as was seen.
    static func fault(new: Record, of newInstances: Int, old: Record, of oldInstances: Int) -> String? {
        func exceeds(_ count: Int, _ other: Int) -> Bool {
            Double(count) * Double(max(1, oldInstances)) > Double(other) * Double(max(1, newInstances))
        }
        if exceeds(new.exits, old.exits) {
            return
                "ended \(Wording.times(new.exits)) on trial\(beside(old.exits == 0 ? nil : Wording.times(old.exits)))"
        }
        if exceeds(new.failedProbes, old.failedProbes) {
            let others = old.failedProbes == 0 ? nil : Wording.times(old.failedProbes)
            return "failed its health probe \(Wording.times(new.failedProbes)) on trial\(beside(others))"
        }
        // Of those that were tried.
        if Double(new.connectErrors) * max(1, Double(old.tried)) > Double(old.connectErrors) * max(1, Double(new.tried))
        {
            let others = old.connectErrors == 0 ? nil : "\(old.connectErrors) of \(old.tried)"
            return "refused \(new.connectErrors) of \(new.tried) connections on trial\(beside(others))"
        }
        return nil
    }

    private static func beside(_ others: String?) -> String { others.map { " (those before: \($0))" } ?? "" }

    /// Takes what the balancer has counted of an instance. A balancer that was replaced begins at 0.
    mutating func count(_ count: Application.ConnectCount, isNew: Bool) {
        let now = Seen(connects: count.connects, errors: count.errors)
        defer { seen[count.instance.number] = now }
        guard until != nil, var last = seen[count.instance.number] else { return }
        if now.connects < last.connects || now.errors < last.errors { last = Seen(connects: 0, errors: 0) }
        let connects = now.connects - last.connects
        let errors = now.errors - last.errors
        if isNew {
            new.connects &+= connects
            new.connectErrors &+= errors
        } else {
            old.connects &+= connects
            old.connectErrors &+= errors
        }
    }
}

extension Rollout {
    /// Whether its first instances are on trial, or will be.
    var isOnTrial: Bool { canary.map { !$0.isOver } == true && failure == nil }
    /// How many instances run beside the others while there is a trial; nil: there is none.
    var onTrial: Int? { isOnTrial ? canary?.replicas : nil }
}

extension Application {
    /// The services of which the balancer's counters are wanted: some of their instances are on trial.
    package var servicesOnTrial: [String] {
        deployments.flatMap(\.rollouts).filter { $0.isOnTrial && !$0.isWaiting }.map(\.service)
    }

    /// When the next trial is over.
    var nextCanaryEnd: Instant? {
        var next: Instant?
        for rollout in deployments.lazy.flatMap(\.rollouts) where rollout.isOnTrial {
            if let canary = rollout.canary, !canary.isDue, let until = canary.until, until < next ?? .never {
                next = until
            }
        }
        return next
    }

    /// Looks again at the rollouts whose trials are over.
    mutating func canariesDue(_ turn: inout Turn) {
        for service in deployments.flatMap(\.rollouts).filter(\.isOnTrial).map(\.service) {
            changeCanary(of: service) { canary in
                if let until = canary.until, until <= turn.now, !canary.isDue { canary.isDue = true }
            }
            touch(service, &turn)
        }
    }

    /// A service is looked at again at the end of the turn.
    func touch(_ service: String, _ turn: inout Turn) {
        guard let service = place(ofService: service) else { return }
        if let place = layout.instances[service].first { turn.touched.append(place) }
    }

    /// Whether the others have to wait until the trial is over; begins and ends it. The instances on trial serve.
    mutating func isHeldByCanary(_ rollout: inout Rollout, _ extras: Range<Int>, _ turn: inout Turn) -> Bool {
        guard rollout.isOnTrial, var canary = rollout.canary, let first = extras.first else { return false }
        defer { rollout.canary = canary }
        if canary.until == nil {
            canary.until = turn.now.adding(canary.hold)
            turn.report(
                instances[first].id, .info, "on trial for \(Wording.time(canary.hold)), beside those of before")
            return true
        }
        guard canary.isDue else { return true }
        canary.isOver = true
        turn.report(instances[first].id, .info, "has passed its trial: the others follow")
        return false
    }

    /// Which instance makes a rollout go back for its trial's sake, or a user's, and why.
    func canaryVerdict(_ places: Range<Int>, _ rollout: Rollout) -> (Int, String)? {
        let extras = places.filter { isExtra($0) && instances[$0].edition == .current && instances[$0].goal == .up }
        if rollout.isRecalled == true, let place = extras.first ?? places.first {
            let reason = "\(rollout.service) was rolled back by \(rollout.recalledBy ?? "a user")"
            return (place, rollout.recallReason ?? reason)
        }
        guard rollout.isOnTrial, let canary = rollout.canary, canary.until != nil, let first = extras.first else {
            return nil
        }
        let old = places.count { !isExtra($0) && instances[$0].goal == .up }
        guard let fault = Canary.fault(new: canary.new, of: canary.replicas, old: canary.old, of: old) else {
            return nil
        }
        // Of several the one that has ended says most.
        let place = extras.first { instances[$0].lastExit != nil || instances[$0].isUnhealthy } ?? first
        let exit = instances[place].lastExit.map { ": \($0.reason)" } ?? ""
        let name = canary.replicas == 1 ? "\(instances[place].id)" : "of \(canary.replicas) new instances one or more"
        return (place, "\(name) \(fault)\(exit)")
    }

    // MARK: What is counted

    /// Notes what an event says of instances on trial, or of those that they are compared with, before it is dealt with.
    mutating func watchCanary(_ event: Instance.Event, at place: Int) {
        guard !deployments.isEmpty else { return }
        var exits = 0
        var failedProbes = 0
        switch event {
        case .exited:
            if case .stopping(_, let stop) = instances[place].state {
                guard !stop.leaderEnded, case .ending = stop.cause else { return }
            }
            exits = 1
        case .vanished:
            guard instances[place].process?.pid != nil else { return }
            exits = 1
        case .healthProbed(let outcome):
            guard !outcome.passed else { return }
            failedProbes = 1
        case .reconsidered, .deadlineReached, .startAsked, .restartAsked, .spawned, .spawnFailed, .portTaken,
            .groupChecked,
            .probed, .notified, .drained, .healthRestartDue:
            return
        }
        let isNew = isExtra(place)
        changeCanary(of: instances[place].id.service) { canary in
            guard canary.until != nil else { return }
            if isNew {
                canary.new.exits &+= exits
                canary.new.failedProbes &+= failedProbes
            } else {
                canary.old.exits &+= exits
                canary.old.failedProbes &+= failedProbes
            }
        }
    }

    /// Takes the balancer's counters.
    mutating func connectsCounted(_ counts: [ConnectCount], _ turn: inout Turn) {
        for count in counts {
            guard let place = layout.places[count.instance] else { continue }
            let isNew = isExtra(place)
            changeCanary(of: count.instance.service) { $0.count(count, isNew: isNew) }
            turn.touched.append(place)
        }
    }

    private mutating func changeCanary(of service: String, _ change: (inout Canary) -> Void) {
        for index in deployments.indices {
            for position in deployments[index].rollouts.indices
            where deployments[index].rollouts[position].service == service {
                guard deployments[index].rollouts[position].isOnTrial,
                    var canary = deployments[index].rollouts[position].canary
                else { continue }
                change(&canary)
                deployments[index].rollouts[position].canary = canary
            }
        }
    }

    // MARK: For people

    /// What a rollout waits for while its first instances are on trial; nil: for something else.
    func canaryText(_ rollout: Rollout, _ service: Int) -> String? {
        guard rollout.isOnTrial, let canary = rollout.canary, canary.until != nil else { return nil }
        let extras = layout.instances[service].filter { isExtra($0) && instances[$0].goal == .up }.prefix(
            canary.replicas)
        let names = Wording.list(extras.map { instances[$0].id.description })
        let verb = extras.count == 1 ? "is" : "are"
        return "\(rollout.service): \(names) \(verb) on trial for \(Wording.time(canary.hold))"
    }

    /// What to say of an instance on trial; nil: it is none.
    func canaryDetail(of place: Int, at now: Instant) -> String? {
        guard isExtra(place), instances[place].edition == .current,
            let rollout = rollout(of: instances[place].id.service), rollout.isOnTrial, let until = rollout.canary?.until
        else { return nil }
        return "on trial for another \(Wording.time(until.elapsed(since: now)))"
    }
}
