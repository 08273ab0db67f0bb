import Manifest
import Testing

@testable import Supervision

/// All that whoever waits for an apply, or for a rollback, is told: each line is so when it is said, and so is the last one.
@Suite struct TranscriptTests {
    private let api = service("api", replicas: 2, front: 80, ready: .tcp)

    /// What a command was told by these effects, and how it ended.
    private func transcript(_ number: UInt64, _ effects: [Application.Effect]) -> [String] {
        effects.compactMap { effect in
            switch effect {
            case .progress(CommandID(number), let text): return text
            case .finished(CommandID(number), .done): return "done"
            case .finished(CommandID(number), .failed(let text)): return "failed: \(text)"
            case .finished(CommandID(number), .rolledBack(let text, _)): return "rolled back: \(text)"
            case .finished(CommandID(number), .sentBack(let text, let who)): return "sent back by \(who): \(text)"
            default: return nil
            }
        }
    }

    @Test func `an apply that comes through`() {
        var story = up(api)
        story.apply(1, next(api))
        story.play()
        #expect(
            transcript(1, story.effects) == [
                "api: 0 of 2 replaced: api/3 is starting",
                "api: 0 of 2 replaced: api/1 lets its connections end",
                "api: 0 of 2 replaced: api/1 is stopping",
                "api: 0 of 2 replaced: api/1 is starting",
                "api: 1 of 2 replaced: api/2 lets its connections end",
                "api: 1 of 2 replaced: api/2 is stopping",
                "api: 1 of 2 replaced: api/2 is starting",
                "api: 2 of 2 replaced: api/3 lets its connections end",
                "api: 2 of 2 replaced: api/3 is stopping",
                "done",
            ])
    }

    @Test func `one that does not come up: at the end nothing of it is tried again`() {
        var story = up(api)
        story.apply(1, next(api))
        story.play(broken: { $0.number == 3 })
        #expect(
            transcript(1, story.effects) == [
                "api: 0 of 2 replaced: api/3 is starting",
                "api: 0 of 2 replaced: api/3 is tried again after 1 failed start",
                "api: 0 of 2 replaced: api/3 is starting",
                "api: 0 of 2 replaced: api/3 is tried again after 2 failed starts",
                "api: 0 of 2 replaced: api/3 is starting",
                "api goes back to what ran before: 2 of 2 as before, api/3 is to stop",
                "rolled back: api/3 has failed 3 times: exited with code 7",
            ])
    }

    @Test func `one on a fixed port: what ran before is said to be back when it is`() {
        var db = service("db", port: 7000, front: 80, ready: .tcp)
        db.deploy.failures = 1
        var story = up(db)
        story.apply(1, next(db))
        var attempts = 0
        story.play(broken: { _ in
            attempts += 1
            return attempts == 1
        })
        #expect(
            transcript(1, story.effects) == [
                "db: 0 of 1 replaced: db/1 lets its connections end",
                "db: 0 of 1 replaced: db/1 is stopping",
                "db: 0 of 1 replaced: db/1 is starting",
                "db goes back to what ran before: 0 of 1 as before, db/1 is to be replaced",
                "db goes back to what ran before: 0 of 1 as before, db/1 is starting",
                "rolled back: db/1 has failed: exited with code 7",
            ])
    }

    @Test func `what does not come up as it was either is said last`() {
        var db = service("db", port: 7000, front: 80, ready: .tcp)
        db.deploy.failures = 1
        var story = up(db)
        story.apply(1, next(db))
        story.play(broken: { _ in true })
        #expect(
            transcript(1, story.effects).last
                == "rolled back: db/1 has failed: exited with code 7; "
                + "what ran before of db does not come up: db/1 has failed: exited with code 7")
    }

    @Test func `of two services one comes through and one does not`() {
        var story = up(api, service("web", replicas: 1, front: 81, ready: .tcp))
        var web = next(service("web", replicas: 1, front: 81, ready: .tcp))
        web.deploy.failures = 1
        story.apply(1, next(api), web)
        story.play(broken: { $0 == instance("web", 2) })
        let lines = transcript(1, story.effects)
        #expect(
            lines.first == "0 of 2 services replaced; api: 0 of 2 replaced: api/3 is starting; "
                + "web: 0 of 1 replaced: web/2 is starting")
        #expect(lines.contains { $0.hasPrefix("0 of 2 services replaced, 1 gone back; api: ") }, "\(lines)")
        #expect(!lines.contains { $0.hasPrefix("1 of 2") || $0.hasPrefix("2 of 2") }, "\(lines)")
        #expect(lines.last == "rolled back: web/2 has failed: exited with code 7")
    }

    @Test func `a user sends it back: both are told, each what concerns them`() {
        var story = up(api)
        var canary = next(api)
        canary.deploy.canary = CanarySettings(hold: .seconds(120))
        story.apply(1, canary)
        story.spawned(3)
        story.ready(3)
        #expect(transcript(1, story.effects) == ["api: api/3 is on trial for 2 min"])
        story.tell(.decided(CommandID(2), service: "api", .rollBack, by: "uid 7"))
        story.play()
        let steps = [
            "api goes back to what ran before: 2 of 2 as before, api/3 is to stop",
            "api goes back to what ran before: 2 of 2 as before, api/3 lets its connections end",
            "api goes back to what ran before: 2 of 2 as before, api/3 is stopping",
        ]
        #expect(transcript(1, story.effects) == steps + ["sent back by uid 7: api was rolled back by uid 7"])
        #expect(transcript(2, story.effects) == steps + ["done"])
    }

    @Test func `a rollback that what ran before does not survive has failed, and so has the apply`() {
        var db = service("db", port: 7000, front: 80, ready: .tcp)
        db.deploy.failures = 1
        var story = up(db)
        story.apply(1, next(db))
        story.play(upToReplacing: instance("db"))
        story.tell(.drained(Generation(1)))
        story.tell(.decided(CommandID(2), service: "db", .rollBack, by: "uid 7"))
        story.exited(1)
        story.play(broken: { _ in true })
        let trouble = "what ran before of db does not come up: db/1 has failed: exited with code 7"
        #expect(transcript(2, story.effects).last == "failed: \(trouble)")
        #expect(transcript(1, story.effects).last == "failed: db was rolled back by uid 7; \(trouble)")
    }

    @Test func `a rollback of one that waits for its turn is done, and so is one at a shutdown told`() {
        let db = service("db", front: 81, ready: .tcp)
        var api = api
        api.dependsOn = [Dependency(service: "db")]
        var story = up(db, api)
        story.apply(1, next(db), next(api))
        let first = story.effects
        story.tell(.decided(CommandID(2), service: "api", .rollBack, by: "uid 7"))
        #expect(story.outcome(2) == .done)
        story.tell(.decided(CommandID(3), service: "db", .rollBack, by: "uid 7"))
        story.effects = first + story.effects
        var stopped = story
        stopped.tell(.shutdownRequested)
        if stopped.app.rollout(of: "db") != nil { #expect(stopped.outcome(3) == .failed("supd is shutting down")) }
        story.play()
        #expect(story.outcome(3) == .done)
        #expect(story.app.manifest.services.map(\.environment.count) == [0, 0])
    }

    @Test func `who has sent it back is known after the loss of a supervisor, and nobody waits any more`() throws {
        var story = up(api)
        var canary = next(api)
        canary.deploy.canary = CanarySettings(hold: .seconds(120))
        story.apply(1, canary)
        story.spawned(3)
        story.ready(3)
        story.tell(.decided(CommandID(2), service: "api", .rollBack, by: "uid 7"))
        let children = story.app.views(at: story.now).flatMap(\.instances).compactMap { view in
            view.generation.map {
                Application.SurvivingChild(generation: $0, instance: view.id, port: view.port, pid: view.pid)
            }
        }
        let app = try Application(
            manifest: story.app.manifest, revision: story.app.revision, snapshot: story.app.snapshot)
        var later = Story(resuming: app, children: children)
        later.play()
        #expect(transcript(2, later.effects) == [])
        #expect(
            later.effects.contains(.deploymentEnded(.sentBack("api was rolled back by uid 7", by: "uid 7"))))
        #expect(later.app.deployments.isEmpty)
    }
}
