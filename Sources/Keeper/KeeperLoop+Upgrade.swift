import FoundationEssentials
import Links
package import Platform

/// What the shell has of a balancer of an image before.
struct FormerBalancerResources {
    let process: ProcessDescriptor
    let token: UInt64
    /// The keeper's end of its link; nothing that comes from it is read any more.
    let link: LinkConnection?
}

/// Which image is to take over.
struct Replacement {
    /// It is the one before, for this reason; nil: it is the one that was tried last.
    var goingBackBecause: String?
}

/// The tables of the image before, and its descriptors. An object, so that they do not stay after they were taken over.
package final class ResumedState: Sendable {
    /// Why it is the image that wrote them that goes on; nil: it is another one.
    package let failure: String?
    private let tables: Lock<KeeperState?>
    /// The number of the descriptor of the file that has them.
    private let number: Int32
    private let inherited: InheritedDescriptors

    private init(_ state: KeeperState, failure: String?, number: Int32, inherited: InheritedDescriptors) {
        tables = Lock(state)
        self.failure = failure
        self.number = number
        self.inherited = inherited
    }

    /// The tables; nil once they were taken over.
    package var state: KeeperState? { tables.withLock { $0 } }

    /// They were taken over.
    func forget() {
        tables.withLock { $0 = nil }
        inherited.forget()
    }

    /// What an image before has left, if the environment says so; takes the variables away. nil: it has not, and a variable
    /// of that name, if any, was meant for another process.
    ///
    /// Where it cannot be read, the image before is executed again; this ends the process if that fails, too.
    package static func take(
        from environment: inout [String: String], arguments: [String], processID: Int32
    ) -> ResumedState? {
        let failure = environment.removeValue(forKey: KeeperState.failureVariable)
        guard let text = environment.removeValue(forKey: KeeperState.variable), let number = Int32(text), number > 2,
            let bytes = try? MemoryFile.contents(ofDescriptor: number, limit: KeeperState.limit),
            let owner = try? JSONDecoder().decode(Owner.self, from: Data(bytes)), owner.processID == processID
        else { return nil }
        do {
            let state = try KeeperState(bytes)
            let inherited = try InheritedDescriptors([number] + state.descriptors + state.program.locks)
            return ResumedState(state, failure: failure, number: number, inherited: inherited)
        } catch {
            let reason = (error as? KeeperState.Unreadable)?.text ?? "\(error)"
            // Whatever else is wrong with them, all that the image before has left is still open.
            if failure == nil, let image = owner.formerImage {
                goBack(
                    to: image, because: reason, state: number, arguments: arguments,
                    environment: environment.map { "\($0.key)=\($0.value)" }, keeping: [])
            }
            DaemonLog.error("supd cannot go on: \(reason)")
            exitProcess(1)
        }
    }

    /// Executes the image before again; returns if that failed.
    private static func goBack(
        to image: Int32, because reason: String, state number: Int32, arguments: [String], environment: [String],
        keeping numbers: [Int32]
    ) {
        DaemonLog.error("the new supd cannot take over, the one before goes on: \(reason)")
        let error = replaceProgram(
            by: image, arguments: arguments,
            environment: environment + [
                "\(KeeperState.variable)=\(number)", "\(KeeperState.failureVariable)=\(reason)",
            ], keeping: numbers)
        DaemonLog.error("the supd before cannot be executed again: \(error)")
    }

    /// The same, if there is one, for a keeper that cannot begin.
    func goBack(because reason: String, _ configuration: KeeperConfiguration) {
        guard failure == nil, let state, let image = state.formerImage else { return }
        Self.goBack(
            to: image, because: reason, state: number, arguments: configuration.ownArguments,
            environment: configuration.ownEnvironment, keeping: [number] + state.descriptors + state.program.locks)
    }

    /// What of the tables every version can read.
    private struct Owner: Decodable {
        var processID: Int32
        var formerImage: Int32?
    }

    /// One of the descriptors that the tables name.
    package func descriptor(_ number: Int32) throws(SystemError) -> Descriptor { try inherited.descriptor(number) }
}

// MARK: - Leaving

extension KeeperLoop {
    /// Becomes another image; returns if that failed.
    func replaceImage() {
        guard let replacement, core.upgrade?.isLeaving == true else { return self.replacement = nil }
        self.replacement = nil
        defer { nextImage = nil }
        guard let image = replacement.goingBackBecause == nil ? nextImage?.descriptor : formerImage else {
            return tell(.imageStays("there is no image to execute"))
        }
        letGoOfSpare()
        do {
            // The image itself, for the way back, unless this is that way.
            let own = replacement.goingBackBecause == nil ? try ProgramImage("/proc/self/exe").descriptor : nil
            var state = try tables(nonce: "")
            state.formerImage = own?.raw
            if replacement.goingBackBecause == nil {
                state.formerPath = state.program.path
                state.program.path = nextImage?.path ?? state.program.path
            } else {
                state.program.path = formerPath ?? state.program.path
                // This one has not taken its place after all.
                state.upgrades = max(0, state.upgrades - 1)
            }
            let file = try MemoryFile(name: "supd-state")
            try file.write(try state.encoded(), at: 0)
            var environment = configuration.ownEnvironment + ["\(KeeperState.variable)=\(file.descriptor.raw)"]
            if let reason = replacement.goingBackBecause {
                environment.append("\(KeeperState.failureVariable)=\(reason)")
            }
            let error = replaceProgram(
                by: image.raw, arguments: configuration.ownArguments, environment: environment,
                keeping: [file.descriptor.raw] + state.descriptors + state.program.locks)
            withExtendedLifetime((own, file)) {}
            tell(.imageStays("cannot execute it: \(error.reason)"))
        } catch {
            tell(.imageStays("cannot write down the tables: \(error)"))
        }
    }

    /// What it waits for is in memory that exec gives up.
    private func letGoOfSpare() {
        guard let spare else { return }
        try? spare.process.forked.process.signal(SignalNumber.kill)
        unwatch(spare.process.forked.process.descriptor, spare.exitToken)
        // Its end is seen like that of an orphan.
        knownProcesses.remove(spare.process.forked.pid)
        self.spare = nil
        mustFindOrphans = true
    }

    /// All that the next image must have, as it is now.
    func tables(nonce: String) throws(SystemError) -> KeeperState {
        var balancers = core.formerBalancers.compactMap { former -> KeeperState.Balancer? in
            guard let resources = formerBalancers[former.pid] else { return nil }
            return KeeperState.Balancer(
                pid: former.pid, process: resources.process.descriptor.raw, link: resources.link?.descriptor.raw,
                until: former.until)
        }
        if let balancer = roles[.balancer] {
            balancers.append(
                KeeperState.Balancer(
                    pid: balancer.pid, process: balancer.process.descriptor.raw,
                    link: links[.balancer]?.connection.descriptor.raw, until: nil))
        }
        let known = Set(
            roles.values.map(\.pid) + children.values.map(\.pid) + orphans.keys + formerBalancers.keys
                + [spare?.process.forked.pid, trial?.pid].compactMap(\.self))
        return KeeperState(
            processID: ownProcessID(), nonce: nonce, program: configuration.program, scope: configuration.scope,
            upgrades: core.images.count, formerImage: nil, children: childTable,
            orphans: orphans.map { pid, orphan in
                KeeperState.Orphan(
                    pid: pid, scope: core.orphans[pid] ?? nil, process: orphan.process.descriptor.raw)
            }, held: held.mapValues(\.raw), balancers: balancers, balancerCredentials: core.balancerCredentials,
            wantsBalancer: core.balancer.phase != .unwanted, supervisorRuns: core.supervisor.runs,
            balancerRuns: core.balancer.runs, highestID: core.highestID, wasReady: core.wasReady,
            strangers: knownProcesses.subtracting(known).sorted(),
            formerFileLimit: formerFileLimit.map(SpawnPlan.Limit.init),
            formerProcessLimit: processReserve.map { SpawnPlan.Limit($0.former) })
    }

    private var childTable: [KeeperState.Child] {
        children.compactMap { id, resources in
            guard let child = core.children[id] else { return nil }
            let (state, exit, groupEmpty): (ChildState, ChildExit?, Bool?) =
                switch child.state {
                case .spawning: (.spawning, nil, nil)
                case .running: (.running, nil, nil)
                case .exited(let exit, let groupEmpty): (.exited, exit, groupEmpty)
                }
            return KeeperState.Child(
                id: id, label: child.label, pid: resources.pid, state: state, exit: exit, groupEmpty: groupEmpty,
                mark: child.mark, standbyPort: child.standby?.port,
                standby: child.standby.map { KeeperState.StandingOrder($0.plan) },
                process: resources.process.descriptor.raw, output: resources.output.map(\.raw),
                isWatched: resources.exitToken != nil, status: resources.status?.descriptor.raw,
                failure: resources.failure, isReaped: resources.isReaped)
        }
    }
}

// MARK: - Going on

extension KeeperLoop {
    /// Takes over the tables of the image before.
    func resume(_ resumed: ResumedState) throws(SystemError) {
        guard let state = resumed.state else { return }
        core = KeeperCore(resuming: state, failure: resumed.failure, watchdog: configuration.watchdog)
        formerImage = resumed.failure == nil ? try state.formerImage.map(resumed.descriptor) : nil
        formerPath = state.formerPath
        for (name, number) in state.held { held[name] = try resumed.descriptor(number) }
        for child in state.children { children[child.id] = try resume(child, resumed) }
        for orphan in state.orphans {
            let process = ProcessDescriptor(owning: try resumed.descriptor(orphan.process))
            orphans[orphan.pid] = OrphanResources(
                process: process, token: try watch(process.descriptor, .orphanExit(orphan.pid)))
        }
        for balancer in state.balancers {
            let process = ProcessDescriptor(owning: try resumed.descriptor(balancer.process))
            formerBalancers[balancer.pid] = FormerBalancerResources(
                process: process, token: try watch(process.descriptor, .formerBalancerExit(balancer.pid)),
                link: try balancer.link.map(resumed.descriptor).map(LinkConnection.init))
        }
        knownProcesses = Set(
            state.strangers + state.children.filter { !$0.isReaped }.map(\.pid) + state.orphans.map(\.pid)
                + state.balancers.map(\.pid))
        mustFindOrphans = true
        if state.children.contains(where: { $0.standby?.plan != nil }) { wantSpare() }
    }

    private func resume(_ child: KeeperState.Child, _ resumed: ResumedState) throws(SystemError) -> ChildResources {
        let process = ProcessDescriptor(owning: try resumed.descriptor(child.process))
        var output: [Descriptor] = []
        for number in child.output { output.append(try resumed.descriptor(number)) }
        var resources = ChildResources(pid: child.pid, process: process, output: output)
        resources.failure = child.failure
        resources.isReaped = child.isReaped
        if child.isWatched { resources.exitToken = try watch(process.descriptor, .childExit(child.id)) }
        if let number = child.status {
            let status = try resumed.descriptor(number)
            resources.status = (status, try watch(status, .childStatus(child.id)))
        }
        return resources
    }

    func formerBalancerExited(_ pid: Int32) {
        guard let resources = formerBalancers[pid], let exit = Self.exit(of: resources.process) else { return }
        unwatch(resources.process.descriptor, resources.token)
        formerBalancers[pid] = nil
        knownProcesses.remove(pid)
        tell(.formerBalancerExited(pid: pid, exit))
    }
}

extension KeeperCore {
    /// One that goes on with the tables of another image; `failure`: why it is the same image as before.
    init(resuming state: KeeperState, failure: String?, watchdog: Int64?) {
        self.init(scope: state.scope, watchdog: watchdog)
        images.count = state.upgrades + (failure == nil ? 1 : 0)
        images.failure = failure
        images.isOnTrial = failure == nil
        for child in state.children {
            let childState: Child.State =
                switch child.state {
                case .spawning: .spawning
                case .running: .running
                case .exited: .exited(child.exit ?? .code(255), groupEmpty: child.groupEmpty ?? false)
                }
            var entry = Child(label: child.label, pid: child.pid, state: childState, mark: child.mark)
            if let port = child.standbyPort, let plan = child.standby?.plan {
                entry.standby = Standby(port: port, plan: plan)
            }
            children[child.id] = entry
        }
        for orphan in state.orphans { orphans[orphan.pid] = .some(orphan.scope) }
        held = Set(state.held.keys)
        formerBalancers = state.balancers.map { FormerBalancer(pid: $0.pid, until: $0.until) }
        balancerCredentials = state.balancerCredentials
        supervisor = RoleState(runs: state.supervisorRuns)
        balancer = RoleState(runs: state.balancerRuns)
        highestID = state.highestID
        wasReady = state.wasReady
        wantsBalancerAtOnce = state.wantsBalancer
    }
}

extension SpawnPlan.Limit {
    init(_ limit: Spawn.Limit) { self.init(resource: limit.resource, soft: limit.soft, hard: limit.hard) }
}

extension Spawn.Limit {
    init(_ limit: SpawnPlan.Limit) { self.init(resource: limit.resource, soft: limit.soft, hard: limit.hard) }
}
