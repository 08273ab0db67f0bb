import ControlAPI
import Links
import Dispatch
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
        case .version: responder.finish(json: VersionReport(version: version))
        case .status(let names, let withLimits): status(names, withLimits: withLimits, application, responder)
        case .balancer(let names): balancerReport(names, application, responder)
        case .verb(let verb, let names, let options):
            guard let targets = resolve(names, application, responder) else { return }
            run(verb, targets, names, application, options, peer, responder)
        case .signal(let names, let signal):
            guard let targets = resolve(names, application, responder) else { return }
            sendSignal(signal, to: targets, application, peer, responder)
        case .limit(let names, let limits):
            guard let targets = resolve(names, application, responder) else { return }
            setLimits(limits, of: targets, application, peer, responder)
        case .shutdown(let options):
            log.write(.notice, "shutdown, asked for by \(peer)")
            waitFor(commands.begin(), options, responder, summary: nil)
            beginShutdown()
        }
    }

    /// The instances that names stand for; nil if some stand for none, which is answered.
    private func resolve(
        _ names: [String], _ application: Application, _ responder: ControlResponder
    ) -> [InstanceID]? {
        let all = application.instanceIDs
        do throws(Selector.NoSuchName) {
            let wanted = Set(try Selector.resolve(names, among: all.map(\.description)))
            return all.filter { wanted.contains($0.description) }
        } catch {
            responder.fail(404, code: "no-such-name", error.description)
            return nil
        }
    }

    // MARK: start, stop, restart, drain, undrain

    private func run(
        _ verb: ServiceVerb, _ targets: [InstanceID], _ names: [String], _ application: Application,
        _ options: ControlRoute.WaitOptions, _ peer: PeerCredentials, _ responder: ControlResponder
    ) {
        guard !isShuttingDown else {
            return responder.fail(409, code: "shutting-down", "supd is shutting down")
        }
        log.write(.info, "\(verb.rawValue) \(names.joined(separator: " ")), asked for by \(peer)")
        let what: Verb
        switch verb {
        case .start: what = .start
        case .stop: what = .stop
        case .restart: what = .restart
        case .drain, .undrain: return drain(verb, targets, application, options, responder)
        }
        let command = commands.begin()
        waitFor(
            command, options, responder, summary: "\(verb.pastTense) \(Amount.text(targets.count, "instance"))")
        take(.commanded(command, what, targets: targets))
        keepSnapshotNow()
    }

    /// Streams a command's progress to who waits for it, for as long as they want to wait; who does not is told
    /// `accepted`.
    func waitFor(
        _ command: CommandID, _ options: ControlRoute.WaitOptions, _ responder: ControlResponder, summary: String?,
        accepted: String? = nil
    ) {
        guard options.wait else {
            return responder.finish(json: ProgressLine(result: "accepted", message: accepted))
        }
        commands.await(command, responder, summary: summary)
        responder.begin()
        responder.onCancel { [weak self] in self?.assumeIsolated { $0.commands.forget(command) } }
        guard let timeout = options.timeout else { return }
        let nanoseconds = Int(clamping: timeout.wholeNanoseconds)
        queue.asyncAfter(deadline: .now() + .nanoseconds(nanoseconds)) { [weak self] in
            self?.assumeIsolated { $0.commands.timeOut(command, after: timeout) }
        }
    }

    // MARK: signal, limit

    private func sendSignal(
        _ name: String, to targets: [InstanceID], _ application: Application, _ peer: PeerCredentials,
        _ responder: ControlResponder
    ) {
        guard let number = Signals.number(of: name) else {
            return responder.fail(400, code: "usage", "there is no signal \"\(name)\"; it is named as in HUP, USR1")
        }
        log.write(.info, "signal \(name) to \(Self.list(targets)), asked for by \(peer)")
        let processes = runningProcesses(of: targets, application)
        guard !processes.isEmpty else {
            return responder.fail(409, code: "failed", "\(Self.list(targets)): no process is running")
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
        log.write(
            .info,
            "limit \(limits.keys.sorted().joined(separator: " ")) of \(Self.list(targets)), asked for by \(peer)")
        let processes = runningProcesses(of: targets, application)
        guard !processes.isEmpty else {
            return responder.fail(409, code: "failed", "\(Self.list(targets)): no process is running")
        }
        do throws(LimitChange.Failure) {
            let changes = try limits.sorted { $0.key < $1.key }.map { (key, value) throws(LimitChange.Failure) in
                try LimitChange(name: key, value: value)
            }
            // One look at all of /proc for each instance and limit: not on the queue that restarts things.
            let number = statusRequests.begin(responder)
            Self.sampling.async { [role = self, keeper = configuration.keeper] in
                let outcome = Result { () throws(LimitChange.Failure) in
                    try LimitChange.apply(changes, to: processes, keeper: keeper)
                }
                role.queue.async { role.assumeIsolated { $0.limitsAreSet(outcome, number) } }
            }
        } catch {
            refuse(error, responder)
        }
    }

    private func limitsAreSet(_ outcome: Result<Int, LimitChange.Failure>, _ request: UInt64) {
        guard let responder = statusRequests.end(request) else { return }
        switch outcome {
        case .success(let count):
            let processes = Amount.text(count, "process", "processes")
            responder.finish(
                json: ProgressLine(
                    result: "done", message: "changed in \(processes); a restart goes back to the manifest's"))
        case .failure(let failure): refuse(failure, responder)
        }
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

    private static func list(_ targets: [InstanceID]) -> String {
        let shown = targets.prefix(5).map(\.description).joined(separator: ", ")
        return targets.count > 5 ? "\(shown) and \(targets.count - 5) more" : shown
    }
}
