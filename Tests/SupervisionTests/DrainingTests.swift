import Foundation
import Manifest
import Testing

@testable import Supervision

/// Instances that users take out of the balancer.
@Suite struct DrainingTests {
    /// Two ready instances of a service with a front.
    static var ready: Story {
        var story = Story(service("a", replicas: 2, front: 80, ready: .tcp, deploy: inPlace))
        for generation in 1...2 as ClosedRange<UInt64> {
            story.spawned(generation)
            story.ready(generation)
        }
        return story
    }

    private func states(_ story: Story) -> [Application.Route.Endpoint.State] {
        story.app.routes.first?.endpoints.map(\.state) ?? []
    }

    @Test func `a drained instance takes no connections and goes on, and the command ends with its connections`() throws
    {
        var story = Self.ready
        story.command(1, .drain, instance("a", 2))
        #expect(states(story) == [.active, .parked])
        #expect(story.acts == [.publish])
        #expect(story.reports == ["a/2: drained: takes no new connections until undrain"])
        #expect(story.progress == ["a/2 lets its connections end"])
        #expect(story.app.drainsUnderWay.map(\.waiting).map { $0.map(\.generation) } == [[Generation(2)]])
        story.pass(.seconds(3600))
        #expect(story.effects == [])
        story.tell(.drained(Generation(2)))
        #expect(story.acts == [.finished(CommandID(1), .done)])
        let view = try story.view(instance("a", 2))
        #expect(view.state == "running" && view.isReady && view.isDrained)
        #expect(try !story.view(instance("a", 1)).isDrained)
    }

    @Test func `of drains that nobody waits for nothing is kept but what they did`() throws {
        var story = Self.ready
        for command in 1...1000 as ClosedRange<UInt64> {
            story.command(command, .drain, instance("a", 2))
            story.tell(.commandForgotten(CommandID(command)))
        }
        #expect(story.app.operations.isEmpty)
        #expect(states(story) == [.active, .parked])
        story.tell(.drained(Generation(2)))
        #expect(try story.view(instance("a", 2)).isDrained)
        // What others are to bring about goes on without anybody.
        story.command(1001, .restart, instance("a", 1))
        story.tell(.commandForgotten(CommandID(1001)))
        #expect(story.app.operations.count == 1)
    }

    @Test func `undrain gives it connections again at once`() {
        var story = Self.ready
        story.command(1, .drain, instance("a", 2))
        story.command(2, .undrain, instance("a", 2))
        #expect(story.outcome(1) == .failed("superseded by a later undrain"))
        #expect(story.outcome(2) == .done)
        #expect(story.acts.last == .publish)
        #expect(states(story) == [.active, .active])
        // What it was empty of is forgotten: it had connections since.
        story.command(3, .drain, instance("a", 2))
        story.tell(.drained(Generation(2)))
        #expect(story.outcome(3) == .done)
        story.command(4, .undrain, instance("a", 2))
        story.command(5, .drain, instance("a", 2))
        #expect(story.outcome(5) == nil)
    }

    @Test func `draining again what is empty is done at once, and changes nothing`() {
        var story = Self.ready
        story.command(1, .drain, instance("a", 2))
        story.tell(.drained(Generation(2)))
        story.command(2, .drain, instance("a", 2))
        #expect(story.effects == [.finished(CommandID(2), .done)])
        story.command(3, .undrain, instance("a", 1))
        #expect(story.effects == [.finished(CommandID(3), .done)])
    }

    @Test(arguments: [Verb.stop, .restart])
    func `what is drained and empty has nothing to wait for when it is to end`(verb: Verb) {
        var story = Self.ready
        story.command(1, .drain, instance("a", 2))
        story.tell(.drained(Generation(2)))
        story.command(2, verb, instance("a", 2))
        #expect(story.acts.contains(.signal(Generation(2), "TERM")))
    }

    @Test func `what is drained and not empty yet gets its time when it is to end`() {
        var story = Self.ready
        story.command(1, .drain, instance("a", 2))
        story.command(2, .stop, instance("a", 2))
        #expect(!story.acts.contains(.signal(Generation(2), "TERM")))
        #expect(states(story) == [.active, .draining])
        story.tell(.drained(Generation(2)))
        #expect(story.acts.contains(.signal(Generation(2), "TERM")))
    }

    @Test func `two may wait for the same connections`() {
        var story = Self.ready
        story.command(1, .drain, instance("a", 2))
        story.command(2, .drain, instance("a", 1), instance("a", 2))
        #expect(story.outcome(1) == nil)
        story.tell(.drained(Generation(2)))
        #expect(story.outcome(1) == .done && story.outcome(2) == nil)
        story.tell(.drained(Generation(1)))
        #expect(story.outcome(2) == .done)
    }

    @Test func `it stays drained through an exit and what follows`() throws {
        var story = Self.ready
        story.command(1, .drain, instance("a", 2))
        story.exited(2)
        #expect(story.outcome(1) == .done, "no process, no connections")
        #expect(states(story) == [.active])
        story.pass(.seconds(1))
        #expect(story.spawns == [3])
        story.spawned(3)
        story.ready(3)
        #expect(states(story) == [.active, .parked])
        #expect(story.reports.last?.hasSuffix("; still drained: takes no connections until undrain") == true)
    }

    @Test func `neither stop, start nor restart take it back, nor does it take them over`() {
        var story = Self.ready
        story.command(1, .drain, instance("a", 2))
        story.command(2, .restart, instance("a", 2))
        #expect(story.outcome(1) == nil)
        story.tell(.drained(Generation(2)))
        #expect(story.outcome(1) == .done)
        story.exited(2)
        #expect(story.spawns == [3])
        story.spawned(3)
        // A newer one about the same instance does not end the restart.
        story.command(3, .drain, instance("a", 2))
        #expect(story.outcome(2) == nil)
        #expect(story.outcome(3) == .done, "it is not ready yet: it has no connections")
        story.ready(3)
        #expect(story.outcome(2) == .done)
        #expect(states(story) == [.active, .parked])
        story.command(4, .stop, instance("a", 2))
        story.tell(.drained(Generation(3)))
        story.exited(3)
        story.command(5, .start, instance("a", 2))
        story.spawned(4)
        story.ready(4)
        #expect(story.outcome(5) == .done)
        #expect(states(story) == [.active, .parked])
    }

    @Test func `one that is not ready is drained at once and never published as active`() {
        var story = Story(service("a", front: 80, ready: .tcp))
        story.command(1, .drain, instance("a"))
        #expect(story.outcome(1) == .done)
        #expect(!story.acts.contains(.publish))
        story.spawned(1)
        story.ready(1)
        #expect(states(story) == [.parked])
    }

    @Test func `connections wait when nothing else is left, and who is asked is told before`() {
        var story = Self.ready
        #expect(story.app.servicesLeftWithout([instance("a", 1)]) == [])
        #expect(story.app.servicesLeftWithout([instance("a", 1), instance("a", 2)]) == ["a"])
        story.command(1, .drain, instance("a", 1))
        #expect(story.app.servicesLeftWithout([instance("a", 2)]) == ["a"])
        story.command(2, .drain, instance("a", 2))
        #expect(story.app.routes.first?.holds == true)
        #expect(story.app.routes.first?.holdUntil == nil)
        story.command(3, .stop, instance("a", 1), instance("a", 2))
        #expect(story.app.routes.first?.holds == false)
        #expect(story.app.servicesLeftWithout([instance("a", 1)]) == [], "it is stopped: nobody waits")
    }

    @Test func `a service without a front has no clients that could be left without, and none to wait for`() {
        var story = Story(service("a"))
        story.spawned(1)
        story.command(1, .drain, instance("a"))
        #expect(story.outcome(1) == .done)
        #expect(story.app.servicesLeftWithout([instance("a")]) == [])
    }

    @Test func `a restart thinks of clients only where an instance serves them`() {
        // The other one is drained: there is none but this, so its connections get half of queueTimeout.
        var story = Self.ready
        story.command(1, .drain, instance("a", 2))
        story.command(2, .restart, instance("a", 1))
        #expect(story.app.nextDeadline == story.now + .seconds(5))
        #expect(story.app.routes.first?.holdUntil == .never)
        // It is drained itself: nobody waits for it, and its connections have their whole time.
        story = Self.ready
        story.command(1, .drain, instance("a", 1), instance("a", 2))
        story.command(2, .restart, instance("a", 1))
        #expect(story.app.nextDeadline == story.now + .seconds(30))
        #expect(story.app.routes.first?.holdUntil == nil)
        story.tell(.drained(Generation(1)))
        story.exited(1)
        #expect(story.app.routes.first?.holdUntil == nil)
        story.spawned(3)
        #expect(story.app.routes.first?.holdUntil == nil)
    }

    @Test func `a new supervisor knows what is drained, and nobody waits any more`() throws {
        var story = Self.ready
        story.command(1, .drain, instance("a", 2))
        let data = try JSONEncoder().encode(story.app.snapshot)
        let restored = try Application(
            manifest: story.app.manifest, snapshot: JSONDecoder().decode(Snapshot.self, from: data))
        let children = (1...2).map {
            Application.SurvivingChild(
                generation: Generation(UInt64($0)), instance: instance("a", $0), port: UInt16(19999 + $0),
                pid: Int32(1000 + $0))
        }
        var resumed = Story(resuming: restored, children: children, highest: 2)
        #expect(states(resumed) == [.active, .parked])
        #expect(resumed.app.drainsUnderWay.isEmpty)
        resumed.command(1, .drain, instance("a", 2))
        #expect(resumed.outcome(1) == nil)
        resumed.tell(.drained(Generation(2)))
        #expect(resumed.outcome(1) == .done)
    }

    @Test(arguments: [Verb.drain, .undrain])
    func `at the shutdown it is refused`(verb: Verb) {
        var story = Self.ready
        story.command(1, .drain, instance("a", 2))
        story.tell(.shutdownRequested)
        #expect(story.outcome(1) == .failed("supd is shutting down"))
        story.command(2, verb, instance("a", 1))
        #expect(story.outcome(2) == .failed("supd is shutting down"))
    }

    @Test func `who is drained can be looked up, and which services have no instances`() {
        var story = Story(service("a", replicas: 2, front: 80), service("idle", replicas: 0))
        story.command(1, .drain, instance("a", 2))
        #expect([instance("a"), instance("a", 2), instance("x")].map(story.app.isParked) == [false, true, false])
        #expect(story.app.servicesWithoutInstances == ["idle"])
        #expect(["a", "idle", "x"].map { story.app.service(named: $0)?.name } == ["a", "idle", nil])
    }
}
