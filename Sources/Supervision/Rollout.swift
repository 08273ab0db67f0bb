import Manifest

/// The replacement of a service's processes by such with other settings.
///
/// While it lasts there are two settings: those in the manifest, which are the new ones, and `other`, those before. Every
/// instance says by its edition which of them it goes by, so that an old one that crashes meanwhile is started again as
/// what it was. Where the service may surge, instances beyond `replicas` come first, with the new settings; they carry the
/// load while those that stay are replaced in their places, a batch at a time, and go when all are. So an instance keeps
/// its name, its log and its number, and never runs twice at a time.
///
/// If a new instance is not ready in time, or dies too often, the two settings are exchanged: that is all that going back
/// takes, for what was new is now what has to be replaced. Those beside the others, which have the settings that failed,
/// are exchanged first, but not before all that they stand in for are back: fewer would serve than on the way forward.
///
/// A user's restart goes the same way, where it may surge: see Restarts.swift. Its two settings are the same, the instances
/// of the former edition are those that were named, and there is nothing to go back to: what was not replaced goes on.
struct Rollout: Sendable, Hashable, Codable {
    /// The service's name.
    let service: String
    /// The settings that are replaced.
    var other: Service
    /// How many instances run beside the others.
    var surge: Int
    /// It waits for others to go first.
    var isWaiting = true
    /// The numbers of instances that are being replaced.
    var underWay: [Int] = []
    /// The numbers of a task's instances that had completed when they were run anew.
    var hadCompleted: [Int] = []
    /// The numbers of instances that are new, or were down or waited, when they got the new settings, and have not come up yet;
    /// nil: none.
    var untried: [Int]?
    /// Why it goes back; nil: it goes forward.
    var failure: String?
    /// The trial of its first instances; nil: there is none.
    var canary: Canary?
    /// All new instances take over at once; nil: they do not. See BlueGreen.swift.
    var blueGreen: BlueGreen?
    /// A user wants it to go back.
    var isRecalled: Bool?
    /// Which one; nil: nobody knows, or none does.
    var recalledBy: String?
    /// The command that waits until it has gone back; nil: none does.
    var recall: CommandID?
    /// What that one was told last.
    var recallProgress: String?
    /// What that user has done, if it was not to say so; see Judging.swift.
    var recallReason: String?
    /// Whether a user's restart has begun it; nil, as in a snapshot of before there were such: not.
    var restarts: Bool?

    /// Whether a user's restart has begun it.
    var isRestart: Bool { restarts == true }
    /// At whose wish it goes back; nil: at nobody's.
    var sentBackBy: String? { isRecalled == true ? recalledBy ?? "a user" : nil }
    /// How its trial can be ended, for the end of a message.
    var trialHint: String { "; \"supctl promote \(service)\" or \"supctl rollback \(service)\" ends its trial" }
}

extension Application {
    /// So many services are rolled out side by side.
    static let rolloutsAtATime = 10

    /// The rollout of a service.
    func rollout(of service: String) -> Rollout? {
        for deployment in deployments {
            if let rollout = deployment.rollouts.first(where: { $0.service == service }) { return rollout }
        }
        return nil
    }

    /// What the next process of an instance that is being replaced goes by.
    func successor(of place: Int) -> Instance.Successor? {
        guard instances[place].edition == .leaving else { return nil }
        let service = manifest.services[layout.services[place]]
        let port: UInt16
        if let fixed = Ports.fixed(service, number: instances[place].id.number) {
            port = fixed
        } else if fixedPort(of: place) == nil {
            port = instances[place].port
        } else {
            port = ports.free(after: 0) ?? 0
        }
        return Instance.Successor(service: service, port: port)
    }

    /// Whether an instance is there for a rollout only, or until it is down.
    func isExtra(_ place: Int) -> Bool {
        let service = manifest.services[layout.services[place]]
        return instances[place].id.number > service.replicas || leaving.contains(service.name)
    }

    // MARK: One step

    /// Takes a rollout further; says whether it is over, and which instance made it go back just now.
    mutating func advance(
        _ rollout: inout Rollout, at service: Int, _ turn: inout Turn
    ) -> (isOver: Bool, culprit: InstanceID?) {
        let places = layout.instances[service]
        if rollout.failure == nil, let (place, reason) = failure(of: places, rollout, service) {
            let culprit = instances[place].id
            if rollout.isRestart {
                giveUp(&rollout, reason, culprit: place, service, &turn)
            } else {
                goBack(&rollout, reason, culprit: place, service, &turn)
            }
            // What follows from the manifest, dependencies among it, is worked out first.
            return (false, culprit)
        }
        let (stay, beyond) = split(places, at: manifest.services[service].replicas)
        let extras = beyond.prefix(rollout.onTrial ?? rollout.surge)
        let isBegun = rollout.blueGreen != nil && beyond.contains { instances[$0].goal == .up }
        settleIdle(stay, &rollout, isWaitedFor: isBegun && rollout.failure == nil, &turn)
        lookAtUntried(&rollout, stay)
        closeReplaced(&rollout, stay, service, &turn)
        let open = stay.filter { instances[$0].edition == .former && instances[$0].goal == .up }
        if rollout.blueGreen != nil {
            guard maySwitch(&rollout, beyond, isNeeded: !open.isEmpty || isBegun, &turn) else { return (false, nil) }
        } else if !open.isEmpty {
            // Who goes back stands in, as what has failed, until those on their way are back: then there is room.
            guard !isStoodInForByFormer(rollout, extras) else { return (false, nil) }
            for extra in extras where !bringUp(extra, goesBack: rollout.failure != nil, &turn) { return (false, nil) }
            if isHeldByCanary(&rollout, extras, &turn) { return (false, nil) }
            let others = beyond.prefix(rollout.surge).dropFirst(extras.count)
            for extra in others where !bringUp(extra, goesBack: rollout.failure != nil, &turn) { return (false, nil) }
        }
        // A task serves nobody: all of it runs anew, so that nobody takes it for complete in between.
        // What clients begin with is the same for all instances of a service: old and new ones cannot serve side by side. Nor can
        // those whose fixed ports the others have.
        let settings = manifest.services[service]
        let isAtOnce =
            rollout.blueGreen != nil || settings.kind == .task
            || settings.balance.proxyProtocol != rollout.other.balance.proxyProtocol
            || settings.hasPortsOf(rollout.other)
        let room =
            isAtOnce
            ? places.count
            : max(1, min(rollout.surge, beyond.count) + settings.deploy.maxUnavailable) - rollout.underWay.count
        var left = max(0, room)
        // A fixed port that goes over is waited for once the process that has it is on its way out.
        let holders = open.filter { instances[$0].process != nil }
        let order = settings.hasPortsOf(rollout.other) ? holders + open.filter { !holders.contains($0) } : open
        for place in order {
            guard left > 0 else { continue }
            left -= 1
            rollout.underWay.append(instances[place].id.number)
            if instances[place].state == .completed { rollout.hadCompleted.append(instances[place].id.number) }
            replace(place, among: places, &turn)
        }
        // One that a user has stopped is waited for, too: until it is gone it may be asked to go on.
        let isWhole = stay.allSatisfy { instances[$0].edition == .current && !isUntried($0, rollout) }
        guard rollout.underWay.isEmpty, isWhole else { return (false, nil) }
        if rollout.blueGreen?.hasSwitched == false { switchOver(&rollout, &turn) }
        for extra in beyond where instances[extra].goal == .up {
            instances[extra].goal = .down
            turn.note(extra, of: service)
            apply(.reconsidered, to: extra, &turn)
        }
        settle(&turn)
        return (beyond.allSatisfy { instances[$0].state == .down }, nil)
    }

    /// Whether instances beside the others that are to be exchanged, as the rollout goes back, stand in for some that are being
    /// replaced.
    private func isStoodInForByFormer(_ rollout: Rollout, _ extras: Range<Int>) -> Bool {
        guard rollout.failure != nil, !rollout.underWay.isEmpty else { return false }
        return extras.contains { instances[$0].edition != .current && takesClients($0) }
    }

    /// Takes those off the list that serve again, or that are not waited for any longer.
    private func closeReplaced(_ rollout: inout Rollout, _ stay: Range<Int>, _ service: Int, _ turn: inout Turn) {
        let hasFailed = rollout.failure != nil
        let isRestart = rollout.isRestart
        rollout.underWay.removeAll { number in
            guard number > 0, let place = stay.dropFirst(number - 1).first else { return true }
            if hasComeUp(place) || instances[place].edition == .former {
                // Its restart may be what a command waits for.
                if isRestart { turn.touched.append(place) }
                return true
            }
            // Going back ends, whatever becomes of it.
            guard hasFailed, hopelessness(of: place, service) != nil else { return false }
            return !isRestart || !goesOnTrying(place)
        }
    }

    /// The instances that a service is to have, and those beyond.
    private func split(_ places: Range<Int>, at replicas: Int) -> (Range<Int>, Range<Int>) {
        let middle = min(places.upperBound, places.lowerBound + max(0, replicas))
        return (places.lowerBound..<middle, middle..<places.upperBound)
    }

    /// Of what has no process, and is to have none or waits for others, there is nothing to replace: it starts as what it is
    /// then, and the rollout is judged by that. So nobody stands in for it, either, whom others would take for it and who then
    /// goes.
    /// `isWaitedFor`: there are some already, which serve until it is there.
    private mutating func settleIdle(
        _ places: Range<Int>, _ rollout: inout Rollout, isWaitedFor: Bool, _ turn: inout Turn
    ) {
        for place in places where instances[place].edition != .current && instances[place].process == nil {
            guard instances[place].goal == .down || instances[place].state == .waiting else { continue }
            takeOver(place, &turn)
            let number = instances[place].id.number
            rollout.untried = (rollout.untried ?? []) + [number]
            if isWaitedFor, instances[place].goal == .up, !rollout.underWay.contains(number) {
                rollout.underWay.append(number)
            }
        }
    }

    /// What is new, or was down or waited when it got the new settings, has to come up like all others, if it is to.
    private func lookAtUntried(_ rollout: inout Rollout, _ places: Range<Int>) {
        guard let untried = rollout.untried else { return }
        rollout.untried = nil
        guard rollout.failure == nil, !rollout.isRestart else { return }
        for number in untried where number > 0 {
            guard let place = places.dropFirst(number - 1).first else { continue }
            let isUp =
                switch instances[place].state {
                case .running, .completed: hasComeUp(place)
                case .down, .waiting, .starting, .stopping, .backoff, .failed: false
                }
            guard !isUp else { continue }
            rollout.untried = (rollout.untried ?? []) + [number]
        }
    }

    /// Whether an instance is to come up, as all others, before the new version has shown that it works.
    func isUntried(_ place: Int, _ rollout: Rollout) -> Bool {
        instances[place].goal == .up && rollout.untried?.contains(instances[place].id.number) == true
    }

    /// An instance without a process goes by the manifest from now on.
    mutating func takeOver(_ place: Int, _ turn: inout Turn) {
        let old = instances[place].port
        instances[place].edition = .leaving
        let port = successor(of: place)?.port ?? old
        instances[place].edition = .current
        instances[place].missedReadiness = false
        instances[place].failures = 0
        turn.note(place, of: layout.services[place])
        if port != old {
            exchangePort(old, for: port)
            instances[place].port = port
        }
    }

    /// An instance beside the others is to serve; true: it does, or will not and need not.
    mutating func bringUp(_ place: Int, goesBack: Bool, _ turn: inout Turn) -> Bool {
        if instances[place].edition != .current {
            guard instances[place].state == .down else {
                if instances[place].goal == .up {
                    instances[place].goal = .down
                    turn.note(place, of: layout.services[place])
                    apply(.reconsidered, to: place, &turn)
                    settle(&turn)
                }
                return false
            }
            takeOver(place, &turn)
        }
        if instances[place].goal == .down {
            guard instances[place].state == .down else { return false }
            instances[place].failures = 0
            instances[place].parking = nil
            instances[place].stoodIn = true
            apply(.startAsked, to: place, &turn)
            settle(&turn)
        }
        return hasComeUp(place) || goesBack && hopelessness(of: place, layout.services[place]) != nil
    }

    /// Begins to replace one instance in its place.
    private mutating func replace(_ place: Int, among places: Range<Int>, _ turn: inout Turn) {
        instances[place].edition = .leaving
        // What went wrong before is no reason to give up on what comes.
        instances[place].missedReadiness = false
        instances[place].failures = 0
        let leavesNone =
            instances[place].parking == nil
            && !places.contains { other in
                guard case .running = instances[other].state, instances[other].parking == nil else { return false }
                return other != place && isOnServingSide(other)
            }
        apply(.restartAsked(leavesNone: leavesNone), to: place, &turn)
        if instances[place].edition == .leaving, instances[place].process == nil { takeOver(place, &turn) }
        settle(&turn)
    }

    // MARK: Success and failure

    /// The first of the new instances that does not come up, and why.
    private func failure(of places: Range<Int>, _ rollout: Rollout, _ service: Int) -> (Int, String)? {
        if let verdict = canaryVerdict(places, rollout) { return verdict }
        if !rollout.isRestart, let place = places.first, let reason = lostPort(of: service) { return (place, reason) }
        for place in places where instances[place].edition == .current && instances[place].goal == .up {
            // What a restart was not asked to replace may have troubles of its own.
            guard !rollout.isRestart || isExtra(place) || rollout.underWay.contains(instances[place].id.number) else {
                continue
            }
            if let reason = hopelessness(of: place, service) { return (place, reason) }
        }
        return nil
    }

    /// Why an instance that was started anew is not waited for any longer; nil: it is.
    func hopelessness(of place: Int, _ service: Int) -> String? {
        let instance = instances[place]
        let reason = instance.lastExit?.reason ?? "no reason is known"
        if case .failed(let text) = instance.state { return "\(instance.id) has failed: \(text)" }
        if instance.state == .completed, self.service(of: place).kind == .service, self.service(of: place).isProbed {
            return "\(instance.id) has ended, and serves nobody: \(reason)"
        }
        if instance.missedReadiness { return "\(instance.id) was \(reason)" }
        if instance.failures >= manifest.services[service].deploy.failures {
            let times = instance.failures == 1 ? "has failed" : "has failed \(instance.failures) times"
            return "\(instance.id) \(times): \(reason)"
        }
        return instance.state == .waiting ? hindrance(place) : nil
    }
}
