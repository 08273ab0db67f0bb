import Manifest

/// Services that sleep while nobody connects to them (`idle.stopAfter`).
///
/// Sleeping is stored beside the goal, which is down meanwhile: the instances are stopped, and stay so over whatever happens
/// to supervisor and balancer. What tells it from a stop by a user is that connections wait in the balancer, which is asked to
/// tell of the first one (`Route.isAsleep`), and that this one wakes all of them. Nothing depends on such a service, which the
/// manifest is checked for: nobody else has to wait for it, or to be woken with it.
extension Application {
    /// The services that may go to sleep once they have had no connection for so long.
    package var sleepCandidates: [(service: String, after: Duration)] {
        manifest.services.indices.compactMap { service in
            guard let after = manifest.services[service].idleAfter, maySleep(service) else { return nil }
            return (manifest.services[service].name, after)
        }
    }

    /// Whether a service sleeps, in part at least.
    package func isAsleep(_ name: String) -> Bool { place(ofService: name).map { facts[$0].isAsleep } ?? false }

    /// Whether any service may ever sleep.
    package var hasIdleSettings: Bool { manifest.services.contains { $0.idleAfter != nil } }

    /// All that is wanted is there, and no user is about to change or look at any of it.
    private func maySleep(_ service: Int) -> Bool {
        guard !isShuttingDown, !isBeingChanged(manifest.services[service].name),
            !leaving.contains(manifest.services[service].name), manifest.services[service].isBalanced
        else { return false }
        let wanted = layout.instances[service].filter { instances[$0].goal == .up }
        return !wanted.isEmpty
            && wanted.allSatisfy { place in
                guard case .running = instances[place].state else { return false }
                return instances[place].parking == nil && !operations.contains { $0.open.contains(place) }
            }
    }

    /// Whether instances of a service are replaced, added or taken away.
    func isBeingChanged(_ name: String) -> Bool {
        deployments.contains { deployment in
            deployment.rollouts.contains { $0.service == name } || deployment.fresh.contains { $0.service == name }
                || deployment.parting.contains { $0.service == name }
        }
    }

    /// A service has had no connection for as long as it takes.
    mutating func wentIdle(_ name: String, _ turn: inout Turn) {
        guard let service = place(ofService: name), let after = manifest.services[service].idleAfter, maySleep(service)
        else { return }
        let places = layout.instances[service].filter { instances[$0].goal == .up }
        if let first = places.first {
            turn.report(
                instances[first].id, .info,
                "no connection for \(Wording.time(after)): \(name) sleeps until the next one comes")
        }
        for place in places { instances[place].isAsleep = true }
        setGoal(.down, of: places, &turn)
    }

    /// A connection waits for a service.
    mutating func connectionWaited(_ name: String, _ turn: inout Turn) {
        guard !isShuttingDown, let service = place(ofService: name) else { return }
        wake(service, because: "a connection waits", event: "woken by a connection", &turn)
    }

    /// Starts what sleeps of a service.
    private mutating func wake(
        _ service: Int, because reason: String, event: String, except spared: Set<Int> = [], _ turn: inout Turn
    ) {
        let places = layout.instances[service].filter { instances[$0].isAsleep == true && !spared.contains($0) }
        guard let first = places.first else { return }
        turn.report(instances[first].id, .info, "\(reason): \(manifest.services[service].name) is woken")
        // Clients wait with it; for what it depends on only as long as for every service.
        let isNext = dependencies.needs[service].allSatisfy { isMet($0) }
        for place in places {
            instances[place].isAsleep = nil
            instances[place].waitsToReplace = isNext
            instances[place].noteWake()
            turn.wakeReasons[instances[place].id] = event
            apply(.startAsked, to: place, &turn)
            // It had not ended yet.
            if case .running = instances[place].state { instances[place].waitsToReplace = false }
        }
        settle(&turn)
    }

    /// A user starts or restarts some instances: the others of their services are woken, for connections would go to those
    /// alone, and wake nobody.
    mutating func wakeOthers(than places: [Int], _ turn: inout Turn) {
        for service in Set(places.map { layout.services[$0] }).sorted() {
            wake(
                service, because: "started by a user", event: "woken, as a user has started others",
                except: Set(places), &turn)
        }
    }

    /// A user stops them: no connection wakes them.
    mutating func forgetSleep(of places: [Int]) {
        for place in places {
            instances[place].isAsleep = nil
            instances[place].restartCounts?.nextWakes = nil
        }
    }

    /// What another manifest makes of instances that sleep: one that is not to sleep any more is started, one that is new
    /// goes with the others. `known` were there before.
    mutating func settleSleep(_ service: Int, known: [Int]) {
        let places = layout.instances[service]
        for place in places where instances[place].isSurplus { instances[place].isAsleep = nil }
        let sleepers = known.filter { instances[$0].isAsleep == true }
        guard !sleepers.isEmpty else { return }
        let settings = manifest.services[service]
        let sleepsOn = settings.idleAfter != nil && settings.isBalanced && !leaving.contains(settings.name)
        let before = Set(known)
        for place in places where !instances[place].isSurplus {
            let isNewSleeper = !before.contains(place) && sleepers.count == known.count
            guard isNewSleeper || instances[place].isAsleep == true else { continue }
            instances[place].isAsleep = sleepsOn ? true : nil
            instances[place].goal = sleepsOn ? .down : .up
        }
    }
}
