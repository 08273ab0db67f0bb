import Glibc
import Links
import Platform
import TestSupport
import Testing

@testable import Balancer

@Suite("The algorithm says where a connection goes")
struct AlgorithmTests {
    private func pool(
        _ backends: [Backend], _ algorithm: RoutingTable.Pool.Algorithm, first id: UInt64 = 1,
        _ adjust: (inout RoutingTable.Pool) -> Void = { _ in }
    ) -> RoutingTable.Pool {
        var pool = Rig.pool(backends.enumerated().map { $1.endpoint(UInt64($0) + id) })
        pool.algorithm = algorithm
        adjust(&pool)
        return pool
    }

    private func counts(_ sessions: [Session], _ backends: [Backend]) -> [Int] {
        backends.indices.map { index in sessions.count { $0.index == index } }
    }

    @Test("leastconn evens out what is open in all loops, equals in turn", arguments: [1, 2, 4])
    func leastConnections(loops: Int) throws {
        try Rig.run(loops: loops) { rig in
            let backends = try (0..<3).map { _ in try Backend() }
            try rig.apply([pool(backends, .leastconn)])
            var sessions = try (0..<12).map { _ in try Session(rig, backends) }
            #expect(counts(sessions, backends) == [4, 4, 4])
            for session in sessions where session.index == 1 { session.end() }
            sessions.removeAll { $0.index == 1 }
            _ = try eventually("they have ended") { try rig.instance("api/2").current == 0 ? true : nil }
            for _ in 0..<4 {
                let session = try Session(rig, backends)
                #expect(session.index == 1)
                sessions.append(session)
            }
            #expect(counts(sessions, backends) == [4, 4, 4])
            // With nothing to choose between, each has its turn.
            for session in sessions { session.end() }
            sessions = []
            for _ in 0..<9 {
                _ = try eventually("all have ended") { try rig.front.current == 0 ? true : nil }
                let session = try Session(rig, backends)
                session.end()
                sessions.append(session)
            }
            #expect(counts(sessions, backends) == [3, 3, 3])
        }
    }

    @Test("a new algorithm counts what is open already, in all loops, and again later", arguments: [1, 2])
    func countsOpenOnes(loops: Int) throws {
        try Rig.run(loops: loops) { rig in
            let backends = try (0..<2).map { _ in try Backend() }
            try rig.apply([pool([backends[0]], .roundrobin)])
            var sessions = try (0..<6).map { _ in try Session(rig, backends) }
            for round in 0..<3 {
                try rig.apply([pool(backends, .leastconn)])
                sessions += try (0..<(round == 0 ? 6 : 2)).map { _ in try Session(rig, backends) }
                #expect(counts(sessions, backends) == [6 + round, 6 + round])
                // One ends while nobody counts.
                try rig.apply([pool(backends, .roundrobin)])
                if let index = sessions.firstIndex(where: { $0.index == 1 }) { sessions.remove(at: index).end() }
                if let index = sessions.firstIndex(where: { $0.index == 0 }) { sessions.remove(at: index).end() }
                _ = try eventually("it has ended") { try rig.front.current == UInt64(sessions.count) ? true : nil }
                try rig.apply([pool(backends, .leastconn)])
                sessions += try (0..<2).map { _ in try Session(rig, backends) }
                #expect(counts(sessions, backends) == [6 + round, 6 + round])
            }
        }
    }

    @Test("random2 never takes the one with the most connections", arguments: [1, 2])
    func leastOfTwo(loops: Int) throws {
        try Rig.run(loops: loops) { rig in
            let backends = try (0..<4).map { _ in try Backend() }
            try rig.apply([pool(backends, .random2)])
            var sessions: [Session] = []
            var open = Array(repeating: 0, count: 4)
            for _ in 0..<60 {
                let session = try Session(rig, backends)
                let others = open.indices.filter { $0 != session.index }.map { open[$0] }
                #expect(open[session.index] <= others.max() ?? 0)
                open[session.index] += 1
                sessions.append(session)
            }
            // The best of two evens out: the most and the least lie close together.
            #expect((open.max() ?? 0) - (open.min() ?? 0) <= 6)
        }
    }

    @Test("random2 draws two, and takes the lesser: of four unequal ones each has its part", arguments: [1, 2])
    func distributionOfTwo(loops: Int) throws {
        try Rig.run(loops: loops) { rig in
            let backends = try (0..<4).map { _ in try Backend() }
            var standing: [Session] = []
            // Further apart than what comes at a time, so that their order stays.
            for (index, backend) in backends.enumerated() where index > 0 {
                try rig.apply([pool([backend], .random2, first: UInt64(index) + 1)])
                standing += try (0..<15 * index).map { _ in try Session(rig, [backend]) }
            }
            try rig.apply([pool(backends, .random2)])
            var taken = [0, 0, 0, 0]
            for _ in 0..<24 {
                let sessions = try (0..<10).map { _ in try Session(rig, backends) }
                for session in sessions {
                    taken[session.index] += 1
                    session.end()
                }
                _ = try eventually("they have ended") { try rig.front.current == UInt64(standing.count) ? true : nil }
            }
            // Of the six pairs the least loaded is in three, and wins them all; the next one wins two, the third one
            // wins one. 240 draws: 120, 80 and 40, with five deviations to each side.
            #expect((81...159).contains(taken[0]), "\(taken)")
            #expect((43...117).contains(taken[1]), "\(taken)")
            #expect((11...69).contains(taken[2]), "\(taken)")
            #expect(taken[3] == 0)
            withExtendedLifetime(standing) {}
        }
    }

    /// Where rendezvous hashing sends a client of 127.0.0.x, best first.
    private func order(_ host: UInt8, _ instances: Int) throws -> [Int] {
        let client = try #require(ClientAddress.ipv4(127, 0, 0, host)).hash
        return (0..<instances).sorted {
            Rendezvous.weight(client: client, instance: Rendezvous.hash(instance: "api/\($0 + 1)"))
                > Rendezvous.weight(client: client, instance: Rendezvous.hash(instance: "api/\($1 + 1)"))
        }
    }

    @Test("source sends a client to the same instance, from any port and through any loop", arguments: [1, 2])
    func byAddress(loops: Int) throws {
        try Rig.run(loops: loops) { rig in
            let backends = try (0..<4).map { _ in try Backend() }
            try rig.apply([pool(backends, .source)])
            for host in 1...12 as ClosedRange<UInt8> {
                let expected = try order(host, 4)[0]
                for _ in 0..<3 { #expect(try Session(rig, backends, from: host).index == expected) }
            }
        }
    }

    @Test("source moves only the clients of an instance that goes, and who is refused goes to the next in its order")
    func byAddressWithoutOne() throws {
        try Rig.run { rig in
            let backends = try (0..<4).map { _ in try Backend() }
            try rig.apply([pool(backends, .source)])
            backends[2].close()
            for host in 1...12 as ClosedRange<UInt8> {
                let order = try order(host, 4)
                #expect(try Session(rig, backends, from: host).index == order.first { $0 != 2 })
            }
            var without = pool(backends, .source)
            without.endpoints.remove(at: 2)
            try rig.apply([without])
            for host in 1...12 as ClosedRange<UInt8> {
                let order = try order(host, 4)
                #expect(try Session(rig, backends, from: host).index == order.first { $0 != 2 })
            }
        }
    }

    @Test("who waited before the algorithm was by address is asked for its address then")
    func byAddressLate() throws {
        try Rig.run { rig in
            try rig.apply([pool([], .roundrobin)])
            let clients = try (1...8).map { try Peer.connect(port: rig.port, from: UInt8($0)) }
            for (index, client) in clients.enumerated() { try client.send("\(index + 1)") }
            _ = try eventually("they wait") { try rig.front.queued == 8 ? true : nil }
            let backends = try (0..<4).map { _ in try Backend() }
            try rig.apply([pool(backends, .source)])
            for _ in clients {
                let (index, server) = try Backend.acceptAny(backends)
                let host = try #require(UInt8(try server.receiveText(1)))
                #expect(index == (try order(host, 4)[0]))
            }
        }
    }

    @Test("clients of a Unix front go in turn")
    func unixFront() throws {
        try Rig.run { rig in
            let directory = try TemporaryDirectory()
            let path = directory.path + "/front.sock"
            rig.engine.receive(.listener(id: "unix"), [try listen(on: .unix(path))])
            let backends = try (0..<3).map { _ in try Backend() }
            var pool = pool(backends, .source)
            pool.fronts.append(RoutingTable.Front(address: "unix:" + path, listeners: ["unix"]))
            try rig.apply([pool])
            var indices: [Int] = []
            for _ in 0..<6 {
                let client = try Peer.connect(path: path)
                try client.send("x")
                let (index, server) = try Backend.acceptAny(backends)
                #expect(try server.receiveText(1) == "x")
                indices.append(index)
            }
            #expect(indices == [0, 1, 2, 0, 1, 2])
        }
    }

    // MARK: Slow start

    private static let hour: Int64 = 3_600_000_000_000

    /// A rig whose first table's endpoints are warm, and those of later ones stay new for as long as a test runs.
    private func runWarm(_ body: (Rig) throws -> Void) throws {
        try Rig.run {
            $0.firstTableAge = 2 * Self.hour
        } _: { rig in
            try body(rig)
        }
    }

    @Test("beside warm ones a new instance gets a tenth at first, and turns stay exact among the others")
    func slowRoundRobin() throws {
        try runWarm { rig in
            let backends = try (0..<3).map { _ in try Backend() }
            try rig.apply([pool(Array(backends.prefix(2)), .roundrobin)])
            try rig.apply([pool(backends, .roundrobin) { $0.slowStart = Self.hour }])
            let counts = counts(try (0..<300).map { _ in try Session(rig, backends) }, backends)
            // Some 143 turns of its own, of which it takes a tenth.
            #expect((1...40).contains(counts[2]))
            #expect(abs(counts[0] - counts[1]) <= 1)
        }
    }

    @Test(
        "beside a warm one a new instance has at most a tenth of its connections at first",
        arguments: [RoutingTable.Pool.Algorithm.leastconn, .random2])
    func slowByLoad(algorithm: RoutingTable.Pool.Algorithm) throws {
        try runWarm { rig in
            let backends = try (0..<2).map { _ in try Backend() }
            try rig.apply([pool([backends[0]], algorithm)])
            try rig.apply([pool(backends, algorithm) { $0.slowStart = Self.hour }])
            let counts = counts(try (0..<150).map { _ in try Session(rig, backends) }, backends)
            #expect((1...15).contains(counts[1]))
        }
    }

    @Test(
        "beside one that is half warm a new instance has a fifth of its share",
        arguments: [RoutingTable.Pool.Algorithm.roundrobin, .leastconn])
    func slowBesideSlow(algorithm: RoutingTable.Pool.Algorithm) throws {
        try Rig.run {
            $0.firstTableAge = Self.hour / 2
        } _: { rig in
            let backends = try (0..<2).map { _ in try Backend() }
            try rig.apply([pool([backends[0]], algorithm)])
            try rig.apply([pool(backends, algorithm) { $0.slowStart = Self.hour }])
            let counts = counts(try (0..<150).map { _ in try Session(rig, backends) }, backends)
            #expect((5...50).contains(counts[1]))
        }
    }

    @Test(
        "when the warm one is full the new ones share what comes",
        arguments: [RoutingTable.Pool.Algorithm.leastconn, .random2])
    func warmOneFull(algorithm: RoutingTable.Pool.Algorithm) throws {
        try runWarm { rig in
            let backends = try (0..<3).map { _ in try Backend() }
            try rig.apply([pool([backends[0]], algorithm) { $0.maxConnections = 30 }])
            let old = try (0..<30).map { _ in try Session(rig, backends) }
            try rig.apply([
                pool(backends, algorithm) { ($0.maxConnections, $0.slowStart) = (30, Self.hour) }
            ])
            let counts = counts(try (0..<24).map { _ in try Session(rig, backends) }, backends)
            #expect(counts[0] == 0)
            #expect(counts[1] >= 8 && counts[2] >= 8)
            withExtendedLifetime(old) {}
        }
    }

    @Test("without a warm one nothing is held back", arguments: RoutingTable.Pool.Algorithm.allCases)
    func allNew(algorithm: RoutingTable.Pool.Algorithm) throws {
        try Rig.run { rig in
            let backends = try (0..<2).map { _ in try Backend() }
            try rig.apply([pool(backends, algorithm) { $0.slowStart = Self.hour }])
            let sessions = try (1...40).map { try Session(rig, backends, from: UInt8($0)) }
            let counts = counts(sessions, backends)
            switch algorithm {
            case .roundrobin, .leastconn: #expect(counts == [20, 20])
            case .random2: #expect(abs(counts[0] - counts[1]) <= 2)
            case .source: for host in 1...40 { #expect(sessions[host - 1].index == (try order(UInt8(host), 2)[0])) }
            }
        }
    }

    /// A part of a ramp: how many sessions of it went to the new instance, and how far the ramp was at its end.
    private struct RampPart {
        var taken = 0
        var end = 0.0
    }

    /// The ramp of a new instance beside a warm one, in three parts: early, in the middle, and when it is over. Nil if
    /// this machine was too slow for a part to be within its time.
    private func ramp(_ algorithm: RoutingTable.Pool.Algorithm, sessions counts: [Int]) throws -> [RampPart]? {
        let duration: Int64 = 8_000_000_000
        return try Rig.run(returning: {
            $0.firstTableAge = Self.hour
        }) { rig in
            let backends = try (0..<2).map { _ in try Backend() }
            try rig.apply([pool([backends[0]], algorithm) { $0.slowStart = duration }])
            // By load it is the open ones that count; in turn they are only many.
            let staysOpen = algorithm != .roundrobin
            var open = try (0..<(staysOpen ? 40 : 0)).map { _ in try Session(rig, backends) }
            let start = monotonicNanoseconds()
            func progress() -> Double { Double(monotonicNanoseconds() - start) / Double(duration) }
            try rig.apply([pool(backends, algorithm) { $0.slowStart = duration }])
            var load = [open.count, 0]
            var parts: [RampPart] = []
            for (count, window) in zip(counts, [0...0.15, 0.45...0.65, 1.01...Double.infinity]) {
                _ = try eventually("the ramp is so far") { progress() >= window.lowerBound ? true : nil }
                var part = RampPart()
                for _ in 0..<count {
                    let session = try Session(rig, backends)
                    load[session.index] += 1
                    part.taken += session.index
                    part.end = progress()
                    if !staysOpen {
                        session.end()
                        continue
                    }
                    open.append(session)
                    // It gets no more while it has its share of what the other one has, in whole connections.
                    let share = min(1, max(0.101, part.end))
                    if session.index == 1 { #expect(Double(load[1] - 1) < share * Double(load[0] + 1)) }
                }
                guard part.end <= window.upperBound else { return nil }
                parts.append(part)
            }
            if staysOpen { #expect(abs(load[0] - load[1]) <= 1, "\(load)") }
            return parts
        }
    }

    @Test(
        "the share of a new instance grows while the engine runs, and is all of it in the end",
        arguments: [RoutingTable.Pool.Algorithm.roundrobin, .leastconn, .random2])
    func rampMoves(algorithm: RoutingTable.Pool.Algorithm) throws {
        let counts = algorithm == .roundrobin ? [300, 300, 300] : [100, 100, 220]
        for _ in 0..<5 {
            guard let parts = try ramp(algorithm, sessions: counts) else { continue }
            let (early, middle, end) = (parts[0].taken, parts[1].taken, parts[2].taken)
            #expect(early > 0 && early < middle, "\(parts)")
            if algorithm == .roundrobin {
                // Of a share s beside a whole one it takes s / (1 + s): 27 to 39, then 93 to 118, then each its turn.
                #expect((7...70).contains(early) && (55...160).contains(middle), "\(parts)")
                #expect(end == 150)
            } else {
                // All until it has as many as the other one.
                #expect(end > 80, "\(parts)")
            }
            return
        }
        throw TestFailure("the machine is too slow for a ramp of 8 s")
    }

    @Test("slow start holds no client of its address back from its instance")
    func slowSource() throws {
        try runWarm { rig in
            let backends = try (0..<2).map { _ in try Backend() }
            try rig.apply([pool([backends[0]], .source)])
            try rig.apply([pool(backends, .source) { $0.slowStart = Self.hour }])
            for host in 1...20 as ClosedRange<UInt8> {
                #expect(try Session(rig, backends, from: host).index == (try order(host, 2)[0]))
            }
        }
    }
}
