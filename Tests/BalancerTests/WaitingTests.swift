import Glibc
import Links
import Platform
import TestSupport
import Testing

@testable import Balancer

@Suite("Connections wait while no endpoint is there")
struct WaitingTests {
    @Test("those that wait are served in turn as soon as endpoints come", arguments: [1, 2])
    func servedWhenUp(loops: Int) throws {
        try Rig.run(loops: loops) { rig in
            try rig.apply([Rig.pool([])])
            let clients = try (0..<40).map { number in
                let client = try rig.connect()
                try client.send("\(number % 10)")
                return client
            }
            _ = try eventually("all wait") { try rig.front.queued == 40 ? true : nil }
            #expect(clients.allSatisfy { !$0.isReadable(within: 0) })
            let backends = try (0..<4).map { _ in try Backend() }
            try rig.serve(backends)
            for backend in backends {
                for _ in 0..<10 {
                    let server = try backend.accept()
                    _ = try server.receive(1)
                    try server.send("served")
                    server.close()
                }
            }
            for client in clients { #expect(try client.receiveToEnd() == Array("served".utf8)) }
            #expect(try rig.front.queued == 0)
            #expect(try rig.front.turnedAway == 0)
        }
    }

    @Test("of a service that sleeps the first that waits is told, once for a table, and by the next one again")
    func announced() throws {
        try Rig.run { rig in
            func told() -> Int { rig.received.count { $0 == .waiting(service: "api") } }
            var pool = Rig.pool([])
            try rig.apply([pool])
            let early = try rig.connect()
            _ = try eventually("it waits") { try rig.front.queued == 1 ? true : nil }
            #expect(told() == 0)
            pool.announcesWaiting = true
            try rig.apply([pool])
            try rig.expect(.waiting(service: "api"))
            let late = try rig.connect()
            _ = try eventually("both wait") { try rig.front.queued == 2 ? true : nil }
            #expect(told() == 1)
            // A supervisor that was lost before it heard is followed by one that sends a table.
            try rig.apply([pool])
            _ = try rig.find("the second word") { $0.count { $0 == .waiting(service: "api") } == 2 ? true : nil }
            early.close()
            late.close()
            _ = try eventually("they leave") { try rig.front.current == 0 ? true : nil }
            try rig.apply([pool])
            #expect(told() == 2)
            let next = try rig.connect()
            _ = try rig.find("the third word") { $0.count { $0 == .waiting(service: "api") } == 3 ? true : nil }
            let backend = try Backend()
            try rig.serve([backend])
            let server = try backend.accept()
            try server.send("awake")
            server.close()
            #expect(try next.receiveToEnd() == Array("awake".utf8))
        }
    }

    @Test("one whose connect gets no answer does not hold up those behind it")
    func headOfLine() throws {
        try Rig.run { rig in
            let dead = try Backend()
            let port = dead.port
            dead.close()
            try rig.apply([Rig.pool([dead.endpoint(1)])])
            let clients = try (0..<3).map { _ in try rig.connect() }
            _ = try eventually("all wait") { try rig.front.queued == 3 ? true : nil }
            let full = Backend(try listen(on: .ipv4("127.0.0.1", port: port), backlog: 0), port: port)
            let fillers = try (0..<2).map { _ in try full.fill() }
            _ = try eventually("all try") { try rig.instance("api/1").current == 3 ? true : nil }
            withExtendedLifetime((clients, fillers)) {}
        }
    }

    @Test("a client is turned away after queueTimeout, and not before")
    func queueTimeout() throws {
        try Rig.run { rig in
            try rig.apply([Rig.pool([], queueTimeout: 0.4)])
            let start = monotonicNanoseconds()
            let client = try rig.connect()
            try client.send("x")
            #expect(client.receiveToEndOrError().code == ECONNRESET)
            #expect(monotonicNanoseconds() - start > 350_000_000)
            let counts = try eventually("it is forgotten") {
                let counts = try rig.front
                return counts.current == 0 ? counts : nil
            }
            #expect(counts.turnedAway == 1)
            #expect(counts.queued == 0)
        }
    }

    @Test("while an instance is replaced in place, those that wait do not expire")
    func holdUntil() throws {
        try Rig.run { rig in
            try rig.apply([Rig.pool([], queueTimeout: 0.1, holdUntil: .max)])
            let client = try rig.connect()
            #expect(!client.isReadable(within: 600))
            #expect(try rig.front.queued == 1)
            let end = monotonicNanoseconds() + 300_000_000
            try rig.apply([Rig.pool([], queueTimeout: 0.1, holdUntil: end)])
            #expect(client.receiveToEndOrError().code == ECONNRESET)
            // The loops' clock is coarse.
            #expect(monotonicNanoseconds() > end - 50_000_000)
        }
    }

    @Test("a service that is stopped on purpose resets new clients at once, and those that wait")
    func refuse() throws {
        try Rig.run { rig in
            try rig.apply([Rig.pool([])])
            let waiting = try rig.connect()
            _ = try eventually("it waits") { try rig.front.queued == 1 ? true : nil }
            try rig.apply([Rig.pool([], emptiness: .refuse)])
            #expect(waiting.receiveToEndOrError().code == ECONNRESET)
            let late = try rig.connect()
            #expect(late.receiveToEndOrError().code == ECONNRESET)
            #expect(try rig.front.turnedAway == 2)
        }
    }

    @Test("a client that goes away while it waits frees its place")
    func leavesQueue() throws {
        try Rig.run { configuration in
            configuration.connectionsPerLoop = 2
        } _: { rig in
            try rig.apply([Rig.pool([])])
            for _ in 0..<5 {
                let client = try rig.connect()
                _ = try eventually("it waits") { try rig.front.queued == 1 ? true : nil }
                client.reset()
                _ = try eventually("its place is free") { try rig.front.current == 0 ? true : nil }
            }
            #expect(try rig.front.queued == 0)
        }
    }

    @Test("a client that has sent its request and ended it waits like any other")
    func halfClosedWaits() throws {
        try Rig.run { rig in
            try rig.apply([Rig.pool([])])
            let client = try rig.connect()
            try client.send("request")
            client.finishWriting()
            _ = try eventually("it waits") { try rig.front.queued == 1 ? true : nil }
            let backend = try Backend()
            try rig.serve([backend])
            let server = try backend.accept()
            #expect(try server.receiveToEnd() == Array("request".utf8))
            try server.send("answer")
            server.close()
            #expect(try client.receiveToEnd() == Array("answer".utf8))
        }
    }

    @Test("the oldest is served first")
    func order() throws {
        try Rig.run { rig in
            try rig.apply([Rig.pool([])])
            let clients = try (0..<5).map { number in
                let client = try rig.connect()
                try client.send("\(number)")
                _ = try eventually("it waits") { try rig.front.queued == UInt64(number + 1) ? true : nil }
                return client
            }
            let backend = try Backend()
            try rig.serve([backend])
            for number in 0..<5 { #expect(try backend.accept().receiveText(1) == "\(number)") }
            withExtendedLifetime(clients) {}
        }
    }

    @Test("clients of a service that leaves the table are reset, and its listener is watched no more")
    func serviceLeaves() throws {
        try Rig.run { rig in
            try rig.apply([Rig.pool([])])
            let client = try rig.connect()
            _ = try eventually("it waits") { try rig.front.queued == 1 ? true : nil }
            try rig.apply([])
            #expect(client.receiveToEndOrError().code == ECONNRESET)
            // As the keeper does, the test holds the socket: clients reach the kernel's queue, and nobody takes them.
            let late = try rig.connect()
            #expect(!late.isReadable(within: 100))
            let total = try rig.counters.fronts.count
            #expect(total == 0)
            // A later table with the same socket takes it up again.
            let backend = try Backend()
            rig.engine.receive(.listener(id: "front"), [rig.frontSocket])
            try rig.serve([backend])
            try late.send("x")
            #expect(try backend.accept().receiveText(1) == "x")
        }
    }
}
