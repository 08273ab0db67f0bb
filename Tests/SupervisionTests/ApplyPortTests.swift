import Manifest
import Testing

@testable import Supervision

/// An apply that changes ports.
struct ApplyPortTests {
    @Test func `a fixed port is replaced in place and gone back on in place`() {
        let db = service("db", port: 7000, front: 80, ready: .tcp)
        var story = up(db)
        story.apply(1, version(2, of: db))
        #expect(story.spawns.isEmpty)
        var wasHeld = false
        var attempts = 0
        story.play(
            broken: { _ in
                attempts += 1
                return attempts <= 3
            },
            afterEachRound: { app in
                if app.routes.first?.holdUntil != nil { wasHeld = true }
            })
        #expect(wasHeld)
        guard case .rolledBack? = story.outcome(1) else {
            Issue.record("\(String(describing: story.outcome(1)))")
            return
        }
        #expect(story.app.manifest.services == [db])
        #expect(story.running.count == 1)
    }

    @Test func `a port from the range becomes a fixed one and back`() {
        let ranged = service("db", front: 80, ready: .tcp)
        var fixed = ranged
        fixed.port = 7000
        var story = up(ranged)
        story.apply(1, fixed)
        story.play()
        #expect(story.outcome(1) == .done)
        #expect(story.app.routes.first?.endpoints.map(\.port) == [7000])
        story.apply(2, ranged)
        story.play()
        #expect(story.outcome(2) == .done)
        #expect(story.app.routes.first?.endpoints.map(\.port).allSatisfy { (20000...20099).contains($0) } == true)
    }

    @Test func `a new instance waits for the fixed port of one that is still to be replaced`() {
        let old = service("db", port: 9002, ready: .tcp)
        var new = old
        (new.port, new.replicas) = (9000, 3)
        // What it depends on is replaced first, and takes its time.
        let first = service("first", ready: .tcp)
        var later = version(2, of: first)
        later.stop.timeout = .seconds(60)
        new.dependsOn = [Dependency(service: "first")]
        var story = up(first, old)
        story.apply(1, later, new)
        #expect(story.app.instances.contains { $0.id == instance("db") && $0.edition == .former })
        var shared = false
        story.play(afterEachRound: { app in
            let ports = app.instances.compactMap { $0.process?.port }
            shared = shared || Set(ports).count < ports.count
        })
        #expect(!shared && story.outcome(1) == .done)
        #expect(story.app.instances.filter { $0.id.service == "db" }.map { $0.process?.port } == [9000, 9001, 9002])
    }

    @Test func `a fixed port that another service is still to give up is tried, and waited for by nobody for ever`() {
        let a = service("a", port: 9000, front: 80, ready: .tcp)
        let b = service("b", port: 9001, ready: .tcp, dependsOn: [Dependency(service: "a")])
        var (newA, newB) = (a, b)
        (newA.port, newB.port) = (9001, 9002)
        var story = up(a, b)
        story.apply(1, newA, newB)
        story.tell(.drained(Generation(1)))
        story.exited(1, .signal(15, coreDumped: false))
        // The second one's rollout is after the first one's: it is no use to wait for its port.
        for _ in 0..<3 {
            for generation in story.spawns { story.tell(.portTaken(Generation(generation), holder: "b/1")) }
            story.pass(.seconds(5))
        }
        #expect(
            story.app.rollout(of: "a")?.failure == "a/1 has failed 3 times: port 9001 is in use by b/1")
        #expect(story.app.instances.map { $0.process?.port } == [9000, 9001])
    }

    @Test func `two that exchange their ports go back together, and who only lets its connections end goes on`() {
        let a = service("a", port: 9000, front: 80, ready: .tcp)
        let b = service("b", port: 9001, front: 81, ready: .tcp)
        var (newA, newB) = (a, b)
        (newA.port, newB.port) = (9001, 9000)
        var story = up(a, b)
        let before = story.running
        story.apply(1, newA, newB)
        #expect(story.app.routes.flatMap(\.endpoints).map(\.state) == [.draining, .draining])
        story.tell(.decided(CommandID(2), service: "a", .rollBack))
        #expect(story.app.routes.flatMap(\.endpoints).map(\.state) == [.active, .active])
        story.play()
        #expect(story.running == before && story.app.manifest.services == [a, b] && story.app.deployments.isEmpty)
        guard case .rolledBack(let text, _)? = story.outcome(1) else {
            Issue.record("\(String(describing: story.outcome(1)))")
            return
        }
        #expect(text.hasSuffix("b cannot have port 9000: a, which has gone back, has it again"), "\(text)")
    }

    @Test func `fixed ports that shift by one go over from one instance to the next`() {
        let old = service("db", replicas: 2, port: 9000, ready: .tcp)
        var new = old
        new.port = 9001
        var story = up(old)
        story.apply(1, new)
        #expect(story.effects.count { if case .signal = $0 { true } else { false } } == 2)
        story.exited(1, .signal(15, coreDumped: false))
        // Its port is the other one's until that is gone.
        #expect(story.spawns.isEmpty)
        #expect(story.reports == ["db/1: waits for port 9001, which db/2 still has"])
        story.exited(2, .signal(15, coreDumped: false))
        #expect(story.effects.count { if case .spawn(_, _, 9001...9002) = $0 { true } else { false } } == 2)
        story.play()
        #expect(story.outcome(1) == .done)
        #expect(story.app.instances.map { $0.process?.port } == [9001, 9002])
    }

    @Test func `an instance that is down meanwhile does not start on a port that the next one still has`() {
        let old = service("db", replicas: 2, port: 9000, ready: .tcp)
        var new = old
        new.port = 9001
        var story = up(old)
        // Its first failure: it waits for its next try.
        story.exited(1, .code(1))
        story.apply(1, new)
        #expect(story.spawns.isEmpty)
        #expect(story.reports == ["db/1: waits for port 9001, which db/2 still has"])
        story.exited(2, .signal(15, coreDumped: false))
        #expect(story.effects.count { if case .spawn(_, _, 9001...9002) = $0 { true } else { false } } == 2)
    }

    @Test func `a service that is renamed takes its fixed port over once that is free`() {
        let old = service("web", port: 9000, ready: .tcp)
        var new = old
        new.name = "site"
        var story = up(old)
        story.apply(1, new)
        #expect(story.spawns.isEmpty)
        #expect(story.reports.contains("site/1: waits for port 9000, which web/1 still has"))
        story.play()
        #expect(story.outcome(1) == .done)
        #expect(story.running.keys.map(\.description) == ["site/1"])
    }
}
