import Events
import Manifest
import Testing

@testable import Supervision

/// Which events are occasions for hooks.
@Suite struct HookWatchTests {
    private static func event(_ kind: EventKind, of instance: String = "a/1") -> EventRecord {
        EventRecord(number: 1, at: "x", service: "a", instance: instance, kind: kind)
    }

    private static func state(_ to: String, failures: Int? = nil) -> EventKind {
        .state(.init(from: "x", to: to, failures: failures))
    }

    private func occasions(_ kinds: [EventKind], then seconds: Int64 = 0) -> [Hook.Occasion] {
        var watch = HookWatch()
        let start = Instant(nanoseconds: 5_000_000_000)
        var found = kinds.compactMap { watch.take(Self.event($0), at: start)?.occasion }
        let end = start.adding(seconds * 1_000_000_000)
        if let deadline = watch.nextDeadline, deadline <= end { found += watch.recovered(at: deadline).map(\.occasion) }
        return found
    }

    @Test(
        arguments: [
            ([state("starting"), state("running"), state("stopping"), state("down")], []),
            ([state("backoff", failures: 1), state("running"), state("backoff", failures: 2)], []),
            ([state("failed")], [.failed]),
            // A loop of crashes is told once, and does not recover by being up for a moment.
            (
                [
                    state("backoff", failures: 3), state("starting"), state("running"), state("backoff", failures: 4),
                    state("starting"), state("running"), state("backoff", failures: 5),
                ], [.failed]
            ),
            ([state("failed"), state("starting"), state("running")], [.failed, .recovered]),
            ([state("failed"), state("starting"), state("completed")], [.failed, .recovered]),
            ([state("failed"), state("down"), state("starting"), state("running")], [.failed]),
            ([.probe(.init(outcome: .failing)), .probe(.init(outcome: .passing))], []),
            ([.probe(.init(outcome: .unhealthy)), .probe(.init(outcome: .passing))], [.unhealthy, .recovered]),
            (
                [
                    .probe(.init(outcome: .unhealthy)), state("stopping"), state("starting"), state("running"),
                    .probe(.init(outcome: .unhealthy)),
                ], [.unhealthy, .unhealthy]
            ),
            ([state("failed"), .gone(), state("running")], [.failed]),
            // It is no trouble of the instance, which has nothing to recover from.
            ([.logDropped(.init(lines: 3, bytes: 40, reason: "x")), state("running")], [.logDropped]),
            ([.daemon(.init(step: .stopped)), .command(.init(verb: "stop", names: [], by: "x", userID: nil))], []),
        ] as [([EventKind], [Hook.Occasion])])
    func `an occasion is trouble, and its end`(kinds: [EventKind], expected: [Hook.Occasion]) {
        #expect(occasions(kinds, then: 60) == expected)
    }

    @Test func `one that is up has recovered after ten seconds, not before`() throws {
        var watch = HookWatch()
        let start = Instant(nanoseconds: 5_000_000_000)
        #expect(watch.nextDeadline == nil)
        _ = watch.take(Self.event(Self.state("failed")), at: start)
        #expect(watch.nextDeadline == nil)
        let up = Self.event(Self.state("running"))
        #expect(watch.take(up, at: start) == nil)
        let due = try #require(watch.nextDeadline)
        #expect(due == start + .seconds(10))
        #expect(watch.recovered(at: Instant(nanoseconds: due.nanoseconds - 1)) == [])
        #expect(watch.recovered(at: due) == [HookWatch.Found(occasion: .recovered, event: up)])
        #expect(watch.nextDeadline == nil && watch.recovered(at: due) == [])
    }

    @Test func `a new supervisor knows who is in trouble`() {
        var ledger = EventLedger()
        ledger.take(Self.state("failed"), service: "a", instance: "a/1")
        ledger.take(Self.state("running"), service: "a", instance: "a/2")
        ledger.take(.probe(.init(outcome: .unhealthy)), service: "a", instance: "a/3")
        var watch = HookWatch(after: ledger)
        let now = Instant(nanoseconds: 0)
        let found = (1...3).compactMap { number in
            watch.take(Self.event(.probe(.init(outcome: .passing)), of: "a/\(number)"), at: now)?.event.instance
        }
        #expect(found == ["a/1", "a/3"])
    }
}
