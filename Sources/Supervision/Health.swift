import Manifest

/// What health probes of a ready instance have shown: liveness. It stands beside the state and is about one process; the next
/// one begins anew. An unhealthy instance goes on as it is, an endpoint too, until the budget lets it be restarted
/// (LivenessBudget.swift): a check that fails may say more about the check, or about what all instances need, than about
/// the instance, and clients are better off with it than with nothing.
struct Health: Sendable, Hashable, Codable {
    /// The process.
    var generation: Generation
    /// Failures in a row.
    var failures = 0
    /// How often in a row the last reason was the same.
    var repetitions = 0
    /// Passes in a row.
    var successes = 0
    /// When the first of the failures in a row was.
    var failingSince: Instant?
    /// The process had passed before these failures.
    var hadPassed = false
    /// Since when it is unhealthy; nil: it is not, as far as anybody knows.
    var unhealthySince: Instant?
    /// The last failure, which may be one of an earlier process.
    var lastFailure: Failure?

    /// A probe that has failed.
    struct Failure: Sendable, Hashable, Codable {
        /// Why, without what the probe has printed.
        var reason: String
        /// What the probe has printed, or the body of the answer; may be empty.
        var output: String
        /// When.
        var at: Instant
    }

    /// Many more failures than this in a row make no difference.
    private static let mostFailures = 1_000_000

    /// Takes a failure; answers whether the instance has become unhealthy with it.
    mutating func failed(_ failure: Failure, _ settings: HealthSettings) -> Bool {
        // Passes that were too few to make it healthy again were no end of its trouble.
        if failures == 0, unhealthySince == nil {
            failingSince = failure.at
            hadPassed = hadPassed || successes > 0
        }
        repetitions = failures > 0 && lastFailure?.reason == failure.reason ? repetitions + 1 : 1
        failures = min(failures + 1, Health.mostFailures)
        repetitions = min(repetitions, failures)
        successes = 0
        lastFailure = failure
        guard unhealthySince == nil, failures >= settings.failures else { return false }
        unhealthySince = failure.at
        return true
    }

    /// Takes a pass; answers whether an unhealthy instance has become healthy with it.
    mutating func passed(_ settings: HealthSettings) -> Bool {
        successes = min(successes + 1, Health.mostFailures)
        failures = 0
        guard unhealthySince != nil, successes >= settings.successes else { return false }
        unhealthySince = nil
        return true
    }

    /// Why it is unhealthy: `unhealthy: GET /healthz answered 500, three times in a row`.
    var reason: String {
        guard let lastFailure else { return "unhealthy" }
        guard failures > 0 else { return "unhealthy: \(lastFailure.reason); passed \(Wording.times(successes)) since" }
        let count = Wording.times(failures)
        return repetitions >= failures
            ? "unhealthy: \(lastFailure.reason), \(count)\(failures > 1 ? " in a row" : "")"
            : "unhealthy: failed \(count) in a row, the last time because of: \(lastFailure.reason)"
    }

    /// Whether the process was healthy for long enough that its restart does not count as a failed start: it passed, and
    /// the failures began late enough. One that is restarted for its health again and again so backs off.
    func wasHealthy(for run: Int64, beganAt: Instant) -> Bool {
        guard hadPassed, let failingSince else { return false }
        return failingSince.elapsed(since: beganAt) >= run
    }
}

extension Instance {
    /// The generation of the ready process.
    var readyGeneration: Generation? {
        if case .running(let process) = state { process.generation } else { nil }
    }

    /// Its process has failed too often in a row.
    var isUnhealthy: Bool {
        readyGeneration.map(wasFoundUnhealthy) ?? false
    }

    /// A process has failed too often in a row, be it on its way out.
    func wasFoundUnhealthy(_ generation: Generation) -> Bool {
        health?.generation == generation && health?.unhealthySince != nil
    }

    /// A probe of the ready process has ended.
    mutating func healthProbed(
        _ process: Process, _ outcome: Application.ProbeOutcome, _ service: Service, _ turn: inout Turn
    ) {
        guard let settings = service.health else { return }
        var health =
            health.flatMap { $0.generation == process.generation ? $0 : nil }
            ?? Health(generation: process.generation, lastFailure: health?.lastFailure)
        defer { self.health = health }
        if outcome.passed {
            if health.passed(settings) { turn.report(id, .info, "healthy again") }
            return
        }
        let failure = Health.Failure(
            reason: Wording.bounded(outcome.reason), output: Wording.boundedOutput(outcome.output), at: turn.now)
        if health.failed(failure, settings) {
            turn.report(id, .warning, "\(health.reason)\(Wording.quotedLine(of: failure.output))")
        }
    }

    /// It is unhealthy, and the budget allows it to be restarted: its connections may end first. `leavesNone`: clients have
    /// no other endpoint, and wait for the next process if that starts at once.
    mutating func restartUnhealthy(
        _ process: Process, leavesNone: Bool, _ surroundings: Surroundings, _ service: Service, _ turn: inout Turn
    ) {
        guard isUnhealthy, let health else { return }
        let wasHealthy = health.wasHealthy(for: service.restart.healthyRun, beganAt: process.beganAt)
        lastExit = Application.LastExit(status: nil, reason: health.reason, at: turn.now)
        turn.report(id, .warning, "\(health.reason); restarting it")
        healing = process.generation
        waitsToReplace = leavesNone && wasHealthy
        let ending = Ending(succeeded: false, wasHealthy: wasHealthy, reason: health.reason)
        drain(
            process, cause: .ending(ending), leavesNone: leavesNone, surroundings, service, &turn)
    }

    /// After every event: it is being restarted for its health until it is ready again, or is not to come back.
    mutating func endHealing() {
        guard healing != nil else { return }
        let isOver =
            switch state {
            case .running(let process): process.generation != healing
            case .down, .failed, .completed: true
            case .starting, .stopping, .waiting, .backoff: goal == .down
            }
        guard isOver else { return }
        healing = nil
        if readyGeneration == nil { waitsToReplace = false }
    }
}
