import Glibc
import Links
import Platform
import TestSupport
import Testing

@testable import Balancer

@Suite("A new table touches no connection that it need not touch")
struct ReconfigurationTests {
    /// Tables that change all that can change, around endpoints that stay.
    private func variations(_ base: RoutingTable.Pool, _ other: Backend) -> [RoutingTable.Pool] {
        var all: [RoutingTable.Pool] = []
        func vary(_ change: (inout RoutingTable.Pool) -> Void) {
            var pool = base
            change(&pool)
            all.append(pool)
        }
        for algorithm in RoutingTable.Pool.Algorithm.allCases { vary { $0.algorithm = algorithm } }
        vary { $0.slowStart = 1_000_000_000 }
        vary { $0.maxQueue = 100 }
        // Fewer than there are: those that are there stay.
        vary { $0.maxQueue = 0 }
        vary { $0.maxConnections = 1 }
        vary { $0.fronts[0].maxConnections = 1 }
        vary { $0.fronts[0].maxConnections = 1000 }
        vary { $0.drainTimeout = 0 }
        vary { $0.connectTimeout = 20_000_000_000 }
        vary { $0.queueTimeout = 20_000_000_000 }
        vary { $0.emptiness = .refuse }
        vary { $0.fronts.append(RoutingTable.Front(address: "127.0.0.1:81", listeners: ["another"])) }
        vary { $0.endpoints.append(other.endpoint(77, .parked)) }
        vary { $0.endpoints.insert(other.endpoint(78, .draining), at: 0) }
        return all + [base] + all.reversed()
    }

    @Test("open and waiting connections", arguments: [1, 2])
    func openAndWaiting(loops: Int) throws {
        try Rig.run(loops: loops) { rig in
            let backends = try (0..<2).map { _ in try Backend() }
            let other = try Backend()
            rig.engine.receive(.listener(id: "another"), [try listen(on: .ipv4("127.0.0.1", port: 0))])
            var base = Rig.pool([backends[0].endpoint(1), backends[1].endpoint(2)])
            base.maxConnections = 3
            try rig.apply([base])
            let sessions = try (0..<6).map { _ in try Session(rig, backends) }
            let waiting = try (0..<4).map { _ in
                let client = try rig.connect()
                try client.send("w")
                return client
            }
            _ = try eventually("they wait") { try rig.front.queued == 4 ? true : nil }
            for (number, pool) in variations(base, other).enumerated() {
                rig.engine.receive(.listener(id: "another"), [try listen(on: .ipv4("127.0.0.1", port: 0))])
                var pool = pool
                if pool.maxConnections == base.maxConnections { pool.maxConnections = 3 }
                try rig.apply([pool])
                for session in sessions {
                    try session.client.send("\(number % 10)")
                    #expect(try session.server.receiveText(1) == "\(number % 10)")
                    try session.server.send("ok")
                    #expect(try session.client.receiveText(2) == "ok")
                }
                #expect(try rig.front.queued == 4)
                #expect(!waiting.contains { $0.isReadable(within: 0) })
                #expect(!backends.contains { $0.waits() } && !other.waits())
            }
            for session in sessions.prefix(4) { session.end() }
            for _ in waiting { #expect(try Backend.acceptAny(backends).server.receiveText(1) == "w") }
            #expect(try rig.front.turnedAway == 0)
            #expect(try rig.front.connectErrors == 0)
        }
    }

    @Test("connects that are under way", arguments: [1, 2])
    func connecting(loops: Int) throws {
        try Rig.run(loops: loops) { rig in
            let full = try Backend(backlog: 0)
            let other = try Backend()
            var fillers = try (0..<2).map { _ in try full.fill() }
            let base = Rig.pool([full.endpoint(1)])
            try rig.apply([base])
            let client = try rig.connect()
            try client.send("c")
            _ = try eventually("it connects") { try rig.instance("api/1").current == 1 ? true : nil }
            for pool in variations(base, other) {
                rig.engine.receive(.listener(id: "another"), [try listen(on: .ipv4("127.0.0.1", port: 0))])
                try rig.apply([pool])
            }
            // Also when their endpoint takes no others any more, and when another one is there.
            for state in [RoutingTable.Endpoint.State.draining, .parked] {
                try rig.apply([Rig.pool([full.endpoint(1, state), other.endpoint(2)])])
            }
            try rig.apply([Rig.pool([other.endpoint(2)])])
            #expect(try rig.instance("api/1").current == 1)
            #expect(try rig.instance("api/1").connectErrors == 0)
            _ = try full.acceptBehind(&fillers, "c")
            #expect(!other.waits())
        }
    }
}
