import Manifest
import Testing

@testable import Supervision

/// Another number of instances in what runs: a manifest that differs in nothing else.
struct ScalingTests {
    /// A user scales services.
    private func scale(_ story: inout Story, _ number: UInt64, _ counts: [String: Int]) throws {
        story.tell(.scaled(CommandID(number), counts))
    }

    @Test func `a stop of what is scaled away and asked for again is over`() {
        var story = Story(service("a", replicas: 2, front: 80))
        for generation in story.spawns { story.spawned(generation) }
        story.command(1, .stop, instance("a", 2))
        #expect(story.outcome(1) == nil)
        story.tell(.scaled(CommandID(2), ["a": 0]))
        story.tell(.scaled(CommandID(3), ["a": 2]))
        #expect(story.outcome(1) == .failed("superseded: a/2 is to be up again"))
    }

    @Test func `adding touches no other, and taking away drains the highest first`() throws {
        var story = Story(
            service("a", replicas: 2, front: 80, balance: BalanceSettings(drainTimeout: .seconds(7)), ready: .tcp),
            service("b"))
        story.play()
        let before = story.running
        let plan = Plan(from: story.app, to: try story.app.manifest(scaling: ["a": 4]))
        #expect(plan.changes.map(\.cost) == [.scale])
        #expect(plan.changes.first?.fields == [Plan.FieldChange(field: "replicas", old: "2", new: "4")])
        try scale(&story, 1, ["a": 4])
        story.play()
        #expect(story.outcome(1) == .done)
        #expect(story.running.count == 5)
        #expect(story.running.merging(before) { _, old in old } == story.running)
        #expect(story.app.scaleOverrides == [ScaleOverride(service: "a", replicas: 4, manifest: 2)])

        let four = story.running
        try scale(&story, 2, ["a": 1])
        // Connections end first: nothing is signalled yet.
        let signalled = story.effects.contains { if case .signal = $0 { true } else { false } }
        #expect(!signalled)
        let draining = story.app.routes.flatMap(\.endpoints).filter { $0.state == .draining }
        #expect(draining.map(\.instance) == [instance("a", 2), instance("a", 3), instance("a", 4)])
        story.pass(.seconds(8))
        #expect(story.outcome(2) == nil)
        story.exited(try #require(four[instance("a", 2)]))
        story.exited(try #require(four[instance("a", 3)]))
        story.exited(try #require(four[instance("a", 4)]))
        #expect(story.outcome(2) == .done)
        #expect(story.running == four.filter { $0.key.service == "b" || $0.key.number == 1 })
        #expect(story.app.instances.map(\.id) == [instance("a", 1), instance("b")])
    }

    @Test func `to none, and to the manifest's own number, which is no override`() throws {
        var story = Story(service("a", replicas: 2, ready: .tcp))
        story.play()
        try scale(&story, 1, ["a": 0])
        story.play()
        #expect(story.outcome(1) == .done)
        #expect(story.running.isEmpty)
        #expect(story.app.scaleOverrides.map(\.replicas) == [0])
        try scale(&story, 2, ["a": 2])
        story.play()
        #expect(story.outcome(2) == .done)
        #expect(story.running.count == 2)
        #expect(story.app.scaleOverrides.isEmpty)
    }

    @Test func `what one gives back another one may have`() throws {
        let story = Story(
            service("a", replicas: 1), service("b", replicas: 9), ports: PortRange(first: 20000, last: 20009))
        let next = try story.app.manifest(scaling: ["a": 9, "b": 1])
        #expect(next.services.map(\.replicas) == [9, 1])
        let full = #expect(throws: ScaleRefusal.self) { try story.app.manifest(scaling: ["a": 2]) }
        #expect(full?.text.hasPrefix("a cannot be scaled to 2: supd.portRange") == true)
        let unknown = #expect(throws: ScaleRefusal.self) { try story.app.manifest(scaling: ["c": 2]) }
        #expect(unknown?.text == "c is not known")
    }

    @Test func `scales stand beside each other and beside an apply; only what is being replaced is refused`() throws {
        var story = Story(
            service("a", ready: .tcp), service("b", ready: .tcp), service("c", replicas: 2, front: 80, ready: .tcp))
        story.play()
        var done: [Application.Effect] = []
        try scale(&story, 1, ["a": 2])
        done += story.effects
        try scale(&story, 2, ["b": 3])
        done += story.effects
        #expect(story.outcome(2) == nil && story.spawns.count == 2)
        let rolled = next(service("c", replicas: 2, front: 80, ready: .tcp))
        let written = Manifest(
            supd: story.app.manifest.supd,
            services: [service("a", ready: .tcp), service("b", ready: .tcp), rolled])
        story.tell(.applied(CommandID(3), written.keeping(story.app.scaleOverrides).manifest))
        done += story.effects
        #expect(story.outcome(1) == nil && story.outcome(2) == nil && story.outcome(3) == nil)
        #expect(story.app.scaleHindrance(of: ["a", "b"]) == nil)
        let text = "c cannot be scaled now: an apply under way replaces its processes; scale it once that is done"
        #expect(story.app.scaleHindrance(of: ["a", "c"]) == text)
        try scale(&story, 4, ["c": 5])
        #expect(story.outcome(4) == .failed(text))
        try scale(&story, 5, ["a": 4])
        #expect(story.outcome(1) == .failed("superseded by a later scale"))
        done += story.effects
        story.effects = done
        story.play()
        let ended = story.effects
        #expect(story.running.keys.count { $0.service == "a" } == 4)
        #expect(story.running.keys.count { $0.service == "b" } == 3)
        #expect(story.app.manifest.services.map(\.replicas) == [4, 3, 2])
        // Each is said to be over once, and only the apply as an apply.
        #expect(ended.count { if case .deploymentEnded(.done) = $0 { true } else { false } } == 1)
        #expect(ended.filter { if case .scalingEnded = $0 { true } else { false } }.count == 2)
    }

    @Test func `a later scale of one service leaves the others of the earlier command their wait`() throws {
        var story = Story(service("x", ready: .tcp), service("web", ready: .tcp))
        story.play()
        var seen: [Application.Effect] = []
        try scale(&story, 1, ["x": 2, "web": 3])
        seen += story.effects
        try scale(&story, 2, ["x": 3])
        seen += story.effects
        #expect(story.outcome(1) == nil && story.outcome(2) == nil)
        #expect(story.app.isBeingChanged("web") && story.app.isBeingChanged("x"))
        // An apply with another number takes over what is left of the second.
        story.apply(3, service("x", replicas: 2, ready: .tcp), service("web", ready: .tcp).scaled(to: 3))
        #expect(story.outcome(2) == .failed("superseded by a later apply"))
        seen += story.effects
        story.effects = seen
        story.play()
        #expect(story.outcome(1) == .failed("x: superseded by a later scale; web: done"))
        #expect(story.running.keys.count { $0.service == "web" } == 3)
        // Of what is left it is told as what it is.
        let ended = story.effects.compactMap {
            if case .scalingEnded(let services, .done) = $0 { services } else { nil }
        }
        #expect(ended == [["web"]])
        // One after the other.
        try scale(&story, 4, ["x": 3, "web": 4])
        try scale(&story, 5, ["x": 4])
        try scale(&story, 6, ["web": 5])
        #expect(
            story.outcome(4) == .failed("x: superseded by a later scale; web: superseded by a later scale"))
    }

    @Test func `a restart whose first instance is taken away goes on with the next one`() throws {
        var story = Story(service("a", replicas: 2, port: 3000, ready: .tcp))
        story.play()
        let generation = try #require(story.running[instance("a", 1)])
        story.command(1, .restart, instance("a", 2))
        // The second one is on its way out; the first one waits for its turn.
        story.app.operations = story.app.operations.map { operation in
            var operation = operation
            operation.open.append(0)
            operation.statuses[0] = .queued
            return operation
        }
        try scale(&story, 2, ["a": 1])
        #expect(story.effects.contains(.signal(Generation(generation), "TERM")))
    }

    @Test(
        "during a restart it is done when those that it takes away are gone, be they standing in for others",
        arguments: [(3, 1), (5, 3), (5, 4), (4, 0)], [1, 2])
    func duringRestart(counts: (Int, Int), surge: Int) throws {
        let (from, to) = counts
        var story = Story(
            service("a", replicas: from, front: 80, ready: .tcp, deploy: DeploySettings(surge: surge)))
        story.play()
        let before = Set(story.running.filter { $0.key.number > to }.values)
        story.tell(.commanded(CommandID(1), .restart, targets: story.app.instanceIDs))
        let restart = story.effects
        try scale(&story, 2, ["a": to])
        #expect(story.outcome(2) == nil)
        story.effects = restart + story.effects
        var isEarly = false
        story.play(afterEachRound: { app in
            let isThere = app.instances.contains { before.contains($0.process?.generation.number ?? 0) }
            if isThere, !app.deployments.contains(where: { $0.scales != nil }) { isEarly = true }
        })
        #expect(!isEarly)
        #expect(story.outcome(2) == .done)
        #expect(story.running.count == to && story.app.deployments.isEmpty)
    }

    @Test func `an apply with fewer instances during a restart waits for those to go, too`() {
        var story = Story(service("a", replicas: 4, front: 80, ready: .tcp))
        story.play()
        story.tell(.commanded(CommandID(1), .restart, targets: story.app.instanceIDs))
        let restart = story.effects
        story.apply(2, service("a", replicas: 2, front: 80, ready: .tcp))
        #expect(story.outcome(2) == nil)
        #expect(story.app.deployments.first?.parting == [instance("a", 3), instance("a", 4)])
        story.effects = restart + story.effects
        story.play()
        #expect(story.outcome(2) == .done && story.running.count == 2)
    }

    @Test func `what waits for ever is scaled back; an apply with another number takes its place`() throws {
        var story = Story(service("db", ready: .tcp), service("a", ready: .tcp, dependsOn: [Dependency(service: "db")]))
        // The database never gets ready.
        try scale(&story, 2, ["a": 3])
        #expect(story.outcome(2) == nil)
        #expect(story.app.applyHindrance == nil)
        try scale(&story, 3, ["a": 1])
        #expect(story.outcome(2) == .failed("superseded by a later scale") && story.outcome(3) == .done)
        try scale(&story, 4, ["a": 2])
        story.apply(5, service("db", ready: .tcp), service("a", replicas: 3, ready: .tcp))
        #expect(story.outcome(4) == .failed("superseded by a later apply"))
    }

    @Test func `what goes is not scaled, and is no override any more`() throws {
        var story = Story(service("a", ready: .tcp), service("b", ready: .tcp))
        story.play()
        try scale(&story, 1, ["a": 2])
        story.play()
        story.apply(2, service("b", ready: .tcp))
        #expect(story.app.leaving == ["a"])
        #expect(story.app.scaleOverrides.isEmpty)
        let refusal = #expect(throws: ScaleRefusal.self) { try story.app.manifest(scaling: ["a": 2]) }
        #expect(refusal?.text == "a is not in the manifest any more, and is being stopped")
    }

    @Test func `the next fixed ports are told`() throws {
        let story = Story(service("a", replicas: 1, port: 3000), service("b"))
        let added = story.app.fixedPortsAdded(by: try story.app.manifest(scaling: ["a": 3, "b": 2]))
        #expect(added.map(\.instance) == [instance("a", 2), instance("a", 3)])
        #expect(added.map(\.port) == [3001, 3002])
    }

    @Test func `an apply that says the same changes nothing; one that fails goes back to what was scaled`() throws {
        let written = service("a", replicas: 1, front: 80, ready: .tcp)
        var story = Story(written)
        story.play()
        try scale(&story, 1, ["a": 3])
        story.play()
        let same = Manifest(supd: story.app.manifest.supd, services: [written]).keeping(story.app.scaleOverrides)
        #expect(same.dropped.isEmpty)
        #expect(Plan(from: story.app, to: same.manifest).changes.isEmpty)

        // The number is the manifest's own now: nothing runs otherwise, and it is said all the same.
        var own = written
        own.replicas = 3
        let owned = Plan(from: story.app, to: Manifest(supd: story.app.manifest.supd, services: [own]))
        #expect(owned.changes.map(\.cost) == [.live])
        #expect(owned.changes.first?.fields == [Plan.FieldChange(field: "scaled from", old: "1", new: nil)])

        var broken = written
        broken.replicas = 2
        broken.command = [Template(literal: "broken")]
        story.apply(2, broken)
        story.play(broken: { _ in true })
        #expect(!story.app.isDeploying)
        #expect(story.app.manifest.services == [written.scaled(to: 3)])
        #expect(story.app.scaleOverrides == [ScaleOverride(service: "a", replicas: 3, manifest: 1)])
    }
}
