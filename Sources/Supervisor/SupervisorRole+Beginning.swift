import Dispatch
import Events
import ControlAPI
import FoundationEssentials
import Links
import Logs
import Manifest
import Platform
import Supervision

/// The beginning of a supervisor: from the keeper's inventory to a running application.
extension SupervisorRole {
    /// Names under which the keeper holds this role's descriptors.
    enum Held {
        static let manifest = HeldName.manifest
        static let snapshot = HeldName.snapshot
        static let control = "control"
        static let journal = "log-journal"
        static let eventNumber = "event-number"
        static let usage = "usage"
        static let counts = "counts"
        static let listenerPrefix = "listener "
        static let webPrefix = "web listener "
    }

    /// After this many crashes within 30 s the snapshot is not used: it may be what kills.
    static let crashesUntilFresh = 3

    func inventoryIsComplete(_ inventory: Inventory) {
        guard let welcome = inventory.welcome else { return }
        do {
            let accepted = try acceptedManifest(inventory)
            let manifest = accepted.manifest
            openCounts(inventory)
            try openLog(of: manifest, inventory)
            try openFronts(of: manifest, inventory)
            try openSessionLogs(of: manifest, inventory)
            try openControl(inventory)
            makeParts(for: manifest)
            startBalancer(for: manifest)
            beginWeb(for: manifest)
            manifestInForce = manifest
            runApplication(accepted, inventory, welcome, told: openEvents(inventory, welcome))
            if let (pid, link) = earlyBalancer {
                earlyBalancer = nil
                balancerStarted(pid, link)
            }
            if let (pid, link) = earlyWeb {
                earlyWeb = nil
                webStarted(pid, link)
            }
        } catch {
            for line in error.lines { log.write(.error, line) }
            // With services running it is not the end: the keeper tries another supervisor, with growing pauses.
            if inventory.held[Held.manifest] == nil { exitAll(1) } else { exitProcess(1) }
        }
    }

    /// Why supd cannot begin; complete sentences.
    struct BeginningFailure: Error {
        var lines: [String]

        init(_ lines: [String]) { self.lines = lines }
        init(_ line: String) { lines = [line] }
    }

    /// So long a first start waits for what a killed keeper's roles have not closed yet.
    private static let leftoverPatience: Int64 = 3_000_000_000
    /// And so long if nothing was found: a process that is just ending has no mark any more, but still its sockets.
    private static let endingPatience: Int64 = 500_000_000

    private func endLeftovers() {
        guard let scope = ProcessScope(scope) else { return }
        let outcome = Leftovers.end(scope: scope, keeper: configuration.keeper)
        addressesInUseUntil =
            monotonicNanoseconds() + (outcome.ended.isEmpty ? Self.endingPatience : Self.leftoverPatience)
        for process in outcome.ended { log.write(.warning, "ended \(process), left behind by a supd that was killed") }
        for process in outcome.remaining {
            log.write(.error, "cannot end \(process), left behind by a supd that was killed; end it by hand")
        }
    }

    // MARK: Parts

    /// The manifest that is in force; on a first start the file's.
    private func acceptedManifest(_ inventory: Inventory) throws(BeginningFailure) -> AcceptedManifest {
        if let held = inventory.held[Held.manifest] {
            do {
                let bytes = try MemoryFile(received: held).read(limit: LinkCodec.messageLimit)
                readScaling()
                return try JSONDecoder().decode(AcceptedManifest.self, from: Data(bytes))
            } catch {
                throw BeginningFailure("cannot read the accepted manifest that the keeper holds: \(error)")
            }
        }
        endLeftovers()
        let manifest: Manifest
        do throws(BeginningFailure) {
            manifest = try manifestOfFile()
            isFileInForce = true
        } catch {
            // What ran before is better than nothing, if somebody learns of it.
            guard let (entry, last) = history.lastGood(from: configuration.manifestPath) else { throw error }
            for line in error.lines { log.write(.error, line) }
            log.write(
                .error,
                "\(configuration.manifestPath) CANNOT BE USED: beginning with manifest \(entry.number) of the history, in "
                    + "force since \(entry.at); mend the file, then say \"supctl apply\"")
            manifest = last
        }
        let accepted = AcceptedManifest(revision: 0, manifest: scaled(manifest))
        do {
            try keep(accepted)
        } catch {
            throw BeginningFailure("cannot keep the manifest: \(error)")
        }
        return accepted
    }

    private func manifestOfFile() throws(BeginningFailure) -> Manifest {
        let result: LoadedManifest
        do throws(ManifestFile.Unreadable) {
            result = try ManifestFile.load(configuration.manifestPath, environment: environment)
        } catch {
            throw BeginningFailure(error.text)
        }
        for warning in result.warnings { log.write(.warning, warning.logText) }
        if result.omittedWarnings > 0 { log.write(.warning, "and \(result.omittedWarnings) more warnings") }
        guard let manifest = result.manifest, result.errors.isEmpty else {
            let omitted = result.omittedErrors > 0 ? ["\(result.file): and \(result.omittedErrors) more errors"] : []
            throw BeginningFailure(result.errors.map { "\($0)" } + omitted)
        }
        return manifest
    }

    /// Has the keeper hold what is in force.
    func keep(_ accepted: AcceptedManifest) throws {
        let file = try MemoryFile(name: Held.manifest)
        try file.write([UInt8](JSONEncoder().encode(accepted)), at: 0)
        keeper?.send(.hold(name: Held.manifest), [file.descriptor])
    }

    private func openLog(of manifest: Manifest, _ inventory: Inventory) throws(BeginningFailure) {
        do {
            let pump = try LogPump(
                directory: configuration.logDirectory, journal: inventory.held[Held.journal], counts: counts,
                awaiting: awaitedLines(of: manifest, inventory),
                seen: { [weak self] generation in
                    guard let self else { return }
                    self.queue.async { self.assumeIsolated { $0.sawAwaitedLine(Generation(generation)) } }
                },
                // Tests have a journald of their own.
                systemJournal: environment["SUPD_TEST_JOURNAL"] ?? SystemJournal.standardPath
            ) { [log] notice in
                log.write(.warning, notice.description)
            }
            if inventory.held[Held.journal] !== pump.journal { keeper?.send(.hold(name: Held.journal), [pump.journal]) }
            self.pump = pump
            watchLogDrops()
        } catch {
            throw BeginningFailure("cannot open the logs in \(configuration.logDirectory): \(error)")
        }
    }

    /// Tries again while an address may still be in use by what was just ended.
    private func waitingForLeftovers<Value, Failure: Error>(
        _ code: (Failure) -> Int32, _ body: () throws(Failure) -> Value
    ) throws(Failure) -> Value {
        while true {
            do throws(Failure) {
                return try body()
            } catch {
                guard code(error) == ErrorCode.addressInUse, monotonicNanoseconds() < addressesInUseUntil else {
                    throw error
                }
                pause(for: .milliseconds(20))
            }
        }
    }

    private func openFronts(of manifest: Manifest, _ inventory: Inventory) throws(BeginningFailure) {
        var problems: [String] = []
        for service in manifest.services {
            for settings in service.listen {
                do throws(Front.Failure) {
                    let front = try waitingForLeftovers(\.code) { () throws(Front.Failure) in
                        try Front.open(settings, held: inventory.held, namePrefix: Held.listenerPrefix)
                    }
                    for socket in front.sockets where socket.isNew {
                        keeper?.send(.hold(name: Held.listenerPrefix + socket.id), [socket.descriptor])
                    }
                    if settings.passes {
                        passedFronts[service.name, default: []].append(front)
                    } else {
                        balancer.fronts[service.name, default: []].append(front)
                    }
                } catch {
                    problems.append("\(service.name): \(error.text)")
                }
            }
        }
        do throws(Front.Failure) {
            try waitingForLeftovers(\.code) { () throws(Front.Failure) in
                try openWeb(of: manifest, held: inventory.held)
            }
        } catch {
            problems.append("supd.web: \(error.text)")
        }
        if !problems.isEmpty { throw BeginningFailure(problems) }
    }

    /// The pump reads what the balancer said while no supervisor was there, before it says more.
    private func openSessionLogs(of manifest: Manifest, _ inventory: Inventory) throws(BeginningFailure) {
        for service in manifest.services where service.balance.log && service.isBalanced {
            do {
                let log = try SessionLog(of: service.name, held: inventory.held)
                if log.isNew {
                    keeper?.send(.hold(name: SessionLog.readingName(service.name)), [log.reading])
                    keeper?.send(.hold(name: SessionLog.writingName(service.name)), [log.writing])
                }
                balancer.sessionLogs[service.name] = log
                pump?.attachSessions(
                    of: service.name, pipe: log.reading, maxSize: service.log.maxSize, keep: service.log.keep)
            } catch {
                throw BeginningFailure("\(service.name): cannot make a pipe for the log of its sessions: \(error)")
            }
        }
    }

    private func openControl(_ inventory: Inventory) throws(BeginningFailure) {
        let listener: Descriptor
        if let held = inventory.held[Held.control] {
            listener = held
        } else {
            do {
                listener = try waitingForLeftovers(\.code) { () throws(SystemError) in
                    try listen(on: .unix(configuration.controlSocket), backlog: 128, mode: 0o660)
                }
                try changeMode(of: configuration.controlSocket, to: 0o660)
            } catch {
                throw BeginningFailure("cannot open the control socket: \(error)")
            }
            keeper?.send(.hold(name: Held.control), [listener])
        }
        do {
            control = try ControlServer(listener: listener, queue: queue) { [weak self] request, peer, responder in
                let responder = QueueConfined(responder)
                self?.assumeIsolated { $0.answer(request, from: peer, responder.value) }
            }
        } catch {
            throw BeginningFailure("cannot serve the control socket: \(error)")
        }
    }

    /// Plans starts with the addresses of this manifest's services.
    func makePlanner(for manifest: Manifest) {
        let addresses = ServiceAddresses(manifest)
        planner = SpawnPlanner(
            scope: scope, ownEnvironment: environment, noticeDirectory: noticeDirectory
        ) { _, service, instance, port in
            addresses.environment(of: service.name, instance: instance, port: port)
        }
        planner?.passedSockets = passedFronts.mapValues { fronts in
            fronts.flatMap(\.sockets).map { Held.listenerPrefix + $0.id }
        }
    }

    private func makeParts(for manifest: Manifest) {
        makeNoticeSockets()
        makeReadyPipes()
        makePlanner(for: manifest)
        makeProbers()
    }

    // MARK: The application

    private func runApplication(
        _ accepted: AcceptedManifest, _ inventory: Inventory, _ welcome: Inventory.Welcome, told: EventLedger
    ) {
        var children: [Application.SurvivingChild] = []
        for child in inventory.children {
            if let label = ChildLabel(child.label), label.role == .leader {
                children.append(
                    Application.SurvivingChild(
                        generation: label.generation, instance: label.instance, port: label.port,
                        pid: child.state == .spawning ? nil : child.pid, hasExited: child.state == .exited,
                        saidReady: label.saidReady))
            } else if child.state == .exited {
                keeper?.send(.release(id: child.id))
            } else {
                // A probe: nobody waits for its answer any more.
                probeCommands.adopt(child.id)
                keeper?.send(.signal(id: child.id, number: Signals.killNumber, group: true))
            }
        }
        let manifest = accepted.manifest
        let snapshot = welcome.crashes >= Self.crashesUntilFresh ? nil : restoredApplication(accepted, inventory)
        if welcome.crashes >= Self.crashesUntilFresh {
            log.write(.warning, "\(welcome.crashes) crashes within 30 s: beginning without the snapshot")
        }
        let isFirst = inventory.held[Held.manifest] == nil
        application =
            snapshot
            ?? Application(manifest: manifest, revision: accepted.revision, leaving: accepted.leaving)
        keptSnapshot = snapshot?.snapshot
        application?.recall(told)
        for child in inventory.children {
            if let label = ChildLabel(child.label), label.role == .leader {
                attach(label.generation, label.instance, child.output)
            }
        }
        mayHaveIdle = application?.hasIdleSettings ?? false
        autoScaling.isWanted = application?.hasScalingRules ?? false
        takeOverUsage(inventory, welcome)
        if let application { bringSamplingIntoLine(with: application) }
        pump?.attachmentsComplete()
        adoptNoticeSockets(inventory)
        adoptReadyPipes(inventory)
        if isFirst {
            endStaleHistory()
            if isFileInForce {
                record(manifest, by: "the start of supd", nil, from: configuration.manifestPath, .started)
            }
            progress.begin(at: now)
            log.write(
                .info, "starting \(Amount.text(manifest.services.count, "service")) of \(configuration.manifestPath)")
            take(.started)
        } else {
            log.write(
                .notice, "resumed with \(Amount.text(children.count, "process", "processes")); nothing was stopped")
            let highest = ProbeCommands.highestGeneration(welcome.highestID, children.map(\.generation.number))
            let effects =
                application?.resume(children: children, highestGeneration: Generation(highest), at: now) ?? []
            isShuttingDown = application?.isShuttingDown ?? false
            endStaleHistory()
            balancer.routesAreStale = true
            performAll(effects)
        }
        bringScalingIntoLine()
        keeper?.send(.ready)
        upkeep.request()
    }

    private func restoredApplication(_ accepted: AcceptedManifest, _ inventory: Inventory) -> Application? {
        guard let held = inventory.held[Held.snapshot] else { return nil }
        do {
            let bytes = try MemoryFile(received: held).read(limit: LinkCodec.messageLimit)
            let snapshot = try JSONDecoder().decode(Snapshot.self, from: Data(bytes))
            do throws(SnapshotMismatch) {
                return try Application(manifest: accepted.manifest, revision: accepted.revision, snapshot: snapshot)
            } catch {
                // The one before was lost between the manifest and the snapshot that belongs to it.
                guard let kept = accepted.snapshot else { throw error }
                return try Application(manifest: accepted.manifest, revision: accepted.revision, snapshot: kept)
            }
        } catch {
            log.write(.warning, "cannot read the snapshot (\(error)): beginning from the processes themselves")
            return nil
        }
    }
}
