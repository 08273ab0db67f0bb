import ControlAPI
import Dispatch
import Events
import Links
import Logs
import Manifest
import Platform
import Supervision

/// `apply`: from a file to the plan, and what that asks of all that is open.
extension SupervisorRole {
    /// Reading ten megabytes of manifest takes a moment: not on the queue that restarts things.
    private static let reading = DispatchQueue(label: "supd.manifest", qos: .userInitiated)
    /// Of an instance that made a rollout fail so many of its last lines are shown.
    private static let lastLines = 10

    // MARK: Asked for

    /// Reads a manifest, and answers with the plan or carries it out.
    func apply(
        _ file: String?, dryRun: Bool, _ options: ControlRoute.WaitOptions, by who: String, _ userID: UInt32?,
        _ responder: ControlResponder
    ) {
        if let hindrance = applyHindrance, !dryRun { return responder.fail(409, code: "failed", hindrance) }
        let path = file ?? configuration.manifestPath
        if !dryRun {
            isReadingManifest = true
            log.write(.notice, "apply \(path), asked for by \(who)")
        }
        let wish = ApplyRequest(name: path, source: path, by: who, userID: userID, dryRun: dryRun, options: options)
        let request = statusRequests.begin(responder)
        Self.reading.async { [role = self, environment] in
            let outcome = Result { () throws(ManifestFile.Unreadable) in
                try ManifestFile.load(path, environment: environment)
            }
            role.queue.async {
                role.assumeIsolated { role in
                    if !dryRun { role.isReadingManifest = false }
                    guard let responder = role.statusRequests.end(request) else { return }
                    role.manifestWasRead(outcome, wish, responder)
                }
            }
        }
    }

    /// SIGHUP: what the file says now is to be in force. Nobody waits for it; what comes of it is in the log.
    func reload() {
        if let hindrance = applyHindrance { return log.write(.error, "SIGHUP: \(hindrance)") }
        apply(nil, dryRun: false, .init(wait: false), by: "SIGHUP", nil, ControlResponder(nil))
    }

    /// Why none can be applied now; nil: it can.
    var applyHindrance: String? {
        isReadingManifest ? "an earlier apply is under way: it reads its manifest" : application?.applyHindrance
    }

    private func manifestWasRead(
        _ outcome: Result<LoadedManifest, ManifestFile.Unreadable>, _ wish: ApplyRequest, _ responder: ControlResponder
    ) {
        let loaded: LoadedManifest
        switch outcome {
        case .success(let result): loaded = result
        case .failure(let error): return refuse(wish, error.text, [], responder)
        }
        guard let manifest = loaded.manifest, loaded.errors.isEmpty else {
            let omitted = loaded.omittedErrors > 0 ? ["and \(loaded.omittedErrors) more errors"] : []
            let errors = loaded.errors.map { "\($0)" } + omitted
            return refuse(wish, "\(wish.name) is not valid; nothing has changed", errors, responder)
        }
        putInForce(manifest, wish, loaded.warnings.map { "\($0)" }, responder)
    }

    private func refuse(_ wish: ApplyRequest, _ message: String, _ details: [String], _ responder: ControlResponder) {
        if !wish.dryRun {
            for line in [message] + details { log.write(.error, "apply: \(line)") }
            noteApply(.refused, of: wish, reason: ([message] + details.prefix(3)).joined(separator: "; "))
        }
        // Who does not wait reads no lines of progress, but an error's report.
        guard wish.options.wait else {
            return responder.fail(409, code: "failed", ([message] + details).joined(separator: "\n  "))
        }
        responder.finish(json: ProgressLine(result: "failed", message: message, changed: false, details: details))
    }

    /// Shows what a valid manifest would change, or changes it.
    func putInForce(
        _ written: Manifest, _ wish: ApplyRequest, _ warnings: [String], _ responder: ControlResponder
    ) {
        guard let application else { return refuse(wish, "supd is still starting; try again", [], responder) }
        // It may have become true meanwhile.
        if let hindrance = application.applyHindrance, !wish.dryRun { return refuse(wish, hindrance, [], responder) }
        let (manifest, dropped) = written.keeping(
            application.scaleOverrides, present: application.instanceCounts)
        let warnings = warnings + dropped
        let plan = Plan(from: application, to: manifest)
        let shown = ProgressLine(plan: plan.changes.map(PlannedChange.init), details: warnings)
        if wish.dryRun {
            var line = shown
            line.result = "done"
            line.changed = false
            return responder.finish(json: line)
        }
        readWebTokenAgain()
        guard !plan.changes.isEmpty else {
            log.write(.notice, "apply: nothing to change")
            return responder.finish(
                json: ProgressLine(
                    result: "done", message: "nothing to change: \(wish.name) is what is in force", changed: false,
                    details: warnings))
        }
        do throws(BeginningFailure) {
            try openAhead(manifest)
        } catch {
            return refuse(wish, "nothing has changed: the fronts cannot be opened", error.lines, responder)
        }
        for line in dropped { log.write(.notice, "apply: \(line)") }
        record(written, by: wish.by, wish.userID, from: wish.source, .underWay)
        noteApply(.began, of: wish, reason: nil)
        let command = commands.begin()
        if wish.options.wait { responder.send(shown) }
        carryOut(command, wish.options, responder, summary: "applied \(wish.name)") {
            take(.applied(command, manifest))
        }
    }

    // MARK: In force

    /// The core goes by another manifest: what is open and what runs is brought into line with it.
    func manifestHasChanged() {
        guard let application else { return }
        let manifest = application.manifest
        let before = manifestInForce
        manifestInForce = manifest
        bringScalingIntoLine()
        mayHaveIdle = application.hasIdleSettings
        autoScaling.isWanted = application.hasScalingRules
        bringFrontsIntoLine(with: manifest, leaving: application.leaving)
        bringSessionLogsIntoLine(with: manifest)
        makePlanner(for: manifest)
        for generation in heirs.orders { withdrawHeir(of: generation) }
        changeLogSettings(application, before)
        changeLimits(application, before)
        forgetCounts(beyond: manifest, application.leaving)
        bringSamplingIntoLine(with: application)
        balancer.routesAreStale = true
        tableIsOwed()
        do {
            try keep(
                AcceptedManifest(
                    revision: application.revision, manifest: manifest, leaving: application.leaving,
                    snapshot: application.snapshot))
        } catch {
            log.write(.error, "cannot keep the manifest: \(error)")
        }
        keepSnapshotNow()
    }

    private func bringSessionLogsIntoLine(with manifest: Manifest) {
        for service in manifest.services where service.balance.log && service.isBalanced {
            if let known = balancer.sessionLogs[service.name] {
                // It may have forgotten the pipe with the service's last table; the same one again is no change.
                if balancer.isReady { balancer.link?.send(.sessionLog(service: service.name), [known.writing]) }
                continue
            }
            do throws(SystemError) {
                let log = try SessionLog(of: service.name, held: [:])
                keeper?.send(.hold(name: SessionLog.readingName(service.name)), [log.reading])
                keeper?.send(.hold(name: SessionLog.writingName(service.name)), [log.writing])
                balancer.sessionLogs[service.name] = log
                pump?.attachSessions(
                    of: service.name, pipe: log.reading, maxSize: service.log.maxSize, keep: service.log.keep)
                if balancer.isReady { balancer.link?.send(.sessionLog(service: service.name), [log.writing]) }
            } catch {
                log.write(.error, "\(service.name): cannot make a pipe for the log of its sessions: \(error)")
            }
        }
    }

    /// The services that were there before, with what they were and are.
    private func changed(_ manifest: Manifest, _ before: Manifest?) -> [(old: Service, new: Service)] {
        let old = Dictionary(
            (before?.services ?? []).map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        return manifest.services.compactMap { new in old[new.name].flatMap { $0 == new ? nil : ($0, new) } }
    }

    private func changeLogSettings(_ application: Application, _ before: Manifest?) {
        let services = Dictionary(
            changed(application.manifest, before).filter { $0.old.log != $0.new.log }.map { ($0.new.name, $0.new) },
            uniquingKeysWith: { first, _ in first })
        guard !services.isEmpty else { return }
        for view in application.views(at: now).flatMap(\.instances) {
            guard let service = services[view.id.service], let generation = view.generation else { continue }
            pump?.updateSettings(
                generation: generation.number, maxSize: service.log.maxSize, keep: service.log.keep,
                rate: service.log.rate ?? 0, sendsToSystemJournal: service.log.journal)
        }
        for service in services.values where balancer.sessionLogs[service.name] != nil {
            pump?.updateSessions(of: service.name, maxSize: service.log.maxSize, keep: service.log.keep)
        }
    }

    /// Limits are set in the processes that run; those that are replaced get them with their start.
    private func changeLimits(_ application: Application, _ before: Manifest?) {
        for (old, new) in changed(application.manifest, before) where old.limits != new.limits {
            let changes = new.limits.filter { !old.limits.contains($0) }.compactMap(LimitChange.init)
            let instances = application.views(at: now).first { $0.name == new.name }?.instances ?? []
            let processes = running(instances.filter { application.settings(of: $0.id) == new })
            guard !changes.isEmpty, !processes.isEmpty else { continue }
            Self.sampling.async { [role = self, keeper = configuration.keeper] in
                let outcome = LimitChange.apply(changes, to: processes, keeper: keeper, stopsAtFailure: false)
                role.queue.async {
                    role.assumeIsolated { role in
                        for line in LimitChange.lines(outcome.settings) { role.log.write(.info, line) }
                        role.noteLimits(outcome.settings, by: "apply")
                        if case .failed(let text) = outcome.failure {
                            role.log.write(.warning, "\(text); it holds from the instance's next start")
                        }
                    }
                }
            }
        }
    }

    // MARK: Gone back

    /// A rollout has failed: who waits for it is shown the last lines of the instances that made it fail.
    func tellRolledBack(_ command: CommandID, _ text: String, _ culprits: [Application.Culprit]) {
        guard commands.isAwaited(command) else { return commands.finish(command, .failed(text), at: now) }
        let times = Dictionary(
            culprits.map { ($0.instance.description, lifetime(of: $0)) }, uniquingKeysWith: { first, _ in first })
        Self.reading.async { [role = self, directory = configuration.logDirectory] in
            var lines: [String] = []
            for (name, time) in times.sorted(by: { $0.key < $1.key }) {
                var filter = LogFilter()
                (filter.since, filter.until) = time
                guard
                    let follower = try? LogFollower(
                        directory: directory, last: Self.lastLines, filter: filter, includes: { $0 == name })
                else { continue }
                while lines.count < 100, let line = try? follower.next() {
                    lines.append("\(line.instance) | \(String(decoding: line.text.prefix(500), as: UTF8.self))")
                }
            }
            let shown = lines
            role.queue.async {
                role.assumeIsolated { role in
                    role.commands.explain(command, shown)
                    role.commands.finish(command, .failed(text), at: role.now)
                }
            }
        }
    }
}

extension SupervisorRole {
    /// From when to when the process was there that made a rollout fail, by the wall clock: what its instance has logged before
    /// and after that is another one's.
    private func lifetime(of culprit: Application.Culprit) -> (since: Int64?, until: Int64?) {
        guard let since = culprit.since else { return (nil, nil) }
        let past = wallClockNanoseconds() &- now.nanoseconds
        let next = application?.lastAsked(culprit.instance).flatMap { since < $0 ? $0 : nil }
        return (past &+ since.nanoseconds, next.map { past &+ $0.nanoseconds })
    }
}

extension PlannedChange {
    init(_ change: Plan.Change) {
        self.init(
            service: change.service, cost: change.cost.rawValue, instances: change.instances,
            fields: change.fields.map { Field(field: $0.field, old: $0.old, new: $0.new) },
            manner: change.manner)
    }
}
