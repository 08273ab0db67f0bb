import Glibc
import Links
import Platform
import TestSupport
import Testing

@testable import Balancer

@Suite("Tables that nobody should send")
struct TableTests {
    /// A seeded source of numbers.
    private struct Random {
        var state: UInt64

        mutating func next(_ limit: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % limit
        }

        mutating func pick<Value>(_ values: [Value]) -> Value { values[next(values.count)] }
    }

    private func randomTable(_ random: inout Random, revision: UInt64, ports: [UInt16]) -> RoutingTable {
        let times: [Int64] = [.min, -1, 0, 1, 1_000_000, 100_000_000, 1 << 40, .max]
        let pools = (0..<random.next(5)).map { _ in
            var pool = RoutingTable.Pool(
                service: random.pick(["a", "b", "c", ""]),
                fronts: (0..<random.next(3)).map { _ in
                    RoutingTable.Front(
                        address: random.pick(["x", "y"]),
                        listeners: (0..<random.next(3)).map { _ in random.pick(["front", "other", "absent"]) })
                },
                endpoints: (0..<random.next(8)).map { _ in
                    RoutingTable.Endpoint(
                        id: random.pick([0, 1, 2, 3, 4, .max]), instance: random.pick(["a/1", "a/2", "b/1"]),
                        port: random.pick(ports), state: random.pick([.active, .active, .draining, .parked]))
                },
                emptiness: random.pick([.hold, .refuse]), queueTimeout: random.pick(times),
                holdUntil: random.pick([nil, .min, 0, .max]), connectTimeout: random.pick(times),
                drainTimeout: random.pick(times))
            pool.algorithm = random.pick(RoutingTable.Pool.Algorithm.allCases)
            pool.slowStart = random.pick(times)
            pool.maxConnections = random.pick([nil, nil, 0, 1, 2, .max])
            pool.maxQueue = random.pick([nil, nil, 0, 1, .max])
            for index in pool.fronts.indices {
                pool.fronts[index].maxConnections = random.pick([nil, nil, 0, 1, 3, .max])
            }
            return pool
        }
        return RoutingTable(revision: revision, loops: random.pick([-1, 0, 1, 3, .max]), pools: pools)
    }

    @Test("random tables under load break nothing: a sane one serves afterwards", arguments: [UInt64](1...8))
    func randomTables(seed: UInt64) throws {
        try Rig.run(loops: 2) { rig in
            var random = Random(state: seed)
            let backends = try (0..<3).map { _ in try Backend() }
            rig.engine.receive(.table(RoutingTable(revision: 1, loops: 2, pools: [])))
            rig.engine.receive(.listener(id: "absent"))
            rig.engine.receive(.listener(id: "absent"), [try makePipe().read])
            var clients: [Peer] = []
            for revision in 2..<120 as Range<UInt64> {
                // The front may have been closed by a table that did not name it.
                rig.engine.receive(.listener(id: "front"), [rig.frontSocket])
                rig.engine.receive(
                    .table(
                        randomTable(&random, revision: revision, ports: backends.map(\.port) + [0, 1, 40_000])))
                if random.next(2) == 0, let client = try? rig.connect() {
                    try? client.send("x")
                    clients.append(client)
                }
                for backend in backends {
                    for server in try backend.acceptAll() where random.next(2) == 0 { server.reset() }
                }
                if random.next(10) == 0 { clients.removeAll() }
            }
            try rig.expect(.applied(revision: 119))
            rig.engine.receive(.listener(id: "front"), [rig.frontSocket])
            for backend in backends { for server in try backend.acceptAll() { server.close() } }
            // What they have sent is delivered still, with an end behind it.
            clients.removeAll()
            let good = try Backend()
            try rig.apply([Rig.pool([good.endpoint(77)])], revision: 1000)
            let client = try rig.connect()
            try client.send("sane")
            // Those that waited before are served first.
            _ = try eventually("served") { try good.accept().receiveToEndOrText("sane") ? true : nil }
            for backend in backends { backend.close() }
            client.close()
            try rig.apply([], revision: 1001)
        }
    }

    @Test("a large table of 500 services and 4,000 endpoints")
    func largeTable() throws {
        try Rig.run(loops: 2) { rig in
            let backend = try Backend()
            var pools = (0..<500).map { number in
                RoutingTable.Pool(
                    service: "s\(number)", fronts: [RoutingTable.Front(address: "a", listeners: [])],
                    endpoints: (0..<8).map { index in
                        RoutingTable.Endpoint(
                            id: UInt64(number * 8 + index + 100), instance: "s\(number)/\(index)", port: 1,
                            state: .active)
                    }, emptiness: .hold, queueTimeout: 1, connectTimeout: 1, drainTimeout: 1)
            }
            pools.append(Rig.pool([backend.endpoint(1)]))
            try rig.apply(pools)
            let client = try rig.connect()
            try client.send("x")
            #expect(try backend.accept().receiveText(1) == "x")
            #expect(try rig.counters.endpoints.count == 4001)
            try rig.apply([pools[500]])
            _ = try eventually("forgotten") { try rig.counters.endpoints.count == 1 ? true : nil }
        }
    }
}
