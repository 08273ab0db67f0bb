import Glibc
import Links
import Platform
import TestSupport
import Testing

@testable import Balancer

@Suite("Who may come in")
struct AdmissionTests {
    /// A pool with one backend whose front has rules.
    static func pool(_ backend: Backend, _ change: (inout RoutingTable.Front) -> Void) -> RoutingTable.Pool {
        var pool = Rig.pool([backend.endpoint(1)])
        change(&pool.fronts[0])
        return pool
    }

    /// Waits until the front has this many ended sessions, and gives its counters.
    static func settled(_ rig: Rig, ended count: UInt64) throws -> BalancerCounters.Counts {
        try eventually("\(count) sessions have ended") {
            let counts = try rig.front
            return counts.current == 0 && counts.ends.values.reduce(0, +) == count ? counts : nil
        }
    }

    static let loopback2 = RoutingTable.AddressRange(bytes: [127, 0, 0, 2], prefix: 31)

    // MARK: allow

    @Test("peers that are not allowed are reset, the others served", arguments: [1, 2])
    func allow(loops: Int) throws {
        try Rig.run(loops: loops) { rig in
            let backend = try Backend()
            try rig.apply([Self.pool(backend) { $0.allow = [Self.loopback2] }])
            for host in [2, 3] as [UInt8] {
                let client = try Peer.connect(port: rig.port, from: host)
                try client.send("\(host)")
                let server = try backend.accept()
                #expect(try server.receiveText(1) == "\(host)")
                server.close()
                #expect(try client.receiveToEnd() == [])
            }
            for host in [1, 4] as [UInt8] {
                let client = try Peer.connect(port: rig.port, from: host)
                #expect(client.receiveToEndOrError().code == ECONNRESET)
            }
            let counts = try Self.settled(rig, ended: 4)
            #expect(counts.total == 4)
            #expect(counts.turnedAway == 2)
            #expect(counts.denied == 2)
            #expect(counts.ends == ["--": 2, "PG": 2])
            #expect(!backend.waits())
        }
    }

    @Test("a new list is in force for new connections, and touches no open one")
    func allowChanges() throws {
        try Rig.run { rig in
            let backend = try Backend()
            try rig.apply([Self.pool(backend) { _ in }])
            let (client, server) = try rig.pair(backend)
            try rig.apply([Self.pool(backend) { $0.allow = [] }])
            #expect(try rig.connect().receiveToEndOrError().code == ECONNRESET)
            try client.send("still here")
            #expect(try server.receiveText(10) == "still here")
            try rig.apply([Self.pool(backend) { $0.allow = nil }])
            let (another, _) = try rig.pair(backend)
            withExtendedLifetime(another) {}
        }
    }

    @Test("an IPv6 front knows its peers too", .enabled(if: hasIPv6, "needs IPv6 on the loopback interface"))
    func allowIPv6() throws {
        try Rig.run { rig in
            let backend = try Backend()
            let socket = try listen(on: .ipv6("::1", port: 0))
            let port = try #require(try SocketAddress.local(of: socket).port)
            rig.engine.receive(.listener(id: "six"), [socket])
            let loopback = [UInt8](repeating: 0, count: 15) + [1]
            for (prefix, last, isServed) in [(128, 1, true), (128, 2, false), (64, 1, true)] as [(UInt8, UInt8, Bool)] {
                var pool = Rig.pool([backend.endpoint(1)], listeners: ["front", "six"])
                let bytes = prefix == 64 ? [UInt8](repeating: 0, count: 16) : loopback.dropLast() + [last]
                pool.fronts[0].allow = [RoutingTable.AddressRange(bytes: bytes, prefix: prefix)]
                try rig.apply([pool])
                let client = try Peer.connect6(port: port)
                if isServed {
                    try backend.accept().close()
                    #expect(client.receiveToEndOrError().code == 0)
                } else {
                    #expect(client.receiveToEndOrError().code == ECONNRESET)
                }
            }
        }
    }

    // MARK: maxConnectionsPerAddress

    @Test("an address has so many connections over all loops, others are reset", arguments: [1, 2])
    func perAddress(loops: Int) throws {
        try Rig.run(loops: loops) { rig in
            let backend = try Backend()
            try rig.apply([Self.pool(backend) { $0.maxConnectionsPerAddress = 3 }])
            var clients = try (0..<3).map { _ in try rig.connect() }
            let servers = try (0..<3).map { _ in try backend.accept() }
            for _ in 0..<4 { #expect(try rig.connect().receiveToEndOrError().code == ECONNRESET) }
            // Another address has places of its own.
            let other = try Peer.connect(port: rig.port, from: 2)
            let otherServer = try backend.accept()
            // A connection that ends gives its place back.
            clients[0].reset()
            _ = try eventually("the place is free") { try rig.front.current == 3 ? true : nil }
            clients[0] = try rig.connect()
            let again = try backend.accept()
            #expect(try rig.connect().receiveToEndOrError().code == ECONNRESET)
            // An end is counted after its reset.
            let counts = try eventually("all ends are counted") {
                let counts = try rig.front
                return counts.ends["PG"] == 5 ? counts : nil
            }
            #expect(counts.limited == 5)
            #expect(counts.turnedAway == 5)
            #expect(counts.denied == 0)
            withExtendedLifetime((clients, servers, other, otherServer, again)) {}
        }
    }

    @Test(
        "an IPv6 address is counted by itself, beside those of IPv4, over all loops",
        .enabled(if: hasIPv6, "needs IPv6 on the loopback interface"), arguments: [1, 2])
    func perAddressIPv6(loops: Int) throws {
        try Rig.run(loops: loops) { rig in
            let backend = try Backend()
            let socket = try listen(on: .ipv6("::1", port: 0))
            let port = try #require(try SocketAddress.local(of: socket).port)
            rig.engine.receive(.listener(id: "six"), [socket])
            var pool = Rig.pool([backend.endpoint(1)], listeners: ["front", "six"])
            pool.fronts[0].maxConnectionsPerAddress = 2
            try rig.apply([pool])
            var clients = try (0..<2).map { _ in try Peer.connect6(port: port) }
            var servers = try (0..<2).map { _ in try backend.accept() }
            #expect(try Peer.connect6(port: port).receiveToEndOrError().code == ECONNRESET)
            // Of the same front, but another address.
            clients.append(try rig.connect())
            servers.append(try backend.accept())
            clients[0].reset()
            _ = try eventually("the place is free") { try rig.front.current == 2 ? true : nil }
            clients[0] = try Peer.connect6(port: port)
            servers.append(try backend.accept())
            #expect(try Peer.connect6(port: port).receiveToEndOrError().code == ECONNRESET)
            let counts = try eventually("all ends are counted") {
                let counts = try rig.front
                return counts.ends["PG"] == 2 ? counts : nil
            }
            #expect(counts.limited == 2)
            #expect(counts.turnedAway == 2)
            #expect(!backend.waits())
            withExtendedLifetime((clients, servers)) {}
        }
    }

    @Test("IPv6 clients that a PROXY header names are told apart by all of their address")
    func perAddressInHeader() throws {
        try Rig.run { rig in
            let backend = try Backend()
            try rig.apply([
                Self.pool(backend) { ($0.acceptsProxyProtocol, $0.maxConnectionsPerAddress) = (true, 1) }
            ])
            var kept: [Peer] = []
            // They differ in the first, and in the last bits only.
            for address in ["2001:db8::1", "2001:db8::2", "3001:db8::1"] {
                for isFirst in [true, false] {
                    let client = try rig.connect()
                    try client.send("PROXY TCP6 \(address) ::1 9 10\r\n")
                    if isFirst {
                        kept += [client, try backend.accept()]
                    } else {
                        #expect(client.receiveToEndOrError().code == ECONNRESET)
                    }
                }
            }
            #expect(try rig.front.limited == 3)
            withExtendedLifetime(kept) {}
        }
    }

    @Test("a limit may be set and lifted while connections are open")
    func perAddressChanges() throws {
        try Rig.run { rig in
            let backend = try Backend()
            try rig.apply([Self.pool(backend) { _ in }])
            let before = try rig.pair(backend)
            try rig.apply([Self.pool(backend) { $0.maxConnectionsPerAddress = 1 }])
            let counted = try rig.pair(backend)
            #expect(try rig.connect().receiveToEndOrError().code == ECONNRESET)
            // Not counted, so it gives nothing back.
            before.client.reset()
            _ = try eventually("it has ended") { try rig.front.current == 1 ? true : nil }
            #expect(try rig.connect().receiveToEndOrError().code == ECONNRESET)
            try rig.apply([Self.pool(backend) { _ in }])
            let free = try (0..<3).map { _ in try rig.pair(backend) }
            counted.client.reset()
            withExtendedLifetime(free) {}
        }
    }

    // MARK: acceptsProxyProtocol

    @Test("the header may come in any pieces, with the payload glued to it or not", arguments: ProxyHeaderTests.valid)
    func acceptsHeader(_ header: ProxyHeaderTests.Case) throws {
        try Rig.run { rig in
            let backend = try Backend()
            try rig.apply([Self.pool(backend) { $0.acceptsProxyProtocol = true }])
            let size = header.bytes.count
            for cuts in [[], [size], [1], [size - 1], [6, 12, 16].filter { $0 < size }, Array(1..<min(size, 24))] {
                let client = try rig.connect()
                var noDelay: Int32 = 1
                setsockopt(client.raw, Int32(IPPROTO_TCP), TCP_NODELAY, &noDelay, 4)
                let all = header.bytes + Array("payload".utf8)
                var sent = 0
                for cut in cuts + [all.count] {
                    try client.send(Array(all[sent..<cut]))
                    sent = cut
                }
                let server = try backend.accept()
                #expect(try server.receiveText(7) == "payload")
                try server.send("answer")
                #expect(try client.receiveText(6) == "answer")
                client.finishWriting()
                #expect(try server.receiveToEnd() == [])
                server.close()
                #expect(try client.receiveToEnd() == [])
            }
            let counts = try eventually("all have ended") { try rig.front.current == 0 ? rig.front : nil }
            #expect(counts.turnedAway == 0)
            #expect(counts.ends == ["--": 6])
            // The header is none of the payload.
            #expect(counts.bytesIn == 42)
        }
    }

    @Test("a client that ends its request right behind the header is served, by TCP and by Unix socket")
    func headerAndEnd() throws {
        try Rig.run { rig in
            let backend = try Backend()
            let directory = try TemporaryDirectory()
            let path = directory.file("front.sock")
            rig.engine.receive(.listener(id: "unix"), [try unixListener(at: path)])
            var pool = Rig.pool([backend.endpoint(1)], listeners: ["front", "unix"])
            pool.fronts[0].acceptsProxyProtocol = true
            try rig.apply([pool])
            for client in [try rig.connect(), try Peer.connect(path: path)] {
                try client.send("PROXY UNKNOWN\r\nrequest")
                client.finishWriting()
                let server = try backend.accept()
                #expect(String(decoding: try server.receiveToEnd(), as: UTF8.self) == "request")
                try server.send("answer")
                server.close()
                #expect(String(decoding: try client.receiveToEnd(), as: UTF8.self) == "answer")
            }
        }
    }

    @Test("a server that speaks first speaks after the header")
    func headerAlone() throws {
        try Rig.run { rig in
            let backend = try Backend()
            try rig.apply([Self.pool(backend) { $0.acceptsProxyProtocol = true }])
            let client = try rig.connect()
            #expect(!backend.waits(milliseconds: 50))
            try client.send("PROXY TCP4 1.2.3.4 5.6.7.8 9 10\r\n")
            let server = try backend.accept()
            try server.send("hello")
            #expect(try client.receiveText(5) == "hello")
        }
    }

    @Test(
        "a connection that begins otherwise is reset, and counted",
        arguments: ["GET / HTTP/1.1\r\n\r\n", "PROXY TCP4 nonsense\r\n", "\r\n\r\n\u{0}x"])
    func invalidHeader(text: String) throws {
        try Rig.run { rig in
            let backend = try Backend()
            try rig.apply([Self.pool(backend) { $0.acceptsProxyProtocol = true }])
            let client = try rig.connect()
            try client.send(text)
            #expect(client.receiveToEndOrError().code == ECONNRESET)
            let counts = try Self.settled(rig, ended: 1)
            #expect(counts.denied == 1)
            #expect(counts.turnedAway == 1)
            #expect(counts.ends == ["PG": 1])
            #expect(!backend.waits())
        }
    }

    @Test("a client that leaves within the header is denied, one that leaves without a word is not")
    func leavesWithinHeader() throws {
        try Rig.run { rig in
            let backend = try Backend()
            try rig.apply([Self.pool(backend) { $0.acceptsProxyProtocol = true }])
            let silent = try rig.connect()
            silent.finishWriting()
            #expect(try silent.receiveToEnd() == [])
            let partial = try rig.connect()
            try partial.send("PROXY TCP4 1.2")
            partial.finishWriting()
            #expect(partial.receiveToEndOrError().code == ECONNRESET)
            let counts = try Self.settled(rig, ended: 2)
            #expect(counts.denied == 1)
            #expect(counts.ends == ["CG": 1, "PG": 1])
        }
    }

    @Test("a client that does not say who it is has three seconds, however it spends them")
    func headerTimeout() throws {
        try Rig.run { rig in
            let backend = try Backend()
            try rig.apply([Self.pool(backend) { $0.acceptsProxyProtocol = true }])
            let start = monotonicNanoseconds()
            let silent = try rig.connect()
            let slow = try rig.connect()
            try slow.send("PROXY ")
            #expect(silent.receiveToEndOrError().code == ECONNRESET)
            #expect(slow.receiveToEndOrError().code == ECONNRESET)
            let time = monotonicNanoseconds() - start
            #expect(time > 2_900_000_000 && time < 20_000_000_000)
            let counts = try Self.settled(rig, ended: 2)
            #expect(counts.denied == 2)
            #expect(counts.ends == ["cG": 2])
        }
    }

    @Test("the list is held against the peer, the limit against the client in the header", arguments: [1, 2])
    func whichAddress(loops: Int) throws {
        try Rig.run(loops: loops) { rig in
            let backend = try Backend()
            try rig.apply([
                Self.pool(backend) { front in
                    front.acceptsProxyProtocol = true
                    front.allow = [RoutingTable.AddressRange(bytes: [127, 0, 0, 1], prefix: 32)]
                    front.maxConnectionsPerAddress = 1
                }
            ])
            let stranger = try Peer.connect(port: rig.port, from: 2)
            #expect(stranger.receiveToEndOrError().code == ECONNRESET)
            var kept: [Peer] = []
            for address in ["9.9.9.1", "9.9.9.2"] {
                for isFirst in [true, false] {
                    let client = try rig.connect()
                    try client.send("PROXY TCP4 \(address) 5.6.7.8 9 10\r\n")
                    if isFirst {
                        kept += [client, try backend.accept()]
                    } else {
                        #expect(client.receiveToEndOrError().code == ECONNRESET)
                    }
                }
            }
            let counts = try rig.front
            #expect(counts.denied == 1)
            #expect(counts.limited == 2)
            withExtendedLifetime(kept) {}
        }
    }
}
