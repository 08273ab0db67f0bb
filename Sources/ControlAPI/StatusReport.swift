/// The answer to `GET /v1/status`. Keys never change their meaning; numbers are numbers, what is absent is null.
package struct StatusReport: Codable, Sendable, Equatable {
    /// The services in the order of the manifest.
    package var services: [ServiceStatus]
    /// The daemon itself.
    package var daemon: DaemonStatus

    /// Creates a report.
    package init(services: [ServiceStatus], daemon: DaemonStatus) {
        self.services = services
        self.daemon = daemon
    }
}

/// The daemon's own processes.
package struct DaemonStatus: Codable, Sendable, Equatable {
    /// The version of supd.
    package var version: String
    /// The manifest's path.
    package var manifest: String
    /// The process ids of the roles: keeper, supervisor, balancer.
    package var roles: [String: Int32]
    /// Since the keeper began, in seconds.
    package var uptimeSeconds: Double
    /// The absolute directory of the logs.
    package var logDirectory: String
    /// The number of the last event; null from an older supd.
    package var lastEvent: UInt64?

    /// Creates an entry.
    package init(
        version: String, manifest: String, roles: [String: Int32], uptimeSeconds: Double, logDirectory: String,
        lastEvent: UInt64? = nil
    ) {
        self.version = version
        self.manifest = manifest
        self.roles = roles
        self.uptimeSeconds = uptimeSeconds
        self.logDirectory = logDirectory
        self.lastEvent = lastEvent
    }
}

/// One service.
package struct ServiceStatus: Codable, Sendable, Equatable {
    /// The name.
    package var name: String
    /// `service` or `task`.
    package var kind: String
    /// running, degraded, starting, waiting, stopping, backoff, failed, completed, idle, down.
    package var state: String
    /// `up` or `down`.
    package var goal: String
    /// How many instances are ready.
    package var ready: Int
    /// How many there should be.
    package var replicas: Int
    /// How many the manifest says, where a user has scaled it; null if it is as the manifest says, or from an older supd.
    package var scaledFrom: Int?
    /// How it scales itself, `1 to 4, 50 connections each`; null if it does not, or from an older supd.
    package var scaling: String?
    /// Why it cannot have as many instances as its load asks for; null if it has, or from an older supd.
    package var scalingHindrance: String?
    /// The addresses of its fronts.
    package var listen: [String]
    /// Those of them whose sockets the instances have themselves; null from an older supd.
    package var passed: [String]?
    /// What its lines are, by `log.format`: `text` or `json`; null from an older supd.
    package var logFormat: String?
    /// What shows that an instance is ready: `started`, `tcp`, `http PATH`, `command`, `notify`, `descriptor N` or `log`; null of
    /// a task, and from an older supd.
    package var readiness: String?
    /// Its limits by name as the manifest says; null if it says none, or from an older supd.
    package var limits: [String: LimitStatus]?
    /// Counters of its fronts, in the order of `listen`; null when the balancer did not answer.
    package var fronts: [FlowStatus]?
    /// Its instances.
    package var instances: [InstanceStatus]

    /// Creates an entry.
    package init(
        name: String, kind: String, state: String, goal: String, ready: Int, replicas: Int, scaledFrom: Int? = nil,
        scaling: String? = nil, scalingHindrance: String? = nil, listen: [String], passed: [String]? = [],
        logFormat: String? = "text", readiness: String? = nil, limits: [String: LimitStatus]? = nil,
        fronts: [FlowStatus]?, instances: [InstanceStatus]
    ) {
        self.name = name
        self.kind = kind
        self.state = state
        self.goal = goal
        self.ready = ready
        self.replicas = replicas
        self.scaledFrom = scaledFrom
        self.scaling = scaling
        self.scalingHindrance = scalingHindrance
        self.listen = listen
        self.passed = passed
        self.logFormat = logFormat
        self.readiness = readiness
        self.limits = limits
        self.fronts = fronts
        self.instances = instances
    }
}

/// The balancer's counters of a front or an instance, since the balancer's start.
package struct FlowStatus: Codable, Sendable, Equatable {
    /// The front's address; null for an instance.
    package var address: String?
    /// Connections open now.
    package var connections: UInt64
    /// Connections ever.
    package var connectionsTotal: UInt64
    /// Bytes from clients.
    package var bytesIn: UInt64
    /// Bytes to clients.
    package var bytesOut: UInt64
    /// Connects that failed.
    package var connectErrors: UInt64
    /// Connections that went on to another instance after a failed connect.
    package var retries: UInt64
    /// Connections waiting for an instance now; null for an instance, since the queue is the service's.
    package var queued: UInt64?
    /// Connections closed or reset without having reached an instance; null for an instance.
    package var turnedAway: UInt64?

    /// Creates counters.
    package init(
        address: String?, connections: UInt64, connectionsTotal: UInt64, bytesIn: UInt64, bytesOut: UInt64,
        connectErrors: UInt64, retries: UInt64, queued: UInt64? = nil, turnedAway: UInt64? = nil
    ) {
        self.address = address
        self.connections = connections
        self.connectionsTotal = connectionsTotal
        self.bytesIn = bytesIn
        self.bytesOut = bytesOut
        self.connectErrors = connectErrors
        self.retries = retries
        self.queued = queued
        self.turnedAway = turnedAway
    }
}

/// One instance.
package struct InstanceStatus: Codable, Sendable, Equatable {
    /// `api/2`.
    package var id: String
    /// down, idle, waiting, starting, running, draining, stopping, backoff, failed, completed.
    package var state: String
    /// What it waits for, or why it is not up, for people.
    package var detail: String?
    /// The current process.
    package var pid: Int32?
    /// Its port.
    package var port: UInt16?
    /// Whether it is ready.
    package var ready: Bool
    /// Whether a user has drained it: it takes no connections, ready or not. Null from a supd that knows no draining.
    package var drained: Bool?
    /// What the process says of its status (STATUS= of sd_notify(3)); null if nothing, or from an older supd.
    package var statusText: String?
    /// What health probes have shown; null if its service has none.
    package var health: HealthStatus?
    /// How often it was started again without anybody having asked, since somebody last has: after an exit, or for its health.
    package var restarts: Int
    /// Since the process began.
    package var uptimeSeconds: Double?
    /// CPU time of the instance's processes since the process began, over that time, in per cent of one core.
    package var cpuPercent: Double?
    /// Resident memory of the instance's processes.
    package var memoryBytes: UInt64?
    /// The last exit or failed start.
    package var lastExit: ExitReport?
    /// What was dropped of its output because it could not be written, or was more than `log.rate`, since supd began; null if
    /// nothing.
    package var droppedOutput: DroppedOutput?
    /// What systemd's journal has not got of its lines, since supd began; null if nothing, or from an older supd.
    package var notInJournal: DroppedOutput?
    /// The limits in force by name, read from /proc/PID/limits; only where a single service was asked for.
    package var limits: [String: LimitStatus]?
    /// The balancer's counters of this instance.
    package var flow: FlowStatus?

    /// Creates an entry.
    package init(
        id: String, state: String, detail: String? = nil, pid: Int32? = nil, port: UInt16? = nil, ready: Bool,
        drained: Bool? = false, statusText: String? = nil, health: HealthStatus? = nil, restarts: Int,
        uptimeSeconds: Double? = nil, cpuPercent: Double? = nil,
        memoryBytes: UInt64? = nil,
        lastExit: ExitReport? = nil, droppedOutput: DroppedOutput? = nil, notInJournal: DroppedOutput? = nil,
        limits: [String: LimitStatus]? = nil, flow: FlowStatus? = nil
    ) {
        self.id = id
        self.state = state
        self.detail = detail
        self.pid = pid
        self.port = port
        self.ready = ready
        self.drained = drained
        self.statusText = statusText
        self.health = health
        self.restarts = restarts
        self.uptimeSeconds = uptimeSeconds
        self.cpuPercent = cpuPercent
        self.memoryBytes = memoryBytes
        self.lastExit = lastExit
        self.droppedOutput = droppedOutput
        self.notInJournal = notInJournal
        self.limits = limits
        self.flow = flow
    }
}

/// How an instance ended last.
package struct ExitReport: Codable, Sendable, Equatable {
    /// The exit code; null if a signal ended it, or it was never started.
    package var code: Int32?
    /// The signal's name, `SIGKILL`.
    package var signal: String?
    /// In words.
    package var reason: String
    /// When, RFC 3339 in UTC.
    package var at: String

    /// Creates an entry.
    package init(code: Int32?, signal: String?, reason: String, at: String) {
        self.code = code
        self.signal = signal
        self.reason = reason
        self.at = at
    }
}

/// Output of an instance that is in no log.
package struct DroppedOutput: Codable, Sendable, Equatable {
    /// Whole lines.
    package var lines: UInt64
    /// Bytes, those of parts of lines too.
    package var bytes: UInt64
    /// Why the last of them could not be written, in words.
    package var reason: String

    /// Creates an entry.
    package init(lines: UInt64, bytes: UInt64, reason: String) {
        self.lines = lines
        self.bytes = bytes
        self.reason = reason
    }
}

/// One limit in force.
package struct LimitStatus: Codable, Sendable, Equatable {
    /// The soft limit; null is unlimited.
    package var soft: UInt64?
    /// The hard limit; null is unlimited.
    package var hard: UInt64?

    /// Creates an entry.
    package init(soft: UInt64?, hard: UInt64?) {
        self.soft = soft
        self.hard = hard
    }
}

/// A refused or failed request: `{"error": {"code": "no-such-name", "message": "…"}}`.
package struct ErrorReport: Codable, Sendable, Equatable {
    /// What went wrong.
    package struct Body: Codable, Sendable, Equatable {
        /// A word for programs: usage, no-such-name, failed, timeout, shutting-down.
        package var code: String
        /// A sentence for people.
        package var message: String
    }

    /// What went wrong.
    package var error: Body

    /// Creates a report.
    package init(code: String, message: String) { error = Body(code: code, message: message) }
}

/// One line of the answer to a verb, as JSON lines: what it waits for, and last its outcome.
package struct ProgressLine: Codable, Sendable, Equatable {
    /// What the verb waits for now.
    package var waiting: String?
    /// In the last line: done, failed, timeout.
    package var result: String?
    /// In the last line: why it failed, or what was done.
    package var message: String?
    /// In the last line, after `done`: false if it was so before and nothing was done, of which the message is a sentence.
    package var changed: Bool?
    /// Of `apply`: what it changes, before anything is done.
    package var plan: [PlannedChange]?
    /// Lines to show below the message, or before the plan: the manifest's errors and warnings, an instance's last output.
    package var details: [String]?
    /// In the last line of an apply that has failed for no other reason than that a user has sent its rollout back: who.
    package var rolledBackBy: String?

    /// Creates a line.
    package init(
        waiting: String? = nil, result: String? = nil, message: String? = nil, changed: Bool? = nil,
        plan: [PlannedChange]? = nil, details: [String]? = nil, rolledBackBy: String? = nil
    ) {
        self.waiting = waiting
        self.result = result
        self.message = message
        self.changed = changed
        self.plan = plan
        self.details = details
        self.rolledBackBy = rolledBackBy
    }
}

// What is absent is null, never left out: a reader of `status --json` can tell "none" from "a key I misspelt". The
// synthesized encoding leaves nil out, so every type with an optional property encodes itself. Reading is synthesized:
// it takes null and absence alike.

extension ServiceStatus {
    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(name, forKey: .name)
        try container.encode(kind, forKey: .kind)
        try container.encode(state, forKey: .state)
        try container.encode(goal, forKey: .goal)
        try container.encode(ready, forKey: .ready)
        try container.encode(replicas, forKey: .replicas)
        try container.encode(scaledFrom, forKey: .scaledFrom)
        try container.encode(scaling, forKey: .scaling)
        try container.encode(scalingHindrance, forKey: .scalingHindrance)
        try container.encode(listen, forKey: .listen)
        try container.encode(passed, forKey: .passed)
        try container.encode(logFormat, forKey: .logFormat)
        try container.encode(readiness, forKey: .readiness)
        try container.encode(limits, forKey: .limits)
        try container.encode(fronts, forKey: .fronts)
        try container.encode(instances, forKey: .instances)
    }
}

extension FlowStatus {
    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(address, forKey: .address)
        try container.encode(connections, forKey: .connections)
        try container.encode(connectionsTotal, forKey: .connectionsTotal)
        try container.encode(bytesIn, forKey: .bytesIn)
        try container.encode(bytesOut, forKey: .bytesOut)
        try container.encode(connectErrors, forKey: .connectErrors)
        try container.encode(retries, forKey: .retries)
        try container.encode(queued, forKey: .queued)
        try container.encode(turnedAway, forKey: .turnedAway)
    }
}

extension InstanceStatus {
    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(id, forKey: .id)
        try container.encode(state, forKey: .state)
        try container.encode(detail, forKey: .detail)
        try container.encode(pid, forKey: .pid)
        try container.encode(port, forKey: .port)
        try container.encode(ready, forKey: .ready)
        try container.encode(drained, forKey: .drained)
        try container.encode(statusText, forKey: .statusText)
        try container.encode(health, forKey: .health)
        try container.encode(restarts, forKey: .restarts)
        // JSON has no infinity: a figure that is none is absent.
        try container.encode(uptimeSeconds.flatMap(finite), forKey: .uptimeSeconds)
        try container.encode(cpuPercent.flatMap(finite), forKey: .cpuPercent)
        try container.encode(memoryBytes, forKey: .memoryBytes)
        try container.encode(lastExit, forKey: .lastExit)
        try container.encode(droppedOutput, forKey: .droppedOutput)
        try container.encode(notInJournal, forKey: .notInJournal)
        try container.encode(limits, forKey: .limits)
        try container.encode(flow, forKey: .flow)
    }

    private func finite(_ number: Double) -> Double? { number.isFinite ? number : nil }
}

extension ExitReport {
    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(code, forKey: .code)
        try container.encode(signal, forKey: .signal)
        try container.encode(reason, forKey: .reason)
        try container.encode(at, forKey: .at)
    }
}

extension LimitStatus {
    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(soft, forKey: .soft)
        try container.encode(hard, forKey: .hard)
    }
}
