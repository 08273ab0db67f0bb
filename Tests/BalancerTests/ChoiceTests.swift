import CPlatform
import Glibc
import Links
import Platform
import TestSupport
import Testing

@testable import Balancer

@Suite("Connections find an endpoint")
struct ChoiceTests {
    @Test("round robin is exact over loops", arguments: [1, 2, 4])
    func exactRoundRobin(loops: Int) throws {
        try Rig.run(loops: loops) { rig in
            let backends = try (0..<3).map { _ in try Backend() }
            try rig.serve(backends)
            let clients = try (0..<300).map { _ in try rig.connect() }
            for client in clients { try client.send("x") }
            let counts = try eventually("all are assigned") {
                let counts = try (1...3).map { try rig.instance("api/\($0)").total }
                return counts.reduce(0, +) == 300 ? counts : nil
            }
            #expect(counts == [100, 100, 100])
            #expect(try rig.front.total == 300)
            for backend in backends {
                for _ in 0..<100 { #expect(try backend.accept().receiveText(1) == "x") }
            }
        }
    }

    @Test("the turn goes on over a new table")
    func cursorSurvivesTables() throws {
        try Rig.run { rig in
            let backends = try (0..<2).map { _ in try Backend() }
            for number in 0..<10 {
                try rig.serve(backends)
                let client = try rig.connect()
                try client.send("x")
                #expect(try backends[number % 2].accept().receiveText(1) == "x")
            }
        }
    }

    @Test("a refusal sends the connection on, once to each, and the others share what one refuses")
    func redispatch() throws {
        try Rig.run { rig in
            let backends = try (0..<3).map { _ in try Backend() }
            try rig.serve(backends)
            backends[0].close()
            var served: [Int] = [0, 0]
            for _ in 0..<30 {
                let client = try rig.connect()
                try client.send("x")
                let index = try eventually("served") { (1...2).first { backends[$0].waits() } }
                #expect(try backends[index].accept().receiveText(1) == "x")
                served[index - 1] += 1
            }
            #expect(served.reduce(0, +) == 30)
            #expect(served.allSatisfy { $0 >= 10 })
            #expect(try rig.instance("api/1").connectErrors > 0)
            #expect(try rig.instance("api/1").retries == rig.instance("api/1").connectErrors)
            #expect(try rig.instance("api/2").connectErrors == 0)
            #expect(try rig.front.retries == rig.instance("api/1").retries)
        }
    }

    @Test("a connection that every endpoint refuses waits, and is served when one listens again, table or not")
    func refusedByAll() throws {
        try Rig.run { rig in
            let (backend, reservation) = (try Backend(), try Backend())
            let port = backend.port
            backend.close()
            reservation.close()
            try rig.serve([backend, reservation])
            let client = try rig.connect()
            try client.send("x")
            _ = try eventually("it waits") { try rig.front.queued == 1 ? true : nil }
            let revived = Backend(try listen(on: .ipv4("127.0.0.1", port: port)), port: port)
            #expect(try revived.accept().receiveText(1) == "x")
            #expect(try rig.front.queued == 0)
        }
    }

    @Test("an endpoint that does not answer a connect is given up after connectTimeout")
    func connectTimeout() throws {
        try Rig.run { rig in
            let (full, good) = (try Backend(backlog: 0), try Backend())
            // A backlog of 0 holds one connection; the next one's handshake gets no answer.
            let fillers = try (0..<2).map { _ in try full.fill() }
            try rig.apply([Rig.pool([full.endpoint(1), good.endpoint(2)], connectTimeout: 0.3)])
            let first = try rig.connect()
            try first.send("1")
            let second = try rig.connect()
            try second.send("2")
            var texts: Set<String> = []
            for _ in 0..<2 { texts.insert(try good.accept().receiveText(1)) }
            #expect(texts == ["1", "2"])
            #expect(try rig.instance("api/1").connectErrors == 1)
            withExtendedLifetime(fillers) {}
        }
    }

    @Test("a connect that ends in vain when no endpoint is active any more waits for the next one, or is turned away")
    func connectTimeoutWithoutEndpoints() throws {
        try Rig.run { rig in
            let full = try Backend(backlog: 0)
            let fillers = try (0..<2).map { _ in try full.fill() }
            for emptiness in [RoutingTable.Pool.Emptiness.hold, .refuse] {
                try rig.apply([Rig.pool([full.endpoint(1)], connectTimeout: 30)])
                let client = try rig.connect()
                try client.send("x")
                _ = try eventually("it connects") { try rig.instance("api/1").current == 1 ? true : nil }
                try rig.apply([Rig.pool([], emptiness: emptiness, connectTimeout: 30)])
                #expect(try rig.front.queued == 0)
                // Now that all is in place it may fail.
                try rig.apply([Rig.pool([], emptiness: emptiness, connectTimeout: 0.3)])
                switch emptiness {
                case .hold:
                    _ = try eventually("it waits") { try rig.front.queued == 1 ? true : nil }
                    #expect(try rig.instance("api/1").connectErrors == 1)
                    let good = try Backend()
                    try rig.apply([Rig.pool([good.endpoint(2)])])
                    #expect(try good.accept().receiveText(1) == "x")
                case .refuse:
                    #expect(client.receiveToEndOrError().code == ECONNRESET)
                    #expect(try rig.front.turnedAway == 1)
                }
            }
            withExtendedLifetime(fillers) {}
        }
    }

    @Test("a connection is not tried again once the endpoint had taken it")
    func noRetryAfterAccept() throws {
        try Rig.run { rig in
            let backends = try (0..<2).map { _ in try Backend() }
            try rig.serve(backends)
            let client = try rig.connect()
            let server = try backends[0].accept()
            server.reset()
            #expect(client.receiveToEndOrError().code == ECONNRESET)
            #expect(!backends[1].waits())
            #expect(try rig.front.retries == 0)
        }
    }

    @Test("a connect never ends at itself")
    func selfConnect() throws {
        // A dead port among those that the kernel gives to clients: one connect in some ten thousand meets itself. With
        // no other port left to choose from each one would, so the check is shown by a socket bound to that port.
        let backend = try Backend()
        let port = backend.port
        backend.leave()
        let meeting = Descriptor(owning: supd_tcp_socket())
        try meeting.bindLoopback(port)
        #expect([0, -EINPROGRESS].contains(supd_connect_loopback(meeting.raw, port)))
        #expect(connectsToItself(meeting.raw, port: port))
        let other = Descriptor(owning: supd_tcp_socket())
        let listening = try Backend()
        #expect(supd_connect_loopback(other.raw, listening.port) == -EINPROGRESS)
        #expect(!connectsToItself(other.raw, port: listening.port))
        try Rig.run { rig in
            try rig.serve([backend])
            let client = try rig.connect()
            try client.send("echo?")
            _ = try eventually("it waits") { try rig.front.queued == 1 ? true : nil }
            #expect(!client.isReadable(within: 300))
        }
    }
}
