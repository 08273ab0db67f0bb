import Events
import Manifest
import Testing

@testable import Supervision

/// What a turn has to tell as events.
@Suite struct TellingTests {
    /// `a/1 state starting→running`: the kinds with what matters of each.
    private func told(_ story: Story) -> [String] {
        story.happenings.map { kind, instance in
            let who = instance.map { "\($0) " } ?? ""
            switch kind {
            case .state(let change): return "\(who)state \(change.from ?? "")→\(change.to)"
            case .start(let start): return "\(who)start \(start.generation) (\(start.restarts))"
            case .exit(let end): return "\(who)exit \(end.generation): \(end.reason)"
            case .startFailed(let failure): return "\(who)startFailed \(failure.generation): \(failure.reason)"
            case .probe(let change): return "\(who)probe \(change.outcome)"
            case .goal(let change): return "\(who)goal \(change.goal)"
            case .drain(let change): return "\(who)drain \(change.drained)"
            case .rollout(let step): return "\(who)rollout \(step.step)" + (step.by.map { " by \($0)" } ?? "")
            default: return "\(who)\(kind.name)"
            }
        }
    }

    @Test func `a life from the start to the stop`() {
        var story = Story(service("a", ready: .tcp, restart: RestartSettings(policy: .always)))
        #expect(told(story) == ["a/1 state →starting"])
        story.spawned(1)
        #expect(told(story) == ["a/1 start 1 (0)"])
        story.ready(1)
        #expect(told(story) == ["a/1 state starting→running"])
        story.exited(1, .signal(9, coreDumped: false))
        #expect(told(story) == ["a/1 exit 1: killed by SIGKILL", "a/1 state running→backoff"])
        story.pass(.seconds(1))
        #expect(told(story) == ["a/1 state backoff→starting"])
        story.spawned(2)
        #expect(told(story) == ["a/1 start 2 (1)"])
        story.ready(2)
        story.command(1, .stop, instance("a"))
        #expect(told(story) == ["a/1 goal down", "a/1 state running→stopping"])
        story.exited(2, .code(0))
        #expect(told(story) == ["a/1 exit 2: exited with code 0", "a/1 state stopping→down"])
    }

    @Test func `a restart within one turn tells the exit and what comes next`() {
        var story = Story(service("a", restart: RestartSettings(policy: .always)))
        story.spawned(1)
        #expect(told(story) == ["a/1 start 1 (0)", "a/1 state starting→running"])
        story.pass(.seconds(60))
        #expect(told(story) == [])
        story.exited(1)
        #expect(told(story) == ["a/1 exit 1: exited with code 1", "a/1 state running→starting"])
    }

    @Test func `a start that fails, and what waits for it`() {
        var story = Story(
            service("db"), service("api", dependsOn: [Dependency(service: "db", condition: .ready)]))
        #expect(told(story) == ["db/1 state →starting", "api/1 state →waiting"])
        story.tell(.spawnFailed(Generation(1), StartFailure(text: "no such file")))
        #expect(told(story) == ["db/1 startFailed 1: no such file", "db/1 state starting→backoff"])
        let reason = story.happenings.compactMap { kind, _ in
            if case .state(let change) = kind { change.reason } else { nil }
        }
        #expect(reason == ["no such file"])
    }

    @Test func `probes are told when they come to something else`() {
        let health = HealthSettings(check: .tcp, failures: 2, successes: 1)
        var story = Story(service("a", replicas: 2, health: health))
        story.spawned(1)
        story.spawned(2)
        story.probed(1, nil)
        #expect(told(story) == [])
        story.probed(1, "refused")
        #expect(told(story) == ["a/1 probe failing"])
        story.probed(1, nil)
        #expect(told(story) == ["a/1 probe passing"])
        story.probed(1, "refused")
        story.probed(1, "refused")
        #expect(told(story) == ["a/1 probe unhealthy", "a/1 state running→stopping"])
        story.exited(1, .signal(15, coreDumped: false))
        #expect(told(story).first == "a/1 exit 1: killed by SIGTERM")
    }

    @Test func `drains are told, and what leaves the manifest is gone`() {
        var story = Story(service("a", front: 8000), service("b"))
        story.spawned(1)
        story.spawned(2)
        story.command(1, .drain, instance("a"))
        #expect(told(story) == ["a/1 drain true"])
        story.command(2, .undrain, instance("a"))
        #expect(told(story) == ["a/1 drain false"])
        let manifest = Manifest(
            supd: story.app.manifest.supd, services: story.app.manifest.services.filter { $0.name == "a" })
        story.tell(.applied(CommandID(3), manifest))
        #expect(told(story) == ["b/1 goal down", "b/1 state running→stopping"])
        story.exited(2, .code(0))
        #expect(told(story) == ["b/1 exit 2: exited with code 0", "b/1 gone"])
        #expect(story.app.told.instances.keys.sorted() == ["a/1"])
    }

    @Test func `a rollout is told step by step`() {
        var story = Story(service("a", replicas: 2))
        story.spawned(1)
        story.spawned(2)
        var services = story.app.manifest.services
        services[0].command = [Template(literal: "y")]
        story.tell(.applied(CommandID(1), Manifest(supd: story.app.manifest.supd, services: services)))
        #expect(told(story).filter { $0.contains("rollout") } == ["rollout began", "a/1 rollout replacing"])
        story.exited(1, .code(0))
        story.spawned(3)
        story.pass(.seconds(1))
        #expect(told(story).filter { $0.contains("rollout") } == ["a/1 rollout replaced", "a/2 rollout replacing"])
        story.exited(2, .code(0))
        story.spawned(4)
        story.pass(.seconds(1))
        #expect(told(story).filter { $0.contains("rollout") } == ["a/2 rollout replaced", "rollout done"])
    }

    @Test func `a rollout that a user sends back is told with who that was, whether it is over at once or not`() {
        let api = service("a", front: 80, ready: .tcp)
        for isAtOnce in [false, true] {
            var story = Story(api)
            story.spawned(1)
            story.ready(1)
            var next = api
            next.command = [Template(literal: "y")]
            story.tell(.applied(CommandID(1), Manifest(supd: story.app.manifest.supd, services: [next])))
            if isAtOnce {
                // Between two tries nothing of it is there.
                story.exited(2)
            } else {
                story.spawned(2)
            }
            story.tell(.decided(CommandID(2), service: "a", .rollBack, by: "uid 7"))
            var steps = told(story)
            story.play()
            steps += isAtOnce ? [] : told(story)
            var rollout: [String] = []
            for step in steps where step.contains("rollout") && !rollout.contains(step) { rollout.append(step) }
            #expect(rollout == ["rollout goingBack by uid 7", "rollout wentBack by uid 7"])
        }
    }

    @Test func `one that goes back for a failure is told without anybody`() {
        let api = service("a", front: 80, ready: .tcp)
        var story = Story(api)
        story.spawned(1)
        story.ready(1)
        var next = api
        next.deploy.failures = 1
        next.command = [Template(literal: "y")]
        story.tell(.applied(CommandID(1), Manifest(supd: story.app.manifest.supd, services: [next])))
        story.spawned(2)
        story.exited(2)
        #expect(told(story).filter { $0.hasPrefix("rollout") } == ["rollout goingBack", "rollout wentBack"])
    }

    @Test func `one that goes while it is being replaced is told not to be waited for any longer`() {
        let api = service("a", replicas: 2, front: 80, ready: .tcp)
        var withoutSurge = api
        withoutSurge.deploy = inPlace
        var story = Story(api)
        // What those make of it who only read the events.
        var ledger = EventLedger()
        func read() {
            for case .happened(let kind, let service, let instance) in story.effects {
                ledger.take(kind, service: service, instance: instance?.description)
            }
        }
        read()
        let steps: [(inout Story) -> Void] = [
            { $0.spawned(1) }, { $0.spawned(2) }, { $0.ready(1) }, { $0.ready(2) },
            { $0.command(1, .restart, instance("a", 2)) }, { $0.spawned(3) }, { $0.ready(3) },
            // It is replaced, and does not come up.
            { $0.tell(.drained(Generation(2))) }, { $0.exited(2) }, { $0.spawned(4) }, { $0.exited(4) },
            // Nobody may stand in for it any more.
            { $0.apply(2, withoutSurge) }, { $0.tell(.drained(Generation(3))) }, { $0.exited(3) },
        ]
        for step in steps {
            step(&story)
            read()
        }
        #expect(story.app.told.rollouts["a"]?.replacing == ["a/2"])
        story.tell(.scaled(CommandID(3), ["a": 0]))
        read()
        #expect(told(story).filter { $0.contains("rollout") } == ["a/2 rollout gaveUp"])
        #expect(story.outcome(3) == nil)
        // The scale is done when the other one is gone, too.
        story.tell(.drained(Generation(1)))
        read()
        story.exited(1)
        read()
        #expect(story.outcome(3) == .done)
        #expect(told(story).contains("a/2 gone"))
        #expect(ledger == story.app.told)
    }

    @Test func `a new supervisor tells what is otherwise than it was told, and no end twice`() {
        var before = Story(service("a", restart: RestartSettings(policy: .always)), service("b"))
        before.spawned(1)
        before.spawned(2)
        let snapshot = before.app
        // After the snapshot, and told: a/1 has ended and backs off.
        before.exited(1)
        let ledger = before.app.told
        var app = snapshot
        app.recall(ledger)
        let children = [
            Application.SurvivingChild(
                generation: Generation(1), instance: instance("a"), port: 20000, pid: 1001, hasExited: true),
            Application.SurvivingChild(generation: Generation(2), instance: instance("b"), port: 20001, pid: 1002),
        ]
        var story = Story(resuming: app, children: children, highest: 2)
        #expect(told(story) == [])
        story.exited(1)
        #expect(told(story) == [])
        #expect(story.app.told == ledger)
    }

    @Test func `an end that nobody has seen is told by the next supervisor`() {
        var before = Story(service("a", restart: RestartSettings(policy: .always)))
        before.spawned(1)
        var app = before.app
        app.recall(before.app.told)
        // The keeper knows it no more: it was released, and the event of its end never came to disk.
        let vanished = Story(resuming: app, children: [], highest: 1)
        #expect(told(vanished) == ["a/1 exit 1: ended while nobody looked", "a/1 state running→backoff"])
        // It was released, and told.
        var known = before.app.told
        known.take(.exit(.init(generation: 1, reason: "")), service: "a", instance: "a/1")
        app.recall(known)
        let repeated = Story(resuming: app, children: [], highest: 1)
        #expect(!told(repeated).contains { $0.contains("exit") })
    }

    @Test func `without a snapshot all is told that was not`() {
        var before = Story(service("a", replicas: 2))
        before.spawned(1)
        let ledger = before.app.told
        var app = Application(manifest: before.app.manifest)
        app.recall(ledger)
        let children = [1, 2].map { number in
            Application.SurvivingChild(
                generation: Generation(UInt64(number)), instance: instance("a", number), port: UInt16(20000 + number),
                pid: Int32(1000 + number))
        }
        let story = Story(resuming: app, children: children, highest: 2)
        #expect(told(story) == ["a/2 start 2 (0)", "a/2 state starting→running"])
    }
}
