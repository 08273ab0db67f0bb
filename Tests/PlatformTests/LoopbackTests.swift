import Glibc
import Platform
import TestSupport
import Testing

@Suite struct SocketDiagnosticsTests {
    @Test("a listener is found by its port, with its address, inode and owner", arguments: TestAddress.allCases)
    func listener(address: TestAddress) throws {
        let (port, socket) = try testListener(address)
        let expected: TCPSocket.Address =
            switch address {
            case .loopbackIPv4: .loopbackIPv4
            case .anyIPv4: .anyIPv4
            case .loopbackIPv6: .loopbackIPv6
            case .anyIPv6, .onlyIPv6: .anyIPv6
            }
        let wanted = TCPSocket(
            address: expected, port: port, isListener: true, inode: try inode(of: socket), user: geteuid())
        // The other family may have had connections there.
        #expect(try SocketDiagnostics.listeners(onPort: port).filter { $0.inode == wanted.inode } == [wanted])
        // The file is read in pieces, between which other tests' sockets come and go: an entry may be missed, or come twice.
        try eventually("it in /proc/net") {
            try SocketDiagnostics.socketsFromProc(onPort: port).filter { $0.inode == wanted.inode } == [wanted]
                ? true : nil
        }
    }

    @Test("a port without a listener has none")
    func none() throws {
        let (port, reservation) = try freePort()
        #expect(try SocketDiagnostics.listeners(onPort: port) == [])
        #expect(try SocketDiagnostics.socketsFromProc(onPort: port).filter(\.isListener) == [])
        withExtendedLifetime(reservation) {}
    }

    @Test("connections count as sockets of the port, not as listeners")
    func connections() throws {
        let (port, listener) = try testListener()
        let connection = try LoopbackConnection(port: port)
        #expect(try connection.progress() == .connected)
        #expect(try SocketDiagnostics.listeners(onPort: port).count == 1)
        #expect(try SocketDiagnostics.sockets(onPort: port).contains { !$0.isListener })
        withExtendedLifetime(listener) {}
    }

    @Test("without sock_diag the tables of /proc answer")
    func fallback() throws {
        let (port, socket) = try testListener()
        let found = try FaultPlan.$current.withValue(FaultPlan { call, _ in call == "socket" ? EPROTONOSUPPORT : nil })
        {
            try SocketDiagnostics.listeners(onPort: port)
        }
        #expect(try found.map(\.inode) == [inode(of: socket)])
    }
}

@Suite struct LoopbackPortTests {
    @Test("a port where something listens is not free, on whichever local address", arguments: TestAddress.allCases)
    func taken(address: TestAddress) throws {
        let (port, socket) = try testListener(address)
        #expect(try !LoopbackPort.isFree(port))
        withExtendedLifetime(socket) {}
    }

    @Test("a port that nobody has is free, and looking does not take it")
    func free() throws {
        let (port, reservation) = try freePort()
        #expect(try LoopbackPort.isFree(port))
        #expect(try LoopbackPort.isFree(port))
        let (_, listener) = try testListener(port: port)
        withExtendedLifetime((reservation, listener)) {}
    }

    @Test("connections of an ended server in TIME_WAIT leave its port free")
    func timeWait() throws {
        var listener: Descriptor?
        let port: UInt16
        (port, listener) = try testListener()
        var client: LoopbackConnection? = try LoopbackConnection(port: port)
        var accepted: Descriptor? = try acceptConnection(from: #require(listener))
        // The server closes first: the port is in TIME_WAIT, not the client's.
        accepted = nil
        listener = nil
        client = nil
        // For a moment every program that another test has just forked has copies.
        try eventually("a free port") { try LoopbackPort.isFree(port) ? true : nil }
        _ = (accepted, client)
    }

    @Test("no descriptors left is an error, not an answer")
    func exhausted() throws {
        let plan = FaultPlan { call, _ in call == "socket" ? EMFILE : nil }
        FaultPlan.$current.withValue(plan) {
            #expect(throws: SystemError.self) { try LoopbackPort.isFree(1) }
        }
    }
}

@Suite struct LoopbackConnectionTests {
    @Test("a port where nothing listens refuses")
    func refused() throws {
        let (port, reservation) = try freePort()
        let error = #expect(throws: SystemError.self) {
            let connection = try LoopbackConnection(port: port)
            _ = try eventually("an answer") { try connection.progress() == .pending ? nil : true }
        }
        #expect(error?.code == ECONNREFUSED)
        withExtendedLifetime(reservation) {}
    }

    @Test("bytes arrive, and the end after them")
    func exchange() throws {
        let (port, listener) = try testListener()
        let connection = try LoopbackConnection(port: port)
        #expect(try eventually("connected") { try connection.progress() == .pending ? nil : true })
        let server = try acceptConnection(from: listener)
        #expect(try connection.receive() == .nothing)
        try connection.send(Array("ping".utf8))
        var buffer = [UInt8](repeating: 0, count: 16)
        #expect(try systemCall("read", "", { read(server.raw, &buffer, 16) }) == 4)
        try systemCall("write") { write(server.raw, "pong", 4) }
        try systemCall("shutdown") { shutdown(server.raw, Int32(SHUT_WR)) }
        #expect(try eventually("bytes") { try connection.receive() == .bytes(Array("pong".utf8)) ? true : nil })
        #expect(try eventually("the end") { try connection.receive() == .end ? true : nil })
    }

    @Test("a connection that the kernel has made to itself is told apart")
    func toItself() throws {
        // The kernel steps through the ephemeral ports for the local one, those of one parity first; after a round of
        // them it takes the port that is connected to. So this needs half as many tries as there are such ports.
        let range = String(
            decoding: try Files.read("/proc/sys/net/ipv4/ip_local_port_range", limit: 100), as: UTF8.self)
        let bounds = range.split(whereSeparator: \.isWhitespace).compactMap { UInt16($0) }
        let (lowest, highest) = (try #require(bounds.first), try #require(bounds.last))
        let port = lowest + (highest - lowest) / 2
        let found = (0..<400_000).contains { number in
            let connection = try? LoopbackConnection(port: port + UInt16(number % 2))
            return (try? connection?.progress()) == .connectedToItself
        }
        #expect(found)
    }

    @Test("a full listener leaves the connection pending")
    func pending() throws {
        let (port, listener) = try testListener(backlog: 0)
        var connections: [LoopbackConnection] = []
        let pending = try (0..<8).contains { _ in
            let connection = try LoopbackConnection(port: port)
            connections.append(connection)
            return try connection.progress() == .pending
        }
        #expect(pending)
        withExtendedLifetime(listener) {}
    }
}
