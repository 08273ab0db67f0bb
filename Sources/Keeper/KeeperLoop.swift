import Links
import Platform

/// Runs the keeper in this process until it is done, and answers its exit code. The process must have no other thread.
///
/// `resuming`: it is the same process as before in another image, and goes on with these tables. If it cannot, it executes
/// the image before again, and returns only if that is not possible either.
package func runKeeper(_ configuration: KeeperConfiguration, resuming state: ResumedState? = nil) -> Int32 {
    openStandardDescriptors()
    ignoreBrokenPipes()
    setProcessName("supd: keeper")
    do throws(SystemError) {
        try becomeSubreaper()
        let loop = try KeeperLoop(configuration, resuming: state)
        state?.forget()
        return try loop.run(isResumed: state != nil)
    } catch {
        state?.goBack(because: "\(error)", configuration)
        DaemonLog.error("the keeper cannot run: \(error)")
        return 1
    }
}

/// The keeper's shell: waits for descriptors, tells the core what happened, and does what it answers. One thread, one
/// wait; no call in it waits for anybody.
final class KeeperLoop {
    /// What a descriptor in the poll set stands for.
    enum Source {
        case signals
        case link(Role)
        case roleStatus(Role)
        case roleExit(Role)
        case childStatus(UInt64)
        case childExit(UInt64)
        case orphanExit(Int32)
        case spareExit
        case trialExit, trialStatus, trialAnswer, trialOutput
        case formerBalancerExit(Int32)
    }

    let configuration: KeeperConfiguration
    let poll: PollSet
    let signals: SignalDescriptor
    let childList: ProcessChildren
    /// Whether groups are signalled by pidfd, so that a leader need not be kept as a zombie.
    let signalsGroupsByDescriptor: Bool
    let notifySocket: NotifySocket?
    /// The limit of open files before the keeper raised its own; nil: it did not.
    let formerFileLimit: Spawn.Limit?
    /// Numbers of descriptors from here on are kept for the roles: without them no supervisor could be started to
    /// release what uses up all others.
    let descriptorReserve: Int32
    /// Numbers of descriptors below this one may be held for the roles. It is above the reserve, because children fill all
    /// that is below: a snapshot that is not held would cost what users have asked for.
    let holdingLimit: Int32
    /// Processes that are kept for the roles and their threads; nil: there is no limit.
    let processReserve: ProcessReserve?
    let resetsOOMScore: Bool
    let standardOutput: Descriptor?
    let standardError: Descriptor?

    var core: KeeperCore
    var sources: [UInt64: Source] = [:]
    var lastToken: UInt64 = 0
    var events: [KeeperEvent] = []
    /// What came beside the message being handled.
    var received: [Descriptor] = []

    var roles: [Role: RoleResources] = [:]
    var links: [Role: Link] = [:]
    /// The supervisor's ends of its links to the balancer and the web role, for this and later supervisors.
    var supervisorLinks: [Role: Descriptor] = [:]
    var children: [UInt64: ChildResources] = [:]
    var orphans: [Int32: OrphanResources] = [:]
    var held: [String: Descriptor] = [:]
    /// A program that is being tried.
    var trial: Trial?
    /// The program that was tried last.
    var nextImage: ProgramImage?
    /// The image before, as long as there may be a return to it.
    var formerImage: Descriptor?
    var formerPath: String?
    /// Which image to become after this turn.
    var replacement: Replacement?
    var formerBalancers: [Int32: FormerBalancerResources] = [:]
    /// What the next child becomes, if it is there.
    var spare: Spare?
    /// When it is to be forked.
    var spareDue = Int64.max
    /// The processes in `roles`, `children`, `orphans`, `spare`, `trial` and `formerBalancers` that are not reaped, and those
    /// that were here before us.
    var knownProcesses: Set<Int32> = []
    var mustFindOrphans = false
    /// The last look for orphans may have left some out.
    var hasMissedOrphans = false
    var exitCode: Int32?

    /// So many processes and threads are left to the roles: what the two have, and again while they are replaced.
    private static let processesForRoles: UInt64 = 32

    init(_ configuration: KeeperConfiguration, resuming resumed: ResumedState? = nil) throws(SystemError) {
        self.configuration = configuration
        poll = try PollSet()
        signals = try SignalDescriptor(SignalNumber.taken)
        childList = configuration.usesOldKernelPaths ? ProcessChildren(byScanning: ()) : ProcessChildren()
        signalsGroupsByDescriptor = !configuration.usesOldKernelPaths && ProcessDescriptor.supportsGroups()
        notifySocket = try configuration.notifySocket.flatMap { path throws(SystemError) in try NotifySocket(path: path)
        }
        let fileLimit = raiseOpenFileLimit()
        let former = resumed?.state
        formerFileLimit = former.map { $0.formerFileLimit.map(Spawn.Limit.init) } ?? fileLimit.before
        // The supervisor, under the same limit, needs some for itself besides what it has of every child: it is the
        // keeper that refuses first, with words, before the supervisor loses what it is sent.
        descriptorReserve = Int32(clamping: max(fileLimit.now - 256, fileLimit.now / 2))
        holdingLimit = descriptorReserve + Int32(clamping: (fileLimit.now - Int(descriptorReserve)) / 2)
        processReserve =
            if let former {
                former.formerProcessLimit.flatMap { ProcessReserve(inherited: Spawn.Limit($0)) }
            } else {
                ProcessReserve(of: Self.processesForRoles)
            }
        resetsOOMScore =
            (try? readSmallFile("/proc/self/oom_score_adj", limit: 16)).map { $0 != Array("0\n".utf8) } ?? false
        standardOutput = try? Descriptor.duplicate(of: 1)
        standardError = try? Descriptor.duplicate(of: 2)
        core = KeeperCore(scope: configuration.scope, watchdog: configuration.watchdog)
        core.reloadsOnHangup = !Terminal(.error).isTerminal
        if let resumed {
            try resume(resumed)
        } else {
            // Whoever ran exec may have had children: they are not ours.
            knownProcesses.formUnion((try? childList.list()) ?? [])
        }
    }

    /// Runs until the core says exit.
    func run(isResumed: Bool = false) throws(SystemError) -> Int32 {
        try watch(signals.descriptor, .signals)
        tell(isResumed ? .resumed : .started)
        while true {
            if replacement != nil { replaceImage() }
            flushLinks()
            if let exitCode { return exitCode }
            let ready = try poll.wait(until: min(core.nextDeadline, spareDue))
            for event in ready where isSignals(event) { handle(event) }
            for event in ready where !isSignals(event) { handle(event) }
            if mustFindOrphans {
                findOrphans()
                handleEvents()
            }
            if core.nextDeadline <= monotonicNanoseconds() { tell(.timePassed) }
            forkSpareIfDue()
        }
    }

    /// Tells the core what happened and does what it wants, and so on until nothing more happens.
    func tell(_ event: KeeperEvent) {
        events.append(event)
        handleEvents()
    }

    private func handleEvents() {
        let now = monotonicNanoseconds()
        while !events.isEmpty {
            let batch = events
            events = []
            for event in batch {
                for action in core.handle(event, at: now) { perform(action) }
            }
        }
    }

    /// Adds a descriptor to the poll set.
    @discardableResult
    func watch(_ descriptor: Descriptor, _ source: Source) throws(SystemError) -> UInt64 {
        lastToken += 1
        try poll.add(descriptor, token: lastToken)
        sources[lastToken] = source
        return lastToken
    }

    /// Takes a descriptor out of the poll set; to be called before it is closed: a child that has not executed its
    /// program yet has a copy, which would keep it in the set.
    func unwatch(_ descriptor: Descriptor, _ token: UInt64) {
        poll.remove(descriptor)
        sources[token] = nil
    }

    private func isSignals(_ event: PollSet.Event) -> Bool {
        if case .signals? = sources[event.token] { true } else { false }
    }

    private func handle(_ event: PollSet.Event) {
        // An earlier event of the same turn may have ended this one's source.
        guard let source = sources[event.token] else { return }
        switch source {
        case .signals:
            for number in signals.take() {
                if number == SignalNumber.child { mustFindOrphans = true } else { tell(.signalled(number)) }
            }
        case .link(let role):
            if event.isReadable { receive(from: role) }
        // Room to write is used by `flushLinks` at the end of the turn.
        case .roleStatus(let role): roleStatusChanged(role)
        case .roleExit(let role): roleExited(role)
        case .childStatus(let id): childStatusChanged(id)
        case .childExit(let id): childExited(id)
        case .orphanExit(let pid): orphanExited(pid)
        case .spareExit: spareExited()
        case .trialStatus: trialStatusChanged()
        case .trialAnswer: trialAnswered()
        case .trialOutput: readTrialOutput()
        case .trialExit: trialExited()
        case .formerBalancerExit(let pid): formerBalancerExited(pid)
        }
    }

    private func perform(_ action: KeeperAction) {
        switch action {
        case .spawnRole(let role, let credentials): spawnRole(role, credentials)
        case .killRole(let role): try? roles[role]?.process.signal(SignalNumber.kill)
        case .closeLink(let role): closeLink(role)
        case .send(let role, let notice, let keys): links[role]?.queue.append(Outgoing(notice: notice, keys: keys))
        case .spawn(let plan): spawn(plan)
        case .wantSpare: wantSpare()
        case .signal(let id, let number, let group): signalChild(id, number, group: group)
        case .checkGroup(let id): events.append(.groupChecked(id, empty: isGroupEmpty(id)))
        case .forget(let id): forget(id)
        case .signalOrphan(let pid, let number): try? orphans[pid]?.process.signal(number)
        case .findOrphans: findOrphans()
        case .hold(let name): hold(name)
        case .drop(let name): held[name] = nil
        case .tryImage(let path): beginTrial(of: path)
        case .endTrial: try? trial?.process.signal(SignalNumber.kill)
        case .replaceImage(let reason): replacement = Replacement(goingBackBecause: reason)
        case .keepImage: formerImage = nil
        case .retireBalancer(let pid): _ = try? formerBalancers[pid]?.link?.send(KeeperNotice.retire)
        case .killBalancer(let pid): try? formerBalancers[pid]?.process.signal(SignalNumber.kill)
        case .notify(let text): try? notifySocket?.send(text)
        case .warn(let text): DaemonLog.warning(text)
        case .note(let text): DaemonLog.notice(text)
        case .exit(let code): exitCode = exitCode ?? code
        }
    }
}
