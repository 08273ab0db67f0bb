import Links

/// The keeper's decisions as a value: it is told what happened and answers what to do. It holds what a new supervisor
/// must learn, which is all that outlives one: children and their exits until they are released, the names of held
/// descriptors, adopted orphans, and the state of the roles.
///
/// The phases:
/// - `running`: roles that end are started again.
/// - `stopping`: SIGTERM or SIGINT came; the supervisor stops everything in order, and is still replaced if it ends.
/// - `abandoned`: it has ended again and again while stopping; the keeper itself sends SIGTERM, then SIGKILL.
/// - `ending`: everything that is left is killed; the keeper ends when nothing lives, or when it has waited enough.
struct KeeperCore {
    private static let second: Int64 = 1_000_000_000
    /// How often roles are pinged and systemd's watchdog is fed, unless the watchdog wants it sooner.
    static let longestTick = 7 * second
    /// A turn that comes so much later than planned means that the keeper was held up, not the roles.
    static let tolerance = 3 * second
    /// How long the services have between the keeper's own SIGTERM and SIGKILL.
    static let abandonedTime = 10 * second
    /// How long the supervisor has to end by itself after it asked to exit.
    static let farewellTime = second
    /// How long the keeper waits at its end for killed processes to go.
    static let endingTime = 5 * second
    /// After so many crashes of the supervisor while stopping, the keeper stops the services itself.
    static let stoppingCrashes = 3
    /// The most children at a time, and the most held descriptors.
    static let tableLimit = 20_000
    /// The longest label and the longest name of a held descriptor, in bytes.
    static let nameLimit = 4096

    /// A child that was not released yet.
    struct Child: Equatable {
        enum State: Equatable {
            case spawning
            case running
            case exited(ChildExit, groupEmpty: Bool)
        }

        var label: String
        var pid: Int32
        var state: State
        /// What its environment marks it, and its orphans, with.
        var mark: String?
        /// What is started when it ends.
        var standby: Standby?

        var hasExited: Bool {
            if case .exited = state { true } else { false }
        }
    }

    /// A standing order of the supervisor.
    struct Standby: Equatable {
        var port: UInt16
        var plan: SpawnPlan
    }

    enum Phase: Equatable {
        case running
        case stopping(signal: Int32, crashes: Int)
        case abandoned(killAt: Int64)
        case ending(code: Int32, farewellUntil: Int64?, until: Int64)

        /// Whether roles that end are started again.
        var replacesRoles: Bool {
            switch self {
            case .running, .stopping: true
            case .abandoned, .ending: false
            }
        }
    }

    let scope: String
    private let tick: Int64
    private let feedsWatchdog: Bool
    private var nextTick: Int64 = .max
    private var actions: [KeeperAction] = []
    var phase = Phase.running
    var supervisor = RoleState()
    var balancer = RoleState()
    var balancerCredentials: RoleCredentials?
    var web = RoleState()
    var webCredentials: RoleCredentials?
    /// The supervisor's last word on it.
    var isWebWanted = false
    var children: [UInt64: Child] = [:]
    var held: Set<String> = []
    /// Adopted processes with their scopes.
    var orphans: [Int32: String?] = [:]
    var highestID: UInt64 = 0
    var wasReady = false
    /// SIGHUP asks for the manifest to be read anew; not where a terminal may send it because it is closed.
    var reloadsOnHangup = true
    /// It came while there was no supervisor to be told.
    var owesReload = false
    /// While another image is about to take over.
    var upgrade: Upgrade?
    /// What is known of the images so far.
    var images = Images()
    /// The image before had a balancer: the next one is started without waiting for the supervisor's word.
    var wantsBalancerAtOnce = false
    /// Balancers of images before, the oldest first.
    var formerBalancers: [FormerBalancer] = []

    /// `watchdog`: the interval within which systemd wants to hear from us, in nanoseconds; nil: it does not.
    init(scope: String, watchdog: Int64?) {
        self.scope = scope
        feedsWatchdog = watchdog != nil
        tick = watchdog.map { max(min($0 / 2, Self.longestTick), Self.second / 10) } ?? Self.longestTick
    }

    /// When `timePassed` is due.
    var nextDeadline: Int64 {
        var next = nextTick
        for case let instant? in [supervisor.nextDeadline, balancer.nextDeadline, web.nextDeadline, upgradeDeadline] {
            next = min(next, instant)
        }
        switch phase {
        case .running, .stopping: return next
        case .abandoned(let killAt): return min(next, killAt)
        case .ending(_, let farewell, let until): return min(next, until, farewell ?? .max)
        }
    }

    /// Takes what happened; answers what to do, in order.
    mutating func handle(_ event: KeeperEvent, at now: Int64) -> [KeeperAction] {
        actions = []
        switch event {
        case .started:
            nextTick = now + tick
            supervisor.want(at: now)
        case .resumed:
            // The watchdog is fed at once: nobody did while the image was replaced.
            nextTick = now
            resumed(at: now)
        case .signalled(let number): signalled(number, at: now)
        case .timePassed: timePassed(at: now)
        case .roleSpawned(let role, let pid): roleSpawned(role, pid, at: now)
        case .roleSpawnFailed(let role, let failure): roleSpawnFailed(role, failure, at: now)
        case .roleExited(let role, let exit): roleExited(role, exit, at: now)
        case .received(let role, let request, let descriptors): received(role, request, descriptors, at: now)
        case .linkBroken(let role, let reason): linkBroken(role, reason)
        case .childForked(let id, let pid): children[id]?.pid = pid
        case .childFailed(let id, let failure): childFailed(id, failure)
        case .childExecuted(let id): childExecuted(id)
        case .childExited(let id, let exit, let groupEmpty, let portIsFree):
            childExited(id, exit, groupEmpty: groupEmpty, portIsFree: portIsFree)
        case .groupChecked(let id, let empty): tell(.group(id: id, empty: empty))
        case .orphanFound(let pid, let scope): orphanFound(pid, scope)
        case .orphanExited(let pid):
            if orphans.removeValue(forKey: pid) != nil { tell(.orphanExited(pid: pid)) }
        case .trialEnded(let report): trialEnded(report, at: now)
        case .imageStays(let reason): imageStays(reason)
        case .formerBalancerExited(let pid, let exit): formerBalancerExited(pid, exit)
        }
        startRoles(at: now)
        finishIfNothingLives(at: now)
        return actions
    }

    mutating func act(_ action: KeeperAction) { actions.append(action) }

    /// Says something to the supervisor, if there is one that has the inventory; a later one learns it from there.
    mutating func tell(_ notice: KeeperNotice, _ descriptors: [DescriptorKey] = []) {
        if supervisor.process?.isGreeted == true { act(.send(.supervisor, notice, descriptors)) }
    }

    private mutating func timePassed(at now: Int64) {
        if now - nextDeadline > Self.tolerance {
            supervisor.forgive(at: now)
            balancer.forgive(at: now)
            web.forgive(at: now)
        }
        for role in Role.allCases where self[role].takeOverdue(at: now) {
            act(.warn("the \(role.rawValue) does not answer: it is killed and started anew"))
            act(.killRole(role))
        }
        if nextTick <= now {
            nextTick = now + tick
            if feedsWatchdog { act(.notify("WATCHDOG=1")) }
            for role in Role.allCases where self[role].takePing(at: now) { act(.send(role, .ping, [])) }
        }
        upgradeTimePassed(at: now)
        endingTimePassed(at: now)
    }
}

// MARK: - Children

extension KeeperCore {
    private mutating func childFailed(_ id: UInt64, _ failure: SpawnFailure) {
        guard children.removeValue(forKey: id) != nil else { return }
        act(.forget(id))
        tell(.spawnFailed(id: id, failure: failure))
    }

    private mutating func childExecuted(_ id: UInt64) {
        guard let child = children[id], child.state == .spawning else { return }
        children[id]?.state = .running
        tell(.spawned(id: id, pid: child.pid), [.output(child: id)])
    }

    private mutating func childExited(_ id: UInt64, _ exit: ChildExit, groupEmpty: Bool, portIsFree: Bool) {
        guard let child = children[id] else { return }
        children[id]?.standby = nil
        children[id]?.state = .exited(exit, groupEmpty: groupEmpty)
        // First of all: this is what clients wait for.
        let heir = groupEmpty && portIsFree ? startHeir(of: child) : nil
        tell(.exited(id: id, exit: exit, groupEmpty: groupEmpty, heir: heir))
    }

    /// Follows the standing order, if there is one and nothing of the child is left.
    private mutating func startHeir(of child: Child) -> UInt64? {
        guard case .running = phase, case .running = child.state, let plan = child.standby?.plan,
            !orphans.values.contains(where: { $0 == child.mark && $0 != nil }), refusal(of: plan) == nil
        else { return nil }
        start(plan)
        return plan.id
    }

    private mutating func orphanFound(_ pid: Int32, _ scope: String?) {
        orphans[pid] = .some(scope)
        tell(.adopted(pid: pid, scope: scope))
        if case .ending = phase { act(.signalOrphan(pid: pid, number: SignalNumber.kill)) }
    }
}
