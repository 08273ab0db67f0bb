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
        vary { $0.idleTimeout = 600_000_000_000 }
        vary { $0.finTimeout = 60_000_000_000 }
        for version in RoutingTable.Pool.ProxyProtocol.allCases { vary { $0.proxyProtocol = version } }
        vary { $0.logsSessions = true }
        vary { $0.fronts[0].acceptsProxyProtocol.toggle() }
        // Whoever has come in is in.
        vary { $0.fronts[0].allow = [] }
        vary { $0.fronts[0].maxConnectionsPerAddress = 1 }
        vary {
            $0.fronts[0].options.keepAliveSeconds = nil
            $0.fronts[0].options.userTimeoutMilliseconds = 60_000
            $0.fronts[0].options.backlog = 17
            $0.fronts[0].options.deferAcceptSeconds = 5
        }
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
                // How many loops there are is said once: another number changes nothing.
                try rig.apply([pool], loops: number % 2 == 0 ? loops : loops + 1)
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

    @Test("those that have yet to say who they are", arguments: [1, 2])
    func greeting(loops: Int) throws {
        try Rig.run(loops: loops) { rig in
            let backend = try Backend()
            let other = try Backend()
            var base = Rig.pool([backend.endpoint(1)])
            base.fronts[0].acceptsProxyProtocol = true
            try rig.apply([base])
            // With nothing, and with a part of its header.
            let clients = try ["", "PROXY TC"].map { text in
                let client = try rig.connect()
                try client.send(text)
                return client
            }
            _ = try eventually("they are accepted") { try rig.front.current == 2 ? true : nil }
            let began = monotonicNanoseconds()
            for pool in variations(base, other) {
                rig.engine.receive(.listener(id: "another"), [try listen(on: .ipv4("127.0.0.1", port: 0))])
                // These two are about who comes in, and so about them.
                var pool = pool
                (pool.fronts[0].maxConnectionsPerAddress, pool.emptiness) = (nil, .hold)
                try rig.apply([pool])
                // Far less than the three seconds that they have, unless this machine is slow.
                if monotonicNanoseconds() - began > 1_500_000_000 { break }
            }
            try rig.apply([base])
            try clients[0].send("PROXY TCP4 1.2.3.4 5.6.7.8 9 10\r\n0")
            try clients[1].send("P4 1.2.3.4 5.6.7.8 9 10\r\n1")
            let servers = try clients.map { _ in try backend.accept() }
            #expect(Set(try servers.map { try $0.receiveText(1) }) == ["0", "1"])
            #expect(try rig.front.turnedAway == 0)
            #expect(!other.waits())
        }
    }

    @Test("those of a front that is removed stay open or waiting, and it takes nobody any more", arguments: [1, 2])
    func frontRemoved(loops: Int) throws {
        try Rig.run(loops: loops) { rig in
            let backend = try Backend()
            let another = try listen(on: .ipv4("127.0.0.1", port: 0))
            let port = try #require(try SocketAddress.local(of: another).port)
            rig.engine.receive(.listener(id: "another"), [another])
            var both = Rig.pool([backend.endpoint(1)])
            both.maxConnections = 2
            both.fronts.append(RoutingTable.Front(address: "127.0.0.1:81", listeners: ["another"]))
            try rig.apply([both])
            let sessions = try (0..<2).map { _ in try Session(rig, [backend]) }
            let waiting = try rig.connect()
            try waiting.send("w")
            _ = try eventually("it waits") { try rig.front.queued == 1 ? true : nil }
            var one = both
            one.fronts.removeFirst()
            try rig.apply([one])
            for session in sessions {
                try session.client.send("c")
                #expect(try session.server.receiveText(1) == "c")
                try session.server.send("s")
                #expect(try session.client.receiveText(1) == "s")
            }
            #expect(!waiting.isReadable(within: 0))
            // What comes now stays in the queue of the socket, which the test still has.
            let late = try rig.connect()
            try late.send("l")
            let new = try Peer.connect(port: port)
            try new.send("n")
            for session in sessions { session.end() }
            #expect(Set(try (0..<2).map { _ in try backend.accept().receiveText(1) }) == ["w", "n"])
            #expect(!backend.waits(milliseconds: 50))
            withExtendedLifetime((waiting, late, new)) {}
        }
    }
}
