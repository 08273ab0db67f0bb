import Glibc
import Links
import Platform
import TestSupport
import Testing

@testable import Balancer

@Suite("An instance that refuses is set aside")
struct PassiveHealthTests {
    private func timeAside(_ rig: Rig, _ instance: String) throws -> Int64? {
        try rig.counters.endpoints.first { $0.instance == instance }?.setAsideFor
    }

    @Test("the others take its share exactly, and it comes back when it listens again", arguments: [1, 2])
    func setAsideAndBack(loops: Int) throws {
        try Rig.run(loops: loops) { rig in
            var backends = try (0..<3).map { _ in try Backend() }
            try rig.serve(backends)
            let port = backends[1].port
            backends[1].close()
            let sessions = try (0..<60).map { _ in try Session(rig, backends) }
            let counts = try rig.instance("api/2")
            // It is tried again every few seconds, and only then.
            #expect(counts.setAside >= 1)
            #expect(counts.connectErrors == counts.setAside)
            #expect(counts.redispatches == counts.setAside)
            #expect(counts.connects == 0)
            let shares = backends.indices.map { index in sessions.count { $0.index == index } }
            #expect(shares[1] == 0)
            #expect(abs(shares[0] - shares[2]) <= 1 + Int(counts.setAside))
            let left = try #require(try timeAside(rig, "api/2"))
            #expect((0...60_000_000_000).contains(left))
            #expect(try timeAside(rig, "api/1") == nil)
            backends[1] = Backend(try listen(on: .ipv4("127.0.0.1", port: port)), port: port)
            _ = try eventually("it is back") { try Session(rig, backends).index == 1 ? true : nil }
            #expect(try timeAside(rig, "api/2") == nil)
            #expect(try (0..<30).map { _ in try Session(rig, backends) }.count { $0.index == 1 } == 10)
        }
    }

    @Test("one that does not answer is set aside after connectTimeout")
    func timesOut() throws {
        try Rig.run { rig in
            let (full, good) = (try Backend(backlog: 0), try Backend())
            let fillers = try (0..<2).map { _ in try full.fill() }
            try rig.apply([Rig.pool([full.endpoint(1), good.endpoint(2)], connectTimeout: 0.2)])
            let start = monotonicNanoseconds()
            for _ in 0..<2 { _ = try Session(rig, [good]) }
            // Within a second nobody tries it again.
            let setAside = try rig.instance("api/1").setAside
            if monotonicNanoseconds() - start < 900_000_000 { #expect(setAside == 1) }
            for _ in 0..<4 { _ = try Session(rig, [good]) }
            let errors = try rig.instance("api/1").connectErrors
            if monotonicNanoseconds() - start < 900_000_000 { #expect(errors == 1) }
            withExtendedLifetime(fillers) {}
        }
    }

    @Test("never more than half, never the last one", arguments: [1, 2, 3, 4, 5])
    func half(count: Int) throws {
        try Rig.run(loops: 2) { rig in
            let backends = try (0..<count).map { _ in try Backend() }
            for backend in backends { backend.close() }
            try rig.serve(backends)
            let clients = try (0..<6).map { _ in try rig.connect() }
            _ = try eventually("all are refused by all") { try rig.front.queued == 6 ? true : nil }
            let aside = try rig.counters.endpoints.count { $0.setAsideFor != nil }
            #expect(aside == count / 2)
            withExtendedLifetime(clients) {}
        }
    }

    @Test("of the only one it is told when its last connect failed, until one succeeds or it is another process")
    func onlyOneFails() throws {
        try Rig.run(loops: 2) { rig in
            func failedAgo() throws -> Int64? {
                try rig.counters.endpoints.first { $0.instance == "api/1" }?.failedAgo
            }
            let backend = try Backend()
            let port = backend.port
            try rig.serve([backend])
            #expect(try failedAgo() == nil)
            backend.close()
            let start = monotonicNanoseconds()
            let client = try rig.connect()
            let ago = try eventually("it is refused") { try failedAgo() }
            // Health is kept in units of 1024 ns, by a clock that ticks every few milliseconds.
            #expect((0...monotonicNanoseconds() - start + 20_000_000).contains(ago))
            #expect(try timeAside(rig, "api/1") == nil)
            let revived = Backend(try listen(on: .ipv4("127.0.0.1", port: port)), port: port)
            try client.send("w")
            #expect(try revived.accept().receiveText(1) == "w")
            _ = try eventually("it is known that it takes connects") { try failedAgo() == nil ? true : nil }
            revived.close()
            let another = try rig.connect()
            _ = try eventually("it is refused again") { try failedAgo() }
            let fresh = try Backend()
            try rig.apply([Rig.pool([fresh.endpoint(11, instance: "api/1")])])
            _ = try fresh.accept()
            #expect(try failedAgo() == nil)
            withExtendedLifetime(another) {}
        }
    }

    @Test("those set aside are tried when nothing else is left")
    func lastResort() throws {
        try Rig.run { rig in
            let backends = try (0..<2).map { _ in try Backend() }
            try rig.serve(backends)
            let port = backends[0].port
            backends[0].close()
            _ = try Session(rig, [backends[1]])
            _ = try Session(rig, [backends[1]])
            #expect(try rig.instance("api/1").setAside >= 1)
            let revived = Backend(try listen(on: .ipv4("127.0.0.1", port: port)), port: port)
            backends[1].close()
            let start = monotonicNanoseconds()
            #expect(try Session(rig, [revived]).index == 0)
            // Not because its second was over.
            #expect(monotonicNanoseconds() - start < 900_000_000)
        }
    }

    @Test("a new generation begins clean, and a smaller table puts back those that are too many")
    func newTables() throws {
        try Rig.run(loops: 2) { rig in
            let backends = try (0..<4).map { _ in try Backend() }
            try rig.serve(backends)
            backends[0].close()
            backends[1].close()
            _ = try (0..<8).map { _ in try Session(rig, [backends[2], backends[3]]) }
            #expect(try rig.counters.endpoints.count { $0.setAsideFor != nil } == 2)
            // Of two left only one may be aside.
            try rig.apply([Rig.pool([backends[0].endpoint(1), backends[2].endpoint(3)])])
            #expect(try timeAside(rig, "api/1") != nil)
            try rig.apply([Rig.pool([backends[0].endpoint(1), backends[1].endpoint(2)])])
            #expect(try rig.counters.endpoints.count { $0.setAsideFor != nil } == 1)
            let fresh = try Backend()
            try rig.apply([Rig.pool([fresh.endpoint(11, instance: "api/1"), backends[2].endpoint(3)])])
            #expect(try timeAside(rig, "api/1") == nil)
            #expect(Set(try (0..<4).map { _ in try Session(rig, [fresh, backends[2]]).index }) == [0, 1])
        }
    }

    @Test("a place at one that is on trial serves those that wait", arguments: [1, 2])
    func waitersAndTrials(loops: Int) throws {
        try Rig.run(loops: loops) { rig in
            let backends = try (0..<2).map { _ in try Backend() }
            let port = backends[0].port
            backends[0].close()
            var pool = Rig.pool([backends[0].endpoint(1), backends[1].endpoint(2)])
            pool.maxConnections = 1
            try rig.apply([pool])
            let session = try Session(rig, [backends[1]])
            let clients = try (0..<2).map { _ in try rig.connect() }
            for client in clients { try client.send("w") }
            // Refused by the first, or waiting for the second: nothing but time helps them.
            _ = try eventually("they wait") { try rig.front.queued == 2 ? true : nil }
            let revived = Backend(try listen(on: .ipv4("127.0.0.1", port: port)), port: port)
            let server = try revived.accept()
            #expect(try server.receiveText(1) == "w")
            server.close()
            // Its end is seen by a client that closes.
            for client in clients { client.finishWriting() }
            #expect(try revived.accept().receiveText(1) == "w")
            withExtendedLifetime(session) {}
        }
    }

    @Test("connects are counted with their time")
    func connectCounters() throws {
        try Rig.run { rig in
            let backends = try (0..<2).map { _ in try Backend() }
            try rig.serve(backends)
            _ = try (0..<10).map { _ in try Session(rig, backends) }
            let (front, instance) = (try rig.front, try rig.instance("api/1"))
            #expect(front.connects == 10)
            #expect(instance.connects == 5)
            #expect(front.connectTime >= front.maximumConnectTime)
            #expect(front.redispatches == 0)
            // One that has to wait for its handshake: the third of a full backlog, which is made room for later.
            let full = try Backend(backlog: 0)
            var fillers = try (0..<2).map { _ in try full.fill() }
            try rig.apply([Rig.pool([full.endpoint(9)])])
            let client = try rig.connect()
            try client.send("x")
            _ = try eventually("it connects") { try rig.instance("api/9").current == 1 ? true : nil }
            usleep(50_000)
            _ = try full.acceptBehind(&fillers, "x")
            #expect(try rig.instance("api/9").connects == 1)
            #expect(try rig.instance("api/9").maximumConnectTime > 40_000_000)
        }
    }
}
