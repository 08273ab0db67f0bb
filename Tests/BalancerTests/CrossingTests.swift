import Glibc
import Links
import Platform
import TestSupport
import Testing

@testable import Balancer

/// What choosing and waiting have to do with rules, silence and session lines.
@Suite("Limits, queues and rules meet")
struct CrossingTests {
    private static func pool(
        _ backends: [Backend], _ adjust: (inout RoutingTable.Pool) -> Void
    ) -> RoutingTable.Pool {
        var pool = Rig.pool(backends.enumerated().map { $1.endpoint(UInt64($0 + 1)) })
        adjust(&pool)
        return pool
    }

    /// A connection that has sent a header of the PROXY protocol and one letter.
    private func introduced(_ client: Peer, as address: String, _ letter: String = "x") throws -> Peer {
        try client.send("PROXY TCP4 \(address) 192.0.2.1 1000 80\r\n\(letter)")
        return client
    }

    @Test("a client that is reset behind its header leaves no connection that waits")
    func resetBehindHeader() throws {
        try Rig.run { rig in
            try rig.apply([Self.pool([]) { $0.fronts[0].acceptsProxyProtocol = true }])
            for _ in 0..<20 {
                let client = try rig.connect()
                try client.send("PROXY TCP4 10.0.0.1 192.0.2.1 1000 80\r\n")
                client.reset()
            }
            _ = try eventually("all are gone") { try rig.front.current == 0 && rig.front.total == 20 ? true : nil }
        }
    }

    private func waitFor(_ count: UInt64, queuedAt rig: Rig) throws {
        _ = try eventually("\(count) wait") { try rig.front.queued == count ? true : nil }
    }

    // MARK: The client's address

    @Test(
        "source goes by the client that a PROXY header names, on TCP and on Unix fronts, else by the peer",
        arguments: [1, 2])
    func sourceByHeader(loops: Int) throws {
        try Rig.run(loops: loops) { rig in
            let directory = try TemporaryDirectory()
            let path = directory.file("front.sock")
            rig.engine.receive(.listener(id: "unix"), [try unixListener(at: path)])
            let backends = try (0..<4).map { _ in try Backend() }
            try rig.apply([
                Self.pool(backends) {
                    $0.algorithm = .source
                    $0.fronts[0].listeners.append("unix")
                    $0.fronts[0].acceptsProxyProtocol = true
                }
            ])
            func expected(_ address: ClientAddress?) throws -> Int {
                let client = try #require(address).hash
                return try #require(
                    (0..<4).max {
                        Rendezvous.weight(client: client, instance: Rendezvous.hash(instance: "api/\($0 + 1)"))
                            < Rendezvous.weight(client: client, instance: Rendezvous.hash(instance: "api/\($1 + 1)"))
                    })
            }
            func reached(_ client: Peer) throws -> Int {
                let (index, server) = try Backend.acceptAny(backends)
                #expect(try server.receiveText(1) == "x")
                return index
            }
            for host in 1...12 as ClosedRange<UInt8> {
                let index = try expected(ClientAddress.ipv4(10, 0, 0, host))
                for isUnix in [false, true, false] {
                    let peer = isUnix ? try Peer.connect(path: path) : try rig.connect()
                    #expect(try reached(introduced(peer, as: "10.0.0.\(host)")) == index)
                }
                let unnamed = try Peer.connect(port: rig.port, from: host)
                try unnamed.send("PROXY UNKNOWN\r\nx")
                #expect(try reached(unnamed) == expected(ClientAddress.ipv4(127, 0, 0, host)))
            }
            // Nobody knows who these are: they go in turn.
            var indices: [Int] = []
            for _ in 0..<4 {
                let unnamed = try Peer.connect(path: path)
                try unnamed.send("PROXY UNKNOWN\r\nx")
                indices.append(try reached(unnamed))
            }
            #expect(Set(indices).count == 4)
        }
    }

    @Test(
        "a waiting client has its place in the count of its address, and gives it back when it leaves",
        arguments: [1, 2])
    func perAddressWhileQueued(loops: Int) throws {
        try Rig.run(loops: loops) { rig in
            let backends = [try Backend()]
            try rig.apply([
                Self.pool(backends) {
                    $0.maxConnections = 1
                    $0.maxQueue = 3
                    $0.fronts[0].acceptsProxyProtocol = true
                    $0.fronts[0].maxConnectionsPerAddress = 2
                }
            ])
            let open = try introduced(rig.connect(), as: "10.0.0.1")
            let server = try backends[0].accept()
            let waiting = try introduced(rig.connect(), as: "10.0.0.1")
            try waitFor(1, queuedAt: rig)
            #expect(try introduced(rig.connect(), as: "10.0.0.1").receiveToEndOrError().code == ECONNRESET)
            let others = try (0..<2).map { _ in try introduced(rig.connect(), as: "10.0.0.2") }
            try waitFor(3, queuedAt: rig)
            // Not the address is too many here, but the queue too long: that place is given back, too.
            #expect(try introduced(rig.connect(), as: "10.0.0.3").receiveToEndOrError().code == ECONNRESET)
            waiting.reset()
            try waitFor(2, queuedAt: rig)
            let again = try introduced(rig.connect(), as: "10.0.0.1")
            try waitFor(3, queuedAt: rig)
            #expect(try introduced(rig.connect(), as: "10.0.0.1").receiveToEndOrError().code == ECONNRESET)
            let counts = try eventually("all are counted") {
                let counts = try rig.front
                return counts.ends.values.reduce(0, +) == 4 ? counts : nil
            }
            #expect(counts.limited == 3)
            #expect(counts.turnedAway == 3)
            #expect(counts.ends == ["PG": 2, "PQ": 1, "CQ": 1])
            for client in [open, again] + others { client.reset() }
            _ = try eventually("all are gone") { try rig.front.current == 0 ? true : nil }
            withExtendedLifetime(server) {}
        }
    }

    // MARK: Places

    /// How a client of a limited front goes.
    enum Departure: CaseIterable {
        case greetingEnd, greetingReset, invalidHeader, denied, tooMany, queueEnd, queueReset, beyondQueue, refused,
            connectingReset, served

        /// What the session ends with.
        var end: String {
            switch self {
            case .greetingEnd, .greetingReset: "CG"
            case .invalidHeader, .denied, .tooMany: "PG"
            case .queueEnd, .queueReset: "CQ"
            case .beyondQueue, .refused: "PQ"
            case .connectingReset: "CC"
            case .served: "--"
            }
        }
    }

    @Test(
        "a front's place is given back once, however its client goes", arguments: [1, 2], Departure.allCases)
    func frontPlaces(loops: Int, departure: Departure) throws {
        try Rig.run(loops: loops) { rig in
            let backend = try Backend()
            let full = try Backend(backlog: 0)
            let fillers = try (0..<2).map { _ in try full.fill() }
            let places = 2
            let rounds = 5
            let backends =
                switch departure {
                case .queueEnd, .queueReset, .beyondQueue, .refused: [] as [Backend]
                case .connectingReset: [full]
                default: [backend]
                }
            try rig.apply([
                Self.pool(backends) {
                    $0.fronts[0].maxConnections = UInt32(places)
                    $0.fronts[0].acceptsProxyProtocol = true
                    if departure == .denied { $0.fronts[0].allow = [] }
                    if departure == .tooMany { $0.fronts[0].maxConnectionsPerAddress = 1 }
                    if departure == .beyondQueue { $0.maxQueue = 0 }
                    if departure == .refused { $0.emptiness = .refuse }
                }
            ])
            // The one that the others are too many beside.
            let held = departure == .tooMany ? try introduced(rig.connect(), as: "10.0.0.1") : nil
            let heldServer = try held.map { _ in try backend.accept() }
            let base: UInt64 = held == nil ? 0 : 1
            for round in 1...rounds {
                let client = try rig.connect()
                func wait(_ isThere: (BalancerCounters.Counts) throws -> Bool) throws {
                    _ = try eventually("\(departure)") { try isThere(rig.front) ? true : nil }
                }
                switch departure {
                case .greetingEnd, .greetingReset: try wait { $0.current == 1 }
                case .invalidHeader: try client.send("nonsense\r\n")
                case .denied, .refused: break
                case .tooMany, .beyondQueue, .served: _ = try introduced(client, as: "10.0.0.1")
                case .queueEnd, .queueReset:
                    try client.send("PROXY UNKNOWN\r\n")
                    try wait { $0.queued == 1 }
                case .connectingReset:
                    _ = try introduced(client, as: "10.0.0.1")
                    try wait { _ in try rig.instance("api/1").current == 1 }
                }
                switch departure {
                case .greetingEnd, .queueEnd: client.finishWriting()
                case .greetingReset, .queueReset, .connectingReset: client.reset()
                case .invalidHeader, .denied, .tooMany, .beyondQueue, .refused:
                    #expect(client.receiveToEndOrError().code == ECONNRESET)
                case .served:
                    let server = try backend.accept()
                    client.finishWriting()
                    #expect(try server.receiveToEnd() == Array("x".utf8))
                    server.close()
                }
                _ = try eventually("its end is counted") {
                    let counts = try rig.front
                    return counts.current == base && counts.ends == [departure.end: UInt64(round)] ? true : nil
                }
            }
            #expect(try rig.front.total == UInt64(rounds) + base)
            held?.reset()
            _ = try eventually("nobody is left") { try rig.front.current == 0 ? true : nil }
            // All places are there, and no more.
            var last = Rig.pool([backend.endpoint(2)])
            last.fronts[0].maxConnections = UInt32(places)
            try rig.apply([last])
            let sessions = try (0..<places).map { _ in try Session(rig, [backend]) }
            let next = try rig.connect()
            #expect(!backend.waits(milliseconds: 20))
            #expect(try rig.front.current == UInt64(places))
            sessions[0].end()
            _ = try backend.accept()
            withExtendedLifetime((fillers, heldServer, next)) {}
        }
    }

    @Test("who can go only after others joined the queue goes behind them", arguments: [false, true])
    func behindOthers(greets: Bool) throws {
        for _ in 0..<4 {
            try Rig.run { rig in
                let dead = try Backend()
                let port = dead.port
                dead.close()
                try rig.apply([
                    Self.pool([dead]) {
                        $0.maxConnections = 1
                        $0.fronts[0].acceptsProxyProtocol = greets
                    }
                ])
                func send(_ letter: String, by client: Peer) throws {
                    if greets { _ = try introduced(client, as: "10.0.0.1", letter) } else { try client.send(letter) }
                }
                let first = try rig.connect()
                try send("1", by: first)
                try waitFor(1, queuedAt: rig)
                let early = greets ? try rig.connect() : nil
                let revived = Backend(try listen(on: .ipv4("127.0.0.1", port: port)), port: port)
                let second = try early ?? rig.connect()
                try send("2", by: second)
                for (number, client) in [first, second].enumerated() {
                    let server = try revived.accept()
                    #expect(try server.receiveText(1) == "\(number + 1)")
                    server.close()
                    client.close()
                }
            }
        }
    }

    @Test("of those that wait the first accepted is the first served, however long it took to say who it is")
    func orderOfGreeting() throws {
        try Rig.run { rig in
            let backend = try Backend()
            try rig.apply([
                Self.pool([backend]) {
                    $0.maxConnections = 1
                    $0.fronts[0].acceptsProxyProtocol = true
                }
            ])
            let open = try introduced(rig.connect(), as: "10.0.0.1")
            var server = try backend.accept()
            let clients = try (0..<4).map { _ in try rig.connect() }
            for (waiting, number) in [2, 0, 3, 1].enumerated() {
                _ = try introduced(clients[number], as: "10.0.0.\(number)", "\(number)")
                try waitFor(UInt64(waiting + 1), queuedAt: rig)
            }
            open.reset()
            for number in 0..<4 {
                server.close()
                server = try backend.accept()
                #expect(try server.receiveText(1) == "\(number)")
                clients[number].reset()
            }
        }
    }

    // MARK: Session lines

    @Test("a session that ends in the queue says so in its line", arguments: [1, 2])
    func linesOfTheQueue(loops: Int) throws {
        try Rig.run(loops: loops) { rig in
            let backend = try Backend()
            let log = try SessionLogTests.Log(rig)
            func apply(_ adjust: (inout RoutingTable.Pool) -> Void = { _ in }) throws {
                try rig.apply([
                    Self.pool([backend]) {
                        $0.logsSessions = true
                        $0.maxConnections = 1
                        adjust(&$0)
                    }
                ])
            }
            func expectLine(_ end: String) throws {
                let line = try log.line()
                #expect(line["end"] == end)
                #expect(line["instance"] == "-")
                #expect(line["connect"] == "-")
                #expect(line["queue"] == line["total"])
                #expect(line["retries"] == "0")
            }
            try apply { $0.maxQueue = 1 }
            let session = try Session(rig, [backend])
            let silent = try rig.connect()
            try waitFor(1, queuedAt: rig)
            #expect(try rig.connect().receiveToEndOrError().code == ECONNRESET)
            try expectLine("PQ")
            silent.finishWriting()
            #expect(silent.receiveToEndOrError().code == ECONNRESET)
            try expectLine("CQ")
            let leaving = try rig.connect()
            try waitFor(1, queuedAt: rig)
            leaving.reset()
            try expectLine("CQ")
            let patient = try rig.connect()
            try waitFor(1, queuedAt: rig)
            try apply { $0.queueTimeout = 1_000_000 }
            #expect(patient.receiveToEndOrError().code == ECONNRESET)
            try expectLine("sQ")
            try rig.apply([
                Self.pool([]) {
                    $0.logsSessions = true
                    $0.emptiness = .refuse
                }
            ])
            #expect(try rig.connect().receiveToEndOrError().code == ECONNRESET)
            try expectLine("PQ")
            session.end()
            #expect(try log.line()["instance"] == "api/1")
            #expect(log.isEmpty)
            let counts = try AdmissionTests.settled(rig, ended: 6)
            #expect(counts.limited == 1)
            #expect(counts.turnedAway == 3)
        }
    }

    @Test("a session that had to wait for a place is one line, with the time it waited")
    func lineAfterTheQueue() throws {
        try Rig.run(loops: 2) { rig in
            let backend = try Backend()
            let log = try SessionLogTests.Log(rig)
            try rig.apply([
                Self.pool([backend]) {
                    $0.logsSessions = true
                    $0.maxConnections = 1
                    $0.proxyProtocol = .v1
                }
            ])
            let open = try rig.connect()
            let server = try backend.accept()
            let waiting = try rig.connect()
            try waiting.send("w")
            try waitFor(1, queuedAt: rig)
            // Longer than the coarse clock's ticks.
            #expect(!backend.waits(milliseconds: 100))
            open.close()
            server.close()
            _ = try log.line()
            let next = try backend.accept()
            next.finishWriting()
            waiting.finishWriting()
            let text = String(decoding: try next.receiveToEnd(), as: UTF8.self)
            #expect(text.hasPrefix("PROXY TCP4 127.0.0.1 127.0.0.1 ") && text.hasSuffix("\r\nw"))
            let line = try log.line()
            #expect(line["end"] == "--")
            #expect(line["instance"] == "api/1")
            #expect(line["in"] == "1")
            #expect((Double(line["queue"] ?? "") ?? 0) > 0.08)
            #expect(log.isEmpty)
        }
    }

    // MARK: Silence

    @Test("idleTimeout does not run while a client waits for a place or a connect", arguments: [1, 2])
    func silenceInTheQueue(loops: Int) throws {
        try Rig.run(loops: loops) { rig in
            let full = try Backend(backlog: 0)
            let fillers = try (0..<2).map { _ in try full.fill() }
            func limited(_ backends: [Backend]) -> RoutingTable.Pool {
                Self.pool(backends) {
                    $0.maxConnections = 1
                    $0.idleTimeout = 400_000_000
                }
            }
            try rig.apply([limited([full])])
            let connecting = try rig.connect()
            _ = try eventually("it connects") { try rig.instance("api/1").current == 1 ? true : nil }
            let waiting = try rig.connect()
            try waitFor(1, queuedAt: rig)
            #expect(!waiting.isReadable(within: 1000))
            #expect(!connecting.isReadable(within: 0))
            // Served at last, it has all of its time.
            let backend = try Backend()
            var pool = limited([])
            pool.endpoints = [full.endpoint(1, .parked), backend.endpoint(2)]
            let start = monotonicNanoseconds()
            try rig.apply([pool])
            let server = try backend.accept()
            #expect(waiting.receiveToEndOrError().code == ECONNRESET)
            #expect(monotonicNanoseconds() - start > 350_000_000)
            let counts = try eventually("its end is counted") {
                let counts = try rig.instance("api/2")
                return counts.current == 0 ? counts : nil
            }
            #expect(counts.ends == ["cD": 1])
            withExtendedLifetime((fillers, connecting, server)) {}
        }
    }

    @Test("a parked endpoint's connections are not cut, and end by their own silence", arguments: [1, 2])
    func silenceOfTheParked(loops: Int) throws {
        try Rig.run(loops: loops) { rig in
            let backend = try Backend()
            try rig.serve([backend])
            let sessions = try (0..<4).map { _ in try Session(rig, [backend]) }
            var pool = Rig.pool([backend.endpoint(1, .parked)], drainTimeout: 0.1)
            pool.maxConnections = 2
            try rig.apply([pool])
            #expect(!sessions[0].client.isReadable(within: 400))
            for session in sessions {
                try session.client.send("still")
                #expect(try session.server.receiveText(5) == "still")
            }
            let waiting = try rig.connect()
            try waitFor(1, queuedAt: rig)
            pool.idleTimeout = 200_000_000
            try rig.apply([pool])
            for session in sessions {
                #expect(session.client.receiveToEndOrError().code == ECONNRESET)
                #expect(session.server.receiveToEndOrError().code == ECONNRESET)
            }
            let counts = try eventually("all have ended") {
                let counts = try rig.instance("api/1")
                return counts.current == 0 ? counts : nil
            }
            #expect(counts.ends == ["cD": 4])
            #expect(try rig.front.queued == 1)
            // Back in service it has its places, all of them.
            pool.endpoints = [backend.endpoint(1)]
            pool.idleTimeout = nil
            try rig.apply([pool])
            let first = try backend.accept()
            let second = try Session(rig, [backend])
            let third = try rig.connect()
            try waitFor(1, queuedAt: rig)
            withExtendedLifetime((waiting, first, second, third)) {}
        }
    }
}
