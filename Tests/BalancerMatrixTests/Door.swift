import Glibc
import Links
import Platform
import TestSupport

/// Where connections of a randomised run begin: one after the other, so that a server's end is known to belong to a
/// client's. What needs all servers for itself happens here, too, while what is open goes on.
final class Door: @unchecked Sendable {
    /// A client that has asked, and waits for an answer.
    struct Caller {
        let wire: Wire
        let name: String
    }

    let proxy: SupdProxy
    let servers: [Server]
    /// A server that takes nothing.
    let full: Server
    let table: RandomTable
    let book: SessionBook
    let tally: Tally
    /// Whether the network is a namespace of this run's own.
    let hasOwnNetwork: Bool
    private let lock = Lock(0)
    /// For cases that rely on who is at the fronts of the other services, and take longer. Always before the other lock.
    private let sideLock = Lock(0)
    /// For the Unix front. Always before the other locks.
    private let unixLock = Lock(0)
    /// Servers that were drained, and had no connection since.
    private var drained: Set<UInt16> = []

    init(
        _ proxy: SupdProxy, _ servers: [Server], full: Server, _ table: RandomTable, _ book: SessionBook,
        _ tally: Tally, hasOwnNetwork: Bool
    ) {
        self.proxy = proxy
        self.servers = servers
        self.full = full
        self.table = table
        self.book = book
        self.tally = tally
        self.hasOwnNetwork = hasOwnNetwork
    }

    /// Connections so far.
    var count: Int { lock.withLock { $0 } }

    /// Does something with so many more clients while nobody else is at the door.
    func alone(_ clients: Int = 0, _ body: () throws -> Void) throws {
        try lock.withLock { count throws in
            count += clients
            try body()
        }
    }

    /// Does something while nobody else is at the other services' fronts.
    func aside(_ body: () throws -> Void) throws { try sideLock.withLock { _ throws in try body() } }

    // MARK: One connection

    /// Both ends of a connection, and what its line has to say.
    struct Opened {
        let client: Wire
        let server: Wire
        var line: SessionBook.Expectation
        /// How much of its pattern the client has said already.
        var said = 0
        /// The client is at a Unix socket.
        var isUnix = false
    }

    /// A client's connection to a port, by whose name its line is known.
    func connect(_ port: UInt16, _ manner: Wire.Manner = Wire.Manner()) throws -> Caller {
        let wire = try Wire.connect(port, manner)
        return Caller(wire: wire, name: try wire.name())
    }

    /// Takes the next connection that has reached a server; with what it is told of its client. `ofNobody`: of one without
    /// an address, of whom it is told just that.
    func accept(_ servers: [Server], ofNobody: Bool = false) throws
        -> (wire: Wire, instance: String, introduction: Introduction?)
    {
        let wire = try Server.accept(servers)
        let port = try wire.name().split(separator: ":").last.flatMap { UInt16($0) } ?? 0
        if drained.remove(port) != nil { tally.note(.undrained) }
        guard let version = table.proxyProtocol else { return (wire, "api/\(port)", nil) }
        if ofNobody {
            try Introduction.readOfNobody(wire, version)
            tally.note(.introducedNobody)
            return (wire, "api/\(port)", nil)
        }
        tally.note(version == .v1 ? .introducedV1 : .introducedV2)
        return (wire, "api/\(port)", try Introduction.read(wire, version))
    }

    /// What a client says of itself to a front that takes headers, and how.
    struct Claim {
        var form: Introduction.Form
        var source: String
        /// After so many bytes it pauses.
        var cut: Int
    }

    /// What a client says at once.
    struct First {
        var pattern: Pattern
        var count: Int
        /// With the SYN, at the plain front; or else after it, at the one that may defer accepting until then.
        var goesWithSYN: Bool
    }

    /// Opens a connection. `isDown`: no server listens when the client comes, and they come up a little later. `claim`: at
    /// the front that takes headers.
    func open(_ manner: Wire.Manner, isDown: Bool, claim: Claim? = nil, first: First? = nil) throws -> Opened {
        var opened: Opened?
        try alone(1) {
            if isDown { for server in servers { server.stopListening() } }
            let speaksFirst = first.map { !$0.goesWithSYN } ?? false
            let port =
                claim != nil
                ? table.port(.headed)
                : manner.isIPv6 ? table.port(.ipv6) : speaksFirst ? table.port(.deferring) : proxy.port
            var said = 0
            let client: Caller
            if let first {
                var pattern = first.pattern
                if first.goesWithSYN {
                    let wire = try Wire.connect(port, manner, saying: &pattern, first.count)
                    client = Caller(wire: wire, name: try wire.name())
                } else {
                    client = try connect(port, manner)
                    try client.wire.send(&pattern, first.count)
                    if table.options.deferAcceptSeconds != nil { tally.note(.deferredSession) }
                }
                said = pattern.position
            } else {
                client = try connect(port, manner)
            }
            let front = "\(manner.isIPv6 ? "[::1]" : "127.0.0.1"):\(port)"
            var expected = Introduction(source: client.name, destination: front)
            if let claim { expected = try say(claim, client, expected) }
            if isDown {
                usleep(2000)
                try listenAgain()
                tally.note(.allDown)
            }
            let server = try accept(servers)
            guard server.introduction == nil || server.introduction == expected else {
                throw TestFailure("\(expected) was introduced as \(String(describing: server.introduction))")
            }
            let line = SessionBook.Expectation(
                client: expected.source, front: front, instance: server.instance, bytesIn: 0...0, bytesOut: 0...0,
                ends: ["--"], takesHeader: claim != nil)
            if client.wire.synCarriedData { tally.note(.dataWithSYN) }
            opened = Opened(client: client.wire, server: server.wire, line: line, said: said)
        }
        guard let opened else { throw TestFailure("no connection") }
        return opened
    }

    /// Does something with a connection by the Unix front, at the end of which its line is expected. There is one at a time,
    /// since the lines of all of them have the same client.
    func atUnixFront(_ body: (Opened) throws -> Void) throws {
        try unixLock.withLock { _ throws in
            var opened: Opened?
            try alone(1) {
                let client = try Wire.connect(path: table.path)
                let server = try accept(servers, ofNobody: true)
                let line = SessionBook.Expectation(
                    client: "unix", front: table.address(.unix), instance: server.instance, bytesIn: 0...0,
                    bytesOut: 0...0, ends: ["--"])
                opened = Opened(client: client, server: server.wire, line: line, isUnix: true)
            }
            guard let opened else { throw TestFailure("no connection") }
            try body(opened)
            try book.settle("unix")
            tally.note(.unixSession)
        }
    }

    /// Sends a header, in two parts. Answers who the client is from then on.
    private func say(_ claim: Claim, _ client: Caller, _ itself: Introduction) throws -> Introduction {
        let claimed = Introduction(source: claim.source, destination: "198.51.100.7:443")
        let header = claimed.header(claim.form)
        let cut = min(claim.cut, header.count)
        try client.wire.send(Array(header[..<cut]))
        try client.wire.send(Array(header[cut...]))
        switch claim.form {
        case .v1: tally.note(.headerV1)
        case .v2: tally.note(.headerV2)
        case .unknown, .local: tally.note(.headerOfNobody)
        }
        return claim.form.namesNobody ? itself : claimed
    }

    func listenAgain() throws {
        try servers[0].startListening()
        try servers[2].startListening()
    }

    // MARK: Short connections

    /// Clients that have asked, and wait for an answer, each from another address if `hosts` says so.
    func callers(_ count: Int, _ port: UInt16? = nil, hosts: (Int) -> UInt8 = { _ in 1 }) throws -> [Caller] {
        try (0..<count).map { number in
            let caller = try connect(port ?? proxy.port, Wire.Manner(host: hosts(number)))
            try caller.wire.send("\(100 + number)")
            return caller
        }
    }

    /// Answers so many clients at some servers: all of them, and then they hear it; or each hears it before the next one.
    /// Answers the names of the servers' peers.
    @discardableResult
    func exchange(_ callers: [Caller], with servers: [Server], _ port: UInt16? = nil, inTurn: Bool = false) throws
        -> Set<String>
    {
        var instances: [Int: String] = [:]
        var peers: Set<String> = []
        for _ in callers {
            let (wire, instance, introduction) = try accept(servers)
            let question = try wire.receiveText(3)
            guard let number = Int(question).map({ $0 - 100 }), callers.indices.contains(number),
                instances[number] == nil
            else { throw TestFailure("a server was asked \(question)") }
            let caller = callers[number].name
            guard introduction == nil || introduction?.source == caller else {
                throw TestFailure("\(caller) was introduced as \(String(describing: introduction))")
            }
            instances[number] = instance
            peers.insert(try wire.name(ofPeer: true))
            try wire.send("answer to \(question)")
            wire.close()
            if inTurn { try hearAnswer(number, callers[number], instance, port) }
        }
        if !inTurn {
            for (number, caller) in callers.enumerated() { try hearAnswer(number, caller, instances[number], port) }
        }
        tally.note(.shortConnection, callers.count)
        return peers
    }

    private func hearAnswer(_ number: Int, _ caller: Caller, _ instance: String?, _ port: UInt16?) throws {
        let answer = try caller.wire.receiveToEnd()
        guard answer == Wire.Whole("answer to \(100 + number)", .orderly) else {
            throw TestFailure("client \(number) of several got \(answer)")
        }
        caller.wire.close()
        expect(caller, port, ends: ["--"], instance: instance, bytesIn: 3, bytesOut: 13)
    }

    /// The line that a client's end must have.
    func expect(
        _ caller: Caller, _ port: UInt16? = nil, ends: Set<String>, instance: String? = nil, bytesIn: Int = 0,
        bytesOut: Int = 0, takesHeader: Bool = false
    ) {
        book.expect(
            SessionBook.Expectation(
                client: caller.name, front: "127.0.0.1:\(port ?? proxy.port)", instance: instance,
                bytesIn: bytesIn...bytesIn, bytesOut: bytesOut...bytesOut, ends: ends, takesHeader: takesHeader))
    }

    /// A client that the proxy turns away without a word.
    func expectReset(_ caller: Caller, _ what: String) throws {
        let whole = try caller.wire.receiveToEnd()
        guard whole == Wire.Whole("", .reset) else { throw TestFailure("\(what) got \(whole)") }
        caller.wire.close()
    }

    // MARK: Tables

    /// Waits until every client of the service is with its server: one on its way may go by the table before or after.
    func settle() throws {
        try eventually("no connect is under way") { try proxy.counts()?.isSettled == true ? true : nil }
    }

    /// Puts a table in force, and the one before when the body is done.
    func withTable(_ servers: [Server], _ change: () -> Void = {}, _ body: () throws -> Void) throws {
        change()
        try proxy.serve(servers)
        try body()
        (proxy.connectionsPerServer, proxy.parked) = (nil, [])
        try proxy.serve(self.servers)
    }

    /// A server is drained now; whoever comes to it next shows that it is so no longer.
    func noteDrained(_ server: Server) {
        drained.insert(server.port)
        tally.note(.drained)
    }

    /// What a front counts.
    func counts(_ port: UInt16) throws -> BalancerCounters.Counts {
        let front = try proxy.counters().fronts.first { $0.address == "127.0.0.1:\(port)" }
        guard let front else { throw TestFailure("there is no front 127.0.0.1:\(port)") }
        return front.counts
    }
}
