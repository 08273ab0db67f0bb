import Manifest

/// How a run, or an attempt to start, came to its end by itself.
struct Ending: Sendable, Hashable, Codable {
    /// It exited with a code that counts as success.
    var succeeded: Bool
    /// It was ready, and ran for at least `resetAfter`.
    var wasHealthy: Bool
    /// In words: `exited with code 1`, `not ready within 60 s`.
    var reason: String
}

/// What follows an ending while the goal is up.
enum Verdict: Sendable, Hashable {
    /// Start again after a pause, which may be zero; `failures` in a row so far.
    case again(after: Duration, failures: Int)
    /// It has done what it was for.
    case completed
    /// Not before somebody asks for it; why.
    case givenUp(String)
}

/// Decides by the service's `restart` section. `failures` are those in a row before this ending.
func verdict(
    on ending: Ending, service: Service, failures: Int, window: RestartWindow, at now: Instant, jitter: Double
) -> Verdict {
    if ending.succeeded && (service.kind == .task || service.restart.policy != .always) { return .completed }
    if service.restart.policy == .never { return .givenUp("\(ending.reason), and its restart policy is never") }
    // After a healthy run the first restart is at once and counts as no failure; the next short run is the first one.
    let failures = ending.wasHealthy ? 0 : min(failures + 1, 1_000_000)
    let pause =
        failures == 0 ? Duration.zero : backoff(afterFailures: failures, service.restart, jitter: jitter)
    // Asked for the moment of the next start, so that nobody waits out a pause only to see it given up.
    if let limit = service.restart.limit, !window.allows(limit, at: now + pause) {
        let times = limit.starts == 1 ? "1 start" : "\(limit.starts) starts"
        return .givenUp("\(ending.reason); its limit is \(times) within \(Wording.time(limit.within))")
    }
    return .again(after: pause, failures: failures)
}
