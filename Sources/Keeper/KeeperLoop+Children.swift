import Links
import Platform

/// What the shell has of a child that was not forgotten yet.
struct ChildResources {
    let pid: Int32
    let process: ProcessDescriptor
    /// The read ends of its stdout and stderr, as captured.
    let output: [Descriptor]
    /// While it is in the poll set.
    var exitToken: UInt64?
    /// Until it has executed its program.
    var status: (descriptor: Descriptor, token: UInt64)?
    /// It wrote this to its status pipe, and is about to end.
    var failure: SpawnFailure?
    var isReaped = false
}

/// What the shell has of an adopted process.
struct OrphanResources {
    let process: ProcessDescriptor
    let token: UInt64
}

// MARK: - Starting

extension KeeperLoop {
    func spawn(_ plan: SpawnPlan) {
        do throws(SpawnError) {
            let pid = try fork(plan)
            events.append(.childForked(plan.id, pid: pid))
        } catch {
            events.append(.childFailed(plan.id, SpawnFailure(error)))
        }
    }

    private func fork(_ plan: SpawnPlan) throws(SpawnError) -> Int32 {
        var spawn = Spawn(candidates: plan.candidates, arguments: plan.arguments, environment: plan.environment)
        spawn.processIDVariables = plan.processIDVariables
        spawn.directory = plan.directory
        spawn.umask = plan.umask
        spawn.diesWithParent = true
        spawn.resetsOOMScore = resetsOOMScore
        spawn.avoidsNewCalls = configuration.usesOldKernelPaths
        spawn.limits =
            [formerFileLimit, processReserve?.former].compactMap(\.self)
            + plan.limits.map { Spawn.Limit(resource: $0.resource, soft: $0.soft, hard: $0.hard) }
        spawn.credentials = plan.credentials.map {
            Spawn.Credentials(user: $0.user, group: $0.group, supplementary: $0.supplementary)
        }
        try pass(plan.passed, to: &spawn)
        if let pid = useSpare(for: plan, spawn) { return pid }
        do {
            // The number tells how many are open: the kernel gives out the lowest that is free.
            guard try signals.descriptor.duplicate().raw + 4 < descriptorReserve else {
                throw SpawnError(stage: .prepare, code: ErrorCode.tooManyFiles)
            }
            var output: [Descriptor] = []
            if plan.capturesOutput {
                let standardOutput = try makePipe(nonblockingRead: true)
                let standardError = try makePipe(nonblockingRead: true)
                output = [standardOutput.read, standardError.read]
                spawn.descriptors = [nil, standardOutput.write, standardError.write]
                giveOutput(output, to: plan.credentials)
            }
            let forked = try spawn.start()
            do throws(SystemError) {
                let exitToken = try watch(forked.process.descriptor, .childExit(plan.id))
                let statusToken = try watch(forked.status, .childStatus(plan.id))
                children[plan.id] = ChildResources(
                    pid: forked.pid, process: forked.process, output: output, exitToken: exitToken,
                    status: (forked.status, statusToken))
            } catch {
                abandon(forked)
                throw error
            }
            knownProcesses.insert(forked.pid)
            return forked.pid
        } catch let error as SpawnError {
            throw error
        } catch let error as SystemError {
            throw SpawnError(stage: .prepare, code: error.code)
        } catch {
            throw SpawnError(stage: .prepare, code: ErrorCode.tryAgain)
        }
    }

    /// Gives the child what is held for it.
    private func pass(_ entries: [SpawnPlan.Passed], to spawn: inout Spawn) throws(SpawnError) {
        for entry in entries {
            guard (3...SpawnPlan.Passed.numberLimit).contains(entry.number), let descriptor = held[entry.held] else {
                // What should be held is not, for want of descriptors.
                throw SpawnError(stage: .descriptors, code: ErrorCode.tooManyFiles)
            }
            spawn.further[Int(entry.number)] = descriptor
        }
    }

    /// So that a program may open /dev/stdout by its name. Both ends of a pipe have one owner.
    func giveOutput(_ output: [Descriptor], to credentials: SpawnPlan.Credentials?) {
        guard let credentials else { return }
        for descriptor in output { try? changeOwner(of: descriptor, user: credentials.user, group: credentials.group) }
    }

    func childStatusChanged(_ id: UInt64) {
        guard let status = children[id]?.status else { return }
        switch Spawn.outcome(of: status.descriptor) {
        case .pending: return
        case .executed: tell(.childExecuted(id))
        // It is reported when it is reaped, so that nothing is left of it.
        case .failed(let error): children[id]?.failure = SpawnFailure(error)
        }
        unwatch(status.descriptor, status.token)
        children[id]?.status = nil
    }
}

// MARK: - Ending

extension KeeperLoop {
    func childExited(_ id: UInt64) {
        // The end may be seen before what the status pipe says.
        childStatusChanged(id)
        guard let child = children[id], let token = child.exitToken else { return }
        let keepsZombie = !signalsGroupsByDescriptor && child.failure == nil
        let exit: ChildExit
        do throws(SystemError) {
            guard let processExit = try child.process.exit(keepsZombie: keepsZombie) else { return }
            exit = ChildExit(processExit)
        } catch {
            // Somebody else has reaped it, which nobody does.
            exit = .code(255)
        }
        unwatch(child.process.descriptor, token)
        children[id]?.exitToken = nil
        if let status = child.status {
            unwatch(status.descriptor, status.token)
            children[id]?.status = nil
        }
        if !keepsZombie {
            children[id]?.isReaped = true
            knownProcesses.remove(child.pid)
        }
        if let failure = child.failure {
            tell(.childFailed(id, failure))
        } else {
            // Its own children are ours now; the supervisor must know of them before it takes the child for gone.
            findOrphans(of: id)
            // Only an heir asks for a port, and only on the way to its start.
            let port = core.children[id]?.standby?.port
            let portIsFree = port.map { (try? LoopbackPort.isFree($0)) ?? true } ?? true
            tell(.childExited(id, exit, groupEmpty: isGroupEmpty(id), portIsFree: portIsFree))
        }
    }

    /// Whether no process of a child's group is left, itself apart once it has ended.
    func isGroupEmpty(_ id: UInt64) -> Bool {
        guard let child = children[id] else { return true }
        guard child.exitToken == nil else { return false }
        do throws(SystemError) {
            if signalsGroupsByDescriptor {
                try child.process.signalGroup(0)
                return false
            }
            // What is left of a group once its leader has ended descends from what the keeper has adopted.
            if orphans.isEmpty, !hasMissedOrphans { return true }
            // A zombie counts for kill(2), and the leader is one.
            return try !ProcessTable.all().contains { $0.group == child.pid && !$0.hasEnded }
        } catch {
            return error.code == ErrorCode.noSuchProcess
        }
    }

    func signalChild(_ id: UInt64, _ number: Int32, group: Bool) {
        guard let child = children[id] else { return }
        let hasEnded = child.exitToken == nil
        do throws(SystemError) {
            if !group {
                if !hasEnded { try child.process.signal(number) }
            } else if signalsGroupsByDescriptor {
                try child.process.signalGroup(number)
            } else if !child.isReaped {
                try signalProcessGroup(child.pid, number)
            }
        } catch {
            // Just forked, it may lead no group yet.
            if group, !hasEnded, error.code == ErrorCode.noSuchProcess { try? child.process.signal(number) }
        }
    }

    func forget(_ id: UInt64) {
        guard let child = children.removeValue(forKey: id) else { return }
        if let token = child.exitToken { unwatch(child.process.descriptor, token) }
        if let status = child.status { unwatch(status.descriptor, status.token) }
        if !child.isReaped {
            _ = try? child.process.exit()
            knownProcesses.remove(child.pid)
        }
    }
}

// MARK: - Orphans

extension KeeperLoop {
    /// Looks for processes that have become children of the keeper because their own parents ended.
    /// One whose environment does not tell (programs that show their state in `ps` write over it) is taken for a child of
    /// `parent`, which has just ended.
    func findOrphans(of parent: UInt64? = nil) {
        mustFindOrphans = false
        hasMissedOrphans = true
        guard let list = try? childList.list() else { return }
        hasMissedOrphans = false
        for pid in list where !knownProcesses.contains(pid) {
            guard let process = try? ProcessDescriptor(pid: pid) else {
                hasMissedOrphans = true
                continue
            }
            // One that has ended already needs nobody's attention.
            if (try? process.exit()) != nil { continue }
            // One that there is no room to watch is found again later.
            guard process.descriptor.raw < descriptorReserve,
                let token = try? watch(process.descriptor, .orphanExit(pid))
            else {
                hasMissedOrphans = true
                continue
            }
            knownProcesses.insert(pid)
            orphans[pid] = OrphanResources(process: process, token: token)
            let inherited = parent.flatMap { core.children[$0]?.mark }
            // That of another supd, which a service runs, says nothing here.
            let own = ProcessTable.environmentValue(ProcessScope.variable, of: pid).flatMap {
                $0.hasPrefix(configuration.scope + "#") ? $0 : nil
            }
            let mark = own ?? inherited
            events.append(.orphanFound(pid: pid, scope: mark))
        }
    }

    func orphanExited(_ pid: Int32) {
        guard let orphan = orphans[pid] else { return }
        do throws(SystemError) {
            guard try orphan.process.exit() != nil else { return }
        } catch {
            // Somebody else has reaped it, which nobody does: it is gone all the same.
        }
        unwatch(orphan.process.descriptor, orphan.token)
        orphans[pid] = nil
        knownProcesses.remove(pid)
        // It may have had children.
        findOrphans()
        tell(.orphanExited(pid: pid))
    }
}
