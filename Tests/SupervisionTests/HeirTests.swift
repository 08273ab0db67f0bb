import Manifest
import Testing

@testable import Supervision

@Suite struct HeirTests {
    private func candidates(_ story: Story) -> [Generation] {
        story.app.heirCandidates(at: story.now).candidates.map(\.generation)
    }

    @Test func `a process has an heir from the moment on from which its end would be followed by a start at once`() {
        var story = Story(service("a", front: 80, ready: .tcp))
        story.spawned(1)
        #expect(candidates(story) == [])
        story.pass(.seconds(20))
        #expect(candidates(story) == [])
        story.ready(1)
        #expect(candidates(story) == [Generation(1)])
        story.command(1, .stop, instance("a"))
        #expect(candidates(story) == [])
    }

    @Test func `until it has run for long enough it is said when to look again`() {
        var story = Story(service("a"))
        story.spawned(1)
        let due = story.now + Duration.seconds(10)
        #expect(story.app.heirCandidates(at: story.now).next == due)
        story.pass(.seconds(10))
        #expect(candidates(story) == [Generation(1)])
        #expect(story.app.heirCandidates(at: story.now).next == nil)
        story.tell(.shutdownRequested)
        #expect(candidates(story) == [])
    }

    @Test(arguments: [
        service("a", kind: .task), service("a", restart: RestartSettings(policy: .onFailure)),
        service("a", restart: RestartSettings(policy: .never)),
        service("a", restart: RestartSettings(policy: .always, limit: .init(starts: 5, within: .seconds(10)))),
        Service(name: "a", command: [Template(literal: "a")], environmentFiles: ["/etc/a"]),
        Service(name: "a", command: [Template(literal: "a")], user: "nobody"),
        Service(name: "a", command: [Template(literal: "a")], group: "nogroup"),
    ])
    func `what calls for a decision at its end has none`(service: Service) {
        var story = Story(service)
        story.spawned(1)
        story.pass(.seconds(20))
        #expect(candidates(story) == [])
    }

    @Test(arguments: [Dependency.Condition.ready, .started])
    func `what depends on something that may go at any moment has none`(condition: Dependency.Condition) {
        var story = Story(service("db"), service("a", dependsOn: [Dependency(service: "db", condition: condition)]))
        story.spawned(1)
        story.spawned(2)
        story.pass(.seconds(20))
        #expect(candidates(story) == [Generation(1)])
        story.exited(1, Supervision.ExitStatus.signal(9, coreDumped: false))
        #expect(candidates(story) == [])
    }

    /// A process that has run for long, and the heir that was started as it ended.
    private func story() -> (Story, Generation) {
        var story = Story(service("a", front: 80, deploy: inPlace))
        story.spawned(1)
        story.pass(.seconds(10))
        let generation = story.app.reserveGeneration()
        return (story, generation)
    }

    @Test func `it takes the place of the process that has ended`() throws {
        var (story, heir) = story()
        story.tell(.exited(Generation(1), .code(1), groupEmpty: true, heir: heir))
        #expect(story.acts == [.release(Generation(1)), .publish])
        #expect(story.reports == ["a/1: exited with code 1 after 10 s; started again at once"])
        story.spawned(2)
        #expect(try story.view(instance("a")).pid == 1002)
        #expect(try story.view(instance("a")).restarts == 1)
        #expect(story.app.routes.first?.endpoints.map(\.generation) == [Generation(2)])
        // It is no older than it is: its own end at once is a failure.
        story.exited(2)
        #expect(story.spawns == [])
    }

    @Test func `it is ended if nobody wants it any more, and its instance starts nothing before`() {
        var (story, heir) = story()
        story.command(1, .stop, instance("a"))
        story.tell(.exited(Generation(1), .code(0), groupEmpty: true, heir: heir))
        #expect(story.acts.contains(.signal(Generation(2), "KILL")))
        #expect(!story.spawns.contains(2))
        story.command(2, .start, instance("a"))
        #expect(story.spawns == [])
        story.exited(2, Supervision.ExitStatus.signal(9, coreDumped: false))
        #expect(story.spawns == [3])
    }

    @Test func `one of a process that nobody knows is ended`() {
        var (story, heir) = story()
        story.tell(.exited(Generation(77), .code(0), groupEmpty: true, heir: heir))
        #expect(story.acts.contains(.signal(Generation(2), "KILL")))
    }

    @Test func `a number that was reserved is given to nobody else`() {
        var (story, heir) = story()
        story.exited(1)
        #expect(heir == Generation(2))
        #expect(story.spawns == [3])
    }

    @Test func `a restart is done when the heir is there that took the place of the old process`() {
        var (story, heir) = story()
        story.command(1, .restart, instance("a"))
        #expect(story.app.routes.first?.endpoints.map(\.state) == [.draining])
        story.tell(.exited(Generation(1), .code(0), groupEmpty: true, heir: heir))
        story.spawned(2)
        story.pass(.milliseconds(500))
        #expect(story.effects.contains(.finished(CommandID(1), .done)))
        #expect(story.app.operations.isEmpty)
    }

    @Test func `it keeps its port when its instance would get another one`() throws {
        var (story, heir) = story()
        story.app.instances[0].port = 20007
        story.tell(.exited(Generation(1), .code(0), groupEmpty: true, heir: heir))
        #expect(story.spawns == [])
        #expect(story.app.instances[0].process?.port == 20000)
    }
}
