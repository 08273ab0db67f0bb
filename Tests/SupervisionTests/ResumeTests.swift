import Foundation
import Manifest
import Testing

@testable import Supervision

@Suite struct ResumeTests {
    private func child(
        _ generation: UInt64, _ id: InstanceID, port: UInt16 = 20000, pid: Int32? = 7
    ) -> Application.SurvivingChild {
        Application.SurvivingChild(generation: Generation(generation), instance: id, port: port, pid: pid)
    }

    private func reread(_ app: Application) throws -> Application {
        try JSONDecoder().decode(Application.self, from: JSONEncoder().encode(app))
    }

    @Test func `running instances go on, endpoints included`() throws {
        var story = Story(service("a", front: 80, ready: .tcp))
        story.spawned(1)
        story.ready(1)
        let routes = story.app.routes
        story = Story(resuming: try reread(story.app), children: [child(1, instance("a"))], highest: 1)
        #expect(story.acts == [.publish])
        #expect(story.app.routes == routes)
    }

    @Test func `a process that ended unseen is started again`() throws {
        var story = Story(service("a"))
        story.spawned(1)
        story = Story(resuming: try reread(story.app), children: [], highest: 1)
        #expect(story.acts == [.release(Generation(1)), .publish])
        #expect(try story.view(instance("a")).lastExit?.reason == "ended while the supervisor was away")
        story.pass(.seconds(1))
        #expect(story.spawns == [2])
    }

    @Test func `a start that reached nobody is made again at once`() throws {
        var story = Story(service("a"))
        story = Story(resuming: try reread(story.app), children: [], highest: 0)
        #expect(story.acts.contains(.spawn(Generation(2), instance("a"), port: 20000)))
    }

    @Test func `a start that was confirmed to nobody is taken up`() throws {
        var story = Story(service("a", ready: .tcp))
        story = Story(resuming: try reread(story.app), children: [child(1, instance("a"))], highest: 1)
        #expect(story.acts == [.beginProbing(Generation(1), instance("a"), port: 20000), .publish])
    }

    @Test func `without a snapshot the children are adopted, each on its port`() throws {
        let manifest = Manifest(services: [service("a", replicas: 2, front: 80, ready: .tcp), service("b")])
        var story = Story(
            resuming: Application(manifest: manifest),
            children: [child(7, instance("a", 2), port: 20000), child(9, instance("b"), port: 20055)], highest: 12)
        #expect(
            story.acts == [
                .beginProbing(Generation(7), instance("a", 2), port: 20000),
                .spawn(Generation(13), instance("a"), port: 20001), .publish,
            ])
        #expect(story.app.routes.first?.endpoints == [])
        story.ready(7)
        #expect(story.app.routes.first?.endpoints.map(\.port) == [20000])
        #expect(try story.view(instance("b")).port == 20055)
        #expect(try story.view(instance("b")).isReady)
    }

    @Test func `of two children of an instance the older one is ended, of unknown instances every one`() throws {
        let manifest = Manifest(services: [service("a")])
        var story = Story(
            resuming: Application(manifest: manifest),
            children: [
                child(3, instance("a")), child(4, instance("a"), port: 20001), child(5, instance("gone"), port: 20002),
            ])
        #expect(story.acts.contains(.signal(Generation(3), "KILL")))
        #expect(story.acts.contains(.signal(Generation(5), "KILL")))
        #expect(!story.acts.contains(.signal(Generation(4), "KILL")))
        #expect(story.spawns == [])
        // While it lives, nothing is started beside it.
        story.exited(4)
        story.pass(.milliseconds(600))
        #expect(story.spawns == [])
        #expect(try story.view(instance("a")).detail == "processes of an earlier start to end")
        story.exited(3, groupEmpty: false)
        story.tell(.groupChecked(Generation(3), empty: true))
        #expect(story.acts.contains(.release(Generation(3))))
        #expect(story.spawns == [6])
        // And the daemon is not down before the last of them is gone.
        story.spawned(6)
        story.tell(.shutdownRequested)
        story.exited(6)
        #expect(!story.acts.contains(.allDown))
        story.exited(5)
        #expect(story.acts == [.release(Generation(5)), .allDown])
    }

    @Test func `an older snapshot gives way to newer children`() throws {
        var story = Story(service("a", ready: .tcp))
        story.spawned(1)
        let old = story.app
        story.pass(.seconds(1))
        story.exited(1)
        story.pass(.seconds(1))
        #expect(story.spawns == [2])
        story = Story(resuming: try reread(old), children: [child(2, instance("a"))], highest: 2)
        #expect(try story.view(instance("a")).generation == Generation(2))
        #expect(story.acts == [.beginProbing(Generation(2), instance("a"), port: 20000), .publish])
    }

    @Test func `a stop goes on where it was`() throws {
        var story = Story(service("a"))
        story.spawned(1)
        story.command(1, .stop, instance("a"))
        story = Story(resuming: try reread(story.app), children: [child(1, instance("a"))], highest: 1)
        #expect(story.acts == [.signal(Generation(1), "TERM"), .publish])
        story.exited(1, groupEmpty: false)
        story = Story(resuming: try reread(story.app), children: [child(1, instance("a"))], highest: 1)
        #expect(story.acts == [.checkGroup(Generation(1)), .publish])
        // The keeper tells of the exit again, and of the group as it is now.
        story.exited(1, groupEmpty: true)
        #expect(story.acts == [.release(Generation(1))])
        #expect(try story.view(instance("a")).state == "down")
    }

    @Test func `a restart of many goes on, and nobody is told`() throws {
        var story = Story(service("a", replicas: 2))
        story.spawned(1)
        story.spawned(2)
        story.command(1, .restart, instance("a"), instance("a", 2))
        story = Story(
            resuming: try reread(story.app),
            children: [child(1, instance("a")), child(2, instance("a", 2), port: 20001)], highest: 2)
        story.exited(1)
        story.spawned(3)
        story.pass(.milliseconds(500))
        #expect(story.effects.contains(.signal(Generation(2), "TERM")))
        story.exited(2)
        story.spawned(4)
        story.pass(.milliseconds(500))
        #expect(story.app.operations.isEmpty)
        #expect(story.acts == [])
        #expect(story.progress == [])
    }

    @Test func `a shutdown goes on, and is announced anew`() throws {
        var story = Story(service("a"))
        story.spawned(1)
        story.tell(.shutdownRequested)
        story = Story(resuming: try reread(story.app), children: [], highest: 1)
        #expect(story.acts == [.release(Generation(1)), .publish, .allDown])
    }

    @Test func `nothing starts because of a dependency that has ended unseen`() throws {
        var story = Story(
            service("api", dependsOn: [Dependency(service: "db")]), service("db"))
        story.spawned(1)
        story.tell(.commanded(CommandID(1), .stop, targets: [instance("api")]))
        story.tell(.spawnFailed(Generation(2), StartFailure(text: "x")))
        story.command(2, .start, instance("api"))
        story = Story(resuming: try reread(story.app), children: [], highest: 2)
        #expect(story.spawns == [])
        #expect(try story.view(instance("api")).state == "waiting")
    }

    @Test func `a snapshot without its manifest is read back with it, and only with it`() throws {
        let manifest = Manifest(services: [service("a", replicas: 2)])
        var story = Story(service("a", replicas: 2))
        story.spawned(1)
        let data = try JSONEncoder().encode(story.app.snapshot)
        let snapshot = try JSONDecoder().decode(Snapshot.self, from: data)
        #expect(try Application(manifest: manifest, snapshot: snapshot).instances == story.app.instances)
        #expect(throws: SnapshotMismatch.self) {
            try Application(manifest: Manifest(services: [service("b", replicas: 2)]), snapshot: snapshot)
        }
    }

    @Test func `a snapshot whose parts do not fit is refused`() throws {
        let app = Application(manifest: Manifest(services: [service("abcdef", replicas: 2)]))
        let text = try #require(String(data: JSONEncoder().encode(app), encoding: .utf8))
        let other = text.replacingOccurrences(of: "\"replicas\":2", with: "\"replicas\":3")
        #expect(other != text)
        #expect(throws: DecodingError.self) {
            try JSONDecoder().decode(Application.self, from: Data(other.utf8))
        }
    }
}

@Suite struct ForeignPortTests {
    @Test
    func `without a snapshot, a process on the fixed port of another instance is replaced, and that one waits for it`()
    {
        // The ports had begun at 6999: the second instance has the first one's.
        let manifest = Manifest(services: [service("a", replicas: 2, port: 7000, ready: .tcp)])
        let child = Application.SurvivingChild(
            generation: Generation(5), instance: instance("a", 2), port: 7000, pid: 105)
        var story = Story(resuming: Application(manifest: manifest), children: [child], highest: 5)
        #expect(story.acts.contains(.signal(Generation(5), "TERM")))
        #expect(story.spawns == [])
        story.exited(5)
        #expect(
            Set(
                story.effects.compactMap { effect -> UInt16? in
                    if case .spawn(_, _, let port) = effect { port } else { nil }
                }) == [7000, 7001])
    }
}
