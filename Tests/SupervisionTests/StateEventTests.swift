import Manifest
import Testing

@testable import Supervision

/// Every state with every event: that no pair traps is the compiler's and this suite's; that each leaves an instance
/// that makes sense is this suite's.
@Suite struct StateEventTests {
    static let now = Instant(nanoseconds: 1_000_000_000_000)
    static let process = Instance.Process(
        generation: Generation(5), port: 20000, pid: 77, beganAt: now.adding(-3_000_000_000), replaces: false)

    /// All states with all their shapes that make a difference.
    static var states: [Instance.State] {
        let unconfirmed = Instance.Process(
            generation: Generation(5), port: 20000, pid: nil, beganAt: now, replaces: true)
        let ending = Ending(succeeded: false, wasHealthy: true, reason: "exited with code 1")
        let checks = [Instance.Check(at: now.adding(-1)), Instance.Check(at: now.adding(1))]
        let phases =
            [Instance.Phase.draining(until: now.adding(-1)), .draining(until: now.adding(1))]
            + checks.flatMap {
                [
                    .terminating(until: now.adding(-1), check: $0), .terminating(until: now.adding(2), check: $0),
                    .killing($0),
                ]
            }
        var states: [Instance.State] = [
            .down, .waiting, .running(process), .backoff(until: now.adding(-1)), .backoff(until: now.adding(1)),
            .failed("no"), .completed,
        ]
        for process in [process, unconfirmed] {
            states += [
                .starting(process, until: now.adding(-1), probe: nil),
                .starting(process, until: now.adding(1), probe: "x"),
            ]
            for phase in phases {
                for cause in [Instance.Cause.goal, .replacement, .ending(ending)] {
                    for leaderEnded in [false, true] {
                        states.append(
                            .stopping(
                                process,
                                Instance.Stop(
                                    cause: cause, phase: phase, leaderEnded: leaderEnded, wasEndpoint: !leaderEnded)))
                    }
                }
            }
        }
        return states
    }

    static let events: [Instance.Event] = [
        .reconsidered, .deadlineReached, .startAsked, .restartAsked(leavesNone: true), .restartAsked(leavesNone: false),
        .spawned(pid: 8), .spawnFailed(StartFailure(text: "x")), .portTaken(holder: "y", next: 20001),
        .portTaken(holder: "y", next: nil), .exited(.code(0), groupEmpty: true), .exited(.code(1), groupEmpty: false),
        .groupChecked(empty: true), .groupChecked(empty: false), .probed(passed: true, detail: ""),
        .probed(passed: false, detail: "z"), .drained, .vanished, .notified(notice("READY=1")),
        .notified(notice("RELOADING=1\nSTATUS=x")), .notified(notice("STOPPING=1")), .notified(notice("WATCHDOG=1")),
        .notified(notice("WATCHDOG=trigger")), .notified(notice("EXTEND_TIMEOUT_USEC=5000000")),
        .probed(passed: false, detail: "z"), .drained, .vanished,
        .healthProbed(Application.ProbeOutcome(passed: true, reason: "")),
        .healthProbed(Application.ProbeOutcome(passed: false, reason: "no")), .healthRestartDue(leavesNone: false),
        .healthRestartDue(leavesNone: true),
    ]

    static var services: [Service] {
        let limit = RestartSettings.Limit(starts: 1, within: .seconds(10))
        return [
            service("a"), service("a", front: 80, ready: .tcp), service("a", kind: .task),
            service("a", front: 80, restart: RestartSettings(policy: .onFailure), stop: StopSettings(timeout: .zero)),
            service("a", restart: RestartSettings(policy: .never, limit: limit)),
            service("a", front: 80, ready: .notify(.systemd)), service("a", watchdog: .seconds(3)),
            service("a", kind: .task, ready: .notify(.systemd), watchdog: .seconds(3)),
            service("a", front: 80, ready: .tcp, health: HealthSettings(check: .tcp, failures: 1)),
        ]
    }

    @Test(arguments: StateEventTests.events)
    func `every state answers every event with one that makes sense`(event: Instance.Event) {
        let states = StateEventTests.states
        for service in StateEventTests.services {
            for state in states {
                for goal in [Goal.up, .down] {
                    for bits in 0..<8 {
                        let surroundings = Instance.Surroundings(
                            mayStart: bits & 1 != 0, mayStop: bits & 2 != 0, isShuttingDown: bits & 4 != 0)
                        var before = Instance(id: instance("a"), goal: goal, state: state, port: 20000)
                        before.latest = before.process?.generation
                        before.health = unhealthy(service)
                        var after = before
                        var turn = Turn(now: StateEventTests.now, jitter: 0, nextGeneration: Generation(6))
                        after.handle(event, of: service, in: surroundings, &turn)
                        for problem in problems(before, event, after, turn, surroundings, service) {
                            Issue.record("\(problem): \(goal) \(state) + \(event) → \(after.state), \(turn.effects)")
                        }
                    }
                }
            }
        }
    }

    @Test(arguments: StateEventTests.events)
    func `whether it is drained changes no transition, and no event takes it back`(event: Instance.Event) {
        for service in StateEventTests.services {
            for state in StateEventTests.states {
                for goal in [Goal.up, .down] {
                    let surroundings = Instance.Surroundings(mayStart: true, mayStop: true, isShuttingDown: false)
                    var plain = Instance(id: instance("a"), goal: goal, state: state, port: 20000)
                    plain.latest = plain.process?.generation
                    plain.health = unhealthy(service)
                    var parked = plain
                    parked.parking = Parking()
                    let generation = plain.process?.generation
                    var turn = Turn(now: StateEventTests.now, jitter: 0, nextGeneration: Generation(6))
                    var parkedTurn = turn
                    plain.handle(event, of: service, in: surroundings, &turn)
                    parked.handle(event, of: service, in: surroundings, &parkedTurn)
                    #expect(parked.state == plain.state && parked.goal == plain.goal)
                    #expect(parked.parking != nil && plain.parking == nil)
                    #expect(parkedTurn.effects.count == turn.effects.count)
                    #expect(parked.endpoint?.state != .active)
                    let isEmptied = event == .drained && [.running, .stopping].contains(word(state))
                    #expect(parked.parking?.emptied == (isEmptied ? generation : nil))
                }
            }
        }
    }

    /// What stands beside the state when a service with a health check has failed it.
    private func unhealthy(_ service: Service) -> Health? {
        guard let settings = service.health else { return nil }
        var health = Health(generation: Generation(5))
        let failure = Health.Failure(reason: "no", output: "", at: StateEventTests.now)
        return health.failed(failure, settings) ? health : nil
    }

    @Test func `only a running instance takes a health probe, and only an unhealthy one is restarted for it`() {
        let checked = service("a", front: 80, ready: .tcp, health: HealthSettings(check: .tcp, failures: 1))
        for state in StateEventTests.states {
            for event in [
                Instance.Event.healthRestartDue(leavesNone: true),
                .healthProbed(Application.ProbeOutcome(passed: false, reason: "no")),
            ] {
                for isUnhealthy in [true, false] {
                    var instance = Instance(id: instance("a"), goal: .up, state: state, port: 20000)
                    if isUnhealthy { instance.health = unhealthy(checked) }
                    let before = instance
                    var turn = Turn(now: StateEventTests.now, jitter: 0, nextGeneration: Generation(6))
                    instance.handle(
                        event, of: checked,
                        in: Instance.Surroundings(mayStart: true, mayStop: true, isShuttingDown: false), &turn)
                    guard word(state) == .running else {
                        #expect(instance == before && turn.effects.isEmpty, "\(state) + \(event)")
                        continue
                    }
                    if case .healthRestartDue = event {
                        #expect((word(instance.state) == .stopping) == isUnhealthy)
                        #expect((instance.healing != nil) == isUnhealthy)
                    } else {
                        #expect(instance.state == state && instance.isUnhealthy)
                    }
                }
            }
        }
    }

    private enum Word { case running, stopping, other }

    private func word(_ state: Instance.State) -> Word {
        switch state {
        case .running: .running
        case .stopping: .stopping
        case .down, .waiting, .starting, .backoff, .failed, .completed: .other
        }
    }

    private func problems(
        _ before: Instance, _ event: Instance.Event, _ after: Instance, _ turn: Turn,
        _ surroundings: Instance.Surroundings, _ service: Service
    ) -> [String] {
        var problems: [String] = []
        func expect(_ holds: Bool, _ text: String) { if !holds { problems.append(text) } }
        let old = before.process?.generation
        var released = false
        var spawned: Generation?
        for effect in turn.effects {
            switch effect {
            case .spawn(let generation, _, let port):
                expect(old == nil || released, "started beside an older one")
                expect(spawned == nil && generation == Generation(6), "started without a generation of its own")
                expect(port == after.port, "started on a port that it does not have")
                if case .portTaken = event {} else { expect(surroundings.mayStart, "started although it may not") }
                spawned = generation
            case .release(let generation):
                expect(!released && generation == old, "released what it does not have")
                released = true
            case .signal(let generation, _), .checkGroup(let generation), .endProbing(let generation):
                expect(!released && generation == old, "dealt with a process that it does not have")
            case .beginProbing(let generation, _, _), .keepReadiness(let generation, _, _):
                expect(generation == old, "probed a process that it does not have")
            case .report(let report):
                expect(!report.text.isEmpty, "said nothing")
            case .publish, .manifestChanged, .deploymentEnded, .scalingEnded, .progress, .finished, .allDown,
                .beginHealthProbing, .endHealthProbing, .happened:
                problems.append("an instance does not say this")
            }
        }
        // A process is only forgotten when it is released, and only there when it was spawned.
        expect(after.process?.generation == spawned ?? (released ? nil : old), "has the wrong process")
        if case .exited = event, old != nil, case .running = after.state { problems.append("survived its exit") }
        // Whatever waits has an end; a deadline that has come changes something and leads to a later one.
        switch after.state {
        case .starting, .stopping, .backoff: expect(after.deadline != nil, "waits for ever")
        case .running: expect(after.deadline == after.watchdogDue, "rests with a deadline")
        case .down, .waiting, .failed, .completed: expect(after.deadline == nil, "rests with a deadline")
        }
        if let due = after.watchdogDue, after.process != nil {
            expect(service.watchdog != nil && due > turn.now, "has a watchdog that nobody asked for")
        }
        if event == .deadlineReached {
            let wasDue = before.deadline.map { $0 <= turn.now } ?? false
            expect(wasDue == (after.state != before.state), "a deadline is for nothing, or comes too early")
            expect(!wasDue || after.deadline.map { $0 >= turn.now } ?? true, "the next deadline is over already")
        }
        // Who is not wanted does not start, and rests only in `down`.
        if after.goal == .down, event == .reconsidered {
            switch after.state {
            case .down, .stopping: break
            case .starting, .running: expect(!surroundings.mayStop, "is not wanted and goes on")
            case .waiting, .backoff, .failed, .completed: problems.append("is not wanted and not down")
            }
        }
        expect(after.goal == .up || spawned == nil, "started and not wanted")
        return problems
    }

    @Test(arguments: [
        Application.Event.spawned(Generation(99), pid: 1), .spawnFailed(Generation(99), StartFailure(text: "x")),
        .portTaken(Generation(99), holder: "x"), .exited(Generation(99), .code(0), groupEmpty: true),
        .exited(Generation(99), .code(0), groupEmpty: false), .groupChecked(Generation(99), empty: true),
        .probed(Generation(99), passed: true, detail: ""), .drained(Generation(99)), .deadlineReached,
        .notified(Generation(99), notice("READY=1\nSTATUS=x\nWATCHDOG=trigger")),
        .healthProbed(Generation(99), Application.ProbeOutcome(passed: false, reason: "no")),
    ])
    func `what is about another generation changes nothing`(event: Application.Event) {
        var stories = [Story(service("a", front: 80, ready: .tcp))]
        stories.append(stories[0])
        stories[1].spawned(1)
        stories.append(stories[1])
        stories[2].ready(1)
        stories.append(stories[2])
        stories[3].command(1, .stop, instance("a"))
        stories.append(stories[2])
        stories[4].exited(1)
        for var story in stories {
            let before = story.app.instances
            story.tell(event)
            #expect(story.effects == [])
            #expect(story.app.instances == before)
        }
    }
}
