import Manifest
import Testing

@testable import Supervision

@Suite struct StoppingTests {
    @Test func `a stop is a signal to the group, patience, then SIGKILL until nothing is left`() throws {
        var story = Story(service("a"))
        story.spawned(1)
        story.command(1, .stop, instance("a"))
        #expect(story.acts == [.signal(Generation(1), "TERM")])
        #expect(story.progress == ["a/1 is stopping"])
        story.pass(.milliseconds(9_999))
        #expect(story.effects == [])
        story.pass(.milliseconds(1))
        #expect(story.acts == [.signal(Generation(1), "KILL"), .checkGroup(Generation(1))])
        story.tell(.groupChecked(Generation(1), empty: false))
        story.pass(.milliseconds(5))
        #expect(story.acts == [.signal(Generation(1), "KILL"), .checkGroup(Generation(1))])
        story.exited(1, .signal(9, coreDumped: false))
        #expect(story.acts == [.release(Generation(1)), .finished(CommandID(1), .done)])
        let view = try story.view(instance("a"))
        #expect(view.state == "down")
        #expect(view.lastExit?.reason == "killed by SIGKILL: did not end within 10 s of SIGTERM")
        #expect(story.app.nextDeadline == nil)
    }

    @Test func `a start meanwhile waits for its end, and is told`() throws {
        var story = Story(service("a"))
        story.spawned(1)
        story.command(1, .stop, instance("a"))
        #expect(try story.view(instance("a")).detail == "it to end after SIGTERM, at most 10 s")
        story.command(2, .start, instance("a"))
        #expect(try story.view(instance("a")).detail == "it to end after SIGTERM, at most 10 s; a start waits for that")
        story.pass(.seconds(10))
        #expect(try story.view(instance("a")).detail == "its processes to end after SIGKILL; a start waits for that")
        story.exited(1, .signal(9, coreDumped: false))
        #expect(story.spawns == [2])
    }

    @Test func `an instance is down only when its whole group is gone`() throws {
        var story = Story(service("a"))
        story.spawned(1)
        story.command(1, .stop, instance("a"))
        story.exited(1, .code(0), groupEmpty: false)
        #expect(story.acts == [])
        #expect(try story.view(instance("a")).state == "stopping")
        // One looks again after 5 ms, 10 ms, 20 ms, … and only until the stop's own time is over.
        for pause in [5, 10, 20, 40] {
            story.pass(.milliseconds(pause - 1))
            #expect(story.acts == [])
            story.pass(.milliseconds(1))
            #expect(story.acts == [.checkGroup(Generation(1))])
            story.tell(.groupChecked(Generation(1), empty: false))
        }
        story.pass(.milliseconds(80))
        story.tell(.groupChecked(Generation(1), empty: true))
        #expect(story.acts == [.release(Generation(1)), .finished(CommandID(1), .done)])
    }

    @Test func `pauses between looks grow to a second and stay there`() {
        var story = Story(service("a"))
        story.spawned(1)
        story.command(1, .stop, instance("a"))
        story.pass(.seconds(10))
        story.exited(1, groupEmpty: false)
        var looks = 0
        while story.now < Instant(nanoseconds: 1_000_000_000_000) + .seconds(70) {
            story.tell(.groupChecked(Generation(1), empty: false))
            guard let due = story.app.nextDeadline else { break }
            story.now = due
            story.tell(.deadlineReached)
            #expect(story.acts == [.signal(Generation(1), "KILL"), .checkGroup(Generation(1))])
            looks += 1
        }
        #expect(looks > 60 && looks < 75)
    }

    @Test func `what a crash leaves behind is ended before the restart, with little patience`() throws {
        var story = Story(service("a", front: 80))
        story.spawned(1)
        story.pass(.seconds(20))
        story.exited(1, .code(1), groupEmpty: false)
        #expect(story.acts == [.signal(Generation(1), "TERM"), .publish])
        #expect(story.app.routes.first?.endpoints == [])
        story.pass(.milliseconds(1_999))
        #expect(!story.acts.contains(.signal(Generation(1), "KILL")))
        story.pass(.milliseconds(1))
        #expect(story.acts == [.signal(Generation(1), "KILL"), .checkGroup(Generation(1))])
        story.tell(.groupChecked(Generation(1), empty: true))
        #expect(story.spawns == [2])
    }

    @Test func `a stop before the start was confirmed is carried out when it is`() throws {
        var story = Story(service("a"))
        story.command(1, .stop, instance("a"))
        #expect(story.acts == [])
        story.spawned(1)
        #expect(story.acts == [.signal(Generation(1), "TERM")])
        story.exited(1)
        #expect(story.outcome(1) == .done)
    }

    @Test func `a stop of a start that fails is done`() throws {
        var story = Story(service("a"))
        story.command(1, .stop, instance("a"))
        story.tell(.spawnFailed(Generation(1), StartFailure(text: "x")))
        #expect(story.acts == [.release(Generation(1)), .finished(CommandID(1), .done)])
    }

    @Test func `an endpoint drains first: until it has no connections`() throws {
        var story = Story(service("a", replicas: 2, front: 80))
        story.spawned(1)
        story.spawned(2)
        story.command(1, .stop, instance("a"))
        #expect(story.acts == [.publish])
        #expect(story.app.routes.first?.endpoints.map(\.state) == [.draining, .active])
        #expect(try story.view(instance("a")).state == "draining")
        story.tell(.drained(Generation(1)))
        #expect(story.acts == [.signal(Generation(1), "TERM")])
        story.exited(1)
        #expect(story.app.routes.first?.endpoints.map(\.generation) == [Generation(2)])
        #expect(story.acts.contains(.publish))
    }

    @Test func `or until its time is over`() {
        var story = Story(service("a", front: 80, balance: BalanceSettings(drainTimeout: .seconds(7))))
        story.spawned(1)
        story.command(1, .stop, instance("a"))
        #expect(story.app.routes.first?.holds == false)
        story.pass(.milliseconds(6_999))
        #expect(story.acts == [])
        story.pass(.milliseconds(1))
        #expect(story.acts == [.signal(Generation(1), "TERM")])
    }

    @Test func `an instance that is not ready has nothing to drain`() {
        var story = Story(service("a", front: 80, ready: .tcp))
        story.spawned(1)
        story.command(1, .stop, instance("a"))
        #expect(story.acts == [.endProbing(Generation(1)), .signal(Generation(1), "TERM"), .publish])
    }

    @Test func `dependants that are stopped too go first, however indirect`() {
        var story = Story(
            service("db"), service("migrate", kind: .task, dependsOn: [Dependency(service: "db")]),
            service("api", dependsOn: [Dependency(service: "migrate", condition: .completed)]))
        story.spawned(1)
        story.spawned(2)
        story.exited(2, .code(0))
        story.spawned(3)
        story.command(1, .stop, instance("db"), instance("api"))
        #expect(story.acts == [.signal(Generation(3), "TERM")])
        #expect(story.progress == ["2 of 2 to go: db/1 stops once what depends on it has stopped; api/1 is stopping"])
        story.exited(3)
        #expect(story.acts == [.release(Generation(3)), .signal(Generation(1), "TERM")])
        story.exited(1)
        #expect(story.outcome(1) == .done)
    }

    @Test func `dependants that are not stopped go on, and the command says so`() throws {
        var story = Story(
            service("db"), service("api", dependsOn: [Dependency(service: "db")]),
            service("web", dependsOn: [Dependency(service: "db")]))
        story.spawned(1)
        story.spawned(2)
        story.spawned(3)
        story.command(1, .stop, instance("db"))
        #expect(story.progress == ["db/1 is stopping (api and web go on without it)"])
        story.exited(1)
        #expect(try story.view(instance("api")).isReady)
        #expect(story.spawns == [])
    }

    @Test func `a shutdown stops all in reverse order, drains for five seconds at most, and says when it is over`() {
        var story = Story(
            service("db"), service("api", front: 80, dependsOn: [Dependency(service: "db")]), service("x"))
        story.spawned(1)
        story.spawned(2)
        story.spawned(3)
        story.tell(.shutdownRequested)
        #expect(story.acts == [.signal(Generation(2), "TERM"), .publish])
        #expect(story.app.routes.first?.holds == false)
        story.exited(2)
        story.pass(.seconds(5))
        #expect(story.acts == [.signal(Generation(3), "TERM")])
        story.exited(3)
        #expect(story.acts == [.release(Generation(3)), .signal(Generation(1), "TERM"), .publish])
        story.exited(1)
        #expect(story.acts == [.release(Generation(1)), .allDown])
        story.command(1, .start, instance("x"))
        #expect(story.acts == [.finished(CommandID(1), .failed("supd is shutting down"))])
    }

    @Test func `a shutdown cuts a drain short`() {
        var story = Story(service("a", front: 80))
        story.spawned(1)
        story.command(1, .stop, instance("a"))
        story.tell(.shutdownRequested)
        #expect(story.outcome(1) == .failed("supd is shutting down"))
        story.pass(.seconds(5))
        #expect(story.acts == [.signal(Generation(1), "TERM")])
    }

    @Test func `a shutdown of nothing is over at once`() {
        var story = Story()
        story.tell(.shutdownRequested)
        #expect(story.acts == [.allDown])
        story.tell(.shutdownRequested)
        #expect(story.acts == [])
    }
}
