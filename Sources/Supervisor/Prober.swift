package import Dispatch
package import Links
package import Manifest
import Platform
package import Supervision

/// Probes instances for readiness or for their health. Lives on one serial queue: call it there; it calls back there, and
/// never from within `begin` or `end`. Nothing wakes up while nothing is probed.
///
/// For readiness a probe is tried at once, then again with growing pauses until it passes or is ended; for health once in
/// every interval until it is ended. Of a generation only one try runs at a time, and of all together 64. So that slow
/// answers of the one never keep the other waiting, each has a prober of its own.
package final class Prober {
    /// What is to be probed.
    package struct Target {
        /// How.
        package enum Check {
            /// The port accepts connections, and its listener belongs to the instance.
            case tcp
            /// A GET of this path on the port is answered as it should be; the listener as with `tcp`.
            case http(HTTPCheck, (Template.Variable) -> String)
            /// A process exits with 0. The plan's id is for whoever runs it to set, anew each time.
            case command(SpawnPlan)
        }

        /// When, and for what.
        package enum Purpose {
            /// At once and until it passes.
            case readiness
            /// Once in every interval, for so long at most.
            case health(interval: Duration, timeout: Duration)
        }

        /// The instance's processes.
        package var instance: InstanceProcesses.Instance
        /// Its port.
        package var port: UInt16
        /// How to probe.
        package var check: Check
        /// When.
        package var purpose: Purpose
        /// The PROXY protocol that the instance expects of whoever connects.
        package var proxyProtocol: BalanceSettings.ProxyProtocol?

        /// Creates a target.
        package init(
            instance: InstanceProcesses.Instance, port: UInt16, check: Check, purpose: Purpose = .readiness,
            proxyProtocol: BalanceSettings.ProxyProtocol? = nil
        ) {
            self.instance = instance
            self.port = port
            self.check = check
            self.purpose = purpose
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

    let queue: DispatchQueue
    private let timer: any DispatchSourceTimer
    private let runCommand: RunCommand
    private let report: (Generation, Application.ProbeOutcome) -> Void
    let note: (String) -> Void
    var owner: ListenerOwner
    /// How the tries have ended so far.
    package var tally = ProbeTally()
    private var probes: [Generation: Probe] = [:]
    private var running = 0
    var lingering: [LingeringConnection] = []
    var hasNotedUnknownOwner = false
    /// Within `timeCame`, which arms the timer once at its end.
    private var isWorking = false
    /// What the timer is armed for.
    private var armedFor = Int64.max

    /// Creates a prober.
    /// - Parameters:
    ///   - keeper: the keeper's pid, whose descendants all instances are.
    ///   - report: gets, of readiness, each pass, after which the generation is not probed any more, and each failure whose
    ///     text is not that of the one before; of health every result.
    ///   - note: gets lines for supd's log.
    package init(
        queue: DispatchQueue, keeper: Int32, runCommand: @escaping RunCommand,
        report: @escaping (Generation, Application.ProbeOutcome) -> Void, note: @escaping (String) -> Void
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
    final class Probe {
        let target: Target
        /// What is asked for, if it is a GET.
        let http: HTTPProbe?
        let pacing: ProbePacing
        /// Of a health probe.
        let rhythm: ProbeRhythm?
        var dueAt: Int64
        /// The try that runs; nil between tries.
        var attempt: Attempt?
        var tries = 0
        var lastFailure: String?

        init(_ target: Target, now: Int64) {
            self.target = target
            if case .http(let check, let value) = target.check {
                http = HTTPProbe(check, port: target.port, value)
            } else {
                http = nil
            }
            pacing = ProbePacing(startedAt: now, isCommand: target.isCommand)
            if case .health(let interval, _) = target.purpose {
                let rhythm = ProbeRhythm(interval: interval, number: target.instance.generation.number)
                self.rhythm = rhythm
                dueAt = rhythm.next(after: now)
            } else {
                rhythm = nil
                dueAt = now
            }
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
            // Where this queue was busy for long, what one waits for may have come in time.
            takeWhatHasCome(probe, attempt)
            // Unless it has more time for its next step.
            if attempt.deadline <= now { finish(probe, attempt, timedOut(probe, attempt)) }
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

    func armTimer() {
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
        armedFor = next
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

    func finish(_ probe: Probe, _ attempt: Attempt, _ result: ProbeResult) {
        let generation = probe.target.instance.generation
        guard probe.attempt === attempt, probes[generation] === probe else { return }
        attempt.end()
        probe.attempt = nil
        running -= 1
        let outcome = result.outcome(withOutput: probe.isForHealth)
        tally.count(outcome.passed, of: probe.target.instance.id.service)
        if let rhythm = probe.rhythm {
            probe.dueAt = rhythm.next(after: monotonicNanoseconds())
            report(generation, outcome)
        } else if outcome.passed {
            probes[generation] = nil
            report(generation, outcome)
        } else {
            let now = monotonicNanoseconds()
            probe.dueAt = now + probe.pacing.pause(afterTry: probe.tries, now: now)
            if probe.lastFailure != outcome.reason {
                probe.lastFailure = outcome.reason
                report(generation, outcome)
            }
        }
        // Nothing was waited for that is not still there: most probes end like this, and looking at all would take long.
        if armedFor < attempt.deadline, armedFor <= probe.dueAt, running < Self.concurrencyLimit - 1 { return }
        armTimer()
    }

    // MARK: command

    private func run(_ plan: SpawnPlan, for probe: Probe) {
        let timeout = probe.timeout ?? .seconds(10)
        let attempt = Attempt(
            timeout: timeout, timeoutText: "the command did not end within \(Self.text(timeout))")
        probe.attempt = attempt
        let cancel = runCommand(plan) { [weak self, weak attempt] result in
            guard let self, let attempt else { return }
            attempt.hasCommandEnded = true
            self.finish(probe, attempt, ProbeResult(result))
        }
        attempt.cancelCommand = cancel
    }

    /// A time in a text: `1 s`, `500 ms`.
    static func text(_ time: Duration) -> String {
        let milliseconds = time.wholeNanoseconds / 1_000_000
        return milliseconds % 1000 == 0 ? "\(milliseconds / 1000) s" : "\(milliseconds) ms"
    }
}

extension Prober.Target {
    /// Whether a process is started for each try.
    fileprivate var isCommand: Bool {
        if case .command = check { return true }
        return false
    }
}

extension Prober.Probe {
    /// Whether it is one for health.
    var isForHealth: Bool { rhythm != nil }

    /// How long a whole try may take; nil: each step has a time of its own.
    var timeout: Duration? {
        if case .health(_, let timeout) = target.purpose { timeout } else { nil }
    }
}
