import Links
import Platform

/// Starting, replacing and ending the roles.
extension KeeperCore {
    subscript(role: Role) -> RoleState {
        get {
            switch role {
            case .supervisor: supervisor
            case .balancer: balancer
            case .web: web
            }
        }
        set {
            switch role {
            case .supervisor: supervisor = newValue
            case .balancer: balancer = newValue
            case .web: web = newValue
            }
        }
    }

    mutating func startRoles(at now: Int64) {
        // The next ones are of another image.
        if upgrade?.isLeaving == true { return }
        for role in Role.allCases where self[role].takeDue(at: now) {
            act(.spawnRole(role, credentials(of: role)))
        }
    }

    private func credentials(of role: Role) -> RoleCredentials? {
        switch role {
        case .supervisor: nil
        case .balancer: balancerCredentials
        case .web: webCredentials
        }
    }

    /// `wanted`: its end is no crash.
    mutating func kill(_ role: Role, wanted: Bool) {
        guard self[role].process != nil else { return }
        self[role].condemn(wanted: wanted)
        act(.killRole(role))
    }

    mutating func roleSpawned(_ role: Role, _ pid: Int32, at now: Int64) {
        self[role].spawned(pid: pid, at: now)
        if !phase.replacesRoles || role == .supervisor && upgrade?.isLeaving == true {
            kill(role, wanted: true)
        } else if role == .balancer {
            tell(.balancerStarted(pid: pid, runs: balancer.runs), [.balancerLink])
        } else if role == .web {
            // The word that it is not wanted any more has come while it was forked.
            if isWebWanted { tell(.webStarted(pid: pid, runs: web.runs), [.webLink]) } else { kill(.web, wanted: true) }
        }
    }

    mutating func roleSpawnFailed(_ role: Role, _ failure: SpawnFailure, at now: Int64) {
        let reason = "\(failure.stage.rawValue): \(errorMessage(failure.code))"
        act(.warn("cannot start the \(role.rawValue): \(reason); it is tried again"))
        self[role].spawnFailed(at: now)
        if role == .web, !isWebWanted { web.retire() }
        roleWasLost(role, at: now)
        if role == .supervisor { supervisorEnded(wasWanted: true) }
    }

    mutating func roleExited(_ role: Role, _ exit: ChildExit, at now: Int64) {
        let wasWanted = self[role].process?.endIsWanted ?? false
        self[role].ended(at: now, again: phase.replacesRoles && (role != .web || isWebWanted))
        act(.closeLink(role))
        if phase.replacesRoles, !wasWanted { act(.warn("the \(role.rawValue) \(exit.words): it is started anew")) }
        if role == .balancer { tell(.balancerExited(exit: exit)) }
        if role == .web { tell(.webExited(exit: exit)) }
        roleWasLost(role, at: now)
        if role == .supervisor { supervisorEnded(wasWanted: wasWanted) }
    }

    private mutating func roleWasLost(_ role: Role, at now: Int64) {
        switch phase {
        case .running: break
        case .abandoned, .ending: self[role].retire()
        case .stopping(let signal, let crashes):
            guard role == .supervisor else { return }
            phase = .stopping(signal: signal, crashes: crashes + 1)
            if crashes + 1 >= Self.stoppingCrashes { abandon(at: now) }
        }
    }

    mutating func linkBroken(_ role: Role, _ reason: String?) {
        act(.closeLink(role))
        guard let process = self[role].process, !process.isCondemned else { return }
        if let reason { act(.warn("the link to the \(role.rawValue) is of no use: \(reason)")) }
        // A role that has just ended looks like this too; a signal that comes too late does no harm.
        kill(role, wanted: false)
    }
}

extension ChildExit {
    /// How a role ended, for people.
    var words: String {
        switch self {
        case .code(let code): "exited with code \(code)"
        case .signal(let number, let coreDumped): "was ended by signal \(number)\(coreDumped ? ", core dumped" : "")"
        }
    }
}
