import Events
import Manifest
import TestSupport
import Testing

@testable import Supervision

/// Services that scale themselves.
struct AutoScalingTests {
    private static let pace = ScalingPace()

    /// Looks every five seconds for as long as loads are given; the steps, with the second of each.
    private func steps(
        _ loads: [(seconds: Int, load: Double)], from instances: Int, _ rule: ScalingRule
    ) -> [(at: Int, step: EventKind.ScaleStep)] {
        var watch = ScalingWatch(pace: Self.pace)
        var (count, second) = (instances, 0)
        var found: [(Int, EventKind.ScaleStep)] = []
        for (seconds, load) in loads {
            for _ in 0..<(seconds / 5) {
                if let step = watch.looked(
                    at: "a", load: load, instances: count, rule: rule, now: Instant(nanoseconds: 0) + .seconds(second))
                {
                    found.append((second, step))
                    count = step.to
                }
                second += 5
            }
        }
        return found
    }

    private static let rule = ScalingRule(min: 1, max: 4, target: .connections(50))

    struct Case: Sendable {
        var name: String
        var from = 1
        var loads: [(seconds: Int, load: Double)]
        /// The second and the number of each step.
        var steps: [[Int]]
    }

    @Test(
        "up after half a minute, at most doubled; down by one after five minutes; nothing in between",
        arguments: [
            Case(name: "at the target", loads: [(3600, 50)], steps: []),
            Case(name: "within the tolerance", loads: [(3600, 55)], steps: []),
            Case(name: "above it", loads: [(600, 56)], steps: [[30, 2]]),
            Case(name: "a peak that is over soon", loads: [(60, 0), (10, 100), (300, 0)], steps: []),
            Case(name: "far above: doubled, and looked at anew", loads: [(600, 190)], steps: [[30, 2], [65, 4]]),
            Case(name: "beyond the most", loads: [(600, 1e9)], steps: [[30, 2], [65, 4]]),
            Case(name: "one fewer is enough", from: 3, loads: [(299, 90), (31, 90)], steps: [[300, 2]]),
            Case(name: "one fewer is hardly enough", from: 3, loads: [(3600, 91)], steps: []),
            Case(name: "no load at all", from: 4, loads: [(1500, 0)], steps: [[300, 3], [605, 2], [910, 1]]),
            Case(
                name: "a peak begins the five minutes anew", from: 2, loads: [(200, 0), (5, 90), (310, 0)],
                steps: [[505, 1]]),
            Case(name: "nonsense is none", loads: [(30, .nan), (300, -5)], steps: []),
        ])
    func table(one: Case) {
        let found = steps(one.loads, from: one.from, Self.rule)
        #expect(found.map { [$0.at, $0.step.to] } == one.steps, "\(one.name): \(found)")
    }

    @Test func `each step says why`() {
        let up = steps([(60, 81)], from: 1, Self.rule).first?.step
        #expect(up?.reason == "81 connections per instance over 30 s, the target is 50")
        let down = steps([(400, 4)], from: 2, Self.rule).first?.step
        #expect(down?.reason == "at most 2 connections per instance over 5 min, the target is 50")
        let cpu = ScalingRule(min: 1, max: 3, target: .cpu(percent: 70))
        let busy = steps([(60, 97.25)], from: 1, cpu).first?.step
        #expect(busy?.to == 2 && busy?.reason == "97% of a core per instance over 30 s, the target is 70%")
    }

    @Test func `while some serve nobody there may be more, and not fewer until all have served for five minutes`() {
        var watch = ScalingWatch(pace: Self.pace)
        func look(_ second: Int, _ load: Double, isWhole: Bool) -> EventKind.ScaleStep? {
            watch.looked(
                at: "a", load: load, instances: 3, isWhole: isWhole, rule: Self.rule,
                now: Instant(nanoseconds: 0) + .seconds(second))
        }
        for second in stride(from: 0, to: 500, by: 5) { #expect(look(second, 0, isWhole: false) == nil) }
        for second in stride(from: 500, to: 800, by: 5) { #expect(look(second, 0, isWhole: true) == nil) }
        #expect(look(800, 0, isWhole: true)?.to == 2)
        watch.keep([])
        for second in stride(from: 0, to: 30, by: 5) { #expect(look(second, 180, isWhole: false) == nil) }
        #expect(look(30, 180, isWhole: false)?.to == 4)
    }

    @Test func `what was seen before a pause, or of another number or rule, decides nothing`() {
        var watch = ScalingWatch(pace: Self.pace)
        func look(_ second: Int, _ instances: Int = 1, _ rule: ScalingRule = Self.rule) -> EventKind.ScaleStep? {
            watch.looked(
                at: "a", load: 500, instances: instances, rule: rule, now: Instant(nanoseconds: 0) + .seconds(second))
        }
        for second in stride(from: 0, to: 30, by: 5) { #expect(look(second) == nil) }
        // Nobody could look meanwhile.
        #expect(look(50) == nil && look(55) == nil && look(70) == nil && look(75) == nil)
        #expect(look(80)?.to == 2)
        // Another number; another rule.
        #expect(look(85, 2) == nil)
        let other = ScalingRule(min: 1, max: 9, target: .connections(50))
        #expect(look(90, 2, other) == nil)
        for second in stride(from: 95, to: 120, by: 5) { #expect(look(second, 2, other) == nil) }
        #expect(look(120, 2, other)?.to == 4)
        watch.keep([])
        #expect(look(125, 2, other) == nil)
    }

    @Test func `whatever the load: within the bounds, no quicker than it may be, and at rest once it is steady`() {
        var random = SeededRandom(seed: 7)
        for _ in 0..<300 {
            let least = Int(random.pick(1...4))
            let rule = ScalingRule(
                min: least, max: least + Int(random.pick(0...20)), target: .connections(Int(random.pick(1...100))))
            var watch = ScalingWatch(pace: Self.pace)
            var (count, load, last) = (Int(random.pick(Int64(rule.min)...Int64(rule.max))), 0.0, -1000)
            let quiet = Int(random.pick(0...600)) * 5
            var late = 0
            for second in stride(from: 0, to: quiet + 10_000, by: 5) {
                if second < quiet, random.oneIn(10) { load = Double(random.pick(0...3000)) }
                // Load is never seen quite as it is.
                let seen = load * (1 + Double(random.pick(-5...5)) / 100)
                guard
                    let step = watch.looked(
                        at: "a", load: seen, instances: count, rule: rule,
                        now: Instant(nanoseconds: 0) + .seconds(second))
                else { continue }
                #expect(step.from == count && rule.nearest(to: step.to) == step.to && step.to != count)
                #expect(step.to <= 2 * count && step.to >= count - 1)
                #expect(second - last >= (step.to > count ? 30 : 300))
                (count, last) = (step.to, second)
                if second > quiet + 8_000 { late += 1 }
            }
            #expect(late == 0, "it does not come to rest: \(rule.text), \(load)")
            // A tenth of tolerance to either side, and a twentieth of what is seen amiss.
            let exact = load / Double(rule.target.amount)
            let fewest = rule.nearest(to: Int((exact * 0.95 / 1.1).rounded(.down)))
            let most = rule.nearest(to: Int((exact * 1.05 / 0.9 + 1).rounded(.up)))
            #expect((fewest...most).contains(count), "\(count) for \(load), \(rule.text)")
        }
    }

    // MARK: In the application

    private func web(_ rule: ScalingRule, replicas: Int? = nil, version: String = "1") -> Service {
        var web = service("web", replicas: rule.min, front: 80, ready: .tcp)
        web.scaling = rule
        web.environment = [EnvironmentVariable(name: "V", value: Template(literal: version))]
        return replicas.map { web.scaled(to: $0) } ?? web
    }

    private func step(_ from: Int, _ to: Int) -> Application.Event {
        .scaledItself(service: "web", EventKind.ScaleStep(from: from, to: to, reason: "load"))
    }

    @Test func `a step adds or takes away, says so, and stands in nobody's way`() throws {
        var story = Story(web(ScalingRule(min: 1, max: 3, target: .connections(50))), service("other", ready: .tcp))
        #expect(story.app.scalingCandidates.isEmpty, "nothing is ready yet")
        story.play()
        #expect(story.app.scalingCandidates.map(\.ready) == [[instance("web", 1)]])
        story.tell(step(1, 3))
        #expect(story.reports == ["web/1: web scaled from 1 to 3: load"])
        var events: [EventKind.ScaleStep] = []
        for case (.scale(let step), _) in story.happenings { events.append(step) }
        #expect(events == [.init(from: 1, to: 3, reason: "load")])
        #expect(story.app.scalingCandidates.isEmpty, "new ones are not ready yet")
        #expect(story.app.applyHindrance == nil && story.app.scaleHindrance(of: ["other"]) == nil)
        story.play()
        #expect(story.running.count == 4)
        #expect(
            story.app.scaleOverrides
                == [ScaleOverride(service: "web", replicas: 3, manifest: 1, isAutomatic: true)])
        story.tell(step(3, 2))
        story.play()
        #expect(story.app.instanceCounts["web"] == 2)
        // Out of its bounds, of another number, of one that does not: nothing.
        for event in [step(2, 4), step(2, 0), step(3, 2), step(2, 2)] {
            story.tell(event)
            #expect(story.effects.isEmpty)
        }
        story.tell(.scaledItself(service: "other", EventKind.ScaleStep(from: 1, to: 2, reason: "load")))
        #expect(story.effects.isEmpty)
    }

    /// Of ten ports `other` takes five, its fronts and fixed ports none; the rest is for `web`.
    private func narrow(_ others: Int = 5, rule: ScalingRule = ScalingRule(min: 1, max: 8, target: .connections(50)))
        -> Story
    {
        var story = Story(
            web(rule), service("other", replicas: others, ready: .tcp), ports: PortRange(first: 20000, last: 20009))
        story.play()
        return story
    }

    private func hindrances(_ story: Story) -> [EventKind.ScaleHindrance] {
        story.happenings.compactMap { if case .scaleHindered(let hindrance) = $0.kind { hindrance } else { nil } }
    }

    @Test func `a step is taken as far as there are ports, and says what is missing`() {
        var story = narrow()
        story.tell(step(1, 2))
        story.play()
        story.tell(step(2, 4))
        story.play()
        story.tell(step(4, 8))
        #expect(story.app.instanceCounts["web"] == 5 && hindrances(story).isEmpty)
        let text =
            "load; 8 are not possible: supd.portRange (\"20000-20009\") has 10 ports for instances, and 13 would be needed"
        #expect(story.reports == ["web/1: web scaled from 4 to 5: \(text)"])
    }

    @Test func `where nothing more can be had it is told once for each reason, tried again, and told when it is over`()
    {
        var story = narrow(9)
        let reason = "supd.portRange (\"20000-20009\") has 10 ports for instances, and 11 would be needed"
        story.tell(step(1, 2))
        #expect(hindrances(story) == [.init(from: 1, to: 2, reason: reason, load: "load")])
        #expect(story.reports == ["web/1: web cannot scale from 1 to 2: \(reason); its load: load"])
        #expect(story.app.scalingHindrance(of: "web")?.reason == reason)
        #expect(story.app.instanceCounts["web"] == 1 && !story.effects.contains(.manifestChanged))
        // The load varies, the reason does not.
        for to in [2, 4, 8] {
            story.tell(step(1, to))
            #expect(story.effects.isEmpty)
        }
        // The next supervisor knows what was told.
        let ledger = story.app.told
        story.app.recall(ledger)
        story.tell(step(1, 3))
        #expect(story.effects.isEmpty)
        // Room for one: the next try is a step, and the one after that has another reason.
        story.tell(.scaled(CommandID(1), ["other": 8]))
        story.play()
        story.tell(step(1, 2))
        #expect(hindrances(story).isEmpty && story.app.scalingHindrance(of: "web") == nil)
        story.play()
        #expect(story.running.keys.count { $0.service == "web" } == 2)
        story.tell(step(2, 3))
        #expect(hindrances(story).map(\.from) == [2])
        // The load is less, and that is told once.
        story.tell(.scalingSettled(service: "web"))
        #expect(hindrances(story) == [.init(from: 2, to: 3)])
        #expect(story.app.scalingHindrance(of: "web") == nil)
        story.tell(.scalingSettled(service: "web"))
        #expect(story.effects.isEmpty)
    }

    @Test(
        "with another rule, a count, a stop or no service at all the hindrance is over",
        arguments: ["bounds", "count", "stop", "gone"])
    func hindranceEnds(by what: String) throws {
        var story = narrow(9)
        story.tell(step(1, 2))
        #expect(hindrances(story).count == 1)
        let other = service("other", replicas: 9, ready: .tcp)
        switch what {
        case "bounds": story.apply(1, web(ScalingRule(min: 1, max: 1, target: .connections(50))), other)
        case "count": story.apply(1, service("web", front: 80, ready: .tcp), other)
        case "stop": story.command(1, .stop, instance("web"))
        default: story.apply(1, other)
        }
        #expect(hindrances(story) == [.init(from: 1, to: 2)], "\(story.effects)")
        #expect(story.app.scalingHindrance(of: "web") == nil)
    }

    @Test func `what was seen for too short a time says nothing about the load`() {
        var watch = ScalingWatch(pace: Self.pace)
        for second in stride(from: 0, through: 30, by: 5) {
            #expect(!watch.hasSeenEnough(of: "a"))
            _ = watch.looked(
                at: "a", load: 50, instances: 1, rule: Self.rule, now: Instant(nanoseconds: 0) + .seconds(second))
        }
        #expect(watch.hasSeenEnough(of: "a") && !watch.hasSeenEnough(of: "b"))
    }

    @Test func `while one of them crashes, or is drained, there are not fewer; more there may be`() throws {
        let rule = ScalingRule(min: 1, max: 4, target: .connections(50))
        var story = Story(web(rule, replicas: 3))
        story.play()
        #expect(story.app.scalingCandidates.map(\.isWhole) == [true])
        // It ends, and starts again after a pause.
        story.exited(try #require(story.running[instance("web", 1)]), .code(1))
        #expect(story.app.scalingCandidates.map(\.isWhole) == [false])
        #expect(story.app.scalingCandidates.map(\.ready) == [[instance("web", 2), instance("web", 3)]])
        story.tell(step(3, 2))
        #expect(story.effects.isEmpty && story.app.instanceCounts["web"] == 3)
        story.pass(.seconds(10))
        story.play()
        #expect(story.app.scalingCandidates.map(\.isWhole) == [true])
        story.command(1, .drain, instance("web", 3))
        #expect(story.app.scalingCandidates.map(\.isWhole) == [false])
        story.tell(step(3, 2))
        #expect(story.effects.isEmpty)
        story.tell(step(3, 4))
        #expect(story.app.instanceCounts["web"] == 4)
    }

    @Test func `by hand it is not scaled; not at all while it is replaced, stopped or asleep`() throws {
        let rule = ScalingRule(min: 2, max: 4, target: .connections(50))
        var sleepy = web(rule)
        sleepy.idleAfter = .seconds(60)
        var asleep = Story(sleepy)
        asleep.play()
        #expect(asleep.app.scalingCandidates.count == 1)
        asleep.tell(.wentIdle(service: "web"))
        asleep.play()
        #expect(asleep.app.isAsleep("web") && asleep.app.scalingCandidates.isEmpty)
        var story = Story(web(rule))
        story.play()
        let refusal = #expect(throws: ScaleRefusal.self) { try story.app.manifest(scaling: ["web": 3]) }
        #expect(
            refusal?.text == "web scales itself (2 to 4, 50 connections each), and is not scaled by hand: "
                + "change min or max of its replicas, or write a count there, and apply")
        story.command(3, .stop, instance("web", 2))
        story.play()
        #expect(story.app.scalingCandidates.isEmpty)
        story.command(4, .start, instance("web", 2))
        story.play()
        #expect(story.app.scalingCandidates.count == 1)
        story.tell(
            .applied(CommandID(5), Manifest(supd: story.app.manifest.supd, services: [web(rule, version: "2")])))
        #expect(story.app.scalingCandidates.isEmpty)
        story.tell(step(2, 3))
        #expect(story.effects.isEmpty)
        story.tell(.shutdownRequested)
        #expect(story.app.scalingCandidates.isEmpty)
    }

    @Test func `from a count to a map and back it is live, and goes on with what it has`() throws {
        let rule = ScalingRule(min: 1, max: 4, target: .connections(50))
        var story = Story(service("web", replicas: 3, front: 80, ready: .tcp))
        story.play()
        let before = story.running
        func next(_ service: Service) -> Manifest {
            Manifest(supd: story.app.manifest.supd, services: [service]).keeping(
                story.app.scaleOverrides, present: story.app.instanceCounts
            ).manifest
        }
        var mapped = service("web", replicas: 1, front: 80, ready: .tcp)
        mapped.scaling = rule
        let plan = Plan(from: story.app, to: next(mapped))
        #expect(plan.changes.map(\.cost) == [.live])
        #expect(
            plan.changes.first?.fields == [
                Plan.FieldChange(field: "replicas by itself", old: nil, new: "1 to 4, 50 connections each")
            ])
        story.tell(.applied(CommandID(1), next(mapped)))
        story.play()
        #expect(story.running == before)
        // Fewer at most: only those above go.
        mapped.scaling?.max = 2
        story.tell(.applied(CommandID(2), next(mapped)))
        story.play()
        #expect(story.app.instanceCounts["web"] == 2)
        // A count is a count.
        story.tell(.applied(CommandID(3), next(service("web", replicas: 1, front: 80, ready: .tcp))))
        story.play()
        #expect(story.app.instanceCounts["web"] == 1 && story.app.scaleOverrides.isEmpty)
    }
}
