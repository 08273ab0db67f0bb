import Dispatch
import Events
import Links
import Logs
import Manifest
import Platform
import Supervision

/// What the keeper says, and what is asked of it.
extension SupervisorRole {
    /// Takes all notices that are there. The end of the link means that the keeper is gone.
    func keeperIsReadable() {
        while let keeper {
            switch keeper.receive() {
            case .message(let notice, let descriptors): received(notice, descriptors)
            case .wouldBlock: return
            case .closed: return keeperIsGone()
            case .malformed(let reason):
                // A notice that is lost cannot be made good, but the inventory can: begin anew.
                log.write(.error, "the keeper sent what cannot be read (\(reason)): starting anew")
                exitProcess(1)
            }
        }
    }

    private func received(_ notice: KeeperNotice, _ descriptors: [Descriptor]) {
        switch notice {
        case .welcome(let version, let runs, let crashes, let scope, let highestID):
            guard version == linkVersion else {
                // Its words may mean something else. The keeper goes back to the program before, or tries again and says so.
                log.write(
                    .error,
                    "the keeper speaks version \(version), this supervisor \(linkVersion): they cannot work together; "
                        + "install the program that runs, or restart supd (systemctl restart supd)")
                exitProcess(1)
            }
            self.scope = scope
            roleStarts.supervisor = runs
            inventory?.welcome = Inventory.Welcome(runs: runs, crashes: crashes, highestID: highestID)
        case .child(let id, let label, let pid, let state):
            inventory?.children.append(
                Inventory.Child(id: id, label: label, pid: pid, state: state, output: descriptors))
        case .held(let name): inventory?.held[name] = descriptors.first
        case .inventoryEnd:
            if let complete = inventory {
                inventory = nil
                inventoryIsComplete(complete)
            }
        case .spawned(let id, let pid): spawned(id, pid: pid, output: descriptors)
        case .spawnFailed(let id, let failure): spawnFailed(id, failure)
        case .exited(let id, let exit, let groupEmpty, let heir): exited(id, exit, groupEmpty: groupEmpty, heir: heir)
        case .group(let id, let empty): groupWasChecked(Generation(id), empty: empty)
        case .adopted(let pid, let scope): adopted(pid, scope: scope)
        case .orphanExited(let pid): orphans.remove(pid: pid)
        case .shutdown(let number):
            log.write(.info, "\(Signals.name(of: number) ?? "signal \(number)"): stopping everything in order")
            beginShutdown()
        case .reload: reload()
        // Before the fronts are known nobody could give it their listeners.
        case .balancerStarted(let pid, let runs) where inventory != nil:
            roleStarts.balancer = runs
            earlyBalancer = (pid, descriptors.first)
        case .balancerExited where inventory != nil: earlyBalancer = nil
        case .balancerStarted(let pid, let runs):
            roleStarts.balancer = runs
            balancerStarted(pid, descriptors.first)
        case .balancerExited(let exit):
            noteBalancer(ended: exit)
            balancerExited()
        case .webStarted(let pid, let runs):
            roleStarts.web = runs
            guard inventory == nil else { return earlyWeb = (pid, descriptors.first) }
            happened(.role(.init(role: "web", step: "started", pid: pid)))
            keepEvents()
            webStarted(pid, descriptors.first)
        case .webExited(let exit): if inventory != nil { earlyWeb = nil } else { webExited(exit) }
        case .ping: keeper?.send(.pong)
        case .trialEnded(let report): trialEnded(report)
        case .leave: leave()
        case .upgraded(let count, let failure): upgrades.told(count: count, failure: failure)
        case .formerBalancerEnded: formerBalancerEnded()
        // That is for balancers.
        case .retire: break
        }
    }

    // MARK: Starts

    /// Checks the port, makes the plan and asks the keeper.
    func spawn(_ generation: Generation, _ instance: InstanceID, port: UInt16) {
        if (try? LoopbackPort.isFree(port)) == false {
            // Looking for who has it takes a walk over all descriptors of the machine: only where it will be told.
            let isFixed = application?.settings(of: instance)?.port != nil
            let holder = isFixed ? PortCheck.description(ofSocketsOn: port) : "another program"
            if !isFixed { skippedPorts.insert(port) }
            return take(.portTaken(generation, holder: holder))
        }
        guard let planner, let keeper, let application, let service = application.settings(of: instance)
        else {
            return
        }
        do throws(StartFailure) {
            let plan = try planner.plan(
                service, instance: instance.number, port: port, generation: generation, manifest: application.manifest)
            try openNoticeSocket(generation, of: service, plan)
            try openReadyPipe(generation, of: service)
            plansUnderWay[generation] = plan
            if !keeper.send(.spawn(plan)) {
                plansUnderWay[generation] = nil
                take(.spawnFailed(generation, StartFailure(text: "cannot ask the keeper for a process")))
            }
            closeWritingEnd(generation, of: service)
        } catch {
            take(.spawnFailed(generation, error))
        }
    }

    private func spawned(_ id: UInt64, pid: Int32, output: [Descriptor]) {
        if probeCommands.spawned(id, output: output) { return }
        let generation = Generation(id)
        plansUnderWay[generation] = nil
        if let (instance, _) = application?.instance(of: generation) {
            awaitLine(generation, instance)
            attach(generation, instance, output)
            listenToNotices(generation, instance, pid: pid)
        }
        take(.spawned(generation, pid: pid))
    }

    /// Hands the read ends of an instance's output to the log.
    func attach(_ generation: Generation, _ instance: InstanceID, _ output: [Descriptor]) {
        guard output.count == 2, let service = application?.service(named: instance.service) else { return }
        pump?.attach(
            generation: generation.number, instance: instance.description, stdout: output[0], stderr: output[1],
            maxSize: service.log.maxSize, keep: service.log.keep, rate: service.log.rate ?? 0,
            sendsToSystemJournal: service.log.journal)
    }

    private func spawnFailed(_ id: UInt64, _ failure: SpawnFailure) {
        if probeCommands.failed(id, failure) { return }
        let generation = Generation(id)
        guard let plan = plansUnderWay.removeValue(forKey: generation) ?? planAgain(generation) else {
            // A supervisor before this one has asked for it.
            let text = "cannot start (\(failure.stage.rawValue)): \(errorMessage(failure.code))"
            return take(.spawnFailed(generation, StartFailure(text: text)))
        }
        take(.spawnFailed(generation, StartFailure(text: StartFailureText.text(for: failure, of: plan))))
    }

    // MARK: Exits

    private func exited(_ id: UInt64, _ exit: ChildExit, groupEmpty: Bool, heir: UInt64?) {
        if probeCommands.exited(id, exit) {
            if !groupEmpty { keeper?.send(.signal(id: id, number: Signals.killNumber, group: true)) }
            keeper?.send(.release(id: id))
            return
        }
        let generation = Generation(id)
        heirs.orders.remove(generation)
        // Its last words came before its end.
        notices?.read(generation)
        take(
            .exited(
                generation, ExitStatus(exit), groupEmpty: groupEmpty && orphans.isEmpty(of: generation),
                heir: heir.map(Generation.init)))
    }

    func signal(_ generation: Generation, _ name: String) {
        guard let number = Signals.number(of: name) else { return }
        withdrawHeir(of: generation)
        keeper?.send(.signal(id: generation.number, number: number, group: true))
        for pid in orphans.pids(of: generation) { keeper?.send(.signalOrphan(pid: pid, number: number)) }
    }

    /// Asks for the group; orphans are ended on the way.
    func checkGroup(_ generation: Generation) {
        for pid in orphans.pids(of: generation) {
            keeper?.send(.signalOrphan(pid: pid, number: Signals.killNumber))
        }
        keeper?.send(.queryGroup(id: generation.number))
    }

    private func groupWasChecked(_ generation: Generation, empty: Bool) {
        take(.groupChecked(generation, empty: empty && orphans.isEmpty(of: generation)))
    }

    /// The keeper closes its read ends with the release, so the log takes what is still in the pipes first.
    func release(_ generation: Generation) {
        for pid in orphans.pids(of: generation) {
            keeper?.send(.signalOrphan(pid: pid, number: Signals.killNumber))
        }
        orphans.forget(generation)
        closeNoticeSocket(generation)
        closeReadyPipe(generation)
        guard let pump else { return releaseOnceTold(generation) }
        pump.finish(generation: generation.number) { [weak self] in
            guard let self else { return }
            self.queue.async { self.assumeIsolated { $0.releaseOnceTold(generation) } }
        }
    }

    /// The keeper tells an exit again until it is released: its event is kept before, so that it is told once whatever happens.
    private func releaseOnceTold(_ generation: Generation) {
        whenEventsAreKept { _ = $0.keeper?.send(.release(id: generation.number)) }
    }

    /// A process left its group and lost its parent: it belongs to the instance that its environment names.
    func adopted(_ pid: Int32, scope text: String?) {
        guard let text, let owner = ProcessMark(text) else { return }
        orphans.insert(pid: pid, of: Generation(owner.generation))
        // The instance is gone already: nobody else will end this process.
        if application != nil, application?.instance(of: Generation(owner.generation)) == nil {
            keeper?.send(.signalOrphan(pid: pid, number: Signals.killNumber))
        }
    }

    // MARK: The end

    /// Stops everything in order.
    func beginShutdown() {
        guard !isShuttingDown else { return }
        isShuttingDown = true
        happened(.daemon(.init(step: .stopping)))
        take(.shutdownRequested)
        keepSnapshotNow()
        doUpkeep()
    }

    /// The keeper was killed: its children die with it, their children are ended here, then this process.
    private func keeperIsGone() {
        if isDone { exitProcess(0) }
        log.write(.error, "the keeper is gone: ending every process of every service")
        keeper?.close()
        keeper = nil
        for view in application?.views(at: now).flatMap(\.instances) ?? [] {
            if let pid = view.pid { killProcessGroup(pid) }
        }
        if let scope = ProcessScope(scope) { _ = Leftovers.endAll(of: scope) }
        exitProcess(1)
    }
}
