import Manifest
import Testing

@testable import Supervision

@Suite struct CommandTests {
    @Test func `start waits until the instance is ready`() {
        var story = Story(service("a", ready: .tcp))
        story.spawned(1)
        story.command(1, .stop, instance("a"))
        story.exited(1)
        story.command(2, .start, instance("a"))
        #expect(story.spawns == [2])
        #expect(story.progress == ["a/1 is starting"])
        story.spawned(2)
        #expect(story.outcome(2) == nil)
        story.ready(2)
        #expect(story.outcome(2) == .done)
        story.command(3, .start, instance("a"))
        #expect(story.acts == [.finished(CommandID(3), .done)])
    }

    @Test func `start ends a pause`() {
        var story = Story(service("a"))
        story.spawned(1)
        story.exited(1)
        #expect(story.spawns == [])
        story.command(1, .start, instance("a"))
        #expect(story.spawns == [2])
    }

    @Test func `start brings up what the instance depends on and is down`() {
        var story = Story(
            service("db", replicas: 2), service("cache"), service("api", dependsOn: [Dependency(service: "db")]),
            service("web", dependsOn: [Dependency(service: "api"), Dependency(service: "cache")]))
        story.tell(.spawned(Generation(1), pid: 1))
        for generation in 2...5 as ClosedRange<UInt64> { story.spawned(generation) }
        let all = story.app.layout.names
        story.tell(.commanded(CommandID(1), .stop, targets: all.filter { $0.service != "cache" }))
        for generation in [5, 4, 2, 1] as [UInt64] { story.exited(generation) }
        #expect(story.outcome(1) == .done)

        story.command(2, .start, instance("web"))
        #expect(story.spawns == [6, 7])
        #expect(story.progress == ["web/1 waits for api to be ready"])
        story.spawned(6)
        #expect(story.spawns == [8])
        story.spawned(8)
        #expect(story.spawns == [9])
        story.spawned(9)
        #expect(story.outcome(2) == .done)
    }

    @Test func `a single replica that was stopped on purpose stays down when a dependant starts`() throws {
        var story = Story(service("db", replicas: 2), service("api", dependsOn: [Dependency(service: "db")]))
        story.spawned(1)
        story.spawned(2)
        story.spawned(3)
        story.command(1, .stop, instance("db", 2))
        story.exited(2)
        story.command(2, .restart, instance("api"))
        story.exited(3)
        #expect(story.spawns == [4])
        #expect(try story.view(instance("db", 2)).state == "down")
    }

    @Test func `a restart goes on when a program without a readiness check has run for a moment`() {
        var story = Story(service("a", replicas: 2))
        story.spawned(1)
        story.spawned(2)
        story.command(1, .restart, instance("a"), instance("a", 2))
        story.exited(1)
        story.spawned(3)
        #expect(story.outcome(1) == nil)
        story.pass(.milliseconds(499))
        #expect(story.acts == [])
        story.pass(.milliseconds(1))
        #expect(story.acts == [.signal(Generation(2), "TERM")])
        story.exited(2)
        story.spawned(4)
        story.pass(.milliseconds(500))
        #expect(story.outcome(1) == .done)
        #expect(story.app.nextDeadline == nil)
    }

    @Test func `a restart whose program ends at once fails, and the other replicas go on`() throws {
        var story = Story(service("a", replicas: 3))
        for generation in 1...3 as ClosedRange<UInt64> { story.spawned(generation) }
        story.tell(.commanded(CommandID(1), .restart, targets: story.app.layout.names))
        story.exited(1)
        story.spawned(4)
        story.exited(4, .code(7))
        #expect(
            story.outcome(1) == .failed("a/1 has ended at once: exited with code 7; supd goes on trying"))
        story.pass(.seconds(60))
        #expect(try story.view(instance("a", 2)).state == "running")
        #expect(try story.view(instance("a", 3)).state == "running")
    }

    @Test func `a restarted program that has done at once what it was for is no failure`() {
        var story = Story(service("a", restart: RestartSettings(policy: .onFailure)))
        story.spawned(1)
        story.command(1, .restart, instance("a"))
        story.exited(1)
        story.spawned(2)
        story.exited(2, .code(0))
        #expect(story.outcome(1) == .done)
    }

    @Test(arguments: [Verb.start, .restart])
    func `a command fails after three failed starts, and supd goes on`(verb: Verb) {
        var story = Story(service("api", ready: .tcp))
        story.spawned(1)
        story.ready(1)
        story.command(1, verb == .start ? .stop : .restart, instance("api"))
        story.exited(1)
        if verb == .start { story.command(1, .start, instance("api")) }
        for generation in 2...4 as ClosedRange<UInt64> {
            #expect(story.outcome(1) == nil)
            #expect(story.spawns == [generation])
            story.spawned(generation)
            story.exited(generation)
            guard generation < 4 else { break }
            story.pass(.seconds(1))
        }
        #expect(
            story.outcome(1)
                == .failed("api/1 failed to start 3 times: exited with code 1; supd goes on trying"))
        story.pass(.seconds(2))
        #expect(story.spawns == [5])
    }

    @Test func `a command fails when what it waits for has failed`() {
        var story = Story(
            service("db", ready: .tcp, restart: RestartSettings(policy: .never)),
            service("api", dependsOn: [Dependency(service: "db")]),
            service("web", dependsOn: [Dependency(service: "api")]))
        story.spawned(1)
        story.exited(1)
        story.command(1, .start, instance("web"))
        let reason = "exited with code 1 after 0 s, and its restart policy is never"
        #expect(
            story.outcome(1)
                == .failed(
                    "web/1 waits for api to be ready (api/1 waits for db to be ready (db/1 has failed: \(reason)))"))
    }

    @Test func `start all runs a completed task again and waits for it`() {
        var story = Story(service("t", kind: .task))
        story.spawned(1)
        story.exited(1, .code(0))
        story.command(1, .start, instance("t"))
        #expect(story.spawns == [2])
        story.spawned(2)
        #expect(story.outcome(1) == nil)
        story.exited(2, .code(0))
        #expect(story.outcome(1) == .done)
    }

    @Test func `a restart replaces one instance of a service after the other`() {
        var story = Story(service("a", replicas: 3, front: 80, ready: .tcp, deploy: inPlace), service("b"))
        for generation in 1...3 as ClosedRange<UInt64> {
            story.spawned(generation)
            story.ready(generation)
        }
        story.spawned(4)
        let all = story.app.layout.names
        story.tell(.commanded(CommandID(1), .restart, targets: all))
        // Another service goes at the same time; and the first has clients to think of.
        #expect(story.acts == [.signal(Generation(4), "TERM"), .publish])
        story.exited(4)
        #expect(story.spawns == [5])
        story.spawned(5)
        for (old, new) in [(1, 6), (2, 7), (3, 8)] as [(UInt64, UInt64)] {
            #expect(story.app.routes.first?.endpoints.count { $0.state == .draining } == 1)
            #expect(story.app.routes.first?.holdUntil == nil)
            story.tell(.drained(Generation(old)))
            story.exited(old)
            #expect(story.spawns == [new])
            story.spawned(new)
            #expect(story.outcome(1) == nil)
            story.ready(new)
        }
        // The other service has no readiness check: its program must have run for a moment.
        #expect(story.outcome(1) == nil)
        story.pass(.milliseconds(500))
        #expect(story.outcome(1) == .done)
    }

    @Test func `a failed replacement leaves the others untouched`() throws {
        var story = Story(
            service("a", replicas: 2, front: 80, balance: BalanceSettings(drainTimeout: .zero), deploy: inPlace))
        story.spawned(1)
        story.spawned(2)
        story.command(1, .restart, instance("a"), instance("a", 2))
        story.exited(1)
        for generation in 3...5 as ClosedRange<UInt64> {
            story.tell(.spawnFailed(Generation(generation), StartFailure(text: "cannot execute x")))
            guard generation < 5 else { break }
            story.pass(.seconds(1))
        }
        #expect(story.outcome(1) == .failed("a/1 failed to start 3 times: cannot execute x; supd goes on trying"))
        #expect(try story.view(instance("a", 2)).generation == Generation(2))
    }

    @Test func `replacing the only endpoint in place keeps clients waiting, but drains briefly`() {
        var story = Story(
            service(
                "a", front: 80, balance: BalanceSettings(queueTimeout: .seconds(8)), ready: .tcp, deploy: inPlace))
        story.spawned(1)
        story.ready(1)
        story.command(1, .restart, instance("a"))
        #expect(story.app.routes.first?.holdUntil == .never)
        #expect(story.app.routes.first?.holds == true)
        story.pass(.milliseconds(3_999))
        #expect(story.acts == [])
        story.pass(.milliseconds(1))
        #expect(story.acts == [.signal(Generation(1), "TERM")])
        story.pass(.seconds(2))
        story.exited(1)
        #expect(story.app.routes.first?.holdUntil == .never)
        story.spawned(2)
        #expect(story.app.routes.first?.holdUntil == story.now + .seconds(8))
        story.ready(2)
        #expect(story.app.routes.first?.holdUntil == nil)
        #expect(story.outcome(1) == .done)
    }

    @Test func `a replacement that crashes is an ordinary crash for those who wait`() {
        var story = Story(service("a", front: 80, ready: .tcp, deploy: inPlace))
        story.spawned(1)
        story.ready(1)
        story.command(1, .restart, instance("a"))
        story.tell(.drained(Generation(1)))
        story.exited(1)
        story.spawned(2)
        story.exited(2)
        #expect(story.app.routes.first?.holdUntil == nil)
        #expect(story.app.routes.first?.holds == true)
    }

    @Test func `restart of what is down starts it`() {
        var story = Story(service("a"))
        story.spawned(1)
        story.command(1, .stop, instance("a"))
        story.exited(1)
        story.command(2, .restart, instance("a"))
        #expect(story.spawns == [2])
        story.spawned(2)
        story.pass(.milliseconds(500))
        #expect(story.outcome(2) == .done)
    }

    @Test func `a later command takes over`() {
        var story = Story(service("a"), service("b"))
        story.spawned(1)
        story.spawned(2)
        story.command(1, .stop, instance("a"), instance("b"))
        story.command(2, .start, instance("a"))
        #expect(story.outcome(1) == .failed("superseded by a later start"))
        #expect(story.outcome(2) == nil)
        // The stop goes on to its end; then comes the start.
        story.exited(1)
        #expect(story.spawns == [3])
        story.spawned(3)
        #expect(story.outcome(2) == .done)
    }

    @Test func `a stop is over when a later start needs what it stops`() {
        var story = Story(service("db"), service("api", dependsOn: [Dependency(service: "db")]))
        story.spawned(1)
        story.spawned(2)
        story.command(1, .stop, instance("api"))
        story.exited(2)
        story.command(2, .stop, instance("db"))
        story.command(3, .start, instance("api"))
        #expect(story.outcome(2) == .failed("superseded by a later start"))
    }

    @Test func `no target is done at once, an unknown one is an error, a double one counts once`() {
        var story = Story(service("a"))
        story.tell(.commanded(CommandID(1), .stop, targets: []))
        #expect(story.acts == [.finished(CommandID(1), .done)])
        story.command(2, .stop, instance("nobody", 7))
        #expect(story.acts == [.finished(CommandID(2), .failed("there is no instance nobody/7"))])
        story.spawned(1)
        story.command(3, .stop, instance("a"), instance("a"))
        #expect(story.acts == [.signal(Generation(1), "TERM")])
    }
}
