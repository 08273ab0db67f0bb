import Manifest
import Testing

@testable import Supervision

/// A rollout that goes back halfway: as few are missing as on the way forward.
struct GoingBackTests {
    @Test(arguments: [(surge: 1, replaced: 2), (surge: 2, replaced: 1), (surge: 3, replaced: 1)])
    func `those that stand in go only when those on their way are back`(surge: Int, replaced: Int) {
        let api = service("api", replicas: 3, front: 80, ready: .tcp, deploy: DeploySettings(surge: surge))
        var story = up(api)
        #expect(story.running.count == 3)
        story.apply(1, next(api))
        // Those beside the others come up, one after the other.
        for _ in 0..<surge {
            for generation in story.spawns {
                story.spawned(generation)
                story.ready(generation)
            }
        }
        // Some are replaced; others are on their way out then.
        for number in 1...replaced {
            guard let old = story.running[instance("api", number)] ?? story.draining(instance("api", number)) else {
                Issue.record("api/\(number) is not there")
                return
            }
            story.tell(.drained(Generation(old)))
            story.exited(old, .signal(15, coreDumped: false))
            for generation in story.spawns {
                story.spawned(generation)
                story.ready(generation)
            }
        }
        #expect(story.serving >= 3)
        story.tell(.decided(CommandID(2), service: "api", .rollBack))
        var fewest = story.serving
        story.play(afterEachRound: { app in
            fewest = min(fewest, app.routes.first?.endpoints.count { $0.state == .active } ?? 0)
        })
        #expect(fewest == 3)
        #expect(story.app.manifest.services == [api])
        #expect(story.app.deployments.isEmpty && story.running.count == 3 && story.serving == 3)
    }

    /// `h` depends on `i` from now on, and no longer `i` on `h`.
    private func turnedRound() -> (story: Story, next: [Service]) {
        let h = service("h", front: 80, ready: .tcp)
        let i = service("i", front: 81, ready: .tcp, dependsOn: [Dependency(service: "h"), Dependency(service: "db")])
        let db = service("db", ready: .tcp)
        let story = up(h, i, db)
        var (newH, newI) = (version(2, of: h), version(2, of: i))
        newH.dependsOn = [Dependency(service: "i")]
        newI.dependsOn = [Dependency(service: "db")]
        return (story, [newH, newI, db])
    }

    @Test func `what was turned round waits for nobody that waits for it`() {
        var (story, next) = turnedRound()
        story.apply(1, next[0], next[1], next[2])
        story.tell(.decided(CommandID(2), service: "i", .rollBack))
        story.play()
        let services = story.app.manifest.services
        #expect(services.first { $0.name == "i" }?.dependsOn == [Dependency(service: "db")])
        #expect(services.first { $0.name == "i" }?.environment == [])
        #expect(services.first { $0.name == "h" } == next[0])
        let told = "it goes back without waiting for h, which by now depends on it"
        guard case .sentBack(let text, _) = story.outcome(1) else {
            Issue.record("\(String(describing: story.outcome(1)))")
            return
        }
        #expect(text.hasSuffix("; " + told))
        // Both can be stopped and started.
        story.command(3, .stop, instance("h"), instance("i"))
        story.play()
        #expect(story.outcome(3) == .done)
        story.command(4, .start, instance("h"), instance("i"))
        story.play()
        #expect(story.outcome(4) == .done && story.running.count == 3)
    }

    @Test func `what depends on a task waits for it to be ready once it is a service again`() {
        let plain = service("job", ready: .tcp)
        var task = version(2, of: plain)
        task.kind = .task
        task.restart.policy = .onFailure
        let user = service("user", ready: .tcp)
        var story = up(plain, user)
        var later = version(2, of: user)
        later.dependsOn = [Dependency(service: "job", condition: .completed)]
        story.apply(1, task, later)
        story.tell(.decided(CommandID(2), service: "job", .rollBack))
        story.play()
        #expect(story.app.manifest.services.first { $0.name == "job" } == plain)
        #expect(story.app.deployments.isEmpty && story.running.count == 2)
    }

    /// Another one stands in for the only one, which lets its connections end.
    private func replacing() -> (story: Story, api: Service) {
        let api = service("api", front: 80, ready: .tcp, deploy: DeploySettings(surge: 1))
        var story = up(api)
        story.apply(1, version(2, of: api))
        story.spawned(2)
        story.ready(2)
        return (story, api)
    }

    @Test func `one that was not told to end yet goes on, with its clients`() {
        var (story, _) = replacing()
        #expect(story.app.routes.first?.endpoints.map(\.state) == [.draining, .active])
        story.tell(.decided(CommandID(2), service: "api", .rollBack))
        #expect(story.app.routes.first?.endpoints.map(\.state) == [.active, .draining])
        story.play()
        #expect(story.running == [instance("api"): 1])
        #expect(story.app.deployments.isEmpty && story.outcome(2) == .done)
    }

    @Test func `one whose restart a user has asked for is restarted all the same`() {
        let api = service("api", front: 80, ready: .tcp, deploy: DeploySettings(surge: 0))
        var story = up(api)
        story.command(1, .restart, instance("api"))
        #expect(story.app.routes.first?.endpoints.map(\.state) == [.draining])
        story.apply(2, version(2, of: api))
        story.tell(.decided(CommandID(3), service: "api", .rollBack))
        story.tell(.drained(Generation(1)))
        story.play()
        #expect(story.outcome(1) == .done && story.app.operations.isEmpty && story.app.deployments.isEmpty)
        #expect(story.app.manifest.services == [api] && story.running[instance("api")] != 1)
    }

    @Test func `fixed ports that shift by one stay with who has them`() {
        let old = service("db", replicas: 2, port: 9000, front: 80, ready: .tcp)
        var new = old
        new.port = 9001
        var story = up(old)
        let before = story.running
        story.apply(1, new)
        // The first one has ended, and waits for the port of the second one, which lets its connections end.
        story.tell(.drained(Generation(1)))
        story.exited(1, .signal(15, coreDumped: false))
        #expect(story.spawns == [])
        story.tell(.decided(CommandID(2), service: "db", .rollBack))
        story.play()
        #expect(story.app.instances.map { $0.process?.port } == [9000, 9001])
        #expect(story.running[instance("db", 2)] == before[instance("db", 2)])
        #expect(story.app.deployments.isEmpty && story.app.manifest.services == [old])
    }

    @Test func `who stands in for one that waited with the new settings stays until it is back with the old ones`() {
        let api = service("api", replicas: 2, front: 80, ready: .tcp, deploy: DeploySettings(surge: 1))
        let db = service("db", ready: .tcp)
        var story = up(db, api)
        var next = version(2, of: api)
        next.dependsOn = [Dependency(service: "db")]
        story.apply(1, db, next)
        for generation in story.spawns {
            story.spawned(generation)
            story.ready(generation)
        }
        story.command(2, .stop, instance("db"))
        story.exited(1, .signal(15, coreDumped: false))
        // The first one would wait for what somebody has stopped.
        story.tell(.drained(Generation(2)))
        story.exited(2, .signal(15, coreDumped: false))
        #expect(story.app.rollout(of: "api")?.failure != nil && story.serving == 2)
        var fewest = 2
        story.play(afterEachRound: { app in
            fewest = min(fewest, app.routes.first?.endpoints.count { $0.state == .active } ?? 0)
        })
        #expect(fewest == 2 && story.app.deployments.isEmpty)
        #expect(story.running.keys.sorted() == [instance("api", 1), instance("api", 2)])
    }

    @Test func `one that was told to end is started again as what it was`() {
        var (story, api) = replacing()
        story.tell(.drained(Generation(1)))
        story.tell(.decided(CommandID(2), service: "api", .rollBack))
        story.play()
        #expect(story.running.keys.sorted() == [instance("api")] && story.running[instance("api")] != 1)
        #expect(story.app.manifest.services == [api])
        #expect(story.app.deployments.isEmpty && story.outcome(2) == .done)
    }
}

extension Story {
    /// How many take new connections.
    fileprivate var serving: Int { app.routes.first?.endpoints.count { $0.state == .active } ?? 0 }

    /// The process of an instance that drains.
    fileprivate func draining(_ id: InstanceID) -> UInt64? {
        app.routes.flatMap(\.endpoints).first { $0.instance == id && $0.state == .draining }?.generation.number
    }
}
