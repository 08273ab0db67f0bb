import Foundation
import Manifest
import TestSupport

@testable import Supervision

/// What went against an invariant.
struct Violation: Error {
    var text: String
}

/// A world for the core: a keeper with processes, a balancer, a user, a clock, and a supervisor's shell that can be
/// lost at any point. Everything follows from the seed.
struct World {
    /// A process as the keeper knows it.
    struct Child {
        var generation: Generation
        var instance: InstanceID
        var port: UInt16
        var pid: Int32?
        var isTask: Bool
        var isStranger = false
        var leaderAlive = true
        /// Others of its group.
        var others = 0
        var exit: ExitStatus?
        /// Ready from then on.
        var readyAt: Int64
        var ignoresTerm = false
        /// The keeper remembers that it has said that it is ready.
        var saidReady = false
        /// The settings by which it was started; nil: the present supervisor takes it for something else.
        var version: [EnvironmentVariable]?
        /// It feeds its watchdog no more.
        var isHung = false
        /// When health probes fail.
        var sick: Range<Int64>?
        var isGone: Bool { !leaderAlive && others == 0 }
    }

    /// What the keeper holds for the next supervisor, and what the rollouts in it had taken away.
    struct Kept {
        var app: Application
        var time: Int64
        var replacements: [String: Replacement] = [:]
        var canaries: [String: CanaryWatch] = [:]
    }

    enum Happening {
        /// The shell's message reaches the core, if the supervisor that it was for still lives.
        case event(Application.Event, epoch: Int)
        case deadline(epoch: Int)
        /// The shell's port check is done.
        case spawnArrives(Generation, InstanceID, UInt16, epoch: Int)
        case executed(Generation)
        case leaderDies(Generation, ExitStatus)
        case othersDie(Generation)
        case probe(Generation, epoch: Int)
        /// The process feeds its watchdog.
        case feed(Generation)
        case healthProbe(Generation, epoch: Int)
        case connectionsEnd(Generation, balancer: Int)
        /// The next balancer asks for its table.
        case balancerStarts(Int)
        /// The shell looks at the load of services that scale themselves.
        case scalingLook
        /// The shell looks at the balancer's counters, as it does while somebody waits for a drain.
        case countConnections(epoch: Int)
        case chaos
        /// The trouble ends.
        case calm
        /// All should have come to rest.
        case rest
        case shutdown
    }

    struct Entry: Comparable {
        var time: Int64
        var sequence: Int
        var happening: Happening
        static func < (left: Entry, right: Entry) -> Bool { (left.time, left.sequence) < (right.time, right.sequence) }
        static func == (left: Entry, right: Entry) -> Bool { left.sequence == right.sequence }
    }

    var random: SeededRandom
    var app: Application
    var now: Int64 = 1_000_000_000_000
    var agenda = Heap<Entry>()
    var sequence = 0
    /// Counts the supervisors.
    var epoch = 0
    var isCalm = false
    var isShuttingDown = false
    var isAllDown = false

    var children: [Generation: Child] = [:]
    var pendingSpawns: [Generation: InstanceID] = [:]
    /// The settings of these.
    var pendingVersions: [Generation: [EnvironmentVariable]] = [:]
    /// Those that could not be started, as long as the core has not been told.
    var refused: Set<Generation> = []
    var highestGeneration = Generation(0)
    /// The keeper's standing orders.
    var orders: [Generation: Heir] = [:]
    /// Two processes got one number.
    var isNumberReused = false
    /// The heirs that were started; some of them in vain.
    var heirs: Set<Generation> = []
    var nextPid: Int32 = 100
    var strangers: Set<UInt16> = []
    var probing: Set<Generation> = []
    var healthProbing: Set<Generation> = []
    /// Services of which all fail, whatever they do.
    var sickServices: Set<String> = []
    /// What the core was told of a process's health.
    var strikes: [Generation: Strikes] = [:]
    /// Instances that are being restarted for their health.
    var healing: Set<InstanceID> = []
    /// Generations that were told to end.
    var signalled: Set<Generation> = []
    /// Generations whose readiness, or exit, the present core was told of.
    var toldReady: Set<Generation> = []
    var toldExit: Set<Generation> = []
    var published: [Application.Route] = []
    /// Counts the balancers.
    var balancerEpoch = 0
    var isBalancerThere = true
    /// What the present balancer has counted.
    var counters: [InstanceID: Connects] = [:]
    /// The load of services that scale themselves, what the present supervisor has seen of it, and since when it looks.
    var loads: [String: Double] = [:]
    var scalingWatch = ScalingWatch(pace: World.scalingPace)
    var looksSince: Int64 = 0
    /// How many instances they had at the last look, and since which look it is that number.
    var lookedCounts: [String: Int] = [:]
    var countChanges: [String: Int64] = [:]
    var snapshot: Kept
    var nextCommand: UInt64 = 1
    var openCommands: [CommandID: Verb] = [:]
    /// Those of which the balancer has said that no connection is left. It says so once.
    var emptied: Set<Generation> = []
    /// What users have drained, and not undrained.
    var parked: Set<InstanceID> = []
    var scheduledDeadline: Int64?

    /// For the restart budget and the backoff.
    var startsOf: [InstanceID: [Int64]] = [:]
    var badEndOf: [InstanceID: Int64] = [:]
    var retriedPort: InstanceID?

    /// This turn is one of `applied`.
    var isApplying = false
    /// This turn takes up what another supervisor has left.
    var isResuming = false
    /// This turn is one of `scaledItself`, as the load says.
    var isLoadsStep = false
    /// The rollouts under way, and what they have shown.
    var trials: [String: Trial] = [:]
    /// Those that replace a few at a time, and what they have taken away.
    var replacements: [String: Replacement] = [:]
    /// Those whose first instances are on trial, or were, and the promotions that are not answered yet.
    var canaries: [String: CanaryWatch] = [:]
    var promotions: [CommandID: String] = [:]
    var tally = Tally()
    /// What has become of the events.
    var chronicle = Chronicle()

    /// The instances before the turn.
    var previous: [Instance] = []
    var previousManifest = Manifest()
    /// The services of which a restart had not reached all instances before the turn; it may have ended in it.
    var previousRestarts: Set<String> = []
    /// The services whose rollouts have turned back in this turn: they have their former settings again.
    var wentBack: Set<String> = []
    /// What is applied in this turn.
    var asked: Manifest?
    /// Only while a failure is told.
    var trace: [String]?

    init(seed: UInt64, traced: Bool) {
        random = SeededRandom(seed: seed)
        let manifest = randomManifest(&random)
        app = Application(manifest: manifest)
        snapshot = Kept(app: app, time: now)
        trace = traced ? [] : nil
        if traced {
            for service in manifest.services {
                note(
                    "\(service.name): \(service.kind) ×\(service.replicas), \(service.restart), \(service.dependsOn)"
                )
            }
        }
    }

    mutating func note(_ text: @autoclosure () -> String) {
        guard trace != nil else { return }
        trace?.append("\(Double((now - 1_000_000_000_000) / 1_000_000) / 1000) \(text())")
    }

    mutating func schedule(_ happening: Happening, in delay: Int64) {
        sequence += 1
        let (time, overflow) = now.addingReportingOverflow(max(0, delay))
        agenda.insert(Entry(time: overflow ? .max : time, sequence: sequence, happening: happening))
    }

    /// A message that is under way for a moment.
    mutating func send(_ event: Application.Event) {
        schedule(.event(event, epoch: epoch), in: random.pick(10_000...2_000_000))
    }

    /// Runs one schedule to its end.
    mutating func run() throws(Violation) {
        let chaosTime = random.pick(1...(random.oneIn(8) ? 60 : 12)) * 1_000_000_000
        schedule(.calm, in: chaosTime)
        if random.oneIn(4) { schedule(.shutdown, in: random.pick(0...chaosTime)) }
        schedule(.chaos, in: random.pick(0...1_000_000_000))
        if app.hasScalingRules || random.oneIn(4) { schedule(.scalingLook, in: 0) }
        try turn(.started)
        var steps = 0
        while let entry = agenda.popMin() {
            now = max(now, entry.time)
            steps += 1
            guard steps < 60_000 else { throw Violation(text: "no end: more than \(steps) steps") }
            try happen(entry.happening)
            if isAllDown { break }
        }
        guard isAllDown else { throw Violation(text: "everything should be down, but is not") }
        guard children.isEmpty else { throw Violation(text: "all down was said, but processes are left") }
        guard openCommands.isEmpty else { throw Violation(text: "commands without an end: \(openCommands)") }
        try checkEventsAtEnd()
    }

    private mutating func happen(_ happening: Happening) throws(Violation) {
        switch happening {
        case .event(let event, let epoch):
            guard epoch == self.epoch else { return }
            try turn(event)
        case .deadline(let epoch):
            guard epoch == self.epoch, scheduledDeadline == now else { return }
            scheduledDeadline = nil
            if let due = app.nextDeadline, due.nanoseconds <= now { try turn(.deadlineReached) }
        case .spawnArrives(let generation, let instance, let port, let epoch):
            pendingSpawns[generation] = nil
            guard epoch == self.epoch else { return }
            try spawnArrives(generation, instance, port)
        case .executed(let generation):
            executed(generation)
        case .leaderDies(let generation, let status):
            leaderDies(generation, status)
        case .othersDie(let generation):
            children[generation]?.others = 0
        case .probe(let generation, let epoch):
            guard epoch == self.epoch, probing.contains(generation) else { return }
            let child = children[generation]
            let passed = child.map { $0.leaderAlive && $0.readyAt <= now } ?? false
            if let child, service(of: child.instance)?.ready == .notify(.systemd) {
                // What it has said waits for whoever reads it, until somebody has; it is read once.
                if passed, !child.saidReady { send(.notified(generation, Self.readyNotice)) }
                return schedule(.probe(generation, epoch: epoch), in: 200_000_000)
            }
            send(.probed(generation, passed: passed, detail: passed ? "" : "connection refused"))
            if !passed { schedule(.probe(generation, epoch: epoch), in: 200_000_000) }
        case .feed(let generation):
            guard let child = children[generation], child.leaderAlive, !child.isHung else { return }
            send(.notified(generation, Self.aliveNotice))
            if !isCalm, random.oneIn(10) { children[generation]?.isHung = true }
            schedule(.feed(generation), in: 4_000_000_000)
        case .healthProbe(let generation, let epoch):
            guard epoch == self.epoch, healthProbing.contains(generation) else { return }
            probeHealth(generation)
        case .connectionsEnd(let generation, let balancer):
            guard balancer == balancerEpoch else { return }
            emptied.insert(generation)
            send(.drained(generation))
        case .balancerStarts(let balancer):
            if balancer == balancerEpoch { balancerStarts() }
        case .scalingLook:
            guard !isCalm else { return }
            try lookAtLoads()
            schedule(.scalingLook, in: Self.scalingPace.look.wholeNanoseconds)
        case .countConnections(let epoch):
            guard epoch == self.epoch, !app.drainsUnderWay.isEmpty else { return }
            for (generation, _) in app.drainsUnderWay.flatMap(\.waiting)
            where isBalancerThere && emptied.contains(generation) {
                send(.drained(generation))
            }
            schedule(.countConnections(epoch: epoch), in: 1_000_000_000)
        case .chaos:
            guard !isCalm else { return }
            try chaos()
            if random.oneIn(2) { try countConnects() }
            schedule(.chaos, in: random.pick(0...1_000_000_000))
        case .calm:
            note("calm")
            isCalm = true
            strangers = []
            sickServices = []
            for generation in children.keys { children[generation]?.sick = nil }
            schedule(.rest, in: 300_000_000_000)
        case .rest:
            guard !isShuttingDown else { return }
            try checkAtRest()
            schedule(.shutdown, in: 0)
        case .shutdown:
            guard !isShuttingDown else { return }
            isShuttingDown = true
            try turn(.shutdownRequested)
            if random.oneIn(3), !isAllDown { try loseSupervisor() }
        }
    }

    /// One call of the core: performs its effects and checks what must always hold.
    mutating func turn(_ event: Application.Event) throws(Violation) {
        note("event \(event)")
        remember(event)
        let before = app
        let effects = app.handle(event, at: Instant(nanoseconds: now), jitter: random.jitter())
        countScaling(event, effects)
        try checkDrained(event)
        try checkHealth(after: event, before)
        if case .commanded(_, .stop, _, _) = event { try checkStopped(before) }
        try perform(effects, before: before)
    }

    mutating func perform(_ effects: [Application.Effect], before: Application?) throws(Violation) {
        // A supervisor may be lost in the middle of what it does.
        let lostAfter = !isCalm && random.oneIn(300) ? Int(random.pick(0...Int64(effects.count))) : nil
        previous = before?.instances ?? []
        previousManifest = before?.manifest ?? app.manifest
        previousRestarts = []
        if let before {
            for place in before.operations.filter({ $0.verb == .restart }).flatMap(\.open) {
                previousRestarts.insert(before.instances[place].id.service)
            }
        }
        try checkEffects(effects, before: before)
        try followTrials(before)
        if let before {
            try followReplacements(from: before.instances)
            try followCanaries(effects, from: before.instances)
        }
        // Nothing is released before the events of the turn are written down: what is lost without them is not.
        let losesEvents = lostAfter != nil && random.oneIn(2)
        if !losesEvents {
            try writeEvents(effects)
            try checkEvents()
        }
        for (index, effect) in effects.enumerated() {
            if index == lostAfter { return try loseSupervisor() }
            if losesEvents, case .release = effect { continue }
            note("  effect \(effect)")
            try perform(effect)
        }
        retriedPort = nil
        try checkState()
        if random.oneIn(3) { arrangeHeirs() }
        if now - snapshot.time >= 100_000_000 || random.oneIn(4) { keepSnapshot() }
        scheduleDeadline()
        if lostAfter != nil { try loseSupervisor() }
    }

    private mutating func scheduleDeadline() {
        guard let due = app.nextDeadline?.nanoseconds, due != scheduledDeadline, due != .max else { return }
        scheduledDeadline = max(due, now)
        schedule(.deadline(epoch: epoch), in: max(0, due - now))
    }

    func isProbed(_ instance: InstanceID) -> Bool { service(of: instance)?.isProbed ?? false }

    func service(of instance: InstanceID) -> Service? {
        app.manifest.services.first { $0.name == instance.service }
    }

    static let readyNotice = notice("READY=1")
    static let aliveNotice = notice("WATCHDOG=1")
}
