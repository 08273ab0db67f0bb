import Glibc
import Links
import Platform
import TestSupport
import Testing

@testable import Balancer

@Suite("Endpoints are told who the client is")
struct IntroductionTests {
    private static func pool(
        _ endpoints: [RoutingTable.Endpoint], _ version: RoutingTable.Pool.ProxyProtocol,
        listeners: [String] = ["front"], acceptsProxyProtocol: Bool = false
    ) -> RoutingTable.Pool {
        var pool = Rig.pool(endpoints, listeners: listeners)
        pool.proxyProtocol = version
        pool.fronts[0].acceptsProxyProtocol = acceptsProxyProtocol
        return pool
    }

    /// Reads one header, and not a byte more.
    static func header(_ server: Peer) throws -> (source: ClientAddress, destination: ClientAddress) {
        var bytes: [UInt8] = []
        while true {
            bytes += try server.receive(1)
            switch ProxyHeaderTests.read(bytes) {
            case .incomplete: continue
            case .invalid: throw TestFailure("no header: \(bytes)")
            case .header(_, let source, let destination): return (source, destination)
            }
        }
    }

    private static func localPort(_ peer: Peer) throws -> UInt16 {
        var address = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        _ = try withUnsafeMutablePointer(to: &address) { pointer in
            try pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                try systemCall("getsockname") { getsockname(peer.raw, generic, &length) }
            }
        }
        return UInt16(bigEndian: address.sin_port)
    }

    @Test("the header comes before the client's bytes", arguments: RoutingTable.Pool.ProxyProtocol.allCases)
    func clientFirst(version: RoutingTable.Pool.ProxyProtocol) throws {
        try Rig.run { rig in
            let backend = try Backend()
            try rig.apply([Self.pool([backend.endpoint(1)], version)])
            let client = try Peer.connect(port: rig.port, from: 7)
            try client.send("request")
            let server = try backend.accept()
            let header = try Self.header(server)
            #expect(header.source == ClientAddress(ipv4: 0x7f00_0007, port: try Self.localPort(client)))
            #expect(header.destination == ClientAddress(ipv4: 0x7f00_0001, port: rig.port))
            #expect(try server.receiveText(7) == "request")
            try server.send("answer")
            server.close()
            #expect(String(decoding: try client.receiveToEnd(), as: UTF8.self) == "answer")
            client.close()
            let counts = try AdmissionTests.settled(rig, ended: 1)
            #expect(counts.bytesIn == 7)
            #expect(counts.bytesOut == 6)
        }
    }

    @Test("a server that speaks first gets the header at once", arguments: RoutingTable.Pool.ProxyProtocol.allCases)
    func serverFirst(version: RoutingTable.Pool.ProxyProtocol) throws {
        try Rig.run { rig in
            let backend = try Backend()
            try rig.apply([Self.pool([backend.endpoint(1)], version)])
            let (client, server) = try rig.pair(backend)
            #expect(try Self.header(server).source.port == Self.localPort(client))
            try server.send("220 hello")
            #expect(try client.receiveText(9) == "220 hello")
            try client.send("quit")
            #expect(try server.receiveText(4) == "quit")
        }
    }

    @Test(
        "3 MB after the header arrive unchanged, and the end too", arguments: RoutingTable.Pool.ProxyProtocol.allCases)
    func muchPayload(version: RoutingTable.Pool.ProxyProtocol) throws {
        try Rig.run { rig in
            let backend = try Backend()
            // More than one send takes.
            var room: Int32 = 2048
            setsockopt(try #require(backend.listener).raw, SOL_SOCKET, SO_RCVBUF, &room, 4)
            // The client has sent much before anyone is there.
            try rig.apply([Self.pool([], version)])
            let client = try rig.connect()
            let size = 3 << 20
            try concurrently(
                {
                    try client.sendPattern(3, count: size)
                    client.finishWriting()
                },
                {
                    _ = try eventually("it waits") { try rig.front.queued == 1 ? true : nil }
                    try rig.apply([Self.pool([backend.endpoint(1)], version)])
                    let server = try backend.accept()
                    _ = try Self.header(server)
                    try server.receivePattern(3, count: size)
                    #expect(try server.receiveToEnd() == [])
                })
        }
    }

    @Test("a client that has ended or was reset before the connect", arguments: [false, true])
    func endedBefore(isReset: Bool) throws {
        try Rig.run { rig in
            let backend = try Backend()
            try rig.apply([Self.pool([], .v1)])
            let client = try rig.connect()
            try client.send("request")
            _ = try eventually("it waits") { try rig.front.queued == 1 ? true : nil }
            if isReset { client.reset() } else { client.finishWriting() }
            if isReset { _ = try AdmissionTests.settled(rig, ended: 1) }
            try rig.apply([Self.pool([backend.endpoint(1)], .v1)])
            guard !isReset else { return #expect(!backend.waits(milliseconds: 50)) }
            let server = try backend.accept()
            _ = try Self.header(server)
            #expect(String(decoding: try server.receiveToEnd(), as: UTF8.self) == "request")
        }
    }

    @Test("after a refused connect the next endpoint gets the header")
    func nextEndpoint() throws {
        try Rig.run { rig in
            let dead = try Backend()
            let backend = try Backend()
            dead.close()
            try rig.apply([Self.pool([dead.endpoint(1), backend.endpoint(2)], .v2)])
            for _ in 0..<4 {
                let client = try rig.connect()
                try client.send("x")
                let server = try backend.accept()
                #expect(try Self.header(server).source.port == Self.localPort(client))
                #expect(try server.receiveText(1) == "x")
            }
        }
    }

    @Test(
        "a client that came before the header was wanted is said to be who it is",
        arguments: RoutingTable.Pool.ProxyProtocol.allCases)
    func wantedLater(version: RoutingTable.Pool.ProxyProtocol) throws {
        try Rig.run { rig in
            let backend = try Backend()
            try rig.apply([Rig.pool([])])
            let client = try Peer.connect(port: rig.port, from: 7)
            try client.send("x")
            _ = try eventually("it waits") { try rig.front.queued == 1 ? true : nil }
            try rig.apply([Self.pool([backend.endpoint(1)], version)])
            let server = try backend.accept()
            let source = try Self.header(server).source
            #expect(source == ClientAddress(ipv4: 0x7f00_0007, port: try Self.localPort(client)))
            #expect(try server.receiveText(1) == "x")
        }
    }

    @Test("a client of a Unix front is nobody in particular", arguments: RoutingTable.Pool.ProxyProtocol.allCases)
    func unixFront(version: RoutingTable.Pool.ProxyProtocol) throws {
        try Rig.run { rig in
            let backend = try Backend()
            let directory = try TemporaryDirectory()
            let path = directory.file("front.sock")
            rig.engine.receive(.listener(id: "unix"), [try unixListener(at: path)])
            try rig.apply([Self.pool([backend.endpoint(1)], version, listeners: ["unix"])])
            let client = try Peer.connect(path: path)
            try client.send("x")
            let server = try backend.accept()
            let expected =
                version == .v1 ? Array("PROXY UNKNOWN\r\n".utf8) : ProxyHeaderTests.binary(0x20, 0, [])
            #expect(try server.receive(expected.count) == expected)
            #expect(try server.receiveText(1) == "x")
        }
    }

    @Test(
        "a client by IPv6 is said to be one", .enabled(if: hasIPv6, "needs IPv6 on the loopback interface"),
        arguments: RoutingTable.Pool.ProxyProtocol.allCases)
    func ipv6Front(version: RoutingTable.Pool.ProxyProtocol) throws {
        try Rig.run { rig in
            let backend = try Backend()
            let socket = try listen(on: .ipv6("::1", port: 0))
            let port = try #require(try SocketAddress.local(of: socket).port)
            rig.engine.receive(.listener(id: "six"), [socket])
            try rig.apply([Self.pool([backend.endpoint(1)], version, listeners: ["six"])])
            let client = try Peer.connect6(port: port)
            let header = try Self.header(try backend.accept())
            #expect(header.source.key == ClientAddress(ipv6: 0, 1, port: 0).key)
            #expect(header.destination == ClientAddress(ipv6: 0, 1, port: port))
            withExtendedLifetime(client) {}
        }
    }

    @Test("what a header has said is passed on", arguments: RoutingTable.Pool.ProxyProtocol.allCases)
    func passedOn(version: RoutingTable.Pool.ProxyProtocol) throws {
        try Rig.run { rig in
            let backend = try Backend()
            try rig.apply([Self.pool([backend.endpoint(1)], version, acceptsProxyProtocol: true)])
            let client = try rig.connect()
            try client.send(ProxyHeaderTests.binary(0x21, 0x21, ProxyHeaderTests.ipv6Tail) + Array("x".utf8))
            let server = try backend.accept()
            let header = try Self.header(server)
            #expect(header.source == ProxyHeaderTests.client6)
            #expect(header.destination == ProxyHeaderTests.front6)
            #expect(try server.receiveText(1) == "x")
            // LOCAL: the real ones.
            let local = try rig.connect()
            try local.send(ProxyHeaderTests.binary(0x20, 0, []))
            let real = try Self.header(try backend.accept())
            #expect(real.source == ClientAddress(ipv4: 0x7f00_0001, port: try Self.localPort(local)))
            #expect(real.destination == ClientAddress(ipv4: 0x7f00_0001, port: rig.port))
        }
    }

    @Test("an endpoint that hangs up on the header loses the client nothing but the connection")
    func endpointHangsUp() throws {
        try Rig.run { rig in
            let backend = try Backend()
            try rig.apply([Self.pool([backend.endpoint(1)], .v1)])
            for _ in 0..<20 {
                let client = try rig.connect()
                let server = try backend.accept()
                try server.send("no")
                server.close()
                let end = client.receiveToEndOrError()
                #expect(String(decoding: end.bytes, as: UTF8.self) == "no")
                client.close()
            }
            _ = try AdmissionTests.settled(rig, ended: 20)
        }
    }
}
