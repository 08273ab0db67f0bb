import Manifest
import Testing

@testable import Supervision

@Suite struct RestartPolicyTests {
    struct Case: Sendable, CustomStringConvertible {
        var kind: Service.Kind
        var policy: RestartSettings.Policy
        var succeeded: Bool
        var healthy: Bool
        var expected: Verdict
        var description: String { "\(kind) \(policy) succeeded: \(succeeded) healthy: \(healthy)" }

        init(
            _ kind: Service.Kind, _ policy: RestartSettings.Policy, _ succeeded: Bool, _ healthy: Bool,
            _ verdict: Verdict
        ) {
            self.kind = kind
            self.policy = policy
            self.succeeded = succeeded
            self.healthy = healthy
            expected = verdict
        }
    }

    /// After two failures before.
    static let atOnce = Verdict.again(after: .zero, failures: 0)
    static let later = Verdict.again(after: .seconds(2), failures: 3)
    static let never = Verdict.givenUp("it ended, and its restart policy is never")

    @Test(arguments: [
        Case(.service, .always, false, false, later), Case(.service, .always, false, true, atOnce),
        Case(.service, .always, true, false, later), Case(.service, .always, true, true, atOnce),
        Case(.service, .onFailure, false, false, later), Case(.service, .onFailure, false, true, atOnce),
        Case(.service, .onFailure, true, false, .completed), Case(.service, .onFailure, true, true, .completed),
        Case(.service, .never, false, false, never), Case(.service, .never, false, true, never),
        Case(.service, .never, true, false, .completed), Case(.service, .never, true, true, .completed),
        Case(.task, .always, true, false, .completed), Case(.task, .onFailure, true, false, .completed),
        Case(.task, .never, true, true, .completed), Case(.task, .onFailure, false, false, later),
        Case(.task, .never, false, false, never), Case(.task, .always, false, true, atOnce),
    ])
    func `the policy decides what follows an ending`(_ row: Case) {
        let service = service("x", kind: row.kind, restart: RestartSettings(policy: row.policy))
        let ending = Ending(succeeded: row.succeeded, wasHealthy: row.healthy, reason: "it ended")
        let found = verdict(
            on: ending, service: service, failures: 2, window: RestartWindow(), at: Instant(nanoseconds: 0), jitter: 0)
        #expect(found == row.expected)
    }

    @Test func `it gives up when the next start would be beyond the limit, and says so`() {
        let limit = RestartSettings.Limit(starts: 2, within: .seconds(10))
        let service = service("x", restart: RestartSettings(limit: limit))
        var window = RestartWindow()
        window.record(limit, at: Instant(nanoseconds: 0))
        let ending = Ending(succeeded: false, wasHealthy: false, reason: "exited with code 1")
        func found(_ window: RestartWindow) -> Verdict {
            verdict(on: ending, service: service, failures: 0, window: window, at: Instant(nanoseconds: 1), jitter: 0)
        }
        #expect(found(window) == .again(after: .milliseconds(500), failures: 1))
        window.record(limit, at: Instant(nanoseconds: 1))
        #expect(found(window) == .givenUp("exited with code 1; its limit is 2 starts within 10 s"))
    }

    @Test func `a pause that outlasts the window is within the limit`() {
        let limit = RestartSettings.Limit(starts: 1, within: .seconds(1))
        let service = service("x", restart: RestartSettings(initialDelay: .seconds(2), limit: limit))
        var window = RestartWindow()
        window.record(limit, at: Instant(nanoseconds: 0))
        let ending = Ending(succeeded: false, wasHealthy: false, reason: "exited with code 1")
        #expect(
            verdict(on: ending, service: service, failures: 0, window: window, at: Instant(nanoseconds: 0), jitter: 0)
                == .again(after: .seconds(2), failures: 1))
    }
}
