import Events
import Foundation
import Manifest
import Testing

@testable import Supervision

/// Why instances were started again, by what has happened to the process before.
@Suite struct RestartReasonTests {
    private let a = instance("a")

    private static let soon: RestartSettings = {
        var settings = RestartSettings(policy: .always)
        settings.initialDelay = .milliseconds(10)
        return settings
    }()

    private func story(
        ready: ReadyCheck = .tcp, watchdog: Duration? = nil, health: HealthSettings? = nil,
        deploy: DeploySettings = DeploySettings()
    ) -> Story {
        var story = Story(
            service(
                "a", front: 80, ready: ready, readyTimeout: .seconds(5), watchdog: watchdog, restart: Self.soon,
                health: health, deploy: deploy))
        story.spawned(1)
        return story
    }

    /// The next process of the only instance, after whatever pause and stop.
    private func startAgain(_ story: inout Story) throws {
        for _ in 0..<5 {
            if let next = story.spawns.first { return story.spawned(next) }
            story.pass(.seconds(1))
        }
        Issue.record("it was not started again")
    }

    @Test(arguments: [
        (Supervision.ExitStatus.code(0), RestartReason.exited), (.code(1), .exited),
        (.signal(9, coreDumped: false), .killed), (.signal(11, coreDumped: true), .killed),
    ])
    func `an exit is told from a signal`(status: Supervision.ExitStatus, reason: RestartReason) throws {
        var story = story()
        story.ready(1)
        #expect(story.app.restarts(of: a) == [:])
        story.exited(1, status)
        // Counted is what has begun.
        #expect(story.app.restarts(of: a) == [:])
        try startAgain(&story)
        #expect(story.app.restarts(of: a) == [reason: 1])
        #expect(try story.view(a).restarts == 1)
    }

    @Test func `a start that fails is one, and the reason of the next one`() throws {
        var story = story()
        story.exited(1)
        story.pass(.seconds(1))
        story.tell(.spawnFailed(Generation(2), StartFailure(text: "no such program")))
        #expect(story.app.restarts(of: a) == [.exited: 1])
        try startAgain(&story)
        #expect(story.app.restarts(of: a) == [.exited: 1, .startFailed: 1])
        #expect(try story.view(a).restarts == 2)
    }

    @Test func `each try again is a restart, also of what never starts, until somebody asks for one`() throws {
        var story = Story(service("a", restart: Self.soon))
        var told: [Int?] = []
        for generation in 1...4 as ClosedRange<UInt64> {
            if generation > 1 { story.pass(.seconds(1)) }
            story.tell(.spawnFailed(Generation(generation), StartFailure(text: "no such program")))
            for case .happened(.startFailed(let failure), service: _, instance: _) in story.effects {
                told.append(failure.restarts)
            }
            #expect(try story.view(a).restarts == Int(generation) - 1)
        }
        #expect(story.app.restarts(of: a) == [.startFailed: 3])
        #expect(told == [nil, 1, 2, 3])
        story.command(1, .start, a)
        story.tell(.spawnFailed(Generation(5), StartFailure(text: "no such program")))
        #expect(story.app.restarts(of: a) == [.startFailed: 3, .requested: 1])
        #expect(try story.view(a).restarts == 0)
        try startAgain(&story)
        #expect(try story.view(a).restarts == 1)
        #expect(story.app.snapshot.restarts == [a: [.startFailed: 4, .requested: 1]])
    }

    @Test func `a port that is taken is one only where no other can be tried`() throws {
        var story = story()
        story.exited(1)
        story.pass(.seconds(1))
        story.tell(.portTaken(Generation(2), holder: "nc"))
        #expect(story.app.restarts(of: a) == [:])
        try startAgain(&story)
        #expect(story.app.restarts(of: a) == [.exited: 1])
    }

    @Test func `one that is not ready in time, and ends when it is told to`() throws {
        var story = story()
        story.pass(.seconds(5))
        story.exited(1, .signal(15, coreDumped: false))
        try startAgain(&story)
        #expect(story.app.restarts(of: a) == [.notReady: 1])
    }

    @Test func `one that is unhealthy`() throws {
        var story = story(health: HealthSettings(check: .tcp, failures: 1))
        story.ready(1)
        story.probed(1, "no")
        story.pass(.seconds(30))
        story.exited(1, .signal(15, coreDumped: false))
        try startAgain(&story)
        #expect(story.app.restarts(of: a) == [.unhealthy: 1])
    }

    @Test func `one whose watchdog was not fed`() throws {
        var story = story(ready: .notify(.systemd), watchdog: .seconds(3))
        story.says(1, "READY=1")
        story.pass(.seconds(3))
        story.exited(1, .signal(15, coreDumped: false))
        try startAgain(&story)
        #expect(story.app.restarts(of: a) == [.watchdog: 1])
    }

    @Test func `a restart that somebody wanted, and a start after a stop`() throws {
        var story = story(deploy: inPlace)
        story.ready(1)
        story.command(1, .restart, a)
        story.pass(.seconds(30))
        story.exited(1, .code(0))
        try startAgain(&story)
        #expect(story.app.restarts(of: a) == [.requested: 1])
        story.ready(2)
        story.command(2, .stop, a)
        story.pass(.seconds(30))
        story.exited(2, .code(0))
        story.command(3, .start, a)
        try startAgain(&story)
        #expect(story.app.restarts(of: a) == [.requested: 2])
    }

    @Test func `what status shows are the restarts that nobody has asked for, since somebody last has`() throws {
        var story = story(deploy: inPlace)
        func shown() throws -> Int { try story.view(a).restarts }
        story.ready(1)
        story.pass(.seconds(60))
        for count in 1...2 as ClosedRange<Int> {
            let generation = try #require(story.app.views(at: story.now).first?.instances.first?.generation)
            story.exited(generation.number)
            try startAgain(&story)
            #expect(try shown() == count)
        }
        story.ready(3)
        // A restart, and then another version.
        story.command(1, .restart, a)
        story.pass(.seconds(30))
        story.exited(3, .code(0))
        try startAgain(&story)
        #expect(try shown() == 0)
        story.ready(4)
        story.exited(4)
        try startAgain(&story)
        #expect(try shown() == 1)
        story.ready(5)
        var next = try #require(story.app.manifest.services.first)
        next.command = [Template(literal: "y")]
        story.apply(2, next)
        story.pass(.seconds(30))
        story.exited(5, .code(0))
        try startAgain(&story)
        #expect(try shown() == 0)
        #expect(story.app.restarts(of: a) == [.exited: 3, .requested: 2])
    }

    @Test func `a snapshot of before this was counted shows all that nobody has asked for`() throws {
        var counts = RestartCounts()
        counts.counts = ["exited": 2, "unhealthy": 1, "requested": 5, "woken": 7, "eclipse": 3]
        #expect(counts.ownSinceAsked == 3)
        counts.counts["killed"] = .max
        #expect(counts.ownSinceAsked == .max)
        counts.own = 1
        #expect(counts.ownSinceAsked == 1)
    }

    @Test func `a start that somebody wanted while it waits for the next try`() throws {
        var story = story()
        story.exited(1)
        #expect(try story.view(a).state == "backoff")
        story.command(1, .start, a)
        try startAgain(&story)
        #expect(story.app.restarts(of: a) == [.requested: 1])
    }

    @Test func `the counts are in the snapshot, and one of an older supd, which has none, is read`() throws {
        var story = story()
        story.exited(1)
        try startAgain(&story)
        let encoded = try JSONEncoder().encode(story.app)
        let copy = try JSONDecoder().decode(Application.self, from: encoded)
        #expect(copy.restarts(of: a) == [.exited: 1])
        var text = try #require(JSONSerialization.jsonObject(with: encoded) as? [String: Any])
        var snapshot = try #require(text["snapshot"] as? [String: Any])
        var instances = try #require(snapshot["instances"] as? [[String: Any]])
        #expect(instances[0].removeValue(forKey: "restartCounts") != nil)
        snapshot["instances"] = instances
        text["snapshot"] = snapshot
        let older = try JSONDecoder().decode(Application.self, from: JSONSerialization.data(withJSONObject: text))
        #expect(older.restarts(of: a) == [:])
        #expect(older.instanceIDs == copy.instanceIDs)
    }

    @Test func `a word that this version does not know is kept and not shown`() throws {
        var counts = RestartCounts()
        counts.counts = ["exited": 2, "eclipse": 3]
        let copy = try JSONDecoder().decode(RestartCounts.self, from: JSONEncoder().encode(counts))
        #expect(copy == counts)
    }
}
