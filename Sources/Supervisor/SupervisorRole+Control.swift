import ControlAPI
import Dispatch
import Events
import Links
import Manifest
import Platform
import Supervision

/// What users ask over the control socket. Names are the same as in supctl and in the API.
extension SupervisorRole {
    /// Answers one request; called on the queue.
    func answer(_ request: ControlRequest, from peer: PeerCredentials, _ responder: ControlResponder) {
        guard let application else {
            return responder.fail(503, code: "failed", "supd is still starting; try again")
        }
        switch request.route {
        case .version: responder.finish(json: versionReport)
        case .status(let names, let withLimits): status(names, withLimits: withLimits, application, responder)
        case .balancer(let names): balancerReport(names, application, responder)
        case .usage(let names, let series): showUsage(names, series, application, responder)
        case .metrics: metrics(application, responder)
        case .verb(let verb, let names, let options):
            if let text = application.reasonToLeaveAlone(names) { return responder.fail(409, code: "failed", text) }
            guard let choice = resolve(names, application, responder) else { return }
            run(verb, choice, names, application, options, peer, responder)
        case .signal(let names, let signal):
            guard let targets = resolveInstances(names, application, responder) else { return }
            sendSignal(signal, to: targets, application, peer, responder)
        case .limit(let names, let limits):
            guard let targets = resolveInstances(names, application, responder) else { return }
            setLimits(limits, of: targets, application, peer, responder)
        case .scale(let wishes, let options): scale(wishes, application, options, peer, responder)
        case .apply(let file, let dryRun, let options):
            apply(file, dryRun: dryRun, options, by: "\(peer)", peer.userID, responder)
        case .rollback(let number, let dryRun, let options):
            rollback(to: number, dryRun: dryRun, options, peer, responder)
        case .decide(let verb, let service, let options):
            decide(verb, on: service, application, options, peer, responder)
        case .history: showHistory(responder)
        case .events(let after, let follows, let instances):
            streamEvents(after: after, follows: follows, instances.map { EventFilter(instances: $0) }, responder)
        case .logs(let names, let lines, let follows, let marks, let until):
            streamLogs(names, last: lines, follows: follows, before: marks, until: until, application, responder)
        case .shutdown(let options):
            log.write(.notice, "shutdown, asked for by \(peer)")
            noteCommand("shutdown", [], by: peer)
            carryOut(commands.begin(), options, responder, summary: nil, beginShutdown)
        case .upgrade(let path, let check): upgrade(to: path, onlyTries: check, peer, responder)
        }
    }

    /// What names stand for; nil if some stand for nothing, which is answered.
    func resolve(
        _ names: [String], _ application: Application, among instances: [InstanceID]? = nil,
        _ responder: ControlResponder
    ) -> Selector.Choice? {
        do throws(Selector.NoSuchName) {
            return try Selector.choose(
                names, among: (instances ?? application.instanceIDs).map(\.description),
                servicesWithout: application.servicesWithoutInstances)
        } catch {
            responder.fail(404, code: "no-such-name", error.description)
            return nil
        }
    }

    /// The instances that names stand for, those that are there for a rollout among them, each name for one at least; nil if
    /// not, which is answered.
    private func resolveInstances(
        _ names: [String], _ application: Application, _ responder: ControlResponder
    ) -> [InstanceID]? {
        let shown = application.shownInstanceIDs
        guard let choice = resolve(names, application, among: shown, responder) else { return nil }
        if let text = choice.withoutInstancesText {
            responder.fail(409, code: "failed", text)
            return nil
        }
        let wanted = Set(choice.instances)
        return shown.filter { wanted.contains($0.description) }
    }

    // MARK: start, stop, restart, drain, undrain

    private func run(
        _ verb: ServiceVerb, _ choice: Selector.Choice, _ names: [String], _ application: Application,
        _ options: ControlRoute.WaitOptions, _ peer: PeerCredentials, _ responder: ControlResponder
    ) {
        guard !isShuttingDown else {
            return responder.fail(409, code: "shutting-down", "supd is shutting down")
        }
        log.write(.info, "\(verb.rawValue) \(names.joined(separator: " ")), asked for by \(peer)")
        noteCommand(verb.rawValue, names, by: peer)
        let targets = application.instances(choice)
        let what: Verb
        switch verb {
        case .start: what = .start
        case .stop: what = .stop
        case .restart: what = .restart
        case .drain, .undrain:
            if let text = choice.withoutInstancesText { return responder.fail(409, code: "failed", text) }
            return drain(verb, targets, application, options, responder)
        }
        let former = application.scaleOverrides.map { ($0.service, $0.manifest) }
        let withoutInstances =
            verb == .stop
            ? choice.withoutInstancesText
            : choice.withoutInstancesText(former: Dictionary(former, uniquingKeysWith: { first, _ in first }))
        if targets.isEmpty, let text = withoutInstances {
            return responder.finish(json: ProgressLine(result: "done", message: text, changed: false))
        }
        if let hindrance = application.rolloutHindrance(to: what, targets) {
            return responder.fail(409, code: "failed", hindrance)
        }
        let command = commands.begin()
        let sentBack = verb == .stop ? application.rolloutsSentBack(byStopping: targets) : []
        let notes =
            [withoutInstances].compactMap { $0 }
            + sentBack.prefix(5).map { "\($0) goes back to what ran before" }
        let note = notes.map { "; \($0)" }.joined()
        carryOut(
            command, options, responder,
            summary: "\(verb.pastTense) \(Amount.text(targets.count, "instance"))\(note)"
        ) {
            if verb == .start, options.wait { holdStart(command, targets, application) }
            take(.commanded(command, what, targets: targets, by: "\(peer)"))
        }
    }

    /// Does what was asked for, keeps it, and only then answers: it is done also if this process ends with the answer.
    func carryOut(
        _ command: CommandID, _ options: ControlRoute.WaitOptions, _ responder: ControlResponder, summary: String?,
        accepted: String? = nil, _ action: () -> Void
    ) {
        if options.wait { waitFor(command, options, responder, summary: summary) }
        commands.tellingAfterwards(action, keep: keepSnapshotNow)
        if !options.wait { responder.finish(json: ProgressLine(result: "accepted", message: accepted)) }
    }

    /// Streams a command's progress to who waits for it, for as long as they want to wait.
    private func waitFor(
        _ command: CommandID, _ options: ControlRoute.WaitOptions, _ responder: ControlResponder, summary: String?
    ) {
        commands.await(command, responder, summary: summary, for: options.timeout, at: now)
        responder.begin()
        responder.onCancel { [weak self] in self?.assumeIsolated { $0.forget(command) } }
    }

    /// Nobody waits for a command any more.
    private func forget(_ command: CommandID) {
        commands.forget(command, at: now)
        stopped(waitingFor: command)
    }

    /// Some have waited as long as they wanted to.
    func commandsAreOverdue() {
        for command in commands.timeOut(at: now) { stopped(waitingFor: command) }
    }

    /// Of a command whose outcome nobody will be told, nothing is kept.
    private func stopped(waitingFor command: CommandID) {
        heldStarts[command] = nil
        take(.commandForgotten(command))
    }

    // MARK: signal, limit

    private func sendSignal(
        _ name: String, to targets: [InstanceID], _ application: Application, _ peer: PeerCredentials,
        _ responder: ControlResponder
    ) {
        guard let number = Signals.number(of: name) else {
            return responder.fail(400, code: "usage", "there is no signal \"\(name)\"; it is named as in HUP, USR1")
        }
        log.write(.info, "signal \(name) to \(listed(targets)), asked for by \(peer)")
        noteCommand("signal \(name)", targets.map(\.description), by: peer)
        let processes = runningProcesses(of: targets, application)
        guard !processes.isEmpty else {
            return responder.fail(
                409, code: "failed",
                "\(targets.isEmpty ? "there is no instance" : listed(targets)): no process is running")
        }
        for process in processes {
            keeper?.send(.signal(id: process.generation.number, number: number, group: false))
        }
        responder.finish(
            json: ProgressLine(
                result: "done", message: "sent to \(Amount.text(processes.count, "process", "processes"))"))
    }

    private func setLimits(
        _ limits: [String: String], of targets: [InstanceID], _ application: Application, _ peer: PeerCredentials,
        _ responder: ControlResponder
    ) {
        do throws(LimitChange.Failure) {
            let changes = try limits.sorted { $0.key < $1.key }.map { (key, value) throws(LimitChange.Failure) in
                try LimitChange(name: key, value: value)
            }
            let processes = runningProcesses(of: targets, application)
            guard !processes.isEmpty else {
                return responder.fail(
                    409, code: "failed",
                    "\(targets.isEmpty ? "there is no instance" : listed(targets)): no process is running")
            }
            // One look at all of /proc for each instance and limit: not on the queue that restarts things.
            let number = statusRequests.begin(responder)
            Self.sampling.async { [role = self, keeper = configuration.keeper] in
                let outcome = LimitChange.apply(changes, to: processes, keeper: keeper)
                role.queue.async { role.assumeIsolated { $0.limitsAreSet(outcome, peer, number) } }
            }
        } catch {
            refuse(error, responder)
        }
    }

    private func limitsAreSet(_ outcome: LimitChange.Outcome, _ peer: PeerCredentials, _ request: UInt64) {
        for line in LimitChange.lines(outcome.settings) { log.write(.info, "\(line), asked for by \(peer)") }
        noteLimits(outcome.settings, by: "\(peer)")
        if case .failed(let text) = outcome.failure { log.write(.warning, "\(text), asked for by \(peer)") }
        guard let responder = statusRequests.end(request) else { return }
        if let failure = outcome.failure { return refuse(failure, responder) }
        let processes = Amount.text(outcome.processes, "process", "processes")
        responder.finish(
            json: ProgressLine(
                result: "done", message: "changed in \(processes); a restart goes back to the manifest's"))
    }

    private func refuse(_ failure: LimitChange.Failure, _ responder: ControlResponder) {
        switch failure {
        case .usage(let text): responder.fail(400, code: "usage", text)
        case .failed(let text): responder.fail(409, code: "failed", text)
        }
    }

    private func runningProcesses(
        of targets: [InstanceID], _ application: Application
    ) -> [InstanceProcesses.Instance] {
        let wanted = Set(targets)
        return running(application.views(at: now).flatMap(\.instances).filter { wanted.contains($0.id) })
    }
}

/// `api/1, api/2`; of many the first five.
func listed(_ instances: [InstanceID]) -> String {
    let shown = instances.prefix(5).map(\.description).joined(separator: ", ")
    return instances.count > 5 ? "\(shown) and \(instances.count - 5) more" : shown
}

extension Application {
    /// Why one of these names, of an instance that is there for a rollout only, is no command's; nil: none is such a one.
    fileprivate func reasonToLeaveAlone(_ names: [String]) -> String? {
        guard isDeploying || !leaving.isEmpty || shownInstanceIDs.count > instanceIDs.count else { return nil }
        let named = Set(names.filter { $0.contains("/") })
        return shownInstanceIDs.first { named.contains($0.description) && !isOfManifest($0) }.flatMap(
            reasonToLeaveAlone)
    }

    /// The instances that names stand for, in the order of the manifest.
    fileprivate func instances(_ choice: Selector.Choice) -> [InstanceID] {
        let wanted = Set(choice.instances)
        return instanceIDs.filter { wanted.contains($0.description) }
    }
}
