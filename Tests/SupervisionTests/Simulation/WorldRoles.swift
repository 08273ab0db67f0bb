import Foundation
import TestSupport

@testable import Supervision

/// Roles that are lost, or exchanged by an upgrade, and those that come after them.
extension World {
    /// One of the roles ends, or two at once, or all go over to another image.
    mutating func loseRole() throws(Violation) {
        switch random.pick(0...7) {
        case 0, 1, 2: try loseSupervisor()
        case 3, 4: loseBalancer()
        case 5:
            loseBalancer()
            try loseSupervisor()
        default: try upgrade()
        }
    }

    /// Another image takes over: the supervisor leaves in order, and what it knew is read by the next one. So does a balancer,
    /// which begins with nothing, beside the former one.
    private mutating func upgrade() throws(Violation) {
        guard !isShuttingDown else { return }
        keepSnapshot()
        exchangeBalancer()
        try loseSupervisor(toUpgrade: true)
    }

    /// What is under way is counted: it goes on without the role.
    private mutating func countLoss(_ subject: Tally.Subject) {
        tally.count(subject)
        let rollouts = app.deployments.flatMap(\.rollouts).filter { !$0.isRestart && !$0.isWaiting }
        let isOnTrial = rollouts.contains { $0.isOnTrial && $0.canary?.until != nil }
        let isReplacing = rollouts.contains { !$0.isOnTrial }
        let isScaling = app.deployments.contains { $0.scales != nil }
        if isReplacing { tally.count(.lostInRollout) }
        if isOnTrial { tally.count(.lostInTrial) }
        if isScaling { tally.count(.lostInScale) }
        if [isReplacing, isOnTrial, isScaling].count(where: { $0 }) > 1 { tally.count(.lostInSeveral) }
    }

    /// The keeper holds what is known now.
    mutating func keepSnapshot() {
        snapshot = Kept(app: app, time: now, replacements: replacements, canaries: canaries)
    }

    // MARK: The balancer

    /// The balancer dies, and all connections with it: whoever drained does so no more. The shell says so, and the next
    /// balancer will, of all that its first table has draining.
    private mutating func loseBalancer() {
        countLoss(.balancerLost)
        note("balancer lost")
        let wasThere = isBalancerThere
        exchangeBalancer()
        guard wasThere else { return }
        for endpoint in published.flatMap(\.endpoints) where endpoint.state != .active {
            send(.drained(endpoint.generation))
        }
    }

    /// The next balancer has counted nothing, and nobody is connected to it.
    private mutating func exchangeBalancer() {
        balancerEpoch += 1
        isBalancerThere = false
        counters = [:]
        schedule(.balancerStarts(balancerEpoch), in: random.pick(1_000_000...500_000_000))
    }

    /// It has the listeners, and is given the table in force: of whoever drains it tells at once.
    mutating func balancerStarts() {
        isBalancerThere = true
        for endpoint in published.flatMap(\.endpoints) where endpoint.state != .active {
            schedule(.connectionsEnd(endpoint.generation, balancer: balancerEpoch), in: 0)
        }
    }

    /// A process without connections drains no longer.
    func checkDrained(_ event: Application.Event) throws(Violation) {
        guard case .drained(let generation) = event, let place = app.owners[generation] else { return }
        guard case .stopping(_, let stop) = app.instances[place].state, case .draining = stop.phase else { return }
        throw Violation(text: "\(app.instances[place].id) drains on without connections")
    }

    // MARK: The supervisor

    /// The supervisor dies; what was on its way to it is lost. The next one has the last snapshot that was stored,
    /// which may be a little old, or none at all.
    mutating func loseSupervisor(toUpgrade: Bool = false) throws(Violation) {
        countLoss(toUpgrade ? .upgrade : .supervisorLost)
        note(toUpgrade ? "upgrade" : "supervisor lost")
        // Until the next one says hello, the keeper follows the orders of the last one, who hears nothing of it any more.
        if random.oneIn(2), let heirless = orders.keys.min(), children[heirless]?.pid != nil {
            leaderDies(heirless, .signal(9, coreDumped: false))
        }
        orders = [:]
        epoch += 1
        pendingSpawns = [:]
        refused = []
        probing = []
        healthProbing = []
        toldExit = []
        openCommands = [:]
        // It must be said again; of somebody else's child, too, that has come by now.
        isAllDown = false
        scheduledDeadline = nil
        badEndOf = [:]
        startsOf = [:]
        promotions = [:]
        scalingWatch = ScalingWatch(pace: Self.scalingPace)
        looksSince = now
        replacements = snapshot.replacements
        // A trial that is over since then is not, for who reads the snapshot.
        canaries.merge(snapshot.canaries) { present, _ in present }
        if toUpgrade {
            app = try decoded(snapshot.app)
        } else if random.oneIn(6), !isShuttingDown {
            // What the keeper holds beside the snapshot is there all the same.
            let kept = snapshot.app
            app = Application(manifest: kept.manifest, revision: kept.revision, leaving: kept.leaving)
        } else {
            app = random.oneIn(8) ? try decoded(snapshot.app) : snapshot.app
        }
        // A snapshot is kept as soon as somebody drains: this is what it knew.
        parked = Set(app.instances.filter { $0.parking != nil }.map(\.id))
        rememberHealth()
        if random.oneIn(8) { addStranger() }
        app.recall(chronicle.ledger)
        let survivors = children.values.sorted { $0.generation < $1.generation }
        toldReady = Set(app.instances.compactMap { $0.endpoint?.process.generation })
        let old = app
        let effects = app.resume(
            children: survivors.map {
                Application.SurvivingChild(
                    generation: $0.generation, instance: $0.instance, port: $0.port, pid: $0.pid,
                    saidReady: $0.saidReady)
            }, highestGeneration: highestGeneration, at: Instant(nanoseconds: now))
        for child in survivors where child.pid != nil && (!isProbed(child.instance) || child.saidReady) {
            toldReady.insert(child.generation)
        }
        for child in survivors where child.exit != nil { reportExit(child.generation) }
        forgetVersions()
        try checkResumed(effects, old: old)
        if toUpgrade { try checkUpgraded(from: old) }
        try followReplacements(from: old.instances)
        try followCanaries(effects, from: old.instances)
        try checkHealth(after: nil, old)
        // A command that stopped the daemon is the keeper's: it asks again.
        let shutDownAgain = isShuttingDown
        isResuming = true
        try perform(effects, before: nil)
        isResuming = false
        if shutDownAgain, !isAllDown { try turn(.shutdownRequested) }
    }

    /// What served goes on, and what was on trial is judged by all that was seen of it.
    private func checkUpgraded(from old: Application) throws(Violation) {
        for instance in old.instances {
            guard case .running(let process) = instance.state, instance.goal == .up, !instance.isUnhealthy,
                children[process.generation]?.leaderAlive == true, old.rollout(of: instance.id.service) == nil,
                !old.operations.contains(where: { operation in
                    operation.open.contains { old.instances[$0].id.service == instance.id.service }
                })
            else { continue }
            guard let place = app.layout.places[instance.id], app.instances[place].readyGeneration == process.generation
            else { throw Violation(text: "\(instance.id) ran, and does not go on after an upgrade") }
        }
        for rollout in old.deployments.flatMap(\.rollouts) {
            guard rollout.isOnTrial, let canary = rollout.canary, canary.until != nil else { continue }
            let next = app.rollout(of: rollout.service)
            guard next?.failure != nil || next?.canary?.until == canary.until else {
                throw Violation(text: "the trial of \(rollout.service) is forgotten by an upgrade")
            }
        }
    }

    /// A child that no supervisor can explain: a second one of an instance, or one of a service that is no more.
    private mutating func addStranger() {
        let instance =
            random.oneIn(3)
            ? InstanceID(service: "gone", number: 1)
            : random.pick(app.layout.names + [InstanceID(service: "gone", number: 2)])
        highestGeneration.number += 1
        children[highestGeneration] = Child(
            generation: highestGeneration, instance: instance, port: UInt16(random.pick(40000...49999)), pid: 99,
            isTask: false, isStranger: true, others: Int(random.pick(0...1)), readyAt: now)
        schedule(.leaderDies(highestGeneration, .code(0)), in: random.pick(0...60_000_000_000))
    }

    func decoded(_ old: Application) throws(Violation) -> Application {
        do {
            let new = try JSONDecoder().decode(Application.self, from: JSONEncoder().encode(old))
            // Where ports are short, one that found none may get one that has become free, or that nobody uses, meanwhile.
            let isShort = old.instances.contains { $0.port == 0 }
            let ports = zip(old.instances, new.instances).map { old, new in
                var same = new
                if isShort, old.process == nil || old.port == 0 { same.port = old.port }
                return same
            }
            guard ports == old.instances, new.facts == old.facts, new.blockers == old.blockers,
                new.operations == old.operations, new.deployments == old.deployments, new.leaving == old.leaving,
                new.revision == old.revision, new.leftovers == old.leftovers, new.owners == old.owners
            else {
                let parts = [
                    "instances": new.instances == old.instances, "facts": new.facts == old.facts,
                    "blockers": new.blockers == old.blockers, "operations": new.operations == old.operations,
                    "deployments": new.deployments == old.deployments, "owners": new.owners == old.owners,
                ]
                let differing = parts.filter { !$0.value }.keys.sorted()
                let which = zip(old.instances, new.instances).filter { $0 != $1 }.map {
                    "\($0.id) port \($0.port) \($0.process?.port ?? 0) and \($1.port)"
                }
                throw Violation(text: "a snapshot that is read back differs: \(differing) \(which)")
            }
            return new
        } catch {
            throw error as? Violation ?? Violation(text: "the snapshot cannot be read back: \(error)")
        }
    }
}
