import Manifest

extension Application {
    /// What `status` shows of a service.
    package struct ServiceView: Sendable, Hashable {
        /// The name.
        package var name: String
        /// The state in one word: running, degraded, starting, waiting, stopping, backoff, failed, completed, idle,
        /// down.
        package var state: String
        /// What is wanted.
        package var goal: Goal
        /// How many instances that the manifest asks for are ready (a task: completed).
        package var ready: Int
        /// The instances in order.
        package var instances: [InstanceView]
    }

    /// What `status` shows of an instance.
    package struct InstanceView: Sendable, Hashable {
        /// The instance.
        package var id: InstanceID
        /// The state in one word: down, idle, waiting, starting, running, draining, stopping, backoff, failed, completed.
        package var state: String
        /// What it waits for or why it is not up, for people: `db to be ready`, `next try in 3.2 s`; nil if nothing.
        package var detail: String?
        /// Its current process; nil if it has none.
        package var pid: Int32?
        /// Its current generation; nil if it has none.
        package var generation: Generation?
        /// Its port.
        package var port: UInt16
        /// Whether it is ready.
        package var isReady: Bool
        /// Whether a user has drained it.
        package var isDrained: Bool
        /// What health probes have shown; nil if its service has none.
        package var health: HealthView?
        /// How often it was started again without anybody having asked, since somebody last has.
        package var restarts: Int
        /// When the current process began; nil if it has none.
        package var startedAt: Instant?
        /// What the process says of its status; nil if it has said nothing.
        package var status: String?
        /// The last exit or failed start, for people: `exited with code 1`, `killed by SIGKILL`; nil if none.
        package var lastExit: LastExit?
    }

    /// The last exit of an instance.
    package struct LastExit: Sendable, Hashable, Codable {
        /// How the process ended; nil for a start that failed.
        package var status: ExitStatus?
        /// In words, with the likely cause where it is known.
        package var reason: String
        /// When.
        package var at: Instant
    }
}

extension Application {
    /// All services as `status` shows them, in the order of the manifest.
    package func views(at now: Instant) -> [ServiceView] {
        manifest.services.indices.map { service in
            // Those beyond what the manifest asks for are shown while they are there.
            let shown = layout.instances[service].filter { !isExtra($0) || self.instances[$0].state != .down }
            let instances = shown.map { view(of: $0, at: now) }
            // What sleeps is wanted: whoever connects gets it.
            let goals = shown.map { self.instances[$0].isAsleep == true ? .up : self.instances[$0].goal }
            return ServiceView(
                name: manifest.services[service].name, state: summary(of: service),
                goal: goals.contains(.up) ? .up : .down,
                ready: zip(shown, instances).count { !isExtra($0) && $1.isReady }, instances: instances)
        }
    }

    private func view(of place: Int, at now: Instant) -> InstanceView {
        let instance = instances[place]
        let isTask = service(of: place).kind == .task
        let (state, detail) = description(of: place, at: now)
        return InstanceView(
            id: instance.id, state: state, detail: detail, pid: instance.process?.pid,
            generation: instance.process?.generation, port: instance.process?.port ?? instance.port,
            isReady: state == (isTask ? "completed" : "running"), isDrained: instance.parking != nil,
            health: healthView(of: place),
            restarts: instance.ownRestarts,
            startedAt: instance.process.flatMap { $0.pid == nil ? nil : $0.beganAt },
            status: instance.process == nil ? nil : instance.said?.status, lastExit: instance.lastExit)
    }

    /// The state in one word, and what it waits for or why it is not up.
    private func description(of place: Int, at now: Instant) -> (state: String, detail: String?) {
        let instance = instances[place]
        func left(_ until: Instant) -> String { "at most \(Wording.time(until.elapsed(since: now)))" }
        switch instance.state {
        case .down:
            return instance.isAsleep == true ? ("idle", "asleep: the next connection starts it") : ("down", nil)
        case .waiting: return ("waiting", missing(of: place))
        case .starting(let process, _, let probe):
            guard process.pid != nil else { return ("starting", "the process to begin") }
            return ("starting", probe.map { "to be ready: \($0)\(advice(of: place, process, at: now) ?? "")" })
        case .running:
            if instance.goal == .down { return ("running", "what depends on it to stop first") }
            return (
                "running",
                healthDetail(of: place) ?? canaryDetail(of: place, at: now) ?? blueGreenDetail(of: place)
                    ?? instance.said?.phase.map { "it says that it is \($0.rawValue)" }
            )
        case .stopping(_, let stop):
            // A user has asked for a start meanwhile.
            let rest = instance.goal == .up && stop.cause == .goal ? "; a start waits for that" : ""
            switch stop.phase {
            case .draining(let until): return ("draining", "its connections to end, \(left(until))\(rest)")
            case .terminating(let until, _):
                let who = stop.leaderEnded ? "its leftover processes" : "it"
                return ("stopping", "\(who) to end after SIG\(service(of: place).stop.signal), \(left(until))\(rest)")
            case .killing: return ("stopping", "its processes to end after SIGKILL\(rest)")
            }
        case .backoff(let until): return ("backoff", "next try in \(Wording.time(until.elapsed(since: now)))")
        case .failed(let reason): return ("failed", reason)
        case .completed: return ("completed", nil)
        }
    }

    /// The state of a service in one word: of the instances that are wanted, or of all if none is.
    private func summary(of service: Int) -> String {
        let places = layout.instances[service]
        let wanted = places.filter { instances[$0].goal == .up }
        guard !wanted.isEmpty else {
            if facts[service].present > 0 { return "stopping" }
            return facts[service].isAsleep ? "idle" : "down"
        }
        let isTask = manifest.services[service].kind == .task
        let words = wanted.map { word(instances[$0].state) }
        if words.allSatisfy({ $0 == "completed" }) { return "completed" }
        let running = words.count { $0 == "running" || (isTask && $0 == "completed") }
        // While some are replaced, as many as are asked for serve beside them.
        let serving = wanted.count { takesClients($0) && isOnServingSide($0) }
        let isEnough = !isTask && running > 0 && serving >= manifest.services[service].replicas
        if running == words.count || isEnough { return "running" }
        if running > 0 && !isTask { return "degraded" }
        // The liveliest of the others says what to expect.
        let liveliest = ["running", "starting", "stopping", "backoff", "waiting", "failed", "completed"]
        return liveliest.first(where: words.contains) ?? "down"
    }

    /// A state in one word.
    func word(_ state: Instance.State) -> String {
        switch state {
        case .down: "down"
        case .waiting: "waiting"
        case .starting: "starting"
        case .running: "running"
        case .stopping: "stopping"
        case .backoff: "backoff"
        case .failed: "failed"
        case .completed: "completed"
        }
    }
}
