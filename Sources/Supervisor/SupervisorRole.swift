import Dispatch
import Events
import FoundationEssentials
import Links
import Logs
import Manifest
import Platform
import Supervision

/// The role that decides. All of its state lives on one serial queue: what the keeper, the balancer, probes, clocks and
/// users say becomes an event of the `Application`, and what that answers is done here, in order.
///
/// A first start, a restart after a crash and an upgrade are one path: say hello to the keeper, take its inventory,
/// build the application from it (`SupervisorRole+Beginning.swift`), go on.
actor SupervisorRole {
    private let executor: QueueExecutor
    nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe executor.asUnownedSerialExecutor() }
    nonisolated var queue: DispatchQueue { executor.queue }

    let configuration: SupervisorConfiguration
    /// The manifests of before.
    let history: ManifestHistory
    nonisolated let log = DaemonLog.standardError
    /// supd's own environment, of which the manifest names what is passed on.
    let environment: [String: String]

    var keeper: DispatchLink<KeeperRequest, KeeperNotice>?
    /// What the keeper has told of before the inventory was complete; nil afterwards.
    var inventory: Inventory? = Inventory()
    /// A balancer that ran, or was started, before the inventory was complete.
    var earlyBalancer: (pid: Int32, link: Descriptor?)?
    /// The same of the web role.
    var earlyWeb: (pid: Int32, link: Descriptor?)?
    /// The text that every child carries in its environment.
    var scope = ""

    /// How often the roles that are started again were started.
    var roleStarts = RoleStarts()

    var application: Application?
    /// Events that came while another one was being handled.
    private var waitingEvents: [Application.Event] = []
    private var isHandling = false
    private let deadlineTimer: any DispatchSourceTimer
    private var armedDeadline: Instant?

    var balancer = BalancerClient()
    var web = WebClient()
    /// The fronts whose sockets the instances get themselves, in the order of `listen`.
    var passedFronts: [String: [Front]] = [:]
    var planner: SpawnPlanner?
    let processes = ProcessSampler()
    var prober: Prober?
    var notices: NoticeSockets?
    var readyPipes: ReadyPipes?
    var healthProber: Prober?
    var pump: LogPump?
    var control: ControlServer?
    /// Plans of processes between the request and the keeper's answer: for the words of a failure.
    var plansUnderWay: [Generation: SpawnPlan] = [:]
    /// What the keeper starts by itself.
    var heirs: StandingOrders
    /// Processes of an instance that left its group and were adopted by the keeper.
    var orphans = OrphanTable()
    /// Probe commands under way, by the keeper's id.
    let probeCommands = ProbeCommands()
    /// Users' commands under way.
    let commands: CommandTable
    var statusRequests = StatusRequests()
    /// What to say beside the progress of a drain.
    var drainNotes: [CommandID: String] = [:]
    /// The balancer was asked how many connections are left.
    var isCountingConnections = false
    /// The balancer's counters are looked at for instances on trial, or will be in a moment.
    var isCountingForTrials = false
    /// Ports that were found in use in this turn.
    var skippedPorts = SkippedPorts()
    /// Starts that are done, if the processes do not end at once.
    var heldStarts: [CommandID: HeldStart] = [:]
    /// Commands that are done, but for the balancer's table.
    var heldForTable: [CommandID] = []
    /// The first manifest was that of the file, not one of the history.
    var isFileInForce = false
    /// A manifest is being read for an apply.
    var isReadingManifest = false
    /// The file of what users have scaled, and what it says.
    let scaleFile: ScaleFile
    var keptOverrides: [ScaleOverride] = []
    /// A scale is being written down.
    var isKeepingScale = false
    /// Scales that wait until an earlier one is written down.
    var waitingScales: [WaitingScale] = []
    /// Sockets that an apply has opened, until the manifest that needs them is in force; by the keeper's names.
    var openedAhead: [String: Descriptor] = [:]
    /// Listening sockets that rollouts may need again if they go back; by the keeper's names.
    var retainedSockets: [String: Descriptor] = [:]
    /// The manifest that all that is open is in line with.
    var manifestInForce: Manifest?
    /// How long services have had no connection, and when that is looked at next; nothing of it without `idle` in the manifest.
    var idleWatch = IdleWatch()
    var mayHaveIdle = false
    var isIdleLookArmed = false
    let idleTimer: any DispatchSourceTimer
    /// What instances have used, and when that is looked at.
    var usage = UsageSampling()
    let usageTimer: any DispatchSourceTimer
    /// The load of services that scale themselves, and when that is looked at next.
    var autoScaling = AutoScaling()
    let scalingTimer: any DispatchSourceTimer
    var progress = StartupProgress()
    /// What happens, on its way to disk and to those who follow it.
    var events = EventBook()
    /// What is counted, of instances and services.
    var counts = KeptCounts()
    /// What was told of lines that were dropped.
    var logDrops = LogDropBook()
    /// Who reads logs over the control API.
    var logWatches = LogWatches()
    /// Commands of the manifest that run when something happens.
    var hooks = HookRuns()
    var upkeep: UpkeepSchedule
    var isShuttingDown = false
    /// What is known of upgrades, and who asked for the one under way.
    var upgrades = UpgradeRequests()
    var isWritingSnapshot = false
    /// The last one that the keeper holds; nil: none yet.
    var keptSnapshot: Snapshot?
    /// Of the last snapshot begun.
    var snapshotNumber: UInt64 = 0
    /// The keeper was told to exit: its end is no surprise.
    var isDone = false
    /// Until then an address that is in use may still be that of a role that was just ended.
    var addressesInUseUntil: Int64 = 0

    init(_ configuration: SupervisorConfiguration, environment: [String: String], executor: QueueExecutor) {
        self.configuration = configuration
        history = ManifestHistory(stateDirectory: configuration.stateDirectory)
        scaleFile = ScaleFile(stateDirectory: configuration.stateDirectory)
        self.environment = environment
        self.executor = executor
        deadlineTimer = DispatchSource.makeTimerSource(queue: executor.queue)
        idleTimer = DispatchSource.makeTimerSource(queue: executor.queue)
        usageTimer = DispatchSource.makeTimerSource(queue: executor.queue)
        scalingTimer = DispatchSource.makeTimerSource(queue: executor.queue)
        upkeep = UpkeepSchedule(queue: executor.queue)
        commands = CommandTable(queue: executor.queue)
        heirs = StandingOrders(queue: executor.queue)
    }

    /// Starts: hello to the keeper on descriptor 3.
    func begin() {
        deadlineTimer.setEventHandler { [weak self] in self?.assumeIsolated { $0.deadlineCame() } }
        deadlineTimer.activate()
        upkeep.onDue { [weak self] in self?.assumeIsolated { $0.doUpkeep() } }
        commands.onOverdue { [weak self] in self?.assumeIsolated { $0.commandsAreOverdue() } }
        idleTimer.setEventHandler { [weak self] in self?.assumeIsolated { $0.idleLookIsDue() } }
        idleTimer.activate()
        usage = UsageSampling(environment)
        usageTimer.setEventHandler { [weak self] in self?.assumeIsolated { $0.usageLookIsDue() } }
        usageTimer.activate()
        autoScaling = AutoScaling(environment)
        scalingTimer.setEventHandler { [weak self] in self?.assumeIsolated { $0.scalingLookIsDue() } }
        scalingTimer.activate()
        heirs.timer.setEventHandler { [weak self] in self?.assumeIsolated { $0.arrangeHeirs() } }
        heirs.timer.activate()
        let link = DispatchLink<KeeperRequest, KeeperNotice>(
            LinkConnection(Descriptor(owning: 3)), queue: queue, reading: .byThread,
            onReadable: { [weak self] in self?.assumeIsolated { $0.keeperIsReadable() } },
            onWritable: { [weak self] in self?.assumeIsolated { $0.keeper?.flush() } },
            problem: { [log] in log.write(.error, "cannot tell the keeper: \($0)") })
        keeper = link
        link.send(.hello(version: linkVersion))
    }

    // MARK: Events in

    /// The time now, as the core counts it.
    nonisolated var now: Instant { Instant(nanoseconds: monotonicNanoseconds()) }

    /// Gives events to the core and does what it answers. Events that arise on the way wait for their turn.
    func take(_ event: Application.Event) {
        waitingEvents.append(event)
        handleWaiting()
    }

    private func handleWaiting() {
        guard !isHandling, application != nil else { return }
        isHandling = true
        while !waitingEvents.isEmpty {
            let next = waitingEvents.removeFirst()
            let effects = application?.handle(next, at: now, jitter: Double.random(in: -1...1)) ?? []
            performTurn(effects)
        }
        isHandling = false
        turnEnded()
    }

    /// Does effects that came from elsewhere than an event: those of a resumption.
    func performAll(_ effects: [Application.Effect]) {
        isHandling = true
        performTurn(effects)
        isHandling = false
        handleWaiting()
    }

    /// Starts first: nothing else of a turn is waited for, and a start depends on nothing but the manifest.
    private func performTurn(_ effects: [Application.Effect]) {
        if effects.contains(.manifestChanged) { manifestHasChanged() }
        for effect in effects where effect.isSpawn { perform(effect) }
        for effect in effects where !effect.isSpawn { perform(effect) }
    }

    private func turnEnded() {
        keepEvents()
        if let line = skippedPorts.takeLine() { log.write(.info, line) }
        lookAtHeldStarts()
        countForTrials()
        arrangeIdleLook()
        arrangeScalingLook()
        if balancer.routesAreStale { sendRoutes() }
        let next = application?.nextDeadline
        if next != armedDeadline {
            armedDeadline = next
            if let next {
                let delay = max(0, next.nanoseconds - monotonicNanoseconds())
                deadlineTimer.schedule(deadline: .now() + .nanoseconds(Int(delay)), leeway: .milliseconds(1))
            } else {
                deadlineTimer.schedule(deadline: .distantFuture)
            }
        }
        upkeep.request()
    }

    private func deadlineCame() {
        armedDeadline = nil
        // What was said and is not read yet is no silence.
        for generation in application?.silent(at: now) ?? [] { notices?.read(generation) }
        take(.deadlineReached)
    }

    // MARK: Effects out

    private func perform(_ effect: Application.Effect) {
        switch effect {
        case .spawn(let generation, let instance, let port): spawn(generation, instance, port: port)
        case .signal(let generation, let name): signal(generation, name)
        case .checkGroup(let generation): checkGroup(generation)
        case .release(let generation): release(generation)
        case .beginProbing(let generation, let instance, let port): beginProbing(generation, instance, port: port)
        case .endProbing(let generation):
            prober?.end(generation)
            readyPipes?.end(generation)
            pump?.forgetLine(of: generation.number)
        case .keepReadiness(let generation, let instance, let port):
            keepReadiness(generation, instance, port: port)
        case .beginHealthProbing(let generation, let instance, let port):
            beginHealthProbing(generation, instance, port: port)
        case .endHealthProbing(let generation): healthProber?.end(generation)
        case .publish: balancer.routesAreStale = true
        case .manifestChanged: break  // Done before all others.
        case .deploymentEnded(let outcome): deploymentEnded(outcome)
        case .scalingEnded(let services, let outcome): scalingEnded(services, outcome)
        case .report(let report): tell(report)
        case .happened(let kind, let service, let instance): happened(kind, service: service, instance: instance)
        case .progress(let command, let text): commands.progress(command, text)
        case .finished(let command, let outcome): finished(command, outcome)
        case .allDown: everythingIsDown()
        }
    }

    private func tell(_ report: Application.Report) {
        let level: DaemonLog.Level =
            switch report.level {
            case .info: .info
            case .warning: .warning
            case .error: .error
            }
        log.write(level, "\(report.instance): \(report.text)")
    }

    /// Everything is down: the last log lines are written before the keeper is told.
    private func everythingIsDown() {
        log.write(.info, "everything is stopped")
        happened(.daemon(.init(step: .stopped)))
        commands.finishAll(.done, at: now)
        guard let pump else { return whenEventsAreKept { $0.exitAll(0) } }
        pump.flush { [weak self] in
            guard let self else { return }
            self.queue.async { self.assumeIsolated { $0.whenEventsAreKept { $0.exitAll(0) } } }
        }
    }

    /// Has the keeper end the other roles and itself.
    func exitAll(_ code: Int32) {
        isDone = true
        keeper?.send(.exit(code: code))
    }
}

extension Application.Effect {
    fileprivate var isSpawn: Bool {
        if case .spawn = self { true } else { false }
    }
}
