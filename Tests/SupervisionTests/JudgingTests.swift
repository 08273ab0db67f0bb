import Events
import Manifest
import Testing

@testable import Supervision

/// What users do to a service whose new version has not been judged yet.
@Suite struct JudgingTests {
    private static let canary = DeploySettings(canary: CanarySettings(hold: .seconds(120)))
    private let api = service("api", replicas: 2, front: 80, ready: .tcp, deploy: canary)

    /// `api/3` is on trial as generation 3.
    private func onTrial() -> Story {
        var story = up(api)
        story.apply(1, next(api))
        story.spawned(3)
        story.ready(3)
        return story
    }

    private func isBack(_ story: Story, by who: String) {
        let text = "api was stopped by \(who) before its new version was judged, and keeps the one before"
        #expect(story.outcome(1) == .sentBack(text, by: who))
        #expect(story.app.manifest.services.first?.environment == [])
        #expect(story.app.deployments.isEmpty && story.running.isEmpty)
    }

    @Test func `a stop during the trial sends it back, and a later start runs what ran before`() {
        var story = onTrial()
        story.tell(.commanded(CommandID(2), .stop, targets: story.app.instanceIDs, by: "uid 7"))
        story.play()
        isBack(story, by: "uid 7")
        #expect(story.outcome(2) == .done)
        story.command(3, .start, instance("api"), instance("api", 2))
        story.play()
        #expect(story.outcome(3) == .done)
        #expect(story.app.instances.allSatisfy { story.app.settings(of: $0.id)?.environment == [] })
    }

    @Test func `so does a stop of one instance after the other, with the last one`() {
        var story = onTrial()
        story.command(2, .stop, instance("api"))
        #expect(story.app.rollout(of: "api")?.isRecalled != true)
        story.tell(.drained(Generation(1)))
        story.exited(1, .signal(15, coreDumped: false))
        #expect(story.app.rollout(of: "api")?.isRecalled != true && story.running.count == 2)
        story.command(3, .stop, instance("api", 2))
        story.play()
        isBack(story, by: "a user")
    }

    @Test func `one that was down, and is started meanwhile, has to come up as well`() throws {
        let plain = service("api", replicas: 2, front: 80, ready: .tcp)
        var story = up(plain)
        story.command(5, .stop, instance("api", 2))
        story.tell(.drained(Generation(2)))
        story.exited(2, .signal(15, coreDumped: false))
        story.apply(1, next(plain))
        story.command(2, .start, instance("api", 2))
        let second = try #require(story.spawns.first)
        story.spawned(second)
        // Nothing with the new settings has shown that it works.
        story.tell(.commanded(CommandID(3), .stop, targets: [instance("api")], by: "uid 0"))
        story.play(broken: { $0.number == 2 })
        #expect(story.outcome(1) != .done && story.outcome(1) != nil)
        #expect(story.app.manifest.services.first?.environment == [])
    }

    @Test func `one that the new version adds has to come up before it is in force`() {
        var more = next(service("api", front: 80, ready: .tcp))
        more.replicas = 2
        for broken in [false, true] {
            var story = up(service("api", front: 80, ready: .tcp))
            story.apply(1, more)
            story.play(broken: { broken && $0.number == 2 })
            #expect((story.outcome(1) == .done) == !broken)
            #expect(story.app.manifest.services.first?.replicas == (broken ? 1 : 2))
        }
    }

    /// `api` waits for `db`, which starts; both as generation 1 and later.
    private func waiting(_ old: Service, brings new: Service) -> Story {
        var story = Story(service("db", ready: .tcp), old)
        story.spawned(1)
        #expect(story.app.instances.last?.state == .waiting)
        story.apply(1, service("db", ready: .tcp), new)
        return story
    }

    @Test(
        "one that waits for a dependency when the new version comes has to come up with it",
        arguments: [
            service("api", front: 80, ready: .tcp, dependsOn: [Dependency(service: "db")]),
            service("api", port: 7000, ready: .tcp, dependsOn: [Dependency(service: "db")]),
            service("api", dependsOn: [Dependency(service: "db")], deploy: DeploySettings(failures: 1)),
            service("api", replicas: 2, front: 80, ready: .tcp, dependsOn: [Dependency(service: "db")], deploy: canary),
            service(
                "api", replicas: 2, front: 80, ready: .tcp, dependsOn: [Dependency(service: "db")],
                deploy: DeploySettings(strategy: .blueGreen)),
        ])
    func waitingForOthers(old: Service) throws {
        for isBroken in [false, true] {
            var story = waiting(old, brings: next(old))
            #expect(story.outcome(1) == nil)
            #expect(story.progress.last?.contains("api/1 waits for db to be ready") == true, "\(story.progress)")
            story.ready(1)
            if isBroken, !old.isProbed {
                let generation = try #require(story.spawns.first)
                story.spawned(generation)
                story.exited(generation)
            }
            story.play(broken: { isBroken && $0.service == "api" })
            #expect((story.outcome(1) == .done) == !isBroken, "\(String(describing: story.outcome(1)))")
            #expect(story.app.manifest.services.last == (isBroken ? old : next(old)))
            #expect(story.app.deployments.isEmpty)
        }
    }

    @Test func `it goes back at once where what it waits for will not come, and if a user says so`() {
        let old = service("api", front: 80, ready: .tcp, dependsOn: [Dependency(service: "db")])
        var story = waiting(old, brings: next(old))
        story.command(2, .stop, instance("db"))
        guard case .rolledBack(let text, _)? = story.outcome(1) else {
            Issue.record("\(String(describing: story.outcome(1)))")
            return
        }
        #expect(text == "api/1 waits for db to be ready (db/1 is stopped)")
        #expect(story.app.manifest.services.last == old)

        story = waiting(old, brings: next(old))
        story.tell(.decided(CommandID(2), service: "api", .rollBack))
        #expect(story.outcome(1) == .sentBack("api was rolled back by a user", by: "a user"))
        #expect(story.app.manifest.services.last == old && story.app.deployments.isEmpty)
        // Without the dependency there is nothing to wait for.
        let free = service("api", front: 80, ready: .tcp)
        story = waiting(old, brings: free)
        story.play()
        #expect(story.outcome(1) == .done && story.app.manifest.services.last == free)
    }

    @Test func `so it is in the midst of a replacement, and with a fixed port`() {
        for old in [service("api", replicas: 2, front: 80, ready: .tcp), service("api", port: 7000, ready: .tcp)] {
            var story = up(old)
            story.apply(1, next(old))
            story.play(upToReplacing: instance("api"))
            story.tell(.commanded(CommandID(2), .stop, targets: story.app.instanceIDs, by: "uid 0"))
            story.play()
            isBack(story, by: "uid 0")
        }
    }

    @Test func `what waits for its turn goes back, too`() {
        let db = service("db", front: 81, ready: .tcp)
        var api = api
        api.dependsOn = [Dependency(service: "db")]
        var story = up(db, api)
        story.apply(1, next(db), next(api))
        #expect(story.app.rollout(of: "api")?.isWaiting == true)
        let first = story.effects
        story.tell(.commanded(CommandID(2), .stop, targets: [instance("api"), instance("api", 2)], by: "uid 0"))
        story.effects += first
        story.play()
        #expect(story.app.manifest.services.map { $0.environment.count } == [1, 0])
        #expect(story.outcome(1) != .done && story.outcome(1) != nil)
    }

    @Test func `what was stopped before starts as the manifest says`() {
        var story = up(api)
        story.command(2, .stop, instance("api"), instance("api", 2))
        story.play()
        story.apply(1, next(api))
        story.play()
        #expect(story.outcome(1) == .done)
        #expect(story.app.manifest.services.first?.environment.count == 1)
    }

    @Test func `what all instances have is judged: a stop is a stop`() {
        var story = up(service("api", replicas: 1, front: 80, ready: .tcp))
        story.apply(1, next(service("api", replicas: 1, front: 80, ready: .tcp)))
        // The one beside serves, the one that stays is replaced, and the former begins to drain.
        story.spawned(2)
        story.ready(2)
        story.tell(.drained(Generation(1)))
        story.exited(1, .signal(15, coreDumped: false))
        story.spawned(3)
        story.ready(3)
        #expect(story.app.rollout(of: "api") != nil)
        story.command(2, .stop, instance("api"))
        story.play()
        #expect(story.outcome(1) == .done)
        #expect(story.app.manifest.services.first?.environment.count == 1)
    }

    @Test func `a restart meanwhile is refused in words`() {
        var story = onTrial()
        story.command(2, .restart, instance("api"))
        let text = "a rollout of api is under way: wait for it, or send it back with \"supctl rollback api\""
        #expect(story.outcome(2) == .failed(text))
        #expect(story.acts.count == 1 && story.running.count == 3)
        #expect(story.app.rolloutHindrance(to: .restart, [instance("api")]) == text)
        #expect(story.app.rolloutHindrance(to: .start, [instance("api")]) == nil)
        story.tell(.decided(CommandID(3), service: "api", .rollBack))
        story.command(4, .restart, instance("api"))
        #expect(story.outcome(4) == .failed("api is going back to what ran before: wait until it has"))
    }

    @Test func `a user's word sends it back without a culprit`() {
        var story = onTrial()
        story.tell(.decided(CommandID(2), service: "api", .rollBack, by: "uid 7"))
        story.play()
        #expect(story.outcome(1) == .sentBack("api was rolled back by uid 7", by: "uid 7"))
    }

    @Test func `a culprit is told with when its process was asked for`() {
        var story = up(api)
        story.pass(.seconds(60))
        let asked = story.now
        story.apply(1, next(api))
        story.spawned(3)
        story.ready(3)
        story.pass(.seconds(20))
        // It is started again at once, in the same turn: that process has not failed.
        story.exited(3)
        story.play()
        guard case .rolledBack(_, let culprits)? = story.outcome(1) else {
            Issue.record("\(String(describing: story.outcome(1)))")
            return
        }
        #expect(culprits == [Application.Culprit(instance: instance("api", 3), since: asked)])
    }

    @Test func `what is there for a rollout is shown, and is left alone by words`() {
        var story = onTrial()
        #expect(story.app.shownInstanceIDs.map(\.number) == [1, 2, 3])
        #expect(story.app.instanceIDs.map(\.number) == [1, 2])
        #expect(story.app.reasonToLeaveAlone(instance("api", 2)) == nil)
        #expect(story.app.reasonToLeaveAlone(instance("api", 9)) == nil)
        let text = story.app.reasonToLeaveAlone(instance("api", 3)) ?? ""
        #expect(
            text.hasPrefix("api/3 is there while api is replaced, and goes by itself; \"supctl rollback api\""),
            "\(text)")
        #expect(story.app.views(at: story.now).first?.ready == 2)
        story.tell(.decided(CommandID(2), service: "api", .promote))
        story.play()
        #expect(
            story.happenings.contains { kind, id in
                kind == .gone(.init(reason: "it stood in while api was replaced")) && id == instance("api", 3)
            })
    }
}
