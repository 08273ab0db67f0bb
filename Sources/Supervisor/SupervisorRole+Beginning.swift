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
        static let manifest = "manifest"
        static let snapshot = "snapshot"
        static let control = "control"
        static let journal = "log-journal"
        static let listenerPrefix = "listener "
    }

    /// After this many crashes within 30 s the snapshot is not used: it may be what kills.
    private static let crashesUntilFresh = 3

    func inventoryIsComplete(_ inventory: Inventory) {
        guard let welcome = inventory.welcome else { return }
        do {
            let manifest = try acceptedManifest(inventory)
            try openLog(inventory)
            try openFronts(of: manifest, inventory)
            try openControl(inventory)
            makeParts(for: manifest)
            startBalancer(for: manifest)
            runApplication(manifest, inventory, welcome)
        } catch {
            for line in error.lines { log.write(.error, line) }
            exitAll(1)
        }
    }

    /// Why supd cannot begin; complete sentences.
    struct BeginningFailure: Error {
        var lines: [String]

        init(_ lines: [String]) { self.lines = lines }
        init(_ line: String) { lines = [line] }
    }

    private func endLeftovers() {
        guard let scope = ProcessScope(scope) else { return }
        let outcome = Leftovers.end(scope: scope, keeper: configuration.keeper)
        for process in outcome.ended { log.write(.warning, "ended \(process), left behind by a supd that was killed") }
        for process in outcome.remaining {
            log.write(.error, "cannot end \(process), left behind by a supd that was killed; end it by hand")
        }
    }

    // MARK: Parts

    /// The manifest that is in force; on a first start the file's.
    private func acceptedManifest(_ inventory: Inventory) throws(BeginningFailure) -> Manifest {
        if let held = inventory.held[Held.manifest] {
            do {
                let bytes = try MemoryFile(received: held).read(limit: LinkCodec.messageLimit)
                return try JSONDecoder().decode(Manifest.self, from: Data(bytes))
            } catch {
                throw BeginningFailure("cannot read the accepted manifest that the keeper holds: \(error)")
            }
        }
        endLeftovers()
        let result: LoadedManifest
        do throws(ManifestFile.Unreadable) {
            result = try ManifestFile.load(configuration.manifestPath, environment: environment)
        } catch {
            throw BeginningFailure(error.text)
        }
        for warning in result.warnings { log.write(.warning, "\(warning)") }
        guard let manifest = result.manifest, result.errors.isEmpty else {
            throw BeginningFailure(result.errors.map { "\($0)" })
        }
        do {
            let data = try JSONEncoder().encode(manifest)
            let file = try MemoryFile(name: Held.manifest)
            try file.write([UInt8](data), at: 0)
            keeper?.send(.hold(name: Held.manifest), [file.descriptor])
        } catch {
            throw BeginningFailure("cannot keep the manifest: \(error)")
        }
        return manifest
    }

    private func openLog(_ inventory: Inventory) throws(BeginningFailure) {
        do {
            let pump = try LogPump(
                directory: configuration.logDirectory, journal: inventory.held[Held.journal]
            ) { [log] notice in
                log.write(.warning, notice.description)
            }
            if inventory.held[Held.journal] !== pump.journal { keeper?.send(.hold(name: Held.journal), [pump.journal]) }
            self.pump = pump
        } catch {
            throw BeginningFailure("cannot open the logs in \(configuration.logDirectory): \(error)")
        }
    }

    private func openFronts(of manifest: Manifest, _ inventory: Inventory) throws(BeginningFailure) {
        var problems: [String] = []
        for service in manifest.services {
            for address in service.listen {
                do throws(FrontFailure) {
                    let front = try Front.open(address, held: inventory.held, namePrefix: Held.listenerPrefix)
                    for socket in front.sockets where socket.isNew {
                        keeper?.send(.hold(name: Held.listenerPrefix + socket.id), [socket.descriptor])
                    }
                    balancer.fronts[service.name, default: []].append(front)
                } catch {
                    problems.append("\(service.name): \(error.text)")
                }
            }
        }
        if !problems.isEmpty { throw BeginningFailure(problems) }
    }

    private func openControl(_ inventory: Inventory) throws(BeginningFailure) {
        let listener: Descriptor
        if let held = inventory.held[Held.control] {
            listener = held
        } else {
            do {
                listener = try listen(on: .unix(configuration.controlSocket), backlog: 128)
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

    private func makeParts(for manifest: Manifest) {
        let addresses = ServiceAddresses(manifest)
        let nofile = configuration.originalNofile
        planner = SpawnPlanner(
            scope: scope, ownEnvironment: environment,
            originalNofile: nofile.count == 2 ? LimitPair(soft: nofile[0], hard: nofile[1]) : nil
        ) { _, service, instance, port in
            addresses.environment(of: service.name, instance: instance, port: port)
        }
        prober = Prober(
            queue: queue, keeper: configuration.keeper,
            runCommand: { [weak self] plan, completion in
                let completion = QueueConfined(completion)
                let id = self?.assumeIsolated { $0.runProbeCommand(plan, completion.value) }
                return { [weak self] in
                    if let id { self?.assumeIsolated { $0.endProbeCommand(id) } }
                }
            },
            report: { [weak self] generation, passed, detail in
                self?.assumeIsolated { $0.take(.probed(generation, passed: passed, detail: detail)) }
            },
            note: { [log] in log.write(.notice, $0) })
    }

    // MARK: The application

    private func runApplication(_ manifest: Manifest, _ inventory: Inventory, _ welcome: Inventory.Welcome) {
        var children: [Application.SurvivingChild] = []
        for child in inventory.children {
            if let label = ChildLabel(child.label), label.role == .leader {
                children.append(
                    Application.SurvivingChild(
                        generation: label.generation, instance: label.instance, port: label.port,
                        pid: child.state == .spawning ? nil : child.pid))
            } else {
                // A probe: nobody waits for its answer any more.
                probeCommands.adopt(child.id)
                keeper?.send(.signal(id: child.id, number: Signals.killNumber, group: true))
            }
        }
        let snapshot = welcome.crashes >= Self.crashesUntilFresh ? nil : restoredApplication(manifest, inventory)
        if welcome.crashes >= Self.crashesUntilFresh {
            log.write(.warning, "\(welcome.crashes) crashes within 30 s: beginning without the snapshot")
        }
        let isFirst = inventory.held[Held.manifest] == nil
        application = snapshot ?? Application(manifest: manifest)
        for child in inventory.children {
            if let label = ChildLabel(child.label), label.role == .leader {
                attach(label.generation, label.instance, child.output)
            }
        }
        pump?.attachmentsComplete()
        if isFirst {
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
            balancer.routesAreStale = true
            performAll(effects)
        }
        keeper?.send(.ready)
        upkeep.request()
    }

    private func restoredApplication(_ manifest: Manifest, _ inventory: Inventory) -> Application? {
        guard let held = inventory.held[Held.snapshot] else { return nil }
        do {
            let bytes = try MemoryFile(received: held).read(limit: LinkCodec.messageLimit)
            return try JSONDecoder().decode(Application.self, from: Data(bytes))
        } catch {
            log.write(.warning, "cannot read the snapshot (\(error)): beginning from the processes themselves")
            return nil
        }
    }

    // MARK: Upkeep

    /// What may lag behind by a tenth of a second: the snapshot, the status line, the progress of the start.
    func doUpkeep() {
        upkeep.began()
        guard let application else { return }
        do {
            let data = try JSONEncoder().encode(application)
            let file = try MemoryFile(name: Held.snapshot)
            try file.write([UInt8](data), at: 0)
            keeper?.send(.hold(name: Held.snapshot), [file.descriptor])
        } catch {
            log.write(.error, "cannot keep a snapshot: \(error)")
        }
        let views = application.views(at: now)
        let addresses = Dictionary(
            application.manifest.services.map { service in
                (service.name, (balancer.fronts[service.name] ?? []).map { service.opened($0.address) })
            }, uniquingKeysWith: +)
        for line in progress.lines(views, addresses: addresses, at: now) { log.write(.info, line) }
        let status = progress.statusLine(views, isShuttingDown: isShuttingDown)
        if status != upkeep.lastStatus {
            upkeep.lastStatus = status
            keeper?.send(.status(status))
        }
        if isShuttingDown { keeper?.send(.stopping(microseconds: application.longestStop)) }
    }
}
