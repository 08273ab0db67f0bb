import Glibc
import Links
import Platform
import TestSupport
import Testing

extension BalancerMatrix {
    @Suite("All of it at once")
    struct RandomRun {
        /// SUPD_MATRIX_SEED and SUPD_MATRIX_SECONDS.
        private static func setting(_ name: String, _ usual: UInt64) -> UInt64 {
            getenv(name).flatMap { UInt64(String(cString: $0)) } ?? usual
        }

        @Test(
            "a randomised run, in which every byte is looked at",
            .enabled(
                if: ProxyKind.present == .supd,
                "HAProxy connects twice when a server is gone before it looks, so that two ends do not belong together"),
            .timeLimit(.minutes(5)))
        func randomRun() throws {
            let seed = Self.setting("SUPD_MATRIX_SEED", 1)
            let seconds = min(Self.setting("SUPD_MATRIX_SECONDS", 5), 120)
            print("randomised run of \(seconds) s: again by SUPD_MATRIX_SEED=\(seed) SUPD_MATRIX_SECONDS=\(seconds)")
            // One that refuses all the time, so that connects are tried again.
            let servers = [try Server(), try Server(listens: false), try Server()]
            // Another one, whose backlog is full whenever it is in the table.
            let full = try Server(backlog: 0)
            let filling = try full.fillBacklog()
            do {
                try Stage.run(Wish(connectTimeout: 1), with: servers) { stage in
                    let deadline = monotonicNanoseconds() + Int64(seconds) * 1_000_000_000
                    let door = Door(stage, full: full)
                    let players = try (0..<4).map { number in
                        try Worker {
                            var player = Player(number, seed: seed, door)
                            try player.play(until: deadline)
                        }
                    }
                    let results = players.map { player in Result { try player.join() } }
                    for result in results { try result.get() }
                    print("randomised run: \(door.count) connections")
                }
                withExtendedLifetime(filling) {}
            } catch {
                throw TestFailure("SUPD_MATRIX_SEED=\(seed) SUPD_MATRIX_SECONDS=\(seconds): \(error)")
            }
        }
    }
}

/// Where connections begin: one after the other, so that a server's end is known to belong to a client's.
final class Door: @unchecked Sendable {
    private let port: UInt16
    private let pid: Int32
    private let proxy: any Proxy
    private let servers: [Server]
    /// A server that takes nothing.
    private let full: Server
    private let lock = Lock(0)

    init(_ stage: Stage, full: Server) {
        self.full = full
        port = stage.proxy.port
        pid = stage.proxy.pid
        proxy = stage.proxy
        servers = stage.servers
    }

    /// Connections so far.
    var count: Int { lock.withLock { $0 } }

    /// Opens a connection. `isDown`: no server listens when the client comes, and they come up a little later.
    func open(_ manner: Wire.Manner, isDown: Bool) throws -> (client: Wire, server: Wire) {
        try lock.withLock { count throws -> (client: Wire, server: Wire) in
            count += 1
            if isDown { for server in servers { server.stopListening() } }
            let client = try Wire.connect(port, manner)
            if isDown {
                usleep(2000)
                try listenAgain()
            }
            return (client, try Server.accept(servers))
        }
    }

    private func listenAgain() throws {
        try servers[0].startListening()
        try servers[2].startListening()
    }

    /// Clients that are gone before anybody has taken them.
    func openInVain(_ clients: Int, isDown: Bool) throws {
        try lock.withLock { count throws in
            count += clients
            let before = try proxy.counts()?.accepted ?? 0
            if isDown { for server in servers { server.stopListening() } }
            let wires = try (0..<clients).map { _ in try Wire.connect(port) }
            for wire in wires { wire.reset() }
            try eventually("those that are gone are accepted") {
                try proxy.counts()?.accepted == before + clients ? true : nil
            }
            if isDown { try listenAgain() }
            try eventually("no connect is under way") { try proxy.counts()?.isSettled == true ? true : nil }
            // Some were connected before they were seen to be gone: their ends belong to nobody, and must not be taken for
            // the next one's.
            for server in servers {
                while server.hasWaiting(), let wire = try server.acceptWaiting() {
                    guard case .end = wire.receiveOnce() else {
                        throw TestFailure("bytes of a client that said nothing")
                    }
                }
            }
        }
    }

    /// A burst of short connections, all open at the same time.
    func burst(_ clients: Int) throws {
        try lock.withLock { count throws in
            count += clients
            try exchange(try callers(clients), with: servers)
        }
    }

    /// Clients that have asked, and wait for an answer.
    private func callers(_ count: Int) throws -> [Wire] {
        try (0..<count).map { number in
            let wire = try Wire.connect(port)
            try wire.send("\(100 + number)")
            return wire
        }
    }

    /// Answers so many clients at some servers.
    private func exchange(_ wires: [Wire], with servers: [Server]) throws {
        for _ in wires {
            let wire = try Server.accept(servers)
            try wire.send("answer to \(try wire.receiveText(3))")
            wire.close()
        }
        for (number, wire) in wires.enumerated() { try hearAnswer(number, wire) }
    }

    private func hearAnswer(_ number: Int, _ wire: Wire) throws {
        let answer = try wire.receiveToEnd()
        guard answer == Wire.Whole("answer to \(100 + number)", .orderly) else {
            throw TestFailure("client \(number) of a burst got \(answer)")
        }
        wire.close()
    }

    /// Puts a table in force, and the one before when the body is done.
    private func withTable(_ servers: [Server], _ change: (SupdProxy) -> Void, _ body: (SupdProxy) throws -> Void)
        throws
    {
        guard let proxy = proxy as? SupdProxy else { return }
        change(proxy)
        try proxy.serve(servers)
        try body(proxy)
        (proxy.connectionsPerServer, proxy.parked) = (nil, [])
        try proxy.serve(self.servers)
    }

    /// More clients than the servers may have: some wait in the queue, until those before them have ended.
    func crowd(_ more: Int) throws {
        try lock.withLock { count throws in
            // A place at each server beside those that are taken. They only become fewer meanwhile.
            let limit = (try proxy.counts()?.charged ?? 0) + 1
            let clients = 2 * limit + more
            count += clients
            try withTable(servers, { $0.connectionsPerServer = limit }) { proxy in
                var wires = try callers(clients)
                try eventually("\(more) clients wait for a place") {
                    try proxy.counts()?.waiting ?? 0 >= more ? true : nil
                }
                for _ in 0..<clients {
                    let server = try Server.accept(servers)
                    let question = try server.receiveText(3)
                    try server.send("answer to \(question)")
                    server.close()
                    guard let number = Int(question), wires.indices.contains(number - 100) else {
                        throw TestFailure("a server was asked \(question)")
                    }
                    try hearAnswer(number - 100, wires[number - 100])
                }
                wires = []
            }
        }
    }

    /// A burst while one server takes nothing out of its full backlog: connects to it time out, and all are served.
    func burstBesideFull(_ clients: Int) throws {
        try lock.withLock { count throws in
            count += clients
            try withTable([full] + servers, { _ in }) { _ in try exchange(try callers(clients), with: servers) }
        }
    }

    /// A burst while the proxy may open nothing, not even what it accepts: everybody waits, and is served afterwards. What
    /// is open goes on meanwhile.
    func burstWithoutDescriptors(_ clients: Int) throws {
        try lock.withLock { count throws in
            count += clients
            let accepted = try proxy.counts()?.accepted
            let wires = try withoutDescriptors {
                let wires = try callers(clients)
                guard try proxy.counts()?.accepted == accepted else {
                    throw TestFailure("a proxy without descriptors has accepted somebody")
                }
                return wires
            }
            try exchange(wires, with: servers)
        }
    }

    /// Takes the proxy the right to open anything more.
    private func withoutDescriptors<Value>(_ body: () throws -> Value) throws -> Value {
        let number = Int32(RLIMIT_NOFILE.rawValue)
        let usual = try #require(try ResourceLimits.inForce(of: pid)["nofile"])
        try ResourceLimits.set(number, of: pid, to: LimitPair(soft: 3, hard: usual.hard))
        defer { _ = try? ResourceLimits.set(number, of: pid, to: usual) }
        return try body()
    }

    /// A burst while a server is drained: what is open there goes on, and nobody new comes.
    func burstBesideDrained(_ clients: Int, _ drained: Int) throws {
        try lock.withLock { count throws in
            count += clients
            try withTable(servers, { $0.parked = [servers[drained].port] }) { _ in
                try exchange(
                    try callers(clients), with: servers.enumerated().filter { $0.offset != drained }.map(\.element))
                guard !servers[drained].hasWaiting() else { throw TestFailure("a drained server was connected to") }
            }
        }
    }

    /// Stops the proxy for a moment: what happens meanwhile comes to it as one batch of events.
    func whileFrozen(_ body: () throws -> Void) rethrows {
        try lock.withLock { _ in
            kill(pid, SIGSTOP)
            defer { kill(pid, SIGCONT) }
            try body()
        }
    }

    /// Puts another table in force: of the same servers, or without the one that refuses; and another algorithm.
    func changeTable(isShort: Bool, _ algorithm: RoutingTable.Pool.Algorithm) throws {
        try lock.withLock { _ in
            (proxy as? SupdProxy)?.algorithm = algorithm
            try proxy.serve(isShort ? [servers[0], servers[2]] : servers)
        }
    }
}

/// One of several that play at the same time, each with connections and chance of its own.
struct Player {
    private let name: Int
    private let door: Door
    private let seed: UInt64
    private var random: SeededRandom
    private var sessions: [(session: Session, stepsLeft: Int)] = []
    private var opened = 0

    init(_ name: Int, seed: UInt64, _ door: Door) {
        self.name = name
        self.door = door
        self.seed = seed &* 1000 &+ UInt64(name)
        random = SeededRandom(seed: self.seed)
    }

    mutating func play(until deadline: Int64) throws {
        while monotonicNanoseconds() < deadline {
            switch random.below(400) {
            case 0: try door.burst(1 + random.below(30))
            case 1: try door.openInVain(1 + random.below(10), isDown: random.oneIn(2))
            case 2:
                let algorithm = random.pick(RoutingTable.Pool.Algorithm.allCases)
                try door.changeTable(isShort: random.oneIn(2), algorithm)
            case 3, 4: try freeze()
            case 5: try door.crowd(1 + random.below(20))
            case 6: try door.burstBesideDrained(1 + random.below(20), random.pick([0, 2]))
            // It takes a second.
            case 7 where random.oneIn(5): try door.burstBesideFull(1 + random.below(20))
            case 8: try meetSilence(leaves: random.oneIn(2))
            // It takes half a second.
            case 9 where random.oneIn(3): try door.burstWithoutDescriptors(1 + random.below(20))
            case 9..<45 where sessions.count < 10: try open()
            default: try advance()
            }
        }
        for (session, _) in sessions { try session.perform(Session.Finale.orderly) }
    }

    private mutating func open() throws {
        let buffers: [Int32?] = [nil, nil, nil, 160 << 10]
        let manner = Wire.Manner(
            host: UInt8(1 + random.below(5)), receiveBuffer: random.pick(buffers), delaysHandshake: random.oneIn(20))
        let (client, server) = try door.open(manner, isDown: random.oneIn(20))
        opened += 1
        let session = Session("\(name)/\(opened)", seed: random.next(), client: client, server: server)
        // Many are short, some are long, and stand still most of the time.
        sessions.append((session, random.pick([0, 1, 5, 20, 100])))
    }

    /// A server that accepts and is silent, while others play; the client leaves it, or hears it late.
    private mutating func meetSilence(leaves: Bool) throws {
        let (client, server) = try door.open(Wire.Manner(), isDown: false)
        try client.send("question")
        for _ in 0..<20 { try advance() }
        guard case .nothing = client.receiveOnce(waits: false) else {
            throw TestFailure("a client of a silent server heard something")
        }
        if leaves { client.finishWriting() }
        guard try server.receiveText(8) == "question" else { throw TestFailure("the question is wrong") }
        if leaves {
            client.close()
            let whole = try server.receiveToEnd()
            guard whole == Wire.Whole("", .orderly) else { throw TestFailure("a silent server got \(whole)") }
        } else {
            try server.send("late")
            guard try client.receiveText(4) == "late" else { throw TestFailure("the answer is wrong") }
            client.close()
        }
    }

    private mutating func advance() throws {
        guard !sessions.isEmpty else { return }
        let index = random.below(sessions.count)
        if sessions[index].stepsLeft > 0 {
            sessions[index].stepsLeft -= 1
            try sessions[index].session.perform(Session.drawStep(&random))
        } else {
            let finales: [Session.Finale] = [.orderly, .orderly, .orderly] + Session.Finale.allCases
            try sessions.remove(at: index).session.perform(random.pick(finales))
        }
    }

    /// Several things at once, none of which waits.
    private mutating func freeze() throws {
        var steps: [(Session, Session.Step)] = []
        for _ in 0..<10 where !sessions.isEmpty {
            let step = Session.drawStep(&random)
            let index = random.below(sessions.count)
            if case .settle = step { continue }
            steps.append((sessions[index].session, step))
        }
        var gone: [Session] = []
        for _ in 0..<random.below(3) where !sessions.isEmpty {
            gone.append(sessions.remove(at: random.below(sessions.count)).session)
        }
        try door.whileFrozen {
            for (session, step) in steps { try session.perform(step) }
            for session in gone { try session.perform(Session.Finale.bothVanish) }
        }
    }
}
