import Foundation
import Manifest
import Testing

@testable import Supervision

/// A user's restart where others stand in.
private let goesOn =
    "what ran before goes on (a program that must not run twice at a time needs deploy: { surge: 0 })"

@Suite struct RestartTests {
    private let api = service("api", replicas: 3, front: 80, ready: .tcp)
    private let only = service("api", front: 80, ready: .tcp)

    private func restartAll(_ story: inout Story, _ number: UInt64 = 1) {
        story.tell(.commanded(CommandID(number), .restart, targets: story.app.instanceIDs))
    }

    private func active(_ app: Application) -> Int {
        app.routes.first?.endpoints.count { $0.state == .active } ?? 0
    }

    @Test func `another process comes up beside the others before one goes, and clients always find all`() {
        var story = up(api)
        let before = story.running
        restartAll(&story)
        #expect(story.spawns.count == 1)
        #expect(story.progress == ["3 of 3 to go: api/4 is starting beside the others"])
        #expect(story.running == before)
        var fewest = 3
        story.play(afterEachRound: { fewest = min(fewest, active($0)) })
        #expect(fewest == 3)
        #expect(story.outcome(1) == .done)
        #expect(story.running.keys.sorted() == before.keys.sorted())
        #expect(before.allSatisfy { story.running[$0.key] != $0.value })
        #expect(story.app.deployments.isEmpty && story.app.operations.isEmpty)
        #expect(story.app.instances.allSatisfy { $0.edition == .current })
        // No manifest was applied, nothing else is said than of a command.
        #expect(!story.effects.contains(.manifestChanged) && !story.effects.contains(.deploymentEnded(.done)))
    }

    @Test func `an only instance is restarted without any pause`() {
        var story = up(only)
        restartAll(&story)
        var fewest = 1
        var isHeld = false
        story.play(afterEachRound: { app in
            fewest = min(fewest, active(app))
            isHeld = isHeld || app.routes.first?.holdUntil != nil
        })
        #expect(fewest == 1 && !isHeld)
        #expect(story.outcome(1) == .done)
        #expect(story.running == [instance("api"): 3])
    }

    @Test func `it is done when the named ones are up, and does not wait for who stood in to drain`() {
        var story = up(only)
        restartAll(&story)
        story.spawned(2)
        story.ready(2)
        story.tell(.drained(Generation(1)))
        story.exited(1)
        story.spawned(3)
        #expect(story.outcome(1) == nil)
        story.ready(3)
        #expect(story.outcome(1) == .done)
        #expect(story.app.routes.first?.endpoints.map(\.state) == [.active, .draining])
        // A second one finds it there, waits until it is gone, and goes the same way.
        restartAll(&story, 2)
        #expect(story.outcome(2) == nil && story.spawns == [])
        story.tell(.drained(Generation(2)))
        story.exited(2)
        story.play()
        #expect(story.outcome(2) == .done)
        #expect(story.running == [instance("api"): 5])
    }

    @Test func `one of several by its name leaves the others alone`() {
        var story = up(api)
        let before = story.running
        story.command(1, .restart, instance("api", 2))
        story.play()
        #expect(story.outcome(1) == .done)
        let changed = story.running.filter { before[$0.key] != $0.value }
        #expect(changed.map(\.key) == [instance("api", 2)])
    }

    @Test func `one that does not come up ends the command, and what ran before runs on`() {
        var story = up(api)
        let before = story.running
        restartAll(&story)
        story.play(broken: { $0.number == 4 })
        guard case .rolledBack(let text, let culprits)? = story.outcome(1),
            culprits.map(\.instance) == [instance("api", 4)]
        else {
            Issue.record("\(String(describing: story.outcome(1)))")
            return
        }
        #expect(text == "api/4 has failed 3 times: exited with code 7; \(goesOn)")
        #expect(story.running == before)
        #expect(story.app.deployments.isEmpty && story.app.operations.isEmpty)
    }

    @Test func `one that is not ready in time is enough`() {
        var story = up(only)
        restartAll(&story)
        story.spawned(2)
        story.pass(.seconds(60))
        guard case .rolledBack(let text, _) = story.outcome(1) else {
            Issue.record("no end")
            return
        }
        #expect(text == "api/2 was not ready within 60 s; \(goesOn)")
        #expect(story.running == [instance("api"): 1])
    }

    @Test func `while the one that was replaced does not come back, another one stands in`() {
        var story = up(only)
        restartAll(&story)
        story.play(broken: { $0.number == 1 })
        guard case .rolledBack(let text, let culprits)? = story.outcome(1),
            culprits.map(\.instance) == [instance("api")]
        else {
            Issue.record("\(String(describing: story.outcome(1)))")
            return
        }
        #expect(text == "api/1 has failed 3 times: exited with code 7; supd goes on trying")
        #expect(story.running.keys.sorted() == [instance("api", 2)])
        #expect(active(story.app) == 1)
        while story.spawns.isEmpty, let due = story.app.nextDeadline {
            story.now = max(story.now, due)
            story.tell(.deadlineReached)
        }
        story.play()
        #expect(story.running.keys.sorted() == [instance("api")])
        #expect(story.app.deployments.isEmpty)
    }

    @Test func `what serves nobody is started in its place, before the others are replaced`() {
        var story = up(api)
        story.command(1, .stop, instance("api", 3))
        story.play()
        restartAll(&story, 2)
        #expect(
            story.effects.contains {
                if case .spawn(_, instance("api", 3), _) = $0 { true } else { false }
            })
        #expect(story.app.deployments.isEmpty)
        story.play()
        #expect(story.outcome(2) == .done)
        #expect(story.running.keys.map(\.number).sorted() == [1, 2, 3])
    }

    @Test(arguments: [
        service("api", replicas: 2, port: 7000, front: 80, ready: .tcp), service("api", replicas: 2, ready: .tcp),
        service("api", replicas: 2, front: 80, ready: .tcp, deploy: inPlace),
    ])
    func `where none may stand in it is in place`(service: Service) {
        var story = up(service)
        restartAll(&story)
        #expect(story.spawns == [])
        #expect(story.app.deployments.isEmpty)
        story.play()
        #expect(story.outcome(1) == .done)
    }

    @Test func `without a port to spare it is in place`() {
        var story = up(api, ports: PortRange(first: 20000, last: 20002))
        restartAll(&story)
        #expect(story.spawns == [] && story.app.deployments.isEmpty)
        story.play()
        #expect(story.outcome(1) == .done)
    }

    @Test func `several services that have one port to spare between them share it out`() {
        var story = up(only, service("web", front: 81, ready: .tcp), ports: PortRange(first: 20000, last: 20002))
        restartAll(&story)
        #expect(story.app.deployments.flatMap(\.rollouts).map(\.service) == ["api"])
        story.play()
        #expect(story.outcome(1) == .done)
    }

    @Test func `what is drained has no clients that another one would stand in for`() {
        var story = up(only)
        story.command(1, .drain, instance("api"))
        story.command(2, .restart, instance("api"))
        #expect(story.app.deployments.isEmpty && story.spawns == [])
    }

    // MARK: Others beside it

    @Test func `one that names others joins, one that names the same takes over`() {
        var story = up(api)
        story.command(1, .restart, instance("api", 1))
        let first = story.effects
        story.command(2, .restart, instance("api", 2))
        #expect(story.outcome(1) == nil && story.app.deployments.count == 1)
        story.command(3, .restart, instance("api", 2), instance("api", 3))
        #expect(story.outcome(2) == .failed("superseded by a later restart"))
        let before = story.running
        story.effects = first
        story.play()
        #expect(story.outcome(1) == .done && story.outcome(3) == .done)
        #expect(before.allSatisfy { story.running[$0.key] != $0.value })
        #expect(story.app.deployments.isEmpty)
    }

    @Test func `a stop takes over, and takes who stands in along`() {
        var story = up(only)
        restartAll(&story)
        story.spawned(2)
        story.ready(2)
        story.command(2, .stop, instance("api"))
        #expect(story.outcome(1) == .failed("superseded by a later stop"))
        for generation in [1, 2] as [UInt64] {
            story.tell(.drained(Generation(generation)))
            #expect(story.outcome(2) == nil)
            story.exited(generation)
        }
        #expect(story.outcome(2) == .done)
        #expect(story.running.isEmpty && story.app.deployments.isEmpty)
        story.command(3, .start, instance("api"))
        story.play()
        #expect(story.running.keys.sorted() == [instance("api")])
    }

    @Test func `a start takes over, and what was not replaced yet stays`() {
        var story = up(api)
        let before = story.running
        restartAll(&story)
        story.command(2, .start, instance("api", 1))
        #expect(story.outcome(1) == .failed("superseded by a later start"))
        #expect(story.outcome(2) == .done)
        story.play()
        #expect(story.running == before)
        #expect(story.app.deployments.isEmpty)
    }

    @Test func `an apply that replaces the service takes over`() {
        var story = up(api)
        restartAll(&story)
        story.apply(2, next(api))
        #expect(story.outcome(1) == .failed("superseded by a later apply"))
        story.play()
        #expect(story.outcome(2) == .done)
        #expect(story.running.keys.map(\.number).sorted() == [1, 2, 3])
        #expect(story.app.instances.allSatisfy { $0.edition == .current })
    }

    @Test func `it takes over from a restart in place, too, whose next instance it replaces itself`() {
        let api = service("api", replicas: 2, front: 80, ready: .tcp, deploy: DeploySettings(surge: 0))
        var story = up(api)
        restartAll(&story)
        var changed = api
        changed.environment = [EnvironmentVariable(name: "V", value: Template(literal: "2"))]
        changed.deploy = DeploySettings(surge: 1, canary: CanarySettings(replicas: 1, hold: .seconds(60)))
        story.apply(2, changed)
        #expect(story.outcome(1) == .failed("superseded by a later apply"))
        // The first one is on its way, and comes back as what it was; then the trial begins beside both.
        let second = story.running[instance("api", 2)]
        for generation in story.spawns {
            story.spawned(generation)
            story.ready(generation)
        }
        story.tell(.drained(Generation(1)))
        story.exited(1)
        for generation in story.spawns {
            story.spawned(generation)
            story.ready(generation)
        }
        #expect(story.app.settings(of: instance("api")) == api)
        #expect(story.running[instance("api", 2)] == second && story.running.count == 3)
        #expect(story.app.deployments.first?.rollouts.first?.isOnTrial == true)
    }

    @Test func `an apply that does not touch its processes lets it go on`() {
        var story = up(api)
        restartAll(&story)
        var changed = api
        changed.balance.drainTimeout = .seconds(3)
        changed.replicas = 2
        story.apply(2, changed)
        #expect(story.outcome(1) == nil)
        let before = story.running
        story.play()
        #expect(story.outcome(1) == .done && story.outcome(2) == .done)
        #expect(story.running.keys.map(\.number).sorted() == [1, 2])
        #expect(story.running.allSatisfy { before[$0.key] != $0.value })
    }

    @Test func `an apply that takes the service away ends it`() {
        var story = up(api, service("other"))
        restartAll(&story)
        story.apply(2, service("other"))
        story.play()
        #expect(story.outcome(2) == .done)
        #expect(story.app.manifest.services.map(\.name) == ["other"])
        #expect(story.app.deployments.isEmpty)
    }

    @Test func `an apply that takes away the instance that a restart is at lets it go on with the next one`() {
        var one = api
        one.replicas = 1
        var two = api
        two.replicas = 2
        var story = up(two)
        let before = story.running
        // The one that serves nobody comes first.
        story.exited(2)
        restartAll(&story)
        #expect(story.progress == ["2 of 2 to go: api/2 is starting"])
        story.apply(2, one)
        story.play()
        #expect(story.outcome(1) == .done && story.app.operations.isEmpty)
        #expect(story.running.count == 1 && story.running[instance("api")] != before[instance("api")])
    }

    @Test func `during a rollout it is refused`() {
        var story = up(api)
        story.apply(1, next(api))
        let first = story.effects
        story.command(2, .restart, instance("api", 3))
        #expect(story.app.deployments.count == 1)
        #expect(story.outcome(2) != nil && story.outcome(2) != .done)
        story.effects += first
        story.play()
        #expect(story.outcome(1) == .done)
    }

    @Test func `a new supervisor goes on with it`() throws {
        var story = up(api)
        let before = story.running
        restartAll(&story)
        story.play(upToReplacing: instance("api", 2))
        let data = try JSONEncoder().encode(story.app.snapshot)
        let restored = try Application(
            manifest: story.app.manifest, snapshot: JSONDecoder().decode(Snapshot.self, from: data))
        let children = story.app.instances.compactMap { instance in
            instance.process.map {
                Application.SurvivingChild(
                    generation: $0.generation, instance: instance.id, port: $0.port, pid: $0.pid)
            }
        }
        var next = Story(resuming: restored, children: children, highest: story.app.nextGeneration.number)
        for draining in next.app.routes.flatMap(\.endpoints) where draining.state == .draining {
            next.tell(.drained(draining.generation))
            next.play()
        }
        #expect(next.app.deployments.isEmpty && next.app.operations.isEmpty)
        #expect(before.allSatisfy { next.running[$0.key] ?? $0.value != $0.value })
        #expect(next.running.count == 3)
    }

    @Test func `a snapshot of before there were such is read`() throws {
        var story = up(api)
        restartAll(&story)
        let data = try JSONEncoder().encode(story.app.snapshot)
        var text = try #require(String(data: data, encoding: .utf8))
        #expect(text.contains("\"restarts\":true") && text.contains("\"rollouts\":[\"api\"]"))
        text = text.replacingOccurrences(of: "\"restarts\":true,", with: "")
        text = text.replacingOccurrences(of: ",\"restarts\":true", with: "")
        text = text.replacingOccurrences(of: "\"rollouts\":[\"api\"],", with: "")
        text = text.replacingOccurrences(of: ",\"rollouts\":[\"api\"]", with: "")
        let read = try JSONDecoder().decode(Snapshot.self, from: Data(text.utf8))
        #expect(read.deployments.first?.isRestart == false && read.operations.first?.rollouts == nil)
    }
}
