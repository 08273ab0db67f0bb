import Events
import Manifest
import TestSupport

@testable import Supervision

/// What goes wrong, and what users want.
extension World {
    /// Something goes wrong, or somebody wants something.
    mutating func chaos() throws(Violation) {
        let alive = children.values.filter { $0.leaderAlive && $0.pid != nil }.map(\.generation).sorted()
        switch random.pick(0...18) {
        case 0, 1, 2:
            if !alive.isEmpty { leaderDies(random.pick(alive), .signal(9, coreDumped: false)) }
        case 3: strangers.insert(UInt16(random.pick(20000...20024)))
        case 4: strangers = random.oneIn(2) ? [] : [UInt16(random.pick(3000...3050))]
        case 5: try loseRole()
        case 6, 7, 8, 9: try command()
        case 11:
            guard !alive.isEmpty else { return }
            let words = ["RELOADING=1", "STATUS=x", "EXTEND_TIMEOUT_USEC=3000000", "WATCHDOG=trigger", "STOPPING=1"]
            send(.notified(random.pick(alive), notice(random.pick(words))))
        case 10:
            // A message about something that is long over, or never was.
            let generation = Generation(UInt64(random.pick(0...Int64(highestGeneration.number + 5))))
            guard children[generation] == nil, pendingSpawns[generation] == nil else { return }
            try turn(
                random.pick([
                    .spawned(generation, pid: 7), .exited(generation, .code(0), groupEmpty: true),
                    .probed(generation, passed: true, detail: ""), .drained(generation),
                    .groupChecked(generation, empty: true), .portTaken(generation, holder: "x"),
                    .healthProbed(generation, Application.ProbeOutcome(passed: false, reason: "x")),
                    .spawnFailed(generation, StartFailure(text: "x")),
                ]))
        case 12:
            // What all instances of a service need is gone for a while.
            let names = app.manifest.services.map(\.name)
            if random.oneIn(2) || names.isEmpty { sickServices = [] } else { sickServices.insert(random.pick(names)) }
        case 13, 14: try apply()
        case 15: try decide()
        case 16: if app.servicesOnTrial.isEmpty { try apply() } else { try loseRole() }
        case 17: try scaleItself()
        default:
            _ = app.views(at: Instant(nanoseconds: now))
            comeAndGo()
        }
    }

    /// Clients leave services alone, and come back.
    private mutating func comeAndGo() {
        let sleepers = app.routes.filter(\.isAsleep).map(\.service)
        guard isBalancerThere else { return }
        if !sleepers.isEmpty, random.oneIn(2) {
            send(.connectionWaited(service: random.pick(sleepers)))
        } else if !app.sleepCandidates.isEmpty {
            send(.wentIdle(service: random.pick(app.sleepCandidates.map(\.service))))
        }
    }

    /// Somebody applies another manifest.
    private mutating func apply() throws(Violation) {
        var manifest = app.manifest
        manifest.services.removeAll { app.leaving.contains($0.name) }
        if random.oneIn(4) { return try scale() }
        manifest = manifest.asWritten
        for _ in 0..<random.pick(1...3) { change(&manifest) }
        manifest = manifest.keeping(app.scaleOverrides, present: app.instanceCounts).manifest
        let id = CommandID(nextCommand)
        nextCommand += 1
        openCommands[id] = .restart
        if app.applyHindrance == nil {
            tally.count(.apply)
            asked = manifest
        }
        isApplying = true
        try turn(.applied(id, manifest))
        isApplying = false
        asked = nil
    }

    /// Somebody scales a service, whatever is under way; two at once, now and then.
    private mutating func scale() throws(Violation) {
        let names = app.manifest.services.map(\.name)
        guard !names.isEmpty else { return }
        var counts = [random.pick(names): Int(random.pick(0...4))]
        if random.oneIn(4) { counts[random.pick(names)] = Int(random.pick(0...4)) }
        let id = CommandID(nextCommand)
        nextCommand += 1
        openCommands[id] = .restart
        isApplying = true
        try turn(.scaled(id, counts))
        isApplying = false
    }

    /// A service scales itself, or would like to: what makes no sense is not to be done.
    private mutating func scaleItself() throws(Violation) {
        guard let name = app.manifest.services.filter({ $0.scaling != nil }).map(\.name).first else { return }
        let candidate = app.scalingCandidates.first { $0.service == name }
        let count = app.manifest.services.first { $0.name == name }?.replicas ?? 0
        let from = random.oneIn(8) ? count + 1 : count
        let step = EventKind.ScaleStep(from: from, to: count + Int(random.pick(-2...2)), reason: "load")
        isApplying = true
        let before = app.manifest
        try turn(.scaledItself(service: name, step))
        isApplying = false
        if candidate == nil || from != count, app.manifest != before {
            throw Violation(text: "\(name) has scaled itself while it should not")
        }
    }

    private mutating func change(_ manifest: inout Manifest) {
        let count = manifest.services.count
        let index = count > 0 ? Int(random.pick(0...Int64(count - 1))) : 0
        switch random.pick(0...10) {
        case 0, 1, 2, 3:
            guard count > 0 else { return }
            let onTrial = manifest.services.indices.filter { manifest.services[$0].mayHaveTrial }
            let index = onTrial.isEmpty || random.oneIn(2) ? index : random.pick(onTrial)
            manifest.services[index].environment = [
                EnvironmentVariable(name: "V", value: Template(literal: "\(nextCommand) \(random.pick(0...1000))"))
            ]
        case 4, 5:
            guard count > 0 else { return }
            let service = manifest.services[index]
            if service.kind == .service, random.oneIn(2) {
                let least = Int(random.pick(1...3))
                manifest.services[index].replicas = least
                manifest.services[index].scaling = ScalingRule(
                    min: least, max: least + Int(random.pick(0...3)), target: .connections(10))
            } else {
                manifest.services[index].replicas = Int(random.pick(0...4))
                manifest.services[index].scaling = nil
            }
        case 6:
            guard count > 0 else { return }
            let hasPort = manifest.services[index].port != nil && random.oneIn(2)
            // Its own: a valid manifest has no port twice.
            let letter = Int(manifest.services[index].name.utf8.first ?? 97) - 97
            manifest.services[index].port = hasPort ? nil : UInt16(3500 + letter * 10 + Int(random.pick(0...2)))
        case 7:
            guard count > 0 else { return }
            manifest.services[index].deploy = randomDeploy(&random)
        case 8:
            guard count > 0 else { return }
            let name = manifest.services.remove(at: index).name
            for other in manifest.services.indices {
                manifest.services[other].dependsOn.removeAll { $0.service == name }
            }
        case 9: turnRound(&manifest)
        default:
            let fresh = random.pick(["g", "h", "i"])
            guard !manifest.services.contains(where: { $0.name == fresh }) else { return }
            // What others depend on does not sleep.
            if let needed = manifest.services.firstIndex(where: { $0.kind == .service }) {
                manifest.services[needed].idleAfter = nil
            }
            let needs = manifest.services.first { $0.kind == .service }.map { [Dependency(service: $0.name)] } ?? []
            manifest.services.append(
                Service(
                    name: fresh, command: [Template(literal: "x")], replicas: Int(random.pick(1...2)),
                    listen: random.oneIn(2)
                        ? [ListenSettings(.loopback(port: UInt16(8100 + random.pick(0...99))))] : [],
                    ready: .tcp, readyTimeout: .seconds(5), dependsOn: random.oneIn(2) ? needs : []))
        }
    }

    /// Who depends on whom is another matter from now on; some of them are other versions, too.
    private mutating func turnRound(_ manifest: inout Manifest) {
        var order = Array(manifest.services.indices)
        for place in order.indices { order.swapAt(place, Int(random.pick(0...Int64(place)))) }
        for (position, index) in order.enumerated() {
            var dependencies: [Dependency] = []
            for earlier in order.prefix(position) where random.oneIn(3) {
                let other = manifest.services[earlier]
                // What others depend on does not sleep.
                guard other.idleAfter == nil else { continue }
                dependencies.append(
                    Dependency(service: other.name, condition: other.kind == .task ? .completed : .ready))
            }
            manifest.services[index].dependsOn = dependencies
            guard random.oneIn(2) else { continue }
            manifest.services[index].environment = [
                EnvironmentVariable(name: "V", value: Template(literal: "turned \(nextCommand)"))
            ]
        }
    }

    private mutating func command() throws(Violation) {
        let names = app.instanceIDs
        guard !names.isEmpty else { return }
        var targets: [InstanceID] = []
        switch random.pick(0...2) {
        case 0: targets = [random.pick(names)]
        case 1:
            let service = random.pick(names).service
            targets = names.filter { $0.service == service }
        default: targets = names.filter { _ in random.oneIn(2) }
        }
        let id = CommandID(nextCommand)
        nextCommand += 1
        let verb = random.pick([Verb.start, .start, .stop, .restart, .restart, .drain, .undrain])
        openCommands[id] = verb
        try turn(.commanded(id, verb, targets: targets))
    }
}

extension Service {
    /// Its first new instances are on trial, if it gets others.
    fileprivate var mayHaveTrial: Bool {
        deploy.canary != nil && surge(replacing: self) > 0
    }
}
