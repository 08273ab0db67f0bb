import Glibc
import Links
import Platform
import TestSupport
import Testing

@testable import Balancer

@Suite("Limits hold over all loops, and who waits has a turn")
struct LimitTests {
    private func pool(
        _ backends: [Backend], limit: UInt32? = nil, maxQueue: UInt32? = nil, front: UInt32? = nil,
        queueTimeout: Double = 30
    ) -> RoutingTable.Pool {
        var pool = Rig.pool(
            backends.enumerated().map { $1.endpoint(UInt64($0 + 1)) }, queueTimeout: queueTimeout)
        pool.maxConnections = limit
        pool.maxQueue = maxQueue
        pool.fronts[0].maxConnections = front
        return pool
    }

    private func waitFor(_ count: UInt64, queuedAt rig: Rig) throws {
        _ = try eventually("\(count) wait") { try rig.front.queued == count ? true : nil }
    }

    /// Waits until all loops sleep. Returns the count of wake-ups.
    private func sleeping(_ rig: Rig) throws -> UInt64 {
        try eventually("the loops have gone to sleep") {
            let before = rig.engine.wakeUps
            usleep(50_000)
            return rig.engine.wakeUps == before ? before : nil
        }
    }

    /// Connects and sends one letter.
    private func client(_ rig: Rig, _ letter: String) throws -> Peer {
        let client = try rig.connect()
        try client.send(letter)
        return client
    }

    // MARK: Instances

    @Test(
        "an instance has no more connections than its limit; the others wait, the first one first",
        arguments: [1, 2, 4], RoutingTable.Pool.Algorithm.allCases)
    func instanceLimit(loops: Int, algorithm: RoutingTable.Pool.Algorithm) throws {
        try Rig.run(loops: loops) { rig in
            let backends = try (0..<2).map { _ in try Backend() }
            var pool = pool(backends, limit: 2)
            pool.algorithm = algorithm
            try rig.apply([pool])
            var sessions = try (0..<4).map { _ in try Session(rig, backends) }
            #expect(sessions.count { $0.index == 0 } == 2)
            var clients: [Peer] = []
            for number in 0..<5 {
                clients.append(try client(rig, "\(number)"))
                try waitFor(UInt64(number + 1), queuedAt: rig)
            }
            #expect(!backends[0].waits(milliseconds: 20) && !backends[1].waits())
            var order: [String] = []
            for served in 0..<5 {
                let ended = sessions.removeFirst()
                ended.end()
                let (index, server) = try Backend.acceptAny(backends)
                #expect(index == ended.index)
                let number = try server.receiveText(1)
                order.append(number)
                #expect(try rig.front.queued == UInt64(4 - served))
                // A place may be taken again a moment before its last connection is out of the books.
                for instance in ["api/1", "api/2"] {
                    _ = try eventually("two at most") { try rig.instance(instance).current <= 2 ? true : nil }
                }
                sessions.append(Session(clients[try #require(Int(number))], server, index))
            }
            #expect(order == ["0", "1", "2", "3", "4"])
            #expect(try rig.front.turnedAway == 0)
        }
    }

    @Test("no place that is freed is lost, and nobody is forgotten", arguments: [1, 2, 4], [nil, 3] as [UInt32?])
    func noLostWakeUp(loops: Int, front: UInt32?) throws {
        try Rig.run(loops: loops) { rig in
            let backends = try (0..<2).map { _ in try Backend() }
            try rig.apply([pool(backends, limit: 1, front: front)])
            let clients = 4
            let rounds = 150
            let isDone = Lock(false)
            let servers = try backends.map { backend in
                try TestThread {
                    while !isDone.withLock({ $0 }) {
                        guard backend.waits(milliseconds: 20), let server = try? backend.accept() else { continue }
                        guard let byte = try? server.receive(1) else { continue }
                        // Its place is taken until it has ended: no other one may be here.
                        if backend.waits() { return }
                        try? server.send(byte)
                        server.close()
                    }
                }
            }
            let failures = FailureBox()
            let threads = try (0..<clients).map { _ in
                try TestThread {
                    failures.run {
                        for _ in 0..<rounds {
                            let client = try rig.connect()
                            try client.send("x")
                            guard try client.receiveText(1) == "x" else { throw TestFailure("no answer") }
                            client.close()
                        }
                    }
                }
            }
            for thread in threads { thread.join() }
            isDone.withLock { $0 = true }
            for server in servers { server.join() }
            if let failure = failures.first { throw failure }
            #expect(try rig.front.total == UInt64(clients * rounds))
            _ = try eventually("all are gone") { try rig.front.current == 0 ? true : nil }
            #expect(try rig.front.queued == 0)
            #expect(try rig.front.connectErrors == 0)
        }
    }

    @Test(
        "a limit that is raised or lifted lets those go that wait, one that is set counts what is open",
        arguments: [1, 2])
    func limitChanges(loops: Int) throws {
        try Rig.run(loops: loops) { rig in
            let backends = [try Backend()]
            try rig.apply([pool(backends)])
            var sessions = try (0..<3).map { _ in try Session(rig, backends) }
            try rig.apply([pool(backends, limit: 2)])
            let waiting = try (0..<4).map { _ in try client(rig, "w") }
            try waitFor(4, queuedAt: rig)
            // Three are open: one less frees no place.
            sessions.removeFirst().end()
            _ = try eventually("it has ended") { try rig.instance("api/1").current == 2 ? true : nil }
            #expect(!backends[0].waits(milliseconds: 20))
            try rig.apply([pool(backends, limit: 3)])
            let first = try backends[0].accept()
            #expect(try rig.front.queued == 3)
            try rig.apply([pool(backends)])
            let others = try (0..<3).map { _ in try backends[0].accept() }
            #expect(try rig.front.queued == 0)
            withExtendedLifetime((waiting, first, others)) {}
        }
    }

    @Test("a client that leaves while it connects or waits gives up its place", arguments: [1, 2])
    func leavers(loops: Int) throws {
        try Rig.run(loops: loops) { rig in
            let full = try Backend(backlog: 0)
            let fillers = try (0..<2).map { _ in try full.fill() }
            try rig.apply([pool([full], limit: 1)])
            let connecting = try rig.connect()
            _ = try eventually("it connects") { try rig.instance("api/1").current == 1 ? true : nil }
            let waiting = try (0..<3).map { _ in try rig.connect() }
            try waitFor(3, queuedAt: rig)
            connecting.reset()
            try waitFor(2, queuedAt: rig)
            _ = try eventually("the next one connects") { try rig.instance("api/1").current == 1 ? true : nil }
            for client in waiting { client.reset() }
            _ = try eventually("all are gone") { try rig.front.current == 0 ? true : nil }
            #expect(try rig.front.queued == 0)
            #expect(try rig.instance("api/1").current == 0)
            withExtendedLifetime(fillers) {}
        }
    }

    @Test("refused connects give their places back, and do not go round and round", arguments: [1, 2], [1, 20])
    func refusedWithLimit(loops: Int, limit: UInt32) throws {
        try Rig.run(loops: loops) { rig in
            let dead = try Backend()
            let port = dead.port
            dead.close()
            try rig.apply([pool([dead], limit: limit)])
            let clients = try (0..<10).map { try client(rig, "\($0)") }
            try waitFor(10, queuedAt: rig)
            let before = try rig.instance("api/1").connectErrors
            let start = monotonicNanoseconds()
            usleep(500_000)
            let tries = try rig.instance("api/1").connectErrors - before
            // Ten tries a second and loop, and some that were under way.
            let tenths = UInt64(monotonicNanoseconds() - start) / 100_000_000
            #expect(tries <= (tenths + 3) * UInt64(loops))
            let revived = Backend(try listen(on: .ipv4("127.0.0.1", port: port)), port: port)
            for _ in clients {
                let server = try revived.accept()
                let number = try #require(Int(try server.receiveText(1)))
                try server.send("served")
                server.close()
                #expect(try clients[number].receiveToEnd() == Array("served".utf8))
                clients[number].close()
            }
        }
    }

    @Test("who has waited comes back to the front of a full queue when its connect fails")
    func keepsItsPlace() throws {
        try Rig.run { rig in
            let backend = try Backend(backlog: 0)
            var pool = pool([backend], limit: 1, maxQueue: 1)
            pool.connectTimeout = 30_000_000_000
            try rig.apply([pool])
            let session = try Session(rig, [backend])
            var fillers = try (0..<2).map { _ in try backend.fill() }
            let old = try client(rig, "o")
            try waitFor(1, queuedAt: rig)
            session.end()
            try waitFor(0, queuedAt: rig)
            let young = try client(rig, "y")
            try waitFor(1, queuedAt: rig)
            // Now that all is in place its connect may fail.
            pool.connectTimeout = 300_000_000
            try rig.apply([pool])
            try waitFor(2, queuedAt: rig)
            #expect(try rig.front.limited == 0)
            // There is no room for more than those who had a place.
            #expect(try rig.connect().receiveToEndOrError().code == ECONNRESET)
            let first = try backend.acceptBehind(&fillers, "o")
            first.close()
            old.close()
            #expect(try backend.accept().receiveText(1) == "y")
            withExtendedLifetime(young) {}
        }
    }

    @Test("who waits is told of a trial also when another loop has set the endpoint aside", arguments: 1...3)
    func trialForOthers(run: Int) throws {
        try Rig.run(loops: 4) { rig in
            let (full, good) = (try Backend(backlog: 0), try Backend())
            var fillers = try (0..<2).map { _ in try full.fill() }
            var pool = pool([full, good], limit: 1, maxQueue: 1)
            pool.connectTimeout = 2_000_000_000
            try rig.apply([pool])
            let connecting = try rig.connect()
            _ = try eventually("it connects") { try rig.instance("api/1").current == 1 ? true : nil }
            let session = try Session(rig, [good])
            // A client wakes all that sleep: any of them may take it.
            _ = try sleeping(rig)
            let waiting = try client(rig, "w")
            try waitFor(1, queuedAt: rig)
            // Its loop has nobody else who waits.
            #expect(connecting.receiveToEndOrError().code == ECONNRESET)
            #expect(try rig.front.queued == 1)
            _ = try full.acceptBehind(&fillers, "w")
            withExtendedLifetime((session, waiting)) {}
        }
    }

    @Test("those set aside are not tried while one in service is only full")
    func fullIsBetterThanAside() throws {
        try Rig.run { rig in
            let backends = try (0..<3).map { _ in try Backend() }
            backends[0].close()
            try rig.apply([pool(backends, limit: 1)])
            let session = try Session(rig, Array(backends[1...]))
            #expect(try rig.instance("api/1").setAside == 1)
            backends[2 - session.index].close()
            let other = "api/\(3 - session.index)"
            let waiting = try client(rig, "w")
            _ = try eventually("it has tried often") { try rig.instance(other).connectErrors >= 5 ? true : nil }
            // One more when the time aside was over.
            #expect(try rig.instance("api/1").connectErrors <= 2)
            withExtendedLifetime(waiting) {}
        }
    }

    // MARK: Queues

    @Test("beyond maxQueue clients are turned away at once; who leaves frees a place", arguments: [1, 2])
    func maxQueue(loops: Int) throws {
        try Rig.run(loops: loops) { rig in
            let backends = [try Backend()]
            try rig.apply([pool(backends, limit: 1, maxQueue: 2)])
            let session = try Session(rig, backends)
            let waiting = try (0..<2).map { try client(rig, "\($0)") }
            try waitFor(2, queuedAt: rig)
            for count in 1...3 as ClosedRange<UInt64> {
                #expect(try rig.connect().receiveToEndOrError().code == ECONNRESET)
                let counts = try eventually("it is counted") {
                    let counts = try rig.front
                    return counts.turnedAway == count ? counts : nil
                }
                #expect(counts.limited == count)
            }
            waiting[0].reset()
            try waitFor(1, queuedAt: rig)
            let late = try client(rig, "l")
            try waitFor(2, queuedAt: rig)
            session.end()
            let server = try backends[0].accept()
            #expect(["1", "l"].contains(try server.receiveText(1)))
            withExtendedLifetime(late) {}
        }
    }

    @Test("maxQueue holds while no instance is up, too")
    func maxQueueWithoutEndpoints() throws {
        try Rig.run(loops: 2) { rig in
            try rig.apply([pool([], maxQueue: 2)])
            let waiting = try (0..<2).map { try client(rig, "\($0)") }
            try waitFor(2, queuedAt: rig)
            #expect(try rig.connect().receiveToEndOrError().code == ECONNRESET)
            #expect(try rig.front.limited == 1)
            let backend = try Backend()
            try rig.apply([pool([backend], maxQueue: 0)])
            _ = try (0..<2).map { _ in try backend.accept() }
            // With a place at once nobody has to wait.
            #expect(try Session(rig, [backend]).index == 0)
            withExtendedLifetime(waiting) {}
        }
    }

    @Test("who waits for a place is turned away after queueTimeout")
    func queueTimeout() throws {
        try Rig.run(loops: 2) { rig in
            let backends = [try Backend()]
            try rig.apply([pool(backends, limit: 1, queueTimeout: 0.3)])
            let session = try Session(rig, backends)
            let start = monotonicNanoseconds()
            #expect(try client(rig, "x").receiveToEndOrError().code == ECONNRESET)
            #expect(monotonicNanoseconds() - start > 250_000_000)
            #expect(try rig.front.turnedAway == 1)
            #expect(try rig.front.limited == 0)
            withExtendedLifetime(session) {}
        }
    }

    @Test("a client that ends without a word has left the queue; one that has sent a request has not")
    func silentEnd() throws {
        try Rig.run { rig in
            try rig.apply([pool([], maxQueue: 2)])
            let asking = try client(rig, "x")
            asking.finishWriting()
            try waitFor(1, queuedAt: rig)
            for _ in 0..<5 {
                let probe = try rig.connect()
                probe.finishWriting()
                #expect(probe.receiveToEndOrError().code == ECONNRESET)
            }
            #expect(try rig.front.queued == 1)
            #expect(try rig.front.limited == 0)
            // The same if its end was seen before it had to wait.
            let full = try Backend(backlog: 0)
            let fillers = try (0..<2).map { _ in try full.fill() }
            asking.reset()
            try waitFor(0, queuedAt: rig)
            var slow = pool([full])
            slow.connectTimeout = 300_000_000
            try rig.apply([slow])
            let probe = try rig.connect()
            _ = try eventually("it connects") { try rig.instance("api/1").current == 1 ? true : nil }
            probe.finishWriting()
            #expect(probe.receiveToEndOrError().code == ECONNRESET)
            withExtendedLifetime(fillers) {}
        }
    }

    // MARK: Fronts

    @Test("beyond a front's limit clients wait in the kernel's queue, and nothing spins", arguments: [1, 2, 4])
    func frontLimit(loops: Int) throws {
        try Rig.run(loops: loops) { rig in
            let backends = try (0..<2).map { _ in try Backend() }
            try rig.apply([pool(backends, front: 3)])
            var sessions = try (0..<3).map { _ in try Session(rig, backends) }
            let clients = try (0..<4).map { try client(rig, "\($0)") }
            // A loop that spins or polls is never quiet for so long; one that was only late is, the next time.
            try eventually("half a second without a wake-up") {
                let before = rig.engine.wakeUps
                usleep(500_000)
                return rig.engine.wakeUps == before ? true : nil
            }
            #expect(try rig.front.total == 3)
            for number in 0..<4 {
                sessions.removeFirst().end()
                let (index, server) = try Backend.acceptAny(backends)
                // The kernel's queue is in order.
                #expect(try server.receiveText(1) == "\(number)")
                _ = try eventually("one place, one more") { try rig.front.current == 3 ? true : nil }
                sessions.append(Session(clients[number], server, index))
            }
            #expect(try rig.front.total == 7)
            #expect(try rig.front.turnedAway == 0)
        }
    }

    @Test("a front's limit counts what is open when it comes, and lets clients in when it goes", arguments: [1, 2])
    func frontLimitChanges(loops: Int) throws {
        try Rig.run(loops: loops) { rig in
            let backends = [try Backend()]
            try rig.apply([pool(backends)])
            var sessions = try (0..<4).map { _ in try Session(rig, backends) }
            try rig.apply([pool(backends, front: 3)])
            var clients = try (0..<3).map { try client(rig, "\($0)") }
            #expect(!backends[0].waits(milliseconds: 50))
            sessions.removeFirst().end()
            try eventually("one is gone") { try rig.front.current == 3 ? true : nil }
            #expect(!backends[0].waits(milliseconds: 50))
            sessions.removeFirst().end()
            sessions.append(Session(clients.removeFirst(), try backends[0].accept(), 0))
            try eventually("one is gone, one has come") { try rig.front.current == 3 ? true : nil }
            try rig.apply([pool(backends, front: 4)])
            sessions.append(Session(clients.removeFirst(), try backends[0].accept(), 0))
            #expect(!backends[0].waits(milliseconds: 50))
            try rig.apply([pool(backends)])
            sessions.append(Session(clients.removeFirst(), try backends[0].accept(), 0))
            #expect(try rig.front.current == 5)
        }
    }

    @Test("clients that wait for an instance count at their front, and those turned away do not")
    func frontLimitWhileQueued() throws {
        try Rig.run(loops: 2) { rig in
            try rig.apply([pool([], front: 2, queueTimeout: 0.3)])
            let clients = try (0..<5).map { _ in try rig.connect() }
            for client in clients { #expect(client.receiveToEndOrError().code == ECONNRESET) }
            _ = try eventually("all are gone") { try rig.front.current == 0 ? true : nil }
            #expect(try rig.front.turnedAway == 5)
            // Turned away at the door, where no connection comes of it.
            var refusing = pool([], front: 2)
            refusing.emptiness = .refuse
            try rig.apply([refusing])
            for _ in 0..<5 { #expect(try rig.connect().receiveToEndOrError().code == ECONNRESET) }
            let backend = try Backend()
            try rig.apply([pool([backend], front: 2)])
            let sessions = try (0..<2).map { _ in try Session(rig, [backend]) }
            withExtendedLifetime(sessions) {}
        }
    }

    @Test(
        "a limited front whose loop cannot accept leaves its clients to the other loops or to later", arguments: [1, 2])
    func frontLimitAndShortage(loops: Int) throws {
        try Rig.run(loops: loops) { rig in
            let backends = [try Backend()]
            try rig.apply([pool(backends, front: 1)])
            let session = try Session(rig, backends)
            let waiting = try client(rig, "w")
            #expect(!backends[0].waits(milliseconds: 30))
            for loop in 0..<loops { rig.engine.failAccepts(loop: loop, count: 1, code: EMFILE) }
            session.end()
            #expect(try backends[0].accept().receiveText(1) == "w")
            withExtendedLifetime(waiting) {}
        }
    }
}
