import Events
import Manifest
import Testing

@testable import Supervision

/// A service that sleeps while nobody connects to it.
struct SleepingTests {
    private func web(_ replicas: Int = 1, after: Duration? = .seconds(600), dependsOn: [Dependency] = []) -> Service {
        var web = service("web", replicas: replicas, front: 80, ready: .tcp, dependsOn: dependsOn)
        web.idleAfter = after
        return web
    }

    /// It was up, and sleeps.
    private func sleeping(_ services: [Service]) throws -> Story {
        var story = Story(services)
        story.play()
        story.tell(.wentIdle(service: "web"))
        story.play()
        #expect(try story.view(instance("web")).state == "idle")
        return story
    }

    private func route(_ story: Story) throws -> Application.Route {
        try #require(story.app.routes.first { $0.service == "web" })
    }

    private func status(_ story: Story) throws -> Application.ServiceView {
        try #require(story.app.views(at: story.now).first { $0.name == "web" })
    }

    @Test func `who drains one that sleeps is told that clients wait only if no other is woken by them`() throws {
        let story = try sleeping([web(2)])
        #expect(story.app.servicesLeftWithout([instance("web")]) == [])
        #expect(story.app.servicesLeftWithout([instance("web"), instance("web", 2)]) == ["web"])
        var other = story
        other.command(1, .drain, instance("web", 2))
        #expect(other.outcome(1) == .done)
        #expect(other.app.servicesLeftWithout([instance("web")]) == ["web"])
    }

    @Test func `without connections it is stopped, drained first, and is neither down nor failed`() throws {
        var story = Story(web(2), plain("other"))
        story.play()
        #expect(story.app.sleepCandidates.map(\.service) == ["web"])
        story.tell(.wentIdle(service: "web"))
        #expect(story.reports == ["web/1: no connection for 10 min: web sleeps until the next one comes"])
        #expect(try route(story).endpoints.map(\.state) == [.draining, .draining])
        #expect(try route(story).holds && route(story).isAsleep)
        story.play()
        #expect(try status(story).state == "idle")
        #expect(try status(story).goal == .up)
        #expect(try story.view(instance("web", 2)).detail == "asleep: the next connection starts it")
        #expect(story.running.keys.map(\.service) == ["other"])
        #expect(try route(story).holds && route(story).isAsleep)
        #expect(story.app.sleepCandidates.isEmpty)
        // Said again, and of who does not sleep: nothing.
        story.tell(.wentIdle(service: "web"))
        #expect(story.effects.isEmpty)
        story.tell(.wentIdle(service: "other"))
        story.tell(.connectionWaited(service: "other"))
        story.tell(.connectionWaited(service: "nobody"))
        #expect(story.effects.isEmpty)
    }

    @Test func `the first connection wakes all of it, and is held from the start of the process`() throws {
        var story = try sleeping([web(2)])
        story.tell(.connectionWaited(service: "web"))
        #expect(story.reports == ["web/1: a connection waits: web is woken"])
        #expect(story.spawns.count == 2)
        #expect(try !route(story).isAsleep)
        #expect(try route(story).holdUntil == .never)
        let first = try #require(story.spawns.first)
        story.pass(.seconds(3))
        story.spawned(first)
        #expect(try route(story).holdUntil == .never)
        story.ready(first)
        #expect(try route(story).holdUntil == nil)
        #expect(try route(story).endpoints.count == 1)
    }

    @Test func `sleeping and waking are told as such, and no start by a connection is a restart`() throws {
        func goals(_ story: Story) -> [String] {
            var goals: [String] = []
            for case (.goal(let change), _) in story.happenings { goals.append(change.reason ?? "") }
            return goals
        }
        var story = Story(web())
        story.play()
        for round in 1...2 {
            story.tell(.wentIdle(service: "web"))
            #expect(goals(story) == ["asleep after 10 min without connections"])
            story.play()
            story.tell(.connectionWaited(service: "web"))
            #expect(goals(story) == ["woken by a connection"])
            let generation = try #require(story.spawns.first)
            story.spawned(generation)
            var starts: [EventKind.ProcessStart] = []
            for case (.start(let start), _) in story.happenings { starts.append(start) }
            #expect(starts.map(\.woken) == [true] && starts.map(\.restarts) == [0])
            story.play()
            #expect(try story.view(instance("web")).restarts == 0)
            #expect(story.app.restarts(of: instance("web")) == [.woken: round])
        }
        // A stop takes the place of the wake: what follows is somebody's wish.
        story.tell(.wentIdle(service: "web"))
        story.play()
        story.command(1, .stop, instance("web"))
        #expect(goals(story) == [])
        story.command(2, .start, instance("web"))
        #expect(goals(story) == [""])
        story.play()
        #expect(try story.view(instance("web")).restarts == 0)
        #expect(story.app.restarts(of: instance("web")) == [.woken: 2, .requested: 1])
    }

    @Test func `one that is longer in starting than connections wait is told of`() throws {
        var story = try sleeping([web()])
        story.tell(.connectionWaited(service: "web"))
        let generation = try #require(story.spawns.first)
        story.spawned(generation)
        #expect(try route(story).holdUntil == story.now + .seconds(10))
        story.pass(.seconds(11))
        story.ready(generation)
        #expect(
            story.reports.last
                == "web/1: its start took longer than balance.queueTimeout (10 s): who waited for it was turned away")
    }

    @Test func `a connection while it is still draining keeps the process, one while it ends brings the next`() throws {
        var story = Story(web())
        story.play()
        let old = try #require(story.running[instance("web")])
        story.tell(.wentIdle(service: "web"))
        story.tell(.connectionWaited(service: "web"))
        #expect(story.running == [instance("web"): old])
        #expect(try route(story).endpoints.map(\.state) == [.active])
        #expect(story.app.instances.allSatisfy { !$0.waitsToReplace })

        story.tell(.wentIdle(service: "web"))
        story.tell(.drained(Generation(old)))
        #expect(story.effects.contains(.signal(Generation(old), "TERM")))
        story.tell(.connectionWaited(service: "web"))
        #expect(story.spawns.isEmpty)
        #expect(try route(story).holdUntil == .never)
        story.exited(old, .signal(15, coreDumped: false))
        #expect(story.spawns.count == 1)
    }

    @Test func `it does not sleep while a user or a deployment is at it, nor when not all of it is well`() throws {
        var story = Story(web(2))
        #expect(story.app.sleepCandidates.isEmpty)
        story.play()
        story.command(1, .drain, instance("web", 2))
        #expect(story.app.sleepCandidates.isEmpty)
        story.command(2, .undrain, instance("web", 2))
        #expect(story.app.sleepCandidates.count == 1)
        story.command(3, .stop, instance("web", 2))
        story.play()
        #expect(story.app.sleepCandidates.count == 1)
        story.command(4, .start, instance("web", 2))
        #expect(story.app.sleepCandidates.isEmpty)
        story.play()
        story.tell(.applied(CommandID(5), Manifest(supd: story.app.manifest.supd, services: [web(3)])))
        #expect(story.app.sleepCandidates.isEmpty)
        story.play()
        story.tell(.wentIdle(service: "web"))
        story.play()
        #expect(try status(story).state == "idle")
    }

    @Test func `a stop by a user lasts, a start wakes all of it, and a restart starts it`() throws {
        var story = try sleeping([web(2)])
        story.command(1, .stop, instance("web", 1), instance("web", 2))
        #expect(story.outcome(1) == .done)
        #expect(try status(story).state == "down")
        #expect(try !route(story).holds)
        story.tell(.connectionWaited(service: "web"))
        #expect(story.effects.isEmpty)

        story = try sleeping([web(2)])
        story.command(2, .start, instance("web", 2))
        #expect(story.spawns.count == 2)
        story.play()
        #expect(story.outcome(2) == .done)

        story = try sleeping([web(2)])
        story.command(3, .restart, instance("web", 1), instance("web", 2))
        story.play()
        #expect(story.outcome(3) == .done)
        #expect(story.running.count == 2)
    }

    @Test func `it sleeps through applies, unless that takes idle away`() throws {
        var story = try sleeping([web(1)])
        let next = version(2, of: web(2))
        story.tell(.applied(CommandID(1), Manifest(supd: story.app.manifest.supd, services: [next])))
        story.play()
        #expect(story.outcome(1) == .done)
        #expect(story.running.isEmpty)
        #expect(try status(story).state == "idle")
        #expect(story.app.instances.count == 2)

        story.tell(.applied(CommandID(2), Manifest(supd: story.app.manifest.supd, services: [web(3, after: nil)])))
        story.play()
        #expect(story.outcome(2) == .done)
        #expect(story.running.count == 3)
        #expect(try !route(story).isAsleep)
    }

    @Test func `another supervisor finds it asleep, and a shutdown is not held up`() throws {
        let before = try sleeping([web()])
        let snapshot = before.app.snapshot
        let app = try Application(manifest: before.app.manifest, revision: before.app.revision, snapshot: snapshot)
        var story = Story(resuming: app, children: [])
        #expect(story.spawns.isEmpty)
        #expect(try route(story).isAsleep)
        story.tell(.shutdownRequested)
        #expect(story.effects.contains(.allDown))
        #expect(try !route(story).holds)
        story.tell(.connectionWaited(service: "web"))
        #expect(story.spawns.isEmpty)
    }

    @Test func `what it depends on need not be there for a connection to give up`() throws {
        var story = try sleeping([plain("db"), web(dependsOn: [Dependency(service: "db")])])
        story.command(1, .stop, instance("db"))
        story.play()
        story.tell(.connectionWaited(service: "web"))
        #expect(try story.view(instance("web")).state == "waiting")
        // Each waits for its own queueTimeout.
        #expect(try route(story).holds && route(story).holdUntil == nil)
    }

    @Test func `connections are looked for in what the balancer counts`() {
        var watch = IdleWatch()
        func at(_ seconds: Int) -> Instant { Instant(nanoseconds: 0) + .seconds(seconds) }
        let looks: [(second: Int, open: UInt64, total: UInt64, isIdle: Bool)] = [
            (0, 0, 5, false), (9, 0, 5, false), (10, 0, 5, true), (11, 0, 6, false), (20, 1, 6, false),
            (40, 1, 6, false), (41, 0, 6, false), (49, 0, 6, false), (50, 0, 6, true),
            // A balancer that has begun anew.
            (51, 0, 0, false), (61, 0, 0, true),
        ]
        for look in looks {
            let isIdle = watch.looked(
                at: "a", open: look.open, total: look.total, limit: .seconds(10), now: at(look.second))
            #expect(isIdle == look.isIdle, "\(look)")
        }
        let stillIdle = watch.looked(at: "a", open: 0, total: 0, limit: .seconds(10), now: at(70))
        #expect(stillIdle)
        watch.forget("a")
        let isForgotten = watch.looked(at: "a", open: 0, total: 0, limit: .seconds(10), now: at(71))
        #expect(!isForgotten)
        watch.keep(["b"])
        let isIdle = watch.looked(at: "a", open: 0, total: 0, limit: .seconds(10), now: at(99))
        #expect(!isIdle)
    }
}

/// A service that never sleeps.
private func plain(_ name: String) -> Service { service(name) }
