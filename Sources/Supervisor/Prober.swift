package import Dispatch
package import Links
package import Manifest
import Platform
package import Supervision

/// Probes instances for readiness. Lives on one serial queue: call it there; it calls back there, and never from within
/// `begin` or `end`. Nothing wakes up while nothing is probed.
///
/// A probe is tried at once, then again with growing pauses until it passes or is ended; of a generation only one try
/// runs at a time, and of all together 64.
package final class Prober {
    /// What is to be probed.
    package struct Target {
        /// How.
        package enum Check {
            /// The port accepts connections, and its listener belongs to the instance.
            case tcp
            /// A GET of this path on the port answers with a status of 200 to 399; the listener as with `tcp`.
            case http(path: String)
            /// A process exits with 0. The plan's id is for whoever runs it to set, anew each time.
            case command(SpawnPlan)
        }

        /// The instance's processes.
        package var instance: InstanceProcesses.Instance
        /// Its port.
        package var port: UInt16
        /// How to probe.
        package var check: Check
        /// The PROXY protocol that the instance expects of whoever connects.
        package var proxyProtocol: BalanceSettings.ProxyProtocol?

        /// Creates a target.
        package init(
            instance: InstanceProcesses.Instance, port: UInt16, check: Check,
            proxyProtocol: BalanceSettings.ProxyProtocol? = nil
        ) {
            self.instance = instance
            self.port = port
            self.check = check
            self.proxyProtocol = proxyProtocol
        }
    }

    /// How a command ended.
    package enum CommandResult: Sendable, Hashable {
        /// It ran; the first of its output, as far as it is at hand.
        case exited(ExitStatus, output: String)
        /// It was not started; the text is complete.
        case notStarted(String)
    }

    /// Runs a command and calls back once with its result; what is returned ends it early (it may call back or not then).
    package typealias RunCommand = (_ plan: SpawnPlan, _ completion: @escaping (CommandResult) -> Void) -> (() -> Void)

    /// The most tries at the same time.
    static let concurrencyLimit = 64

    private let queue: DispatchQueue
    private let timer: any DispatchSourceTimer
    private let runCommand: RunCommand
    private let report: (Generation, _ passed: Bool, _ detail: String) -> Void
    private let note: (String) -> Void
    private var owner: ListenerOwner
    private var probes: [Generation: Probe] = [:]
    private var running = 0
    private var lingering: [LingeringConnection] = []
    private var hasNotedUnknownOwner = false
    /// Within `timeCame`, which arms the timer once at its end.
    private var isWorking = false

    /// Creates a prober.
    /// - Parameters:
    ///   - keeper: the keeper's pid, whose descendants all instances are.
    ///   - report: gets each pass, after which the generation is not probed any more, and each failure whose text is not
    ///     that of the one before.
    ///   - note: gets lines for supd's log.
    package init(
        queue: DispatchQueue, keeper: Int32, runCommand: @escaping RunCommand,
        report: @escaping (Generation, _ passed: Bool, _ detail: String) -> Void, note: @escaping (String) -> Void
    ) {
        self.queue = queue
        self.runCommand = runCommand
        self.report = report
        self.note = note
        owner = ListenerOwner(keeper: keeper)
        timer = DispatchSource.makeTimerSource(queue: queue)
        timer.setEventHandler { [weak self] in self?.timeCame() }
        timer.schedule(deadline: .distantFuture)
        timer.activate()
    }

    deinit {
        timer.cancel()
        for probe in probes.values { probe.attempt?.end() }
        for connection in lingering { connection.end() }
    }

    /// Begins to probe; takes the place of an earlier target of the same generation.
    package func begin(_ target: Target) {
        end(target.instance.generation)
        probes[target.instance.generation] = Probe(target, now: monotonicNanoseconds())
        armTimer()
    }

    /// Ends probing of a generation: nothing more is reported of it. Nothing happens if it is not probed.
    package func end(_ generation: Generation) {
        guard let probe = probes.removeValue(forKey: generation) else { return }
        if let attempt = probe.attempt {
            attempt.end()
            running -= 1
        }
        armTimer()
    }

    // MARK: Time

    /// One generation being probed.
    private final class Probe {
        let target: Target
        let pacing: ProbePacing
        var dueAt: Int64
        /// The try that runs; nil between tries.
        var attempt: Attempt?
        var tries = 0
        var lastFailure: String?

        init(_ target: Target, now: Int64) {
            self.target = target
            pacing = ProbePacing(startedAt: now, isCommand: target.isCommand)
            dueAt = now
        }
    }

    private func timeCame() {
        isWorking = true
        defer {
            isWorking = false
            armTimer()
        }
        let now = monotonicNanoseconds()
        for probe in probes.values {
            guard let attempt = probe.attempt, attempt.deadline <= now else { continue }
            finish(probe, attempt, .failed(attempt.timeoutText))
        }
        lingering.removeAll { connection in
            guard connection.deadline <= now else { return false }
            connection.end()
            return true
        }
        let due = probes.values.filter { $0.attempt == nil && $0.dueAt <= now }.sorted { $0.dueAt < $1.dueAt }
        // The rest in the next turn, so that other work on the queue gets its own in between.
        for probe in due.prefix(Self.concurrencyLimit) {
            guard running < Self.concurrencyLimit else { break }
            // A result reported meanwhile may have ended it.
            if probes[probe.target.instance.generation] === probe { start(probe) }
        }
    }

    private func armTimer() {
        guard !isWorking else { return }
        var next = Int64.max
        for probe in probes.values {
            if let attempt = probe.attempt {
                next = min(next, attempt.deadline)
            } else if running < Self.concurrencyLimit {
                next = min(next, probe.dueAt)
            }
        }
        for connection in lingering { next = min(next, connection.deadline) }
        if next == .max {
            timer.schedule(deadline: .distantFuture)
        } else {
            let pause = max(0, next - monotonicNanoseconds())
            timer.schedule(deadline: .now() + .nanoseconds(Int(pause)), leeway: .milliseconds(1))
        }
    }

    // MARK: One try

    private func start(_ probe: Probe) {
        running += 1
        probe.tries += 1
        switch probe.target.check {
        case .tcp: connect(probe)
        case .http: connect(probe)
        case .command(let plan): run(plan, for: probe)
        }
    }

    private func finish(_ probe: Probe, _ attempt: Attempt, _ result: ProbeResult) {
        let generation = probe.target.instance.generation
        guard probe.attempt === attempt, probes[generation] === probe else { return }
        attempt.end()
        probe.attempt = nil
        running -= 1
        switch result {
        case .passed(let detail):
            probes[generation] = nil
            report(generation, true, detail)
        case .failed(let detail):
            let now = monotonicNanoseconds()
            probe.dueAt = now + probe.pacing.pause(afterTry: probe.tries, now: now)
            if probe.lastFailure != detail {
                probe.lastFailure = detail
                report(generation, false, detail)
            }
        }
        armTimer()
    }

    // MARK: tcp and http

    private func connect(_ probe: Probe) {
        let port = probe.target.port
        let attempt = Attempt(timeout: .seconds(1), timeoutText: "no answer to a connect to port \(port) within 1 s")
        probe.attempt = attempt
        do {
            let connection = try LoopbackConnection(port: port)
            attempt.connection = connection
            try goOnConnecting(probe, attempt, connection)
        } catch {
            finish(probe, attempt, .failed(Self.text(error, port: port)))
        }
    }

    /// On loopback the answer is there at once, unless the listener's queue is full.
    private func goOnConnecting(_ probe: Probe, _ attempt: Attempt, _ connection: LoopbackConnection)
        throws(SystemError)
    {
        switch try connection.progress() {
        case .connected:
            attempt.watch(nil)
            try connected(probe, attempt, connection)
        case .connectedToItself:
            finish(probe, attempt, .failed("nothing listens on port \(probe.target.port)"))
        case .pending:
            guard attempt.source == nil else { return }
            let source = DispatchSource.makeWriteSource(fileDescriptor: connection.descriptor.raw, queue: queue)
            watch(source, probe, attempt, connection) { prober throws(SystemError) in
                try prober.goOnConnecting(probe, attempt, connection)
            }
        }
    }

    private func connected(_ probe: Probe, _ attempt: Attempt, _ connection: LoopbackConnection) throws(SystemError) {
        let port = probe.target.port
        switch owner.find(port: port, instance: probe.target.instance) {
        case .own: break
        case .unknown:
            if !hasNotedUnknownOwner {
                hasNotedUnknownOwner = true
                note(
                    "cannot see which process listens on port \(port): readiness probes will accept any listener where "
                        + "this is so; run supd as root to have it checked")
            }
        case .nobody:
            // Gone again since, or of a kind that a look at the tables does not show: the next try will tell.
            return finish(probe, attempt, .failed("nothing listens on port \(port)"))
        case .stranger(let holder):
            return finish(probe, attempt, .failed("port \(port) is held by \(holder), which is not of this instance"))
        }
        guard case .http(let path) = probe.target.check else {
            return finish(probe, attempt, .passed("port \(port) accepts connections"))
        }
        guard path.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7f }), path.hasPrefix("/") else {
            return finish(probe, attempt, .failed("'\(path)' is no path that a GET could ask for"))
        }
        attempt.extend(to: .seconds(5), timeoutText: "GET \(path): no answer within 5 s")
        armTimer()
        let head = [
            "GET \(path) HTTP/1.1", "Host: 127.0.0.1:\(port)", "User-Agent: supd", "Accept: */*", "Connection: close",
        ]
        let greeting = ProbeGreeting.bytes(probe.target.proxyProtocol)
        try connection.send(greeting + Array((head.joined(separator: "\r\n") + "\r\n\r\n").utf8))
        let source = DispatchSource.makeReadSource(fileDescriptor: connection.descriptor.raw, queue: queue)
        watch(source, probe, attempt, connection) { prober throws(SystemError) in
            try prober.readResponse(probe, attempt, connection, path: path)
        }
    }

    private func readResponse(
        _ probe: Probe, _ attempt: Attempt, _ connection: LoopbackConnection, path: String
    ) throws(SystemError) {
        while true {
            switch try connection.receive() {
            case .nothing: return
            case .end:
                return finish(probe, attempt, .failed("GET \(path): the connection was closed without an answer"))
            case .bytes(let bytes):
                switch attempt.response.receive(bytes) {
                case .incomplete: continue
                case .malformed: return finish(probe, attempt, .failed("GET \(path): the answer is not HTTP"))
                case .status(let status):
                    linger(connection)
                    let passed = (200...399).contains(status)
                    let text = "GET \(path) answered \(status)"
                    return finish(probe, attempt, passed ? .passed(text) : .failed(text))
                }
            }
        }
    }

    /// Waits on a connection for the attempt's next step.
    private func watch(
        _ source: any DispatchSourceProtocol, _ probe: Probe, _ attempt: Attempt, _ connection: LoopbackConnection,
        _ step: @escaping (Prober) throws(SystemError) -> Void
    ) {
        let port = probe.target.port
        source.setEventHandler { [weak self, weak attempt] in
            guard let self, let attempt, probe.attempt === attempt else { return }
            do throws(SystemError) {
                try step(self)
            } catch {
                self.finish(probe, attempt, .failed(Self.text(error, port: port)))
            }
        }
        // Keeps the descriptor open until Dispatch has let go of it.
        source.setCancelHandler { _ = connection }
        attempt.watch(source)
        source.activate()
    }

    /// Closing with unread bytes would reset the connection, and some servers log that: reads the rest of the answer.
    private func linger(_ connection: LoopbackConnection) {
        guard lingering.count < Self.concurrencyLimit else { return }
        let rest = LingeringConnection(connection, queue: queue)
        rest.ended = { [weak self, unowned rest] in self?.lingering.removeAll { $0 === rest } }
        lingering.append(rest)
    }

    private static func text(_ error: SystemError, port: UInt16) -> String {
        error.code == ErrorCode.connectionRefused
            ? "connection refused on port \(port); the program must listen on 127.0.0.1:\(port), the port it gets as PORT"
            : "cannot connect to port \(port): \(error.call): \(error.reason)"
    }

    // MARK: command

    private func run(_ plan: SpawnPlan, for probe: Probe) {
        let attempt = Attempt(timeout: .seconds(10), timeoutText: "the command did not end within 10 s")
        probe.attempt = attempt
        let cancel = runCommand(plan) { [weak self, weak attempt] result in
            guard let self, let attempt else { return }
            attempt.hasCommandEnded = true
            self.finish(probe, attempt, ProbeResult(result))
        }
        attempt.cancelCommand = cancel
    }
}

extension Prober.Target {
    /// Whether a process is started for each try.
    fileprivate var isCommand: Bool {
        if case .command = check { return true }
        return false
    }
}
