import Events
import Testing

@Suite("What events come to")
struct EventLedgerTests {
    private func ledger(_ events: (EventKind, String, String?)...) -> EventLedger {
        var ledger = EventLedger()
        for (kind, service, instance) in events { ledger.take(kind, service: service, instance: instance) }
        return ledger
    }

    @Test("An instance is what was told of it last")
    func instances() throws {
        let told = ledger(
            (.state(.init(from: nil, to: "starting")), "api", "api/1"),
            (.start(.init(generation: 3, pid: 9, restarts: 0)), "api", "api/1"),
            (.state(.init(from: "starting", to: "running")), "api", "api/1"),
            (.probe(.init(outcome: .unhealthy)), "api", "api/1"),
            (.goal(.init(goal: "down")), "api", "api/1"),
            (.drain(.init(drained: true)), "api", "api/1"),
            (.exit(.init(generation: 3, reason: "")), "api", "api/1"))
        let instance = try #require(told.instances["api/1"])
        #expect(instance.state == "running")
        #expect(instance.goal == "down")
        #expect(instance.started == 3 && instance.hasEnded(3))
        #expect(instance.health == .unhealthy)
        #expect(instance.isDrained)
        #expect(told.instances.count == 1)
    }

    @Test(
        "A new process has not failed yet; ends are known by their generation, the last few of them; what is gone is forgotten"
    )
    func order() {
        var told = ledger(
            (.probe(.init(outcome: .unhealthy)), "api", "api/1"),
            (.start(.init(generation: 5, pid: 9, restarts: 1)), "api", "api/1"),
            (.exit(.init(generation: 5, reason: "")), "api", "api/1"),
            (.exit(.init(generation: 4, reason: "")), "api", "api/1"))
        #expect(told.instances["api/1"]?.health == .passing)
        #expect(told.instances["api/1"]?.ended == [5, 4])
        for generation in 6...20 {
            told.take(.exit(.init(generation: UInt64(generation), reason: "")), service: "api", instance: "api/1")
        }
        #expect(told.instances["api/1"]?.ended == Array(13...20))
        told.take(.gone(), service: "api", instance: "api/1")
        #expect(told.instances.isEmpty)
        // It is not told anew of the processes that it had, should it come back.
        told.take(.state(.init(from: nil, to: "starting")), service: "api", instance: "api/1")
        #expect(told.instances["api/1"]?.started == 5 && told.instances["api/1"]?.hasEnded(20) == true)
        #expect(told.instances["api/1"]?.health == .passing)
    }

    @Test("Of those that are gone a bounded number is known, the latest")
    func goneOnes() {
        var told = EventLedger()
        for number in 1...1000 {
            let name = "api/\(number)"
            told.take(.start(.init(generation: UInt64(number), pid: 1, restarts: 0)), service: "api", instance: name)
            told.take(.gone(), service: "api", instance: name)
        }
        #expect(told.instances.isEmpty && told.gone.count == 256)
        #expect(told.gone["api/1000"]?.started == 1000 && told.gone["api/744"] == nil)
    }

    @Test("Rollouts begin, go on and end; what else happens leaves no trace")
    func rollouts() {
        var told = ledger(
            (.rollout(.init(step: .began)), "api", nil), (.rollout(.init(step: .replacing)), "api", "api/1"),
            (.limit(.init(limit: "nofile", old: "1", new: "2", by: "x")), "api", "api/1"),
            (.command(.init(verb: "stop", names: ["x"], by: "x", userID: nil)), "api", "api/1"))
        #expect(told.instances.isEmpty)
        #expect(told.rollouts["api"]?.replacing == ["api/1"])
        told.take(.rollout(.init(step: .goingBack)), service: "api", instance: nil)
        #expect(told.rollouts["api"]?.goesBack == true)
        #expect(told.rollouts["api"]?.replacing == [])
        told.take(.rollout(.init(step: .wentBack)), service: "api", instance: nil)
        #expect(told == EventLedger())
    }

    @Test("Another supd begins with nothing; the balancer is known by its process")
    func daemon() {
        var told = ledger(
            (.state(.init(from: nil, to: "running")), "api", "api/1"),
            (.role(.init(role: "balancer", step: "started", pid: 8)), "", nil))
        #expect(told.balancer == 8)
        told.take(.daemon(.init(step: .stopping)), service: nil, instance: nil)
        #expect(told.instances.count == 1)
        told.take(.role(.init(role: "balancer", step: "ended")), service: nil, instance: nil)
        #expect(told.balancer == nil)
        told.take(.daemon(.init(step: .started)), service: nil, instance: nil)
        #expect(told == EventLedger())
    }
}
