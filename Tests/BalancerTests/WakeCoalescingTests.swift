import TestSupport
import Testing

@testable import Balancer

/// When a loop lets events gather before it takes them.
struct WakeCoalescingTests {
    /// One tick of the coarse clock, in nanoseconds.
    static let tick: Int64 = 4_000_000

    /// A tick with so many events, of which some are arrivals, and the wait that finds the next tick.
    private func afterTick(
        events: Int32, opened: Int, connections: Int = 32, length: Int64 = tick,
        _ coalescing: WakeCoalescing = WakeCoalescing(), from start: Int64 = tick
    ) -> WakeCoalescing {
        var coalescing = coalescing
        coalescing.note(events: 0, connections: connections, at: start)
        for _ in 0..<opened { coalescing.noteOpened() }
        coalescing.note(events: events, connections: connections, at: start)
        coalescing.note(events: 0, connections: connections, at: start + length)
        return coalescing
    }

    @Test(
        "it sleeps for the time of sixteen events where many connections are opened",
        arguments: [(400, 160_000), (214, 299_065), (800, 80_000)])
    func sleeps(events: Int32, delay: Int64) {
        #expect(afterTick(events: events, opened: Int(events) / 6).delay == delay)
    }

    @Test("it does not sleep at first")
    func first() { #expect(WakeCoalescing().delay == 0) }

    @Test("it does not sleep where sixteen events take long")
    func fewEvents() {
        #expect(afterTick(events: 213, opened: 213).delay == 0)
        #expect(afterTick(events: 400, opened: 70, length: 3 * Self.tick).delay == 0)
        #expect(afterTick(events: 0, opened: 0).delay == 0)
    }

    @Test("it does not sleep for connections that stay")
    func keptConnections() {
        #expect(afterTick(events: 400, opened: 49).delay == 0)
        #expect(afterTick(events: 400, opened: 50).delay > 0)
    }

    @Test("it does not sleep where few connections wait for it")
    func fewConnections() {
        #expect(afterTick(events: 400, opened: 80, connections: 11).delay == 0)
        #expect(afterTick(events: 400, opened: 80, connections: 12).delay > 0)
    }

    @Test("it stops as soon as the load does")
    func loadEnds() {
        var coalescing = afterTick(events: 400, opened: 80)
        #expect(coalescing.delay > 0)
        coalescing.note(events: 1, connections: 32, at: 3 * Self.tick)
        #expect(coalescing.delay == 0)
    }

    @Test("sleeps that bring little end it for a while, one among good ones does not")
    func worth() {
        var coalescing = afterTick(events: 400, opened: 80)
        for _ in 0..<3 { coalescing.noteSleep(brought: 10, at: 2 * Self.tick) }
        coalescing.noteSleep(brought: 0, at: 2 * Self.tick)
        #expect(coalescing.delay > 0)
        coalescing.noteSleep(brought: 3, at: 2 * Self.tick)
        #expect(coalescing.delay == 0)

        let before = afterTick(events: 400, opened: 80, coalescing, from: WakeCoalescing.pause)
        #expect(before.delay == 0)
        let after = afterTick(events: 400, opened: 80, coalescing, from: 2 * Self.tick + WakeCoalescing.pause)
        #expect(after.delay > 0)
    }

    @Test("no clock and no count makes it trap")
    func extremes() {
        var coalescing = WakeCoalescing()
        for now in [Int64.min, -1, 0, 1, .max, .min, .max - 1, 0] {
            for events in [Int32.min, -1, 0, 1, .max] {
                coalescing.noteOpened()
                coalescing.note(events: events, connections: .max, at: now)
                coalescing.noteSleep(brought: events, at: now)
                #expect((0...WakeCoalescing.longest).contains(coalescing.delay))
            }
        }
    }

    @Test(
        "a loop to which many new connections come sleeps, and all are served, those that stay, too", arguments: [1, 2])
    func loopSleeps(loops: Int) throws {
        // Far longer than usual, so that any machine is fast enough.
        try Rig.run(loops: loops) {
            $0.longestSleep = 50_000_000
        } _: { rig in
            let backend = try Backend()
            try rig.serve([backend])
            let kept = try (0..<2 * WakeCoalescing.leastConnections).map { _ in try rig.pair(backend) }
            try eventually("a loop has slept") {
                let clients = try (0..<32).map { _ in try rig.connect() }
                for client in clients { try client.send("question") }
                for _ in clients {
                    let server = try backend.accept()
                    #expect(try server.receiveText(8) == "question")
                    try server.send("answer")
                    server.close()
                }
                for client in clients {
                    #expect(try client.receiveToEnd() == Array("answer".utf8))
                    client.close()
                }
                return rig.engine.sleeps > 0 ? true : nil
            }
            // A table, too, is taken by a loop that may be asleep.
            try rig.serve([backend])
            for pair in kept {
                try pair.client.send("1")
                #expect(try pair.server.receiveText(1) == "1")
            }
        }
    }
}
