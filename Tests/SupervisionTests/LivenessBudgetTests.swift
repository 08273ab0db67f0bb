import Manifest
import Testing

@testable import Supervision

/// How many may be restarted for their health, and what commands make of it.
@Suite struct LivenessBudgetTests {
    // MARK: The budget

    @Test func `of several one is restarted at a time, the one that has been unhealthy for longest first`() throws {
        var story = ready(checked(replicas: 3, balance: BalanceSettings(drainTimeout: .zero)))
        story.fail(2, times: 2)
        story.fail(3, times: 2)
        story.fail(2, times: 1)
        #expect(story.acts.contains(.signal(Generation(2), "TERM")))
        story.pass(.seconds(1))
        story.fail(3, times: 1)
        story.pass(.seconds(1))
        story.fail(1)
        #expect(try story.state(3) == "running" && story.health(3) == "unhealthy")
        #expect(
            try story.detail(3)
                == "unhealthy: \(refused), three times in a row; not restarted before a/2 is ready again")
        // It stays an endpoint.
        #expect(story.app.routes[0].endpoints.first { $0.generation == Generation(3) }?.state == .active)
        story.exited(2)
        #expect(try story.state(2) == "backoff")
        story.pass(.seconds(1))
        story.spawned(4)
        #expect(try story.state(3) == "running")
        story.ready(4)
        #expect(try story.state(3) == "stopping" && story.state(1) == "running")
        story.exited(3)
        story.pass(.seconds(1))
        story.spawned(5)
        story.ready(5)
        #expect(try story.state(1) == "stopping")
    }

    @Test func `the last ready one is not restarted while the others may come`() throws {
        var story = ready(checked(replicas: 2))
        story.exited(2)
        story.fail(1)
        #expect(try story.state(1) == "running")
        #expect(
            try story.detail(1)
                == "unhealthy: \(refused), three times in a row; not restarted since no other instance is ready")
        story.pass(.seconds(1))
        story.spawned(3)
        #expect(try story.state(1) == "running")
        story.ready(3)
        #expect(try story.state(1) == "draining")
        // The other one has failed as well by now: still one of them is left.
        story.fail(3)
        #expect(try story.state(2) == "running")
    }

    @Test func `one whose others are stopped, drained or failed for good is alone`() throws {
        var story = ready(
            checked(replicas: 3, restart: RestartSettings(limit: .init(starts: 1, within: .seconds(1000)))))
        story.fail(1)
        // It is drained for 30 s; back to the beginning by a stop and a start.
        #expect(try story.state(1) == "draining")
        story = ready(checked(replicas: 3, restart: RestartSettings(limit: .init(starts: 1, within: .seconds(1000)))))
        story.command(1, .stop, instance("a", 2))
        story.exited(3)
        #expect(try story.state(3) == "failed")
        story.fail(1)
        #expect(try story.state(1) == "draining")

        story = ready(checked(replicas: 2))
        story.command(1, .drain, instance("a", 2))
        story.fail(1)
        #expect(try story.state(1) == "draining")
    }

    @Test func `a drained one is left as it is until it is undrained`() throws {
        var story = ready(checked(replicas: 2))
        story.command(1, .drain, instance("a", 1))
        story.fail(1)
        #expect(try story.state(1) == "running" && story.health(1) == "unhealthy")
        #expect(try story.detail(1)?.hasSuffix("not restarted while it is drained") == true)
        story.command(2, .undrain, instance("a", 1))
        #expect(try story.state(1) == "draining")
    }

    // MARK: Commands

    @Test func `a user's restart has the first word, and takes the place of one for health`() throws {
        var story = ready(checked(replicas: 3))
        story.command(1, .restart, instance("a", 1), instance("a", 2))
        #expect(try story.state(1) == "draining")
        story.fail(3)
        #expect(try story.state(3) == "running")
        #expect(
            try story.detail(3)?.hasSuffix("not restarted while instances of its service are being restarted") == true)
        for (old, new) in [(UInt64(1), UInt64(4)), (2, 5)] {
            story.tell(.drained(Generation(old)))
            story.exited(old)
            story.spawned(new)
            story.ready(new)
        }
        #expect(story.outcome(1) == .done)
        #expect(try story.state(3) == "draining")
        story.command(2, .restart, instance("a", 3))
        story.tell(.drained(Generation(3)))
        story.exited(3)
        // A person wanted it: at once.
        #expect(story.spawns == [6])
        story.spawned(6)
        story.ready(6)
        #expect(story.outcome(2) == .done)
        #expect(story.app.instances.allSatisfy { $0.healing == nil })
    }

    @Test func `one that was found unhealthy and is on its way out is not taken back by a start`() throws {
        var story = Story(checked(), service("b", ready: .tcp, dependsOn: [Dependency(service: "a")]))
        story.spawned(1)
        story.ready(1)
        story.spawned(2)
        story.exited(2)
        story.fail(1)
        story.pass(.seconds(2))
        #expect(try story.view(instance("b")).state == "waiting")
        // The first takes the pause away, the second nothing more: what waits for it would be started for an instant.
        for command in UInt64(1)...2 {
            story.command(command, .start, instance("a"))
            #expect(try story.state(1) == "draining" && story.spawns.isEmpty)
        }
        story.tell(.drained(Generation(1)))
        story.exited(1)
        #expect(story.spawns == [3])

        // Nor where nothing but the user has sent it away.
        story = ready(checked(replicas: 2))
        story.exited(2)
        story.fail(1)
        #expect(try story.state(1) == "running")
        story.command(1, .stop, instance("a", 1))
        story.command(2, .start, instance("a", 1))
        #expect(try story.state(1) == "draining")
        story.tell(.drained(Generation(1)))
        story.exited(1)
        #expect(story.spawns == [3])
    }

    @Test func `one that only stands in, and goes, is none that clients would have`() throws {
        var api = checked(replicas: 2)
        api.deploy = DeploySettings()
        api.dependsOn = [Dependency(service: "b")]
        var story = Story(api, service("b", ready: .tcp, restart: RestartSettings(policy: .never)))
        story.spawned(1)
        story.ready(1)
        for generation in UInt64(2)...3 { story.spawned(generation) }
        for generation in UInt64(2)...3 { story.ready(generation) }
        story.command(1, .restart, instance("a", 1), instance("a", 2))
        story.spawned(4)
        story.ready(4)
        #expect(try story.state(1) == "draining" && story.state(2) == "running" && story.state(3) == "running")
        story.fail(3)
        story.exited(1)
        story.tell(.drained(Generation(2)))
        // The first one cannot be started: the restart has failed, who stood in goes, and the unhealthy one is the last.
        story.exited(2)
        #expect(try story.state(1) == "waiting" && story.state(3) == "draining")
        #expect(try story.state(2) == "running")
        #expect(try story.detail(2)?.hasSuffix("not restarted since no other instance is ready") == true)
    }

    @Test func `stopping and shutting down go on from where the restart is`() throws {
        var story = ready(checked(replicas: 2))
        story.fail(1)
        story.command(1, .stop, instance("a", 1))
        #expect(story.app.instances[0].healing == nil)
        // The other one is alone now.
        story.fail(2)
        #expect(try story.state(2) == "draining")
        story.tell(.shutdownRequested)
        story.pass(.seconds(5))
        story.exited(1, .code(0))
        story.exited(2, .code(0))
        #expect(story.acts.last == .allDown)
        #expect(story.spawns.isEmpty)

        story = ready(checked())
        story.fail(1)
        story.command(1, .stop, instance("a"))
        story.tell(.drained(Generation(1)))
        story.exited(1, .code(0))
        #expect(try story.state(1) == "down")
        #expect(!story.app.instances[0].waitsToReplace)
    }

    @Test func `one that is to stop and waits for its dependants is not restarted`() throws {
        var story = Story(checked(), service("b", front: 81, ready: .tcp, dependsOn: [Dependency(service: "a")]))
        story.spawned(1)
        story.ready(1)
        story.spawned(2)
        story.ready(2)
        story.command(1, .stop, instance("a"), instance("b"))
        story.fail(1)
        #expect(try story.state(1) == "running" && story.detail(1) == "what depends on it to stop first")
    }

    @Test func `a dependant is left alone when what it needs is restarted`() throws {
        var story = Story(checked(), service("b", front: 81, ready: .tcp, dependsOn: [Dependency(service: "a")]))
        story.spawned(1)
        story.ready(1)
        story.spawned(2)
        story.ready(2)
        story.fail(1)
        story.tell(.drained(Generation(1)))
        story.exited(1)
        #expect(try story.view(instance("b")).state == "running")
    }
}
