import Events
import Manifest
import Testing

@testable import Supervision

/// All new instances take over at once.
@Suite struct BlueGreenTests {
    private let api = service(
        "api", replicas: 3, front: 80, ready: .tcp, deploy: DeploySettings(strategy: .blueGreen))

    private func serving(_ app: Application) -> Set<Int> {
        Set(app.routes.flatMap(\.endpoints).filter { $0.state == .active }.map(\.instance.number))
    }

    /// Who serves, after each round of a play.
    private func sets(_ story: inout Story, broken: (InstanceID) -> Bool = { _ in false }) -> [Set<UInt64>] {
        var sets: [Set<UInt64>] = []
        story.play(broken: broken) { app in
            let set = Set(app.routes.flatMap(\.endpoints).filter { $0.state == .active }.map(\.generation.number))
            if set != sets.last { sets.append(set) }
        }
        return sets
    }

    /// The new set is started as 4, 5 and 6; the first two are ready.
    private func almostReady() -> Story {
        var story = up(api)
        story.apply(1, version(2, of: api))
        #expect(story.spawns == [4, 5, 6])
        for generation in 4...6 as ClosedRange<UInt64> { story.spawned(generation) }
        story.ready(4)
        story.ready(5)
        return story
    }

    @Test func `none of the new ones serves before all are ready; then all do, and none of the old ones, in one table`()
        throws
    {
        var story = almostReady()
        #expect(serving(story.app) == [1, 2, 3])
        #expect(story.progress == ["api: 2 of 3 new instances ready, none serves before all are: api/6 is starting"])
        #expect(
            try story.view(instance("api", 4)).detail == "ready: takes connections once all of the new instances are")
        story.ready(6)
        #expect(story.effects.count { $0 == .publish } == 1)
        #expect(serving(story.app) == [4, 5, 6])
        let states = story.app.routes.flatMap(\.endpoints).filter { $0.instance.number <= 3 }.map(\.state)
        #expect(states == [.draining, .draining, .draining])
        #expect(
            story.reports.contains(
                "api/4: all 3 of them are ready: all connections of api go to the new instances from now on"))
        #expect(story.happenings.contains { $0.kind == .rollout(.init(step: .switched)) })
        // The old ones have drainTimeout.
        #expect(!story.effects.contains { if case .signal = $0 { true } else { false } })
        story.play()
        #expect(story.outcome(1) == .done)
        #expect(story.running.keys.map(\.number).sorted() == [1, 2, 3])
        #expect(story.running.values.allSatisfy { $0 > 6 })
        #expect(serving(story.app) == [1, 2, 3])
    }

    @Test func `the service is running as long as one of the sets serves in full`() {
        func state(_ story: Story) -> String? { story.app.views(at: story.now).first?.state }
        var story = almostReady()
        #expect(state(story) == "running")
        // What is ready and serves nobody yet makes up for nothing.
        var lame = story
        lame.exited(1, .code(1))
        #expect(state(lame) == "degraded")
        story.ready(6)
        #expect(serving(story.app) == [4, 5, 6] && state(story) == "running")
    }

    @Test func `at no time do both serve, or none`() {
        var story = up(api)
        story.apply(1, version(2, of: api))
        let sets = sets(&story)
        #expect(story.outcome(1) == .done)
        #expect(sets.first == [1, 2, 3])
        for set in sets {
            #expect(!set.isEmpty)
            #expect(set.isSubset(of: [1, 2, 3]) || set.isDisjoint(with: [1, 2, 3]), "\(set)")
        }
    }

    @Test func `one that does not come up: nothing switches, and the new set goes`() {
        var story = up(api)
        let before = story.running
        story.apply(1, version(2, of: api))
        let sets = sets(&story, broken: { $0.number == 5 })
        guard case .rolledBack(let text, let culprits)? = story.outcome(1) else {
            Issue.record("\(String(describing: story.outcome(1)))")
            return
        }
        #expect(text == "api/5 has failed 3 times: exited with code 7")
        #expect(culprits.map(\.instance) == [instance("api", 5)])
        #expect(sets == [[1, 2, 3]])
        #expect(story.running == before && story.app.manifest.services == [api])
    }

    @Test func `a user sends it back before the switch: nothing switches`() {
        var story = almostReady()
        story.tell(.decided(CommandID(2), service: "api", .promote))
        #expect(
            story.outcome(2)
                == .failed("the new instances of api are not all ready yet: they take over by themselves once they are")
        )
        story.tell(.decided(CommandID(3), service: "api", .rollBack))
        #expect(sets(&story) == [[1, 2, 3]])
        #expect(story.outcome(1) == .sentBack("api was rolled back by a user", by: "a user"))
    }

    @Test func `a user sends it back after the switch: the new ones serve until all of the old are back`() {
        var story = almostReady()
        story.ready(6)
        for generation in 1...3 as ClosedRange<UInt64> { story.tell(.drained(Generation(generation))) }
        story.tell(.decided(CommandID(2), service: "api", .rollBack))
        #expect(serving(story.app) == [4, 5, 6])
        let sets = sets(&story)
        #expect(sets.count == 2 && sets.first == [4, 5, 6], "\(sets)")
        #expect(sets.last?.count == 3 && sets.last?.isDisjoint(with: [4, 5, 6]) == true)
        #expect(story.app.manifest.services == [api] && story.app.deployments.isEmpty)
        #expect(story.outcome(1) == .sentBack("api was rolled back by a user", by: "a user"))
    }

    @Test func `a user sends it back while the old ones let their connections end: they serve again at once`() {
        var story = almostReady()
        let before = story.running.filter { $0.value <= 3 }
        story.ready(6)
        story.tell(.decided(CommandID(2), service: "api", .rollBack))
        #expect(serving(story.app) == [1, 2, 3])
        #expect(sets(&story) == [[1, 2, 3]])
        #expect(story.running == before && story.app.manifest.services == [api] && story.app.deployments.isEmpty)
        #expect(story.outcome(2) == .done)
    }

    @Test func `an old one that ends meanwhile is started as what it was, and serves`() {
        var story = almostReady()
        story.exited(1)
        story.pass(.seconds(1))
        story.spawned(7)
        story.ready(7)
        #expect(serving(story.app) == [1, 2, 3])
        #expect(story.app.settings(of: instance("api")) == api)
    }

    @Test func `one that waits for a dependency meanwhile is waited for: the new set serves until it is there`() throws
    {
        let db = service("db", ready: .tcp, restart: RestartSettings(policy: .onFailure))
        var old = api
        old.replicas = 1
        old.dependsOn = [Dependency(service: "db")]
        var story = Story(db, old)
        story.play()
        var new = old
        new.environment = version(2, of: api).environment
        story.apply(1, db, new)
        story.spawned(3)
        // db ends, and then the only one that serves, which cannot be started without it.
        story.exited(1)
        story.exited(2)
        story.pass(.milliseconds(550))
        #expect(story.app.instances.first { $0.id == instance("api") }?.state == .waiting)
        #expect(serving(story.app) == [])
        story.ready(3)
        #expect(serving(story.app) == [2] && story.outcome(1) == nil)
        let next = try #require(story.app.instances.first?.process?.generation.number)
        story.spawned(next)
        story.ready(next)
        story.play()
        #expect(story.outcome(1) == .done)
        #expect(story.running[instance("api")] != nil && serving(story.app) == [1])
    }

    @Test func `a restart goes the same way, and gives up in words`() {
        var story = up(api)
        story.command(1, .restart, instance("api"), instance("api", 2), instance("api", 3))
        #expect(story.spawns == [4, 5, 6])
        let good = sets(&story)
        #expect(story.outcome(1) == .done)
        for set in good { #expect(set.isSubset(of: [1, 2, 3]) || set.isDisjoint(with: [1, 2, 3]), "\(set)") }
        let before = story.running
        story.command(2, .restart, instance("api"), instance("api", 2), instance("api", 3))
        let bad = sets(&story, broken: { $0.number > 3 })
        #expect(bad.allSatisfy { !$0.isEmpty })
        #expect(story.running == before)
        guard case .rolledBack? = story.outcome(2) else {
            Issue.record("\(String(describing: story.outcome(2)))")
            return
        }
    }

    @Test func `a restart stays what it is while another service is scaled, and not if its own is`() {
        for (name, serve) in [("worker", Set(1...3)), ("api", Set(1...4))] {
            var story = Story(api, service("worker", ready: .tcp))
            story.play()
            story.command(1, .restart, instance("api"), instance("api", 2), instance("api", 3))
            #expect(story.spawns == [5, 6, 7])
            for generation in UInt64(5)...7 { story.spawned(generation) }
            story.ready(5)
            #expect(serving(story.app) == [1, 2, 3])
            story.tell(.scaled(CommandID(2), [name: name == "api" ? 4 : 2]))
            #expect(serving(story.app) == serve)
        }
    }

    @Test func `a restart of one of them is none of all`() {
        var story = up(api)
        story.command(1, .restart, instance("api", 2))
        #expect(story.spawns == [4])
        story.spawned(4)
        story.ready(4)
        #expect(serving(story.app) == [1, 3, 4])
        story.play()
        #expect(story.outcome(1) == .done && story.running.count == 3)
    }

    @Test func `a stop before the switch sends it back, one after it does not`() {
        var story = almostReady()
        story.command(2, .stop, instance("api"), instance("api", 2), instance("api", 3))
        story.play()
        #expect(story.app.manifest.services == [api])
        story = almostReady()
        story.ready(6)
        story.command(2, .stop, instance("api"), instance("api", 2), instance("api", 3))
        story.play()
        #expect(story.outcome(1) == .done)
        #expect(story.app.manifest.services == [version(2, of: api)] && story.running.isEmpty)
    }

    @Test func `the number of instances may change with it`() {
        for replicas in [1, 2, 5] {
            var story = up(api)
            var new = version(2, of: api)
            new.replicas = replicas
            story.apply(1, new)
            for set in sets(&story) {
                #expect(!set.isEmpty)
                #expect(set.isSubset(of: [1, 2, 3]) || set.isDisjoint(with: [1, 2, 3]), "\(set)")
            }
            #expect(story.outcome(1) == .done)
            #expect(serving(story.app) == Set(1...replicas))
        }
    }

    @Test func `the plan says it`() {
        let story = up(api)
        let plan = Plan(from: story.app, to: Manifest(supd: story.app.manifest.supd, services: [version(2, of: api)]))
        #expect(plan.changes.map(\.cost) == [.blueGreen])
        #expect(Plan.Cost.blueGreen.rawValue == "blue-green")
        var rolling = api
        rolling.deploy = DeploySettings()
        let live = Plan(from: story.app, to: Manifest(supd: story.app.manifest.supd, services: [rolling]))
        #expect(live.changes.map(\.cost) == [.live])
        #expect(live.changes.first?.fields.map(\.field) == ["deploy.strategy"])
        #expect(live.changes.first?.fields.first?.old == "blue-green")
    }
}
