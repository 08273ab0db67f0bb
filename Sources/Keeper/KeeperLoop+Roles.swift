import Links
import Platform

/// What the shell has of a live role.
struct RoleResources {
    let pid: Int32
    let process: ProcessDescriptor
    let exitToken: UInt64
    /// Until it has executed its program.
    var status: (descriptor: Descriptor, token: UInt64)?
}

extension KeeperLoop {
    /// The roles find their link to the keeper at descriptor 3; the balancer and the web role their link to the supervisor at
    /// 4.
    func spawnRole(_ role: Role, _ credentials: RoleCredentials?) {
        do throws(SpawnError) {
            let pid = try forkRole(role, credentials)
            events.append(.roleSpawned(role, pid: pid))
        } catch {
            events.append(.roleSpawnFailed(role, SpawnFailure(error)))
        }
    }

    private func forkRole(_ role: Role, _ credentials: RoleCredentials?) throws(SpawnError) -> Int32 {
        let arguments =
            switch role {
            case .supervisor: configuration.supervisorArguments
            case .balancer: configuration.balancerArguments
            case .web: configuration.webArguments
            }
        var spawn = Spawn(
            candidates: configuration.candidates, arguments: arguments,
            environment: role.isUnprivileged ? configuration.balancerEnvironment : configuration.environment)
        if let credentials {
            spawn.credentials = Spawn.Credentials(user: credentials.user, group: credentials.group)
            spawn.deniesNewPrivileges = true
        }
        // It has nothing to bring to an end, and whoever comes next wants its addresses.
        spawn.diesWithParent = role.isUnprivileged
        spawn.avoidsNewCalls = configuration.usesOldKernelPaths
        do {
            let (ours, theirs) = try LinkConnection.pair()
            spawn.descriptors = [nil, standardOutput, standardError, theirs.descriptor]
            var supervisorEnd: Descriptor?
            if role.isUnprivileged {
                let (supervisors, own) = try LinkConnection.pair()
                spawn.descriptors.append(own.descriptor)
                supervisorEnd = supervisors.descriptor
            }
            let forked = try startSpendingReserve(spawn)
            do throws(SystemError) {
                let exitToken = try watch(forked.process.descriptor, .roleExit(role))
                let statusToken = try watch(forked.status, .roleStatus(role))
                try openLink(role, ours)
                roles[role] = RoleResources(
                    pid: forked.pid, process: forked.process, exitToken: exitToken,
                    status: (forked.status, statusToken))
            } catch {
                abandon(forked)
                throw error
            }
            knownProcesses.insert(forked.pid)
            if let supervisorEnd { supervisorLinks[role] = supervisorEnd }
            return forked.pid
        } catch let error as SpawnError {
            throw error
        } catch let error as SystemError {
            throw SpawnError(stage: .prepare, code: error.code)
        } catch {
            throw SpawnError(stage: .prepare, code: ErrorCode.tryAgain)
        }
    }

    func startSpendingReserve(_ spawn: Spawn) throws(SpawnError) -> Spawn.Forked {
        guard let processReserve else { return try spawn.start() }
        return try processReserve.spending { () throws(SpawnError) in try spawn.start() }
    }

    /// A process that cannot be watched is killed and reaped as an orphan would be.
    func abandon(_ forked: Spawn.Forked) {
        try? forked.process.signal(SignalNumber.kill)
        mustFindOrphans = true
    }

    func roleStatusChanged(_ role: Role) {
        guard let resources = roles[role], let status = resources.status else { return }
        switch Spawn.outcome(of: status.descriptor) {
        case .pending: return
        case .executed: break
        case .failed(let error):
            DaemonLog.error(
                "cannot execute the \(role.rawValue): \(SpawnFailure(error).stage.rawValue): \(errorMessage(error.code))"
            )
        }
        unwatch(status.descriptor, status.token)
        roles[role]?.status = nil
    }

    /// How the process of a role ended; nil: it has not. One of which the kernel does not tell has ended badly.
    static func exit(of process: ProcessDescriptor) -> ChildExit? {
        do throws(SystemError) {
            return try process.exit().map(ChildExit.init)
        } catch {
            return .code(255)
        }
    }

    func roleExited(_ role: Role) {
        roleStatusChanged(role)
        guard let resources = roles[role], let exit = Self.exit(of: resources.process) else { return }
        unwatch(resources.process.descriptor, resources.exitToken)
        if let status = resources.status { unwatch(status.descriptor, status.token) }
        roles[role] = nil
        knownProcesses.remove(resources.pid)
        // Its last words: an exit request may still be in its link.
        receive(from: role, isLast: true)
        findOrphans()
        tell(.roleExited(role, exit))
    }
}

extension SpawnFailure {
    /// The link's words for what Platform says.
    init(_ error: SpawnError) {
        let stage: Stage =
            switch error.stage {
            case .prepare: .prepare
            case .fork: .fork
            case .session: .session
            case .descriptors: .descriptors
            case .signals: .signals
            case .oomScore: .oomScore
            case .limit: .limit
            case .groups: .groups
            case .group: .group
            case .user: .user
            case .directory: .directory
            case .parentDeath: .parentDeath
            case .execute: .execute
            }
        self.init(stage: stage, code: error.code, limit: error.limit)
    }
}

extension ChildExit {
    /// The link's words for what Platform says.
    init(_ exit: ProcessExit) {
        switch exit {
        case .code(let code): self = .code(code)
        case .signal(let number, let coreDumped): self = .signal(number, coreDumped: coreDumped)
        }
    }
}
