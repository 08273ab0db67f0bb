import Manifest
import Testing

@testable import Supervision

@Suite struct StartingTests {
    @Test func `a service without a probe is ready with its start`() throws {
        var story = Story(service("a"))
        #expect(story.acts == [.spawn(Generation(1), instance("a"), port: 20000), .publish])
        story.spawned(1)
        #expect(story.acts == [])
        #expect(try story.view(instance("a")).isReady)
        #expect(story.app.nextDeadline == nil)
    }

    @Test func `a probed one is ready when a probe passes`() throws {
        var story = Story(service("a", front: 80, ready: .tcp))
        story.spawned(1)
        #expect(story.acts == [.beginProbing(Generation(1), instance("a"), port: 20000)])
        story.tell(.probed(Generation(1), passed: false, detail: "connection refused"))
        #expect(story.effects == [])
        #expect(try story.view(instance("a")).detail == "to be ready: connection refused")
        story.pass(.milliseconds(120))
        story.ready(1)
        #expect(story.acts == [.publish])
        #expect(story.reports == ["a/1: ready on port 20000 after 0.12 s"])
        #expect(story.app.routes.first?.endpoints.map(\.generation) == [Generation(1)])
    }

    @Test func `not ready in time is a failed start: stopped, then a pause`() throws {
        var story = Story(service("a", ready: .tcp, readyTimeout: .seconds(3), stop: StopSettings(signal: "INT")))
        story.spawned(1)
        story.tell(.probed(Generation(1), passed: false, detail: "connection refused"))
        story.pass(.seconds(3))
        #expect(story.acts == [.endProbing(Generation(1)), .signal(Generation(1), "INT")])
        #expect(story.reports == ["a/1: not ready within 3 s (connection refused); stopping it"])
        story.exited(1, .code(0))
        #expect(story.acts == [.release(Generation(1))])
        #expect(try story.view(instance("a")).detail == "next try in 0.5 s")
        #expect(try story.view(instance("a")).lastExit?.reason == "not ready within 3 s (connection refused)")
        story.pass(.milliseconds(500))
        #expect(story.spawns == [2])
    }

    @Test func `a crash after a healthy run is followed by a start in the same turn`() throws {
        var story = Story(service("a", front: 80))
        story.spawned(1)
        story.pass(.seconds(10))
        story.exited(1, .signal(9, coreDumped: false))
        #expect(
            story.acts == [.release(Generation(1)), .spawn(Generation(2), instance("a"), port: 20000), .publish])
        #expect(story.app.routes == [Application.Route(service: "a", endpoints: [], holds: true, holdUntil: nil)])
        #expect(story.reports == ["a/1: killed by SIGKILL after 10 s; started again at once"])
        story.spawned(2)
        #expect(try story.view(instance("a")).restarts == 1)
    }

    @Test func `short runs are paused for longer and longer, a healthy one resets that`() {
        var story = Story(service("a"))
        var generation: UInt64 = 1
        for pause in [500, 1000, 2000, 4000] {
            story.spawned(generation)
            story.exited(generation)
            #expect(story.spawns == [])
            story.pass(.milliseconds(pause - 1))
            #expect(story.spawns == [])
            story.pass(.milliseconds(1))
            generation += 1
            #expect(story.spawns == [generation])
        }
        story.spawned(generation)
        story.pass(.seconds(11))
        story.exited(generation)
        generation += 1
        #expect(story.spawns == [generation])
        story.spawned(generation)
        story.exited(generation)
        story.pass(.milliseconds(500))
        #expect(story.spawns == [generation + 1])
    }

    @Test func `a failed spawn is like a failed run`() throws {
        var story = Story(service("a"))
        story.tell(.spawnFailed(Generation(1), StartFailure(text: "cannot execute x: No such file")))
        #expect(story.acts == [.release(Generation(1))])
        #expect(story.reports == ["a/1: cannot execute x: No such file; next try in 0.5 s"])
        #expect(try story.view(instance("a")).lastExit?.status == nil)
        story.pass(.milliseconds(500))
        #expect(story.spawns == [2])
    }

    @Test func `a long time of starting is no healthy run`() {
        var story = Story(service("a", ready: .tcp))
        story.spawned(1)
        story.pass(.seconds(30))
        story.exited(1)
        #expect(story.acts == [.endProbing(Generation(1)), .release(Generation(1))])
    }

    @Test func `it gives up at its limit, and a person can start it again`() throws {
        let limit = RestartSettings.Limit(starts: 2, within: .seconds(60))
        var story = Story(service("a", front: 80, restart: RestartSettings(limit: limit)))
        story.spawned(1)
        story.exited(1)
        story.pass(.seconds(1))
        story.spawned(2)
        story.exited(2)
        #expect(try story.view(instance("a")).state == "failed")
        #expect(
            try story.view(instance("a")).detail == "exited with code 1 after 0 s; its limit is 2 starts within 60 s")
        #expect(story.app.routes.first?.holds == false)
        story.command(1, .start, instance("a"))
        #expect(story.spawns == [3])
        #expect(story.app.routes.first?.holds == true)
    }

    @Test func `a task completes, has no readiness, and its dependants start in the same turn`() throws {
        var story = Story(
            service("migrate", kind: .task, ready: .tcp, readyTimeout: .seconds(1)),
            service("api", dependsOn: [Dependency(service: "migrate", condition: .completed)]))
        #expect(try story.view(instance("api")).detail == "migrate to be completed")
        story.spawned(1)
        #expect(story.acts == [])
        story.pass(.seconds(100))
        #expect(story.effects == [])
        story.exited(1, .code(0))
        #expect(story.acts == [.release(Generation(1)), .spawn(Generation(2), instance("api"), port: 20001)])
        #expect(story.app.views(at: story.now).first?.state == "completed")
    }

    @Test(arguments: [
        (Dependency.Condition.started, Service.Kind.service), (.ready, .service), (.started, .task), (.ready, .task),
        (.completed, .task),
    ])
    func `each condition is met at its moment`(condition: Dependency.Condition, kind: Service.Kind) {
        var story = Story(
            service("db", kind: kind, ready: .tcp),
            service("api", dependsOn: [Dependency(service: "db", condition: condition)]))
        story.spawned(1)
        #expect(story.spawns == (condition == .started ? [2] : []))
        if kind == .service { story.ready(1) } else { story.exited(1, .code(0)) }
        #expect(story.spawns == (condition == .started ? [] : [2]))
    }

    @Test func `what was started is not stopped when its dependency goes`() throws {
        var story = Story(service("db"), service("api", dependsOn: [Dependency(service: "db")]))
        story.spawned(1)
        story.spawned(2)
        story.exited(1)
        #expect(story.acts == [.release(Generation(1))])
        #expect(try story.view(instance("api")).isReady)
        // But it does not come back before its dependency does.
        story.exited(2)
        #expect(try story.view(instance("api")).state == "backoff")
        story.pass(.milliseconds(500))
        #expect(story.spawns == [3])
        #expect(try story.view(instance("api")).detail == "db to be ready")
    }

    @Test func `an exit with success under on-failure completes a service, which keeps nobody waiting`() throws {
        var story = Story(
            service("a", front: 80, restart: RestartSettings(policy: .onFailure, successExitCodes: [0, 3])))
        story.spawned(1)
        story.exited(1, .code(3))
        #expect(try story.view(instance("a")).state == "completed")
        #expect(story.app.routes.first?.holds == false)
    }

    @Test func `a start that ends in the same breath is none, where nothing else shows that it was one`() throws {
        var story = Story(service("a"), service("b", ready: .tcp), service("c", kind: .task))
        for generation in 1...3 as ClosedRange<UInt64> { story.spawned(generation) }
        story.command(1, .stop, instance("a"), instance("b"), instance("c"))
        for generation in 1...3 as ClosedRange<UInt64> { story.exited(generation) }
        story.pass(.seconds(5))
        let all = [instance("a"), instance("b"), instance("c"), instance("x")]
        #expect(story.app.unproven(among: all) == [instance("a")])
        let began = story.now
        // What it ended with before is not this start's.
        #expect(story.app.endedAndNotUp([instance("a")], since: began) == nil)
        story.command(2, .start, instance("a"))
        story.spawned(4)
        #expect(story.app.unproven(among: all) == [])
        #expect(story.app.endedAndNotUp([instance("a")], since: began) == nil)
        story.exited(4, .code(3))
        #expect(
            story.app.endedAndNotUp([instance("a"), instance("x")], since: began)
                == "a/1 has ended: exited with code 3; supd goes on trying")
        #expect(story.app.endedAndNotUp([instance("b")], since: began) == nil)
        // It is up again when somebody asks, because he has waited for something else meanwhile.
        story.pass(.seconds(5))
        story.spawned(5)
        #expect(story.app.endedAndNotUp([instance("a")], since: began) == nil)
        story.exited(5, .code(3))
        #expect(story.app.endedAndNotUp([instance("a")], since: began) != nil)
        // A user has stopped it meanwhile.
        story.command(3, .stop, instance("a"))
        #expect(story.app.endedAndNotUp([instance("a")], since: began) == nil)
    }

    @Test func `what has completed has started, and what has failed for good has not`() throws {
        let policy = RestartSettings(policy: .onFailure, limit: RestartSettings.Limit(starts: 1, within: .seconds(60)))
        for (code, text) in [(0, nil), (1, "a/1 has failed: ")] as [(Int32, String?)] {
            var story = Story(service("a", restart: policy))
            let began = story.now
            story.spawned(1)
            story.exited(1, .code(code))
            let found = story.app.endedAndNotUp([instance("a")], since: began)
            #expect(found.map { $0.hasPrefix(text ?? "-") } == text.map { _ in true }, "\(found ?? "nil")")
        }
    }
}
