import Manifest
import Testing

@testable import Supervision

struct ApplyTests {
    private let api = service("api", replicas: 3, front: 80, ready: .tcp)
    private let worker = service("worker")

    @Test func `a service that is added starts and nothing else is touched`() {
        var story = up(api)
        let before = story.running
        story.apply(1, api, worker)
        #expect(story.effects.contains(.manifestChanged))
        #expect(story.outcome(1) == nil)
        story.play()
        #expect(story.outcome(1) == .done)
        #expect(story.running.filter { $0.key.service == "api" } == before)
        #expect(story.running[instance("worker")] != nil)
        #expect(story.app.deployments.isEmpty)
    }

    @Test func `a service that is left out stops and then is no more`() {
        var story = up(api, worker)
        let before = story.running.filter { $0.key.service == "api" }
        story.apply(1, api)
        #expect(story.app.leaving == ["worker"])
        story.play()
        #expect(story.outcome(1) == .done)
        #expect(story.running == before)
        #expect(story.app.manifest.services.map(\.name) == ["api"])
        #expect(story.app.leaving.isEmpty)
        #expect(story.app.instanceIDs == [instance("api", 1), instance("api", 2), instance("api", 3)])
    }

    @Test func `more and fewer replicas touch no other`() {
        var story = up(api)
        let before = story.running
        var five = api
        five.replicas = 5
        story.apply(1, five)
        story.play()
        #expect(story.outcome(1) == .done)
        #expect(story.running.count == 5)
        #expect(before.allSatisfy { story.running[$0.key] == $0.value })
        var one = api
        one.replicas = 1
        story.apply(2, one)
        story.play()
        #expect(story.outcome(2) == .done)
        #expect(story.running == before.filter { $0.key.number == 1 })
        #expect(story.app.instanceIDs == [instance("api", 1)])
    }

    @Test func `a rollout starts one beside the others and is never short of ready ones`() {
        var story = up(api)
        let before = story.running
        story.apply(1, version(2, of: api))
        #expect(story.spawns.count == 1)
        var fewest = 3
        story.play(afterEachRound: { app in
            fewest = min(fewest, app.routes.first?.endpoints.count { $0.state == .active } ?? 0)
        })
        #expect(fewest == 3)
        #expect(story.outcome(1) == .done)
        #expect(Set(story.running.keys) == Set(before.keys))
        #expect(before.allSatisfy { story.running[$0.key] != $0.value })
        #expect(story.app.instances.count == 3)
        #expect(story.app.instances.allSatisfy { $0.edition == .current })
    }

    @Test(arguments: [(1, 0, 1, 4), (2, 0, 2, 4), (0, 1, 0, 3), (0, 3, 0, 1), (1, 1, 1, 3), (0, 0, 0, 3)])
    func `surge and maxUnavailable bound how many are beside the others and how few serve`(
        surge: Int, unavailable: Int, mostAside: Int, fewestServing: Int
    ) {
        var four = api
        four.replicas = 4
        four.deploy.surge = surge
        four.deploy.maxUnavailable = unavailable
        var story = up(four)
        story.apply(1, version(2, of: four))
        var (most, fewest) = (0, 4)
        story.play(afterEachRound: { app in
            most = max(most, app.instances.count { $0.id.number > 4 && $0.process != nil })
            fewest = min(fewest, app.routes.first?.endpoints.count { $0.state == .active } ?? 0)
        })
        #expect(most == mostAside)
        #expect(fewest == fewestServing)
        #expect(story.outcome(1) == .done)
        #expect(story.running.count == 4)
    }

    @Test(arguments: [1, 2, 5])
    func `deploy failures is how often a new one may fail`(failures: Int) {
        var few = api
        few.deploy.failures = failures
        var story = up(few)
        story.apply(1, version(2, of: few))
        var tried = 0
        story.play(broken: { id in
            if id.number == 4 { tried += 1 }
            return id.number == 4
        })
        #expect(tried == failures)
        guard case .rolledBack(let text, _)? = story.outcome(1) else {
            Issue.record("\(String(describing: story.outcome(1)))")
            return
        }
        #expect(text.contains("api/4 has failed"), "\(text)")
        #expect(text.contains(failures == 1 ? "exited with code 7" : "\(failures) times"), "\(text)")
    }

    @Test func `health of what runs begins, changes and ends with the manifest, its processes stay`() throws {
        var story = up(worker)
        let before = story.running
        let generation = Generation(try #require(before[instance("worker")]))
        var probed = worker
        probed.health = HealthSettings(check: .tcp)
        story.apply(1, probed)
        #expect(story.outcome(1) == .done)
        func begun(_ story: Story) -> [HealthSettings.Check] {
            story.effects.compactMap { effect in
                guard case .beginHealthProbing(generation, let id, _) = effect else { return nil }
                return story.app.settings(of: id)?.health?.check
            }
        }
        #expect(begun(story) == [.tcp])
        #expect(!story.effects.contains(.endHealthProbing(generation)))
        let http = HealthSettings.Check.http(HTTPCheck(path: Template(literal: "/h")))
        probed.health?.check = http
        story.apply(2, probed)
        #expect(story.effects.contains(.endHealthProbing(generation)))
        #expect(begun(story) == [http])
        // The same once more is nothing.
        story.apply(3, probed)
        #expect(!story.effects.contains(.endHealthProbing(generation)) && begun(story) == [])
        story.apply(4, worker)
        #expect(story.effects.contains(.endHealthProbing(generation)))
        #expect(begun(story) == [])
        #expect(story.running == before)
    }

    @Test func `an old instance that dies meanwhile comes back as what it was`() throws {
        var story = up(api)
        story.apply(1, version(2, of: api))
        let old = try #require(story.running[instance("api", 2)])
        story.exited(old)
        #expect(story.app.settings(of: instance("api", 2)) == api)
        #expect(story.app.settings(of: instance("api", 4)) == version(2, of: api))
    }

    @Test func `a release that never becomes ready is gone back on and the old ones stay`() {
        var story = up(api)
        let before = story.running
        story.apply(1, version(2, of: api))
        story.play(broken: { $0.number == 4 })
        guard case .rolledBack(let text, let culprits)? = story.outcome(1) else {
            Issue.record("\(String(describing: story.outcome(1)))")
            return
        }
        #expect(text.contains("api/4 has failed 3 times: exited with code 7"))
        #expect(culprits.map(\.instance) == [instance("api", 4)])
        #expect(story.running == before)
        #expect(story.app.manifest.services == [api])
        #expect(story.app.instances.count == 3)
    }

    @Test func `one that is not ready in time is enough`() {
        var story = up(api)
        let before = story.running
        story.apply(1, version(2, of: api))
        story.spawned(story.spawns[0])
        story.pass(.seconds(61))
        story.play()
        guard case .rolledBack(let text, _)? = story.outcome(1) else {
            Issue.record("\(String(describing: story.outcome(1)))")
            return
        }
        #expect(text.hasPrefix("api/4 was not ready within 60 s"))
        #expect(story.running == before)
    }

    @Test func `what clients begin with changes for all instances at once`() {
        var new = api
        new.balance.proxyProtocol = .v2
        var story = up(api)
        let old = Set(story.running.values)
        story.apply(1, new)
        var mixed = false
        story.play(afterEachRound: { app in
            let active = app.routes.flatMap(\.endpoints).filter { $0.state == .active }.map(\.generation.number)
            mixed = mixed || active.contains(where: old.contains)
        })
        #expect(!mixed)
        #expect(story.outcome(1) == .done)
        #expect(story.running.count == 3)
    }

    @Test func `what the keeper started by the old settings is replaced, too`() throws {
        var story = up(api)
        story.apply(1, version(2, of: api))
        story.play(upToReplacing: instance("api", 1))
        let old = try #require(story.app.instances.first?.process?.generation)
        let heir = story.app.reserveGeneration()
        story.tell(.exited(old, .signal(9, coreDumped: false), groupEmpty: true, heir: heir))
        #expect(story.app.instances.first?.process?.generation == heir)
        // It is told to end as soon as it is there.
        story.spawned(heir.number)
        #expect(story.effects.contains(.signal(heir, "TERM")))
        story.play()
        #expect(story.outcome(1) == .done)
        #expect(story.app.settings(of: instance("api", 1)) == version(2, of: api))
        #expect(story.running.values.allSatisfy { $0 != heir.number })
    }

    @Test func `a task at work keeps no other manifest out`() {
        let task = service("migrate", kind: .task)
        var story = up(api)
        story.apply(1, api, task)
        story.spawned(story.spawns[0])
        #expect(story.outcome(1) == .done)
        #expect(story.app.applyHindrance == nil)
    }

    @Test func `a new version that ends before it is ready serves nobody`() {
        let old = service("api", front: 80, ready: .tcp, restart: RestartSettings(policy: .onFailure))
        var story = up(old)
        story.apply(1, version(2, of: old))
        story.spawned(story.spawns[0])
        story.exited(2, .code(0))
        story.play()
        guard case .rolledBack(let text, _)? = story.outcome(1) else {
            Issue.record("\(String(describing: story.outcome(1)))")
            return
        }
        #expect(text.contains("api/2 has ended, and serves nobody"))
        #expect(story.running == [instance("api"): 1])
    }

    @Test func `a second one meanwhile is refused by name`() {
        var story = up(api)
        story.apply(1, version(2, of: api))
        story.apply(2, version(3, of: api))
        let text =
            "an earlier apply is under way: it replaces api (api: 0 of 3 replaced: api/4 is starting); "
            + "\"supctl rollback api\" sends it back"
        #expect(story.outcome(2) == .failed(text))
        #expect(story.app.manifest.services == [version(2, of: api)])
    }

    @Test func `it is told what the earlier one waits for, why, and how that is ended`() throws {
        let db = service("db", ready: .tcp)
        let web = service("web", ready: .tcp, dependsOn: [Dependency(service: "db")])
        var story = Story(db)
        // A new service that waits.
        story.apply(1, db, web)
        #expect(
            story.app.applyHindrance
                == "an earlier apply is under way: it waits for web/1 (web/1 waits for db to be ready); "
                + "\"supctl stop web/1\" ends the wait for it")
        // Nobody waits for it any more: it goes on, and says the same to others.
        story.tell(.commandForgotten(CommandID(1)))
        #expect(story.app.applyHindrance?.contains("(web/1 waits for db to be ready)") == true)
        story.command(2, .stop, instance("web"))
        #expect(story.app.applyHindrance == nil)
        // One that is replaced, and waits.
        story.command(3, .start, instance("web"))
        story.apply(4, db, version(2, of: web))
        #expect(
            story.app.applyHindrance
                == "an earlier apply is under way: it replaces web (web: 0 of 1 replaced: web/1 waits for db to be ready); "
                + "\"supctl rollback web\" sends it back")
        story.tell(.decided(CommandID(5), service: "web", .rollBack))
        #expect(story.app.applyHindrance == nil)
        // A task at work, and instances that go.
        let task = service("t", kind: .task)
        story = up(api, task)
        story.apply(1, api, version(2, of: task))
        #expect(story.app.applyHindrance?.hasSuffix("; \"supctl stop t\" ends it") == true)
        // A task that waits for its turn is not what the apply waits for.
        let late = service("t", kind: .task, dependsOn: [Dependency(service: "api")])
        story = up(late, api)
        story.apply(1, version(2, of: late), version(2, of: api))
        #expect(story.app.applyHindrance?.hasSuffix("; \"supctl rollback api\" sends it back") == true)
        story = up(api)
        story.apply(1)
        #expect(
            story.app.applyHindrance
                == "an earlier apply is under way: it waits for api/1, api/2 and api/3 (api/1 lets its connections end; "
                + "api/2 lets its connections end; api/3 lets its connections end)")
    }

    @Test func `what depends on a changed service waits for it`() {
        let web = service("web", front: 81, ready: .tcp, dependsOn: [Dependency(service: "api")])
        var story = up(api, web)
        story.apply(1, version(2, of: api), version(2, of: web))
        #expect(story.effects.contains { if case .spawn(_, let id, _) = $0 { id.service == "api" } else { false } })
        #expect(!story.effects.contains { if case .spawn(_, let id, _) = $0 { id.service == "web" } else { false } })
        story.play()
        #expect(story.outcome(1) == .done)
    }

    @Test func `a stopped service takes the change without being started`() {
        var story = up(api)
        story.command(7, .stop, instance("api", 1), instance("api", 2), instance("api", 3))
        story.play()
        story.apply(1, version(2, of: api))
        story.play()
        #expect(story.outcome(1) == .done)
        #expect(story.running.isEmpty)
        #expect(story.app.settings(of: instance("api", 1)) == version(2, of: api))
    }

    @Test func `a changed task runs again and one that fails is not run as what it was`() {
        let task = service("migrate", kind: .task, restart: RestartSettings(policy: .never))
        var story = up(task)
        story.exited(1, .code(0))
        story.apply(1, version(2, of: task))
        #expect(story.spawns.count == 1)
        let generation = story.spawns[0]
        story.spawned(generation)
        story.exited(generation, .code(3))
        guard case .rolledBack? = story.outcome(1) else {
            Issue.record("\(String(describing: story.outcome(1)))")
            return
        }
        #expect(story.app.manifest.services == [task])
        #expect(story.app.instances.map(\.state) == [.completed])
        #expect(story.spawns.isEmpty)
    }

    @Test func `a new supervisor goes on with a rollout`() throws {
        var story = up(api)
        story.apply(1, version(2, of: api))
        let snapshot = story.app.snapshot
        let children = story.app.views(at: story.now).flatMap(\.instances).compactMap { view in
            view.generation.map {
                Application.SurvivingChild(generation: $0, instance: view.id, port: view.port, pid: view.pid)
            }
        }
        let app = try Application(manifest: story.app.manifest, revision: story.app.revision, snapshot: snapshot)
        var next = Story(resuming: app, children: children)
        #expect(next.app.instances.map(\.edition) == [.former, .former, .former, .current])
        for child in children where child.pid == nil { next.tell(.spawned(child.generation, pid: 77)) }
        next.play()
        #expect(next.app.deployments.isEmpty)
        #expect(next.app.instances.count == 3)
        #expect(next.running.count == 3)
        #expect(throws: SnapshotMismatch.self) {
            try Application(manifest: story.app.manifest, revision: story.app.revision + 1, snapshot: snapshot)
        }
    }
}
