import Links
import Platform

/// What the roles ask for.
extension KeeperCore {
    mutating func received(_ role: Role, _ request: KeeperRequest, _ descriptors: Int, at now: Int64) {
        guard let process = self[role].process, !process.isCondemned else { return }
        self[role].heard()
        switch (role, request) {
        case (_, .hello(let version)) where version != linkVersion:
            linkBroken(role, "the \(role.rawValue) speaks version \(version), this keeper \(linkVersion)")
        case (_, .hello):
            self[role].greeted(beginsAt: role == .supervisor && !wasReady ? now : nil)
            if role == .supervisor { supervisorArrived(at: now) }
        case (_, .pong): break
        // Whoever takes over one of them must not become us: it can say hello and pong, nothing else.
        case (.balancer, _), (.web, _):
            linkBroken(role, "the \(role.rawValue) may not ask the keeper for anything")
        case (.supervisor, _) where !process.isGreeted: linkBroken(role, "a request came before hello")
        case (.supervisor, .spawn(let plan)): spawn(plan)
        case (.supervisor, .standby(let id, let port, let plan)):
            guard case .running? = children[id]?.state, refusal(of: plan) == nil else { return }
            children[id]?.standby = Standby(port: port, plan: plan)
            act(.wantSpare)
        case (.supervisor, .standDown(let id)): children[id]?.standby = nil
        case (.supervisor, .signal(let id, let number, let group)):
            if children[id] != nil { act(.signal(id, number: number, group: group)) }
        case (.supervisor, .signalOrphan(let pid, let number)):
            if orphans[pid] != nil { act(.signalOrphan(pid: pid, number: number)) }
        case (.supervisor, .queryGroup(let id)):
            // What has left the group shows as an orphan, which the supervisor must know before it trusts the answer.
            act(.findOrphans)
            if children[id] != nil { act(.checkGroup(id)) } else { tell(.group(id: id, empty: true)) }
        case (.supervisor, .release(let id)):
            guard children[id]?.hasExited == true else { return }
            children[id] = nil
            act(.forget(id))
        case (.supervisor, .relabel(let id, let label)):
            if label.utf8.count <= Self.nameLimit { children[id]?.label = label }
        case (.supervisor, .hold(let name)): hold(name, descriptors)
        case (.supervisor, .drop(let name)):
            if held.remove(name) != nil { act(.drop(name: name)) }
        case (.supervisor, .startBalancer(let credentials)): startBalancer(credentials, at: now)
        case (.supervisor, .replaceBalancer(let pid)):
            if balancer.process?.pid == pid { linkBroken(.balancer, "the supervisor does not understand it") }
        case (.supervisor, .startWeb(let credentials)): startWeb(credentials, at: now)
        case (.supervisor, .replaceWeb(let pid)):
            if web.process?.pid == pid { linkBroken(.web, "the supervisor does not understand it") }
        case (.supervisor, .stopWeb):
            isWebWanted = false
            web.retire()
            kill(.web, wanted: true)
        case (.supervisor, .ready):
            if !wasReady { act(.notify("READY=1")) }
            wasReady = true
            supervisor.began()
            if owesReload, case .running = phase { tell(.reload) }
            owesReload = false
            imageIsProved()
        case (.supervisor, .status(let text)):
            act(.notify("STATUS=" + String(text.prefix(500).map { $0.isNewline ? " " : $0 })))
        case (.supervisor, .stopping(let microseconds)):
            act(.notify("STOPPING=1\nEXTEND_TIMEOUT_USEC=\(microseconds)"))
        case (.supervisor, .exit(let code)): end(code: code, farewell: true, at: now)
        case (.supervisor, .upgrade(let path, let onlyTries)): beginTrial(of: path, onlyTries: onlyTries, at: now)
        case (.supervisor, .balancerServes(let drainTime)): retireFormerBalancers(within: drainTime, at: now)
        }
    }

    /// The numbers in standing orders are of the supervisor that gave them; this one may give them to others.
    private mutating func supervisorArrived(at now: Int64) {
        for id in children.keys { children[id]?.standby = nil }
        sendInventory(at: now)
    }

    private mutating func sendInventory(at now: Int64) {
        tell(
            .welcome(
                version: linkVersion, runs: supervisor.runs, crashes: supervisor.crashes(at: now), scope: scope,
                highestID: highestID))
        // Before any exit: with an orphan about, the instance that it belongs to is not gone.
        for (pid, scope) in orphans.sorted(by: { $0.key < $1.key }) { tell(.adopted(pid: pid, scope: scope)) }
        for (id, child) in children.sorted(by: { $0.key < $1.key }) {
            let state: ChildState =
                switch child.state {
                case .spawning: .spawning
                case .running: .running
                case .exited: .exited
                }
            tell(.child(id: id, label: child.label, pid: child.pid, state: state), [.output(child: id)])
            if case .exited(let exit, let groupEmpty) = child.state {
                tell(.exited(id: id, exit: exit, groupEmpty: groupEmpty))
            }
        }
        for name in held.sorted() { tell(.held(name: name), [.held(name: name)]) }
        if images.count > 0 || images.failure != nil {
            tell(.upgraded(count: images.count, failure: images.failure))
        }
        if let pid = balancer.process?.pid {
            tell(.balancerStarted(pid: pid, runs: balancer.runs), [.balancerLink])
        }
        if let pid = web.process?.pid { tell(.webStarted(pid: pid, runs: web.runs), [.webLink]) }
        tell(.inventoryEnd)
        if case .stopping(let signal, _) = phase { tell(.shutdown(signal: signal)) }
    }

    private mutating func spawn(_ plan: SpawnPlan) {
        if let refusal = refusal(of: plan) {
            tell(.spawnFailed(id: plan.id, failure: SpawnFailure(stage: .prepare, code: refusal)))
            return
        }
        start(plan)
    }

    /// Starts what is not refused.
    mutating func start(_ plan: SpawnPlan) {
        highestID = max(highestID, plan.id)
        children[plan.id] = Child(label: plan.label, pid: 0, state: .spawning, mark: plan.mark)
        act(.spawn(plan))
    }

    /// Why a plan is not tried at all, as an errno value.
    func refusal(of plan: SpawnPlan) -> Int32? {
        if !phase.replacesRoles { return ErrorCode.canceled }
        if children[plan.id] != nil { return ErrorCode.exists }
        if children.count >= Self.tableLimit { return ErrorCode.tryAgain }
        return plan.label.utf8.count > Self.nameLimit ? ErrorCode.nameTooLong : nil
    }

    private mutating func hold(_ name: String, _ descriptors: Int) {
        guard descriptors == 1 else {
            linkBroken(.supervisor, "hold needs one descriptor beside it, not \(descriptors)")
            return
        }
        guard name.utf8.count <= Self.nameLimit, held.count < Self.tableLimit || held.contains(name) else {
            act(.warn("cannot hold another descriptor: there are \(held.count) already, or its name is too long"))
            return
        }
        held.insert(name)
        act(.hold(name: name))
    }

    private mutating func startBalancer(_ credentials: RoleCredentials?, at now: Int64) {
        guard phase.replacesRoles else { return }
        let hasChanged = credentials != balancerCredentials
        balancerCredentials = credentials
        if hasChanged { kill(.balancer, wanted: true) }
        balancer.want(at: now)
    }

    private mutating func startWeb(_ credentials: RoleCredentials?, at now: Int64) {
        guard phase.replacesRoles else { return }
        let hasChanged = credentials != webCredentials
        webCredentials = credentials
        isWebWanted = true
        if hasChanged { kill(.web, wanted: true) }
        web.want(at: now)
    }
}

extension SpawnPlan {
    /// What the process's environment marks it with.
    var mark: String? {
        let prefix = ProcessScope.variable + "="
        return environment.lazy.first { $0.hasPrefix(prefix) }.map { String($0.dropFirst(prefix.count)) }
    }
}
