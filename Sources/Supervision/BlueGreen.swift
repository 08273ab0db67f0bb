import Manifest

/// A rollout in which all new instances take over at once (`deploy.strategy: "blue-green"`).
///
/// As many instances as the service is to have run beside the old ones, with the new settings, and take no connections. Once all of
/// them are ready, one routing table sends all new connections to them, and none to the old ones, which end theirs. These are
/// replaced in their places meanwhile, all at once; then what stood beside them goes. So `api/1` stays `api/1`, here too.
///
/// Who serves is told by the edition alone: before the switch those that go by the settings that are replaced, afterwards those that
/// go by the manifest's. So at no time do both.
///
/// Before the switch, going back switches nothing: the old instances have served all the time. After it, the new ones beside the
/// others serve on until those are back as what they were, and that is the second switch.
struct BlueGreen: Sendable, Hashable, Codable {
    /// Those that go by the manifest serve; before, those that go by the settings that are replaced.
    var hasSwitched = false
    /// It goes back after the switch: instances beside the others serve until all of these are as they were.
    var comesHome = false
}

extension Application {
    /// Whether a blue-green rollout lets an instance take new connections.
    func isOnServingSide(_ place: Int) -> Bool {
        guard !deployments.isEmpty, let blueGreen = rollout(of: instances[place].id.service)?.blueGreen else {
            return true
        }
        return (instances[place].edition == .current) == blueGreen.hasSwitched
    }

    /// How the balancer is to treat an instance that has an endpoint; nil: not at all.
    func routeState(_ state: Route.Endpoint.State, of place: Int) -> Route.Endpoint.State? {
        guard state == .active, !isOnServingSide(place) else { return state }
        // What has not served yet has no connections; what is done with serving may have some.
        return rollout(of: instances[place].id.service)?.blueGreen?.hasSwitched == true ? .parked : nil
    }

    /// Whether the instances that stay may be replaced: those beside them serve. `isNeeded`: there is something to replace.
    mutating func maySwitch(
        _ rollout: inout Rollout, _ beyond: Range<Int>, isNeeded: Bool, _ turn: inout Turn
    ) -> Bool {
        guard isNeeded, let blueGreen = rollout.blueGreen, !blueGreen.hasSwitched, !blueGreen.comesHome else {
            return true
        }
        // Side by side: none waits for another one.
        var missing = false
        for extra in beyond.prefix(rollout.surge) where !bringUp(extra, goesBack: rollout.failure != nil, &turn) {
            missing = true
        }
        guard !missing, beyond.count >= rollout.surge else { return false }
        switchOver(&rollout, &turn)
        return true
    }

    /// All new connections go to those that go by the manifest, from now on.
    mutating func switchOver(_ rollout: inout Rollout, _ turn: inout Turn) {
        rollout.blueGreen?.hasSwitched = true
        // It is looked up there until this step is over.
        changeRollout(of: rollout.service) { $0.blueGreen?.hasSwitched = true }
        guard let service = place(ofService: rollout.service) else { return }
        reconsiderServing(service, &turn)
        let places = layout.instances[service].filter { instances[$0].edition == .current && takesClients($0) }
        guard let first = places.first else { return }
        let what = places.count == 1 ? "it is ready" : "all \(places.count) of them are ready"
        let whose = rollout.failure == nil ? "new" : "former"
        turn.report(
            instances[first].id, .info,
            "\(what): all connections of \(rollout.service) go to the \(whose) instances from now on")
    }

    /// A rollout goes back: who has served goes on to.
    mutating func turnBack(_ rollout: inout Rollout, _ service: Int) {
        guard let blueGreen = rollout.blueGreen else { return }
        let replicas = manifest.services[service].replicas
        let standIns = layout.instances[service].filter { instances[$0].id.number > replicas && takesClients($0) }
        rollout.blueGreen = BlueGreen(
            hasSwitched: !blueGreen.hasSwitched, comesHome: blueGreen.hasSwitched && !standIns.isEmpty)
    }

    /// A restart has become one in which all that runs may serve: its two settings are the same.
    mutating func letAllServe(_ service: String, _ turn: inout Turn) {
        guard rollout(of: service)?.blueGreen != nil else { return }
        changeRollout(of: service) { $0.blueGreen = nil }
        if let service = place(ofService: service) { reconsiderServing(service, &turn) }
    }

    private func noteAll(_ service: Int, _ turn: inout Turn) {
        for place in layout.instances[service] { turn.note(place, of: service) }
    }

    private mutating func reconsiderServing(_ service: Int, _ turn: inout Turn) {
        turn.routesChanged = turn.routesChanged || manifest.services[service].isBalanced
        noteAll(service, &turn)
    }

    // MARK: For people

    /// How far a blue-green rollout is; nil: it is none.
    func blueGreenText(_ rollout: Rollout, _ service: Int) -> String? {
        guard let blueGreen = rollout.blueGreen, rollout.failure == nil, !blueGreen.hasSwitched else { return nil }
        let extras = layout.instances[service].filter { isExtra($0) }.prefix(rollout.surge)
        // Where nothing ran there is nothing that they would stand beside.
        guard extras.contains(where: { instances[$0].goal == .up }) else { return nil }
        let ready = extras.count { hasComeUp($0) && instances[$0].goal == .up }
        let missing = extras.first { !(hasComeUp($0) && instances[$0].goal == .up) }
        let doing = missing.map { ": \(activity($0))" } ?? ""
        return
            "\(rollout.service): \(ready) of \(rollout.surge) new instances ready, none serves before all are\(doing)"
    }

    /// What to say of an instance that is ready and does not serve; nil: it does.
    func blueGreenDetail(of place: Int) -> String? {
        guard !isOnServingSide(place), let rollout = rollout(of: instances[place].id.service) else { return nil }
        if rollout.blueGreen?.hasSwitched == true { return "takes no new connections: the others have taken over" }
        return "ready: takes connections once all of the \(rollout.failure == nil ? "new" : "former") instances are"
    }
}
