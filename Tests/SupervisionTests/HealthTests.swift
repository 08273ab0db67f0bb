import Foundation
import Manifest
import Testing

@testable import Supervision

@Suite struct HealthTests {
    // MARK: Counting

    @Test(arguments: [
        // Failures, successes, results in a row, and whether it is unhealthy after each.
        (3, 1, "fff", "..u"), (3, 1, "ffpffpfff", "........u"), (1, 1, "fp", "u."), (2, 2, "ffpfpp", ".uuuu."),
        (2, 3, "ffppfppp", ".uuuuuu."), (1, 1, "pppp", "...."), (3, 2, "ffffff", "..uuuu"),
    ])
    func `failures and passes in a row are counted`(failures: Int, successes: Int, results: String, states: String) {
        let settings = HealthSettings(check: .tcp, failures: failures, successes: successes)
        var health = Health(generation: Generation(1))
        var found = ""
        for result in results {
            let was = health.unhealthySince != nil
            let changed =
                result == "f"
                ? health.failed(Health.Failure(reason: "no", output: "", at: StateEventTests.now), settings)
                : health.passed(settings)
            let isUnhealthy = health.unhealthySince != nil
            #expect(changed == (was != isUnhealthy))
            found += isUnhealthy ? "u" : "."
        }
        #expect(found == states)
    }

    @Test func `the reason says how often, and what if it was not always the same`() {
        let settings = HealthSettings(check: .tcp, failures: 1)
        func reason(_ reasons: String...) -> String {
            var health = Health(generation: Generation(1))
            for reason in reasons {
                _ = health.failed(Health.Failure(reason: reason, output: "", at: StateEventTests.now), settings)
            }
            return health.reason
        }
        #expect(reason("no") == "unhealthy: no, once")
        #expect(reason("no", "no", "no") == "unhealthy: no, three times in a row")
        #expect(
            reason("yes", "no", "no") == "unhealthy: failed three times in a row, the last time because of: no")
    }

    @Test func `passes that do not make it healthy again neither end its trouble nor hide it`() {
        let settings = HealthSettings(check: .tcp, failures: 1, successes: 2)
        var health = Health(generation: Generation(1))
        func failure(at seconds: Int64) -> Health.Failure {
            Health.Failure(reason: "no", output: "", at: Instant(nanoseconds: seconds * 1_000_000_000))
        }
        let began = Instant(nanoseconds: 0)
        _ = health.passed(settings)
        _ = health.failed(failure(at: 5), settings)
        _ = health.passed(settings)
        #expect(health.reason == "unhealthy: no; passed once since")
        _ = health.failed(failure(at: 20), settings)
        #expect(health.reason == "unhealthy: no, once")
        #expect(!health.wasHealthy(for: 10_000_000_000, beganAt: began))
        _ = health.passed(settings)
        _ = health.passed(settings)
        _ = health.failed(failure(at: 30), settings)
        #expect(health.wasHealthy(for: 10_000_000_000, beganAt: began))
    }

    @Test func `what a program says is kept in bounds`() throws {
        var story = ready(checked(failures: 1, restart: RestartSettings(policy: .never)))
        story.probed(1, String(repeating: "r", count: 5000), output: String(repeating: "o", count: 5000))
        let health = try #require(story.view(instance("a")).health)
        #expect(health.reason?.count == 301)
        #expect(health.output?.count == 1001)
        #expect(story.reports.allSatisfy { $0.count < 800 })
    }

    @Test func `a pass after a pass is no news, everything else is`() {
        var story = ready(checked(failures: 2, successes: 2, restart: RestartSettings(policy: .never)))
        func isNews(_ passed: Bool, _ generation: UInt64 = 1) -> Bool {
            story.app.isNews(Application.ProbeOutcome(passed: passed, reason: "x"), of: Generation(generation))
        }
        #expect(isNews(true) && isNews(false) && !isNews(false, 2))
        story.probed(1, nil)
        #expect(!isNews(true) && isNews(false))
        story.fail(1, times: 1)
        #expect(isNews(true))
        story.fail(1, times: 1)
        story.probed(1, nil)
        // One more makes it healthy.
        #expect(isNews(true))
        story.probed(1, nil)
        #expect(story.reports == ["a/1: healthy again"])
        #expect(!isNews(true))
        story.exited(1)
        #expect(!isNews(false))
    }

    // MARK: Probing

    @Test func `a process is probed for its health while it is ready`() {
        var story = Story(checked())
        story.spawned(1)
        #expect(story.acts == [.beginProbing(Generation(1), instance("a"), port: 20000)])
        story.ready(1)
        #expect(story.acts == [.beginHealthProbing(Generation(1), instance("a"), port: 20000), .publish])
        story.exited(1)
        #expect(story.acts.contains(.endHealthProbing(Generation(1))))
        story.pass(.seconds(1))
        story.spawned(2)
        story.ready(2)
        #expect(story.acts.contains(.beginHealthProbing(Generation(2), instance("a"), port: 20000)))
        story.command(1, .stop, instance("a"))
        #expect(story.acts.first == .endHealthProbing(Generation(2)))
        // Nothing was sent to it yet: it goes on, and so does probing.
        story.command(2, .start, instance("a"))
        #expect(story.acts.contains(.beginHealthProbing(Generation(2), instance("a"), port: 20000)))
    }

    @Test func `without a health section nothing is probed, and a task never`() {
        let task = service("t", kind: .task, health: HealthSettings(check: .tcp))
        var story = Story(service("a", front: 80, ready: .tcp), task)
        story.spawned(1)
        story.spawned(2)
        story.ready(1)
        for effect in story.effects {
            if case .beginHealthProbing = effect { Issue.record("\(effect)") }
        }
        #expect(story.app.views(at: story.now).flatMap(\.instances).allSatisfy { $0.health == nil })
    }

    // MARK: The restart

    @Test func `a lone instance is drained and restarted, and clients wait for the next one`() throws {
        var story = ready(checked())
        story.probed(1, nil)
        story.pass(.seconds(20))
        story.fail(1, times: 2)
        #expect(story.effects.isEmpty)
        #expect(try story.health(1) == "healthy")
        story.probed(1, refused, output: "first\ndb pool exhausted\n")
        let reason = "unhealthy: \(refused), three times in a row"
        #expect(
            story.reports == ["a/1: \(reason): db pool exhausted", "a/1: \(reason); restarting it"])
        #expect(story.acts == [.endHealthProbing(Generation(1)), .publish])
        #expect(try story.state(1) == "draining")
        #expect(story.app.routes[0].endpoints.map(\.state) == [.draining])
        // No more of it counts.
        story.fail(1)
        #expect(story.effects.isEmpty)
        story.pass(.seconds(5))
        #expect(story.acts == [.signal(Generation(1), "TERM")])
        #expect(story.app.routes[0].holds && story.app.routes[0].holdUntil == .never)
        story.exited(1, .code(0))
        #expect(story.spawns == [2])
        #expect(story.reports == ["a/1: \(reason); started again at once"])
        #expect(try story.view(instance("a")).lastExit?.reason == reason)
        story.spawned(2)
        story.ready(2)
        let health = try #require(story.view(instance("a")).health)
        #expect(health.state == "unknown" && health.failures == 0)
        #expect(health.reason == refused && health.output == "first\ndb pool exhausted\n")
        #expect(story.app.instances[0].healing == nil && story.app.instances[0].failures == 0)
    }

    @Test func `one that does not stay healthy backs off, and one that was healthy for long begins anew`() throws {
        var story = ready(checked(failures: 1, balance: BalanceSettings(drainTimeout: .zero)))
        var generation: UInt64 = 1
        for pause in [500, 1000, 2000, 4000] {
            // Much later than `resetAfter`, but it has never passed.
            story.pass(.seconds(60))
            story.fail(generation, times: 1)
            story.exited(generation, .code(0))
            #expect(
                story.reports == ["a/1: unhealthy: \(refused), once; next try in \(Wording.time(.milliseconds(pause)))"]
            )
            #expect(story.app.routes[0].holdUntil == nil)
            story.pass(.milliseconds(pause - 1))
            #expect(story.spawns == [])
            story.pass(.milliseconds(1))
            generation += 1
            #expect(story.spawns == [generation])
            story.spawned(generation)
            story.ready(generation)
        }
        // It passes, but fails before `resetAfter` is over.
        story.probed(generation, nil)
        story.pass(.seconds(9))
        story.fail(generation, times: 1)
        story.exited(generation, .code(0))
        #expect(story.reports.first?.hasSuffix("next try in 8 s") == true)
        story.pass(.seconds(8))
        generation += 1
        story.spawned(generation)
        story.ready(generation)
        story.probed(generation, nil)
        story.pass(.seconds(10))
        story.fail(generation, times: 1)
        story.exited(generation, .code(0))
        #expect(story.reports.first?.hasSuffix("started again at once") == true)
        #expect(story.app.instances[0].failures == 0)
    }

    @Test func `a limit counts these restarts, too`() throws {
        let limit = RestartSettings.Limit(starts: 1, within: .seconds(100))
        var story = ready(
            checked(failures: 1, balance: BalanceSettings(drainTimeout: .zero), restart: RestartSettings(limit: limit)))
        story.fail(1, times: 1)
        story.exited(1, .code(0))
        #expect(try story.state(1) == "failed")
        #expect(!story.app.routes[0].holds && story.app.instances[0].healing == nil)
    }

    @Test func `where the policy allows no restart it only shows`() throws {
        var story = ready(checked(failures: 1, restart: RestartSettings(policy: .never)))
        story.fail(1)
        #expect(try story.state(1) == "running" && story.health(1) == "unhealthy")
        #expect(
            try story.detail(1)
                == "unhealthy: \(refused), three times in a row; not restarted since its restart policy is never")
        story.probed(1, nil)
        #expect(try story.health(1) == "healthy" && story.detail(1) == nil)
    }

    // MARK: Another supervisor

    @Test func `a new supervisor goes on with the counts and begins to probe`() throws {
        var story = ready(checked(replicas: 2))
        story.fail(1, times: 2)
        story.probed(2, nil)
        let data = try JSONEncoder().encode(story.app)
        let app = try JSONDecoder().decode(Application.self, from: data)
        let children = (1...2).map {
            Application.SurvivingChild(
                generation: Generation(UInt64($0)), instance: instance("a", $0), port: 19999 + UInt16($0),
                pid: Int32(1000 + $0))
        }
        var next = Story(resuming: app, children: children)
        #expect(
            next.acts.filter { if case .beginHealthProbing = $0 { true } else { false } } == [
                .beginHealthProbing(Generation(1), instance("a", 1), port: 20000),
                .beginHealthProbing(Generation(2), instance("a", 2), port: 20001),
            ])
        next.fail(1, times: 1)
        #expect(try next.state(1) == "draining")
        // Lost again in the middle of it: the restart goes on, and holds up the other one.
        var last = Story(resuming: next.app, children: children)
        #expect(!last.acts.contains(.beginHealthProbing(Generation(1), instance("a", 1), port: 20000)))
        last.fail(2)
        #expect(try last.state(2) == "running" && last.health(2) == "unhealthy")
        last.tell(.drained(Generation(1)))
        last.exited(1)
        last.pass(.seconds(1))
        last.spawned(3)
        last.ready(3)
        #expect(try last.state(2) == "draining")
    }

    @Test func `without a snapshot health begins anew`() throws {
        let service = checked()
        var story = Story(
            resuming: Application(manifest: Manifest(services: [service])),
            children: [
                Application.SurvivingChild(generation: Generation(7), instance: instance("a"), port: 20000, pid: 70)
            ])
        story.ready(7)
        #expect(story.acts.first == .beginHealthProbing(Generation(7), instance("a"), port: 20000))
        #expect(try story.health(1) == "unknown")
    }

    @Test func `a process that has an heir and is unhealthy hands over to it`() throws {
        var story = ready(checked(balance: BalanceSettings(drainTimeout: .zero)))
        story.probed(1, nil)
        story.pass(.seconds(20))
        let heir = story.app.reserveGeneration()
        story.fail(1)
        story.tell(.exited(Generation(1), .code(0), groupEmpty: true, heir: heir))
        #expect(story.spawns == [] && story.app.instances[0].process?.generation == heir)
    }
}
