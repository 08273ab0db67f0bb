import Foundation
import Links
import Platform
import TestSupport
import Testing

@Suite("The link codec") struct LinkCodecTests {
    static let plan = SpawnPlan(
        id: .max, label: "api/2 \u{1F600} \"quoted\" \n", candidates: ["/bin/a", "/bin/b"], arguments: ["a", ""],
        environment: ["A=1", "B=ü"], processIDVariables: ["LISTEN_PID"], directory: "/",
        credentials: .init(user: .max, group: 0, supplementary: [1, 2]),
        umask: 0o77, limits: [.init(resource: 7, soft: .max, hard: 0)], capturesOutput: false,
        passed: [.init(number: 3, held: "ready 7 writing")])

    static let requests: [KeeperRequest] = [
        .hello(version: 1), .pong, .relabel(id: 7, label: "leader a/1 7 20000 ready"),
        .spawn(plan), .signal(id: .max, number: 9, group: true),
        .signalOrphan(pid: 5, number: 15), .queryGroup(id: 0), .release(id: 1),
        .standby(for: 3, port: 20000, plan), .standDown(id: 3), .hold(name: ""), .drop(name: "a/b"),
        .startBalancer(nil), .startBalancer(RoleCredentials(user: 1, group: 2)), .replaceBalancer(pid: 5), .ready,
        .status("text"),
        .stopping(microseconds: .max), .exit(code: -1),
    ]

    static let notices: [KeeperNotice] = [
        .welcome(version: 1, runs: 2, crashes: 3, scope: "s", highestID: .max),
        .child(id: 1, label: "l", pid: 2, state: .spawning), .held(name: "n"), .inventoryEnd,
        .spawned(id: 1, pid: 2),
        .spawnFailed(id: 1, failure: SpawnFailure(stage: .limit, code: 1, limit: 7)),
        .exited(id: 1, exit: .code(255), groupEmpty: false),
        .exited(id: 1, exit: .signal(11, coreDumped: true), groupEmpty: true),
        .exited(id: 1, exit: .code(0), groupEmpty: true, heir: .max), .group(id: 1, empty: true),
        .adopted(pid: 1, scope: nil), .adopted(pid: 1, scope: "s"), .orphanExited(pid: 1), .shutdown(signal: 2),
        .balancerStarted(pid: 3), .balancerStarted(pid: 3, runs: 7), .balancerExited(exit: .code(0)), .ping,
    ]

    @Test("gives back every request as it was", arguments: requests)
    func requestsRoundTrip(request: KeeperRequest) throws {
        let encoded = try LinkCodec.encode(request)
        #expect(encoded.file == nil)
        let decoded = try LinkCodec.decode(KeeperRequest.self, packet: encoded.packet, descriptors: [])
        #expect(decoded.message == request)
    }

    @Test("gives back every notice as it was", arguments: notices)
    func noticesRoundTrip(notice: KeeperNotice) throws {
        let encoded = try LinkCodec.encode(notice)
        #expect(try LinkCodec.decode(KeeperNotice.self, packet: encoded.packet, descriptors: []).message == notice)
    }

    /// A routing table in which no field has the value that it has by itself, so that one that is left out is missed.
    static let table: RoutingTable = {
        var pool = RoutingTable.Pool(
            service: "api", fronts: [], endpoints: [], emptiness: .refuse, queueTimeout: 1, holdUntil: 2,
            connectTimeout: 3, drainTimeout: 4)
        pool.idleTimeout = 5
        pool.finTimeout = 6
        pool.algorithm = .random2
        pool.slowStart = 7
        pool.maxConnections = 8
        pool.maxQueue = 9
        pool.proxyProtocol = .v2
        pool.logsSessions = true
        pool.announcesWaiting = true
        var front = RoutingTable.Front(address: "unix:/a", listeners: ["a", "b"])
        front.maxConnections = 10
        front.maxConnectionsPerAddress = 11
        front.allow = [.init(bytes: [10, 0, 0, 0], prefix: 8), .init(bytes: Array(1...16), prefix: 128)]
        front.acceptsProxyProtocol = true
        front.options.keepAliveSeconds = 12
        front.options.userTimeoutMilliseconds = 13
        front.options.backlog = 14
        front.options.deferAcceptSeconds = 15
        var closed = RoutingTable.Front(address: "127.0.0.1:80", listeners: [])
        closed.allow = []
        closed.options.keepAliveSeconds = nil
        pool.fronts = [front, closed]
        pool.endpoints = [RoutingTable.Endpoint.State.active, .draining, .parked].enumerated().map {
            .init(id: .max - UInt64($0), instance: "api/\($0)", port: .max - UInt16($0), state: $1)
        }
        return RoutingTable(revision: .max, loops: 16, pools: [pool, pool])
    }()

    @Test("gives back a routing table with all that it says, whatever is not set too")
    func tableRoundTrip() throws {
        var plain = Self.table
        plain.pools = [
            RoutingTable.Pool(
                service: "api", fronts: [.init(address: "a", listeners: [])], endpoints: [], emptiness: .hold,
                queueTimeout: 1, holdUntil: nil, connectTimeout: 3, drainTimeout: 4)
        ]
        // Else it would not show that a field is left out.
        let (set, standard) = (Self.table.pools[0], plain.pools[0])
        for (field, other) in zip(Mirror(reflecting: set).children, Mirror(reflecting: standard).children)
        where !["service", "queueTimeout", "connectTimeout", "drainTimeout"].contains(field.label) {
            #expect("\(field.value)" != "\(other.value)", "\(field.label ?? "")")
        }
        for (field, other) in [
            (Mirror(reflecting: set.fronts[0]), Mirror(reflecting: standard.fronts[0])),
            (Mirror(reflecting: set.fronts[0].options), Mirror(reflecting: standard.fronts[0].options)),
        ].flatMap({ zip($0.children, $1.children) }) {
            #expect("\(field.value)" != "\(other.value)", "\(field.label ?? "")")
        }
        for table in [Self.table, plain] {
            let encoded = try LinkCodec.encode(BalancerRequest.table(table))
            let decoded = try LinkCodec.decode(
                BalancerRequest.self, packet: encoded.packet, descriptors: [encoded.file?.descriptor].compactMap { $0 })
            #expect(decoded.message == .table(table))
        }
    }

    @Test("puts a long message into a file, the last descriptor")
    func longMessages() throws {
        let notice = KeeperNotice.held(name: String(repeating: "n", count: LinkCodec.inlineLimit))
        let encoded = try LinkCodec.encode(notice)
        let file = try #require(encoded.file)
        #expect(encoded.packet.count < 20)
        let other = try MemoryFile(name: "other").descriptor
        let decoded = try LinkCodec.decode(
            KeeperNotice.self, packet: encoded.packet, descriptors: [other, file.descriptor])
        #expect(decoded.message == notice)
        #expect(decoded.descriptors.map(\.raw) == [other.raw])
    }

    @Test(
        "sends what a restart takes in a binary form, and understands it as JSON too",
        arguments: [
            KeeperRequest.spawn(plan), .standby(for: 3, port: 20000, plan), .release(id: 7),
        ])
    func binaryForms(request: KeeperRequest) throws {
        #expect(try LinkCodec.encode(request).packet.first == UInt8(ascii: "#"))
        let json = [UInt8](try JSONEncoder().encode(request))
        #expect(try LinkCodec.decode(KeeperRequest.self, packet: json, descriptors: []).message == request)
    }

    @Test("puts a plan that is too long for a packet into a file")
    func longPlans() throws {
        var plan = Self.plan
        plan.environment = Array(repeating: "NAME=" + String(repeating: "v", count: 1000), count: 200)
        let encoded = try LinkCodec.encode(KeeperRequest.spawn(plan))
        let file = try #require(encoded.file)
        let decoded = try LinkCodec.decode(
            KeeperRequest.self, packet: encoded.packet, descriptors: [file.descriptor])
        #expect(decoded.message == .spawn(plan))
    }

    @Test("refuses every truncation of a notice, and bytes after its end", arguments: notices)
    func truncatedNotices(notice: KeeperNotice) throws {
        let packet = try LinkCodec.encode(notice).packet
        for changed in (0..<packet.count).map({ Array(packet.prefix($0)) }) + [packet + [0]] {
            #expect(throws: LinkError.self) {
                try LinkCodec.decode(KeeperNotice.self, packet: changed, descriptors: [])
            }
        }
    }

    @Test("refuses every truncation of a message", arguments: requests)
    func truncations(request: KeeperRequest) throws {
        let packet = try LinkCodec.encode(request).packet
        for length in 0..<packet.count {
            #expect(throws: LinkError.self) {
                try LinkCodec.decode(KeeperRequest.self, packet: Array(packet.prefix(length)), descriptors: [])
            }
        }
    }

    @Test(
        "refuses what is no message of the protocol",
        arguments: [
            "", " ", "#", "#\u{1}", "#\u{2}1234567", "#\u{2}123456789", "#\u{7F}", "{}", "[]", "0", "null", "true",
            "\"pong\"", #"{"nothing":{}}"#, #"{"pong":{},"ready":{}}"#,
            #"{"hello":{}}"#, #"{"hello":{"version":"1"}}"#, #"{"hello":{"version":1e99}}"#,
            #"{"hello":{"version":9223372036854775808}}"#, #"{"release":{"id":-1}}"#,
            #"{"release":{"id":18446744073709551616}}"#, #"{"signal":{"id":1,"number":4294967296,"group":true}}"#,
            #"{"hold":{"name":null}}"#, #"{"spawn":{"_0":{}}}"#, "@", "@-1", "@x", "@1", "@0", "@99999999999999999999",
            "@18446744073709551615", "@67108865", String(repeating: "[", count: 100_000),
            String(repeating: #"{"hello":"#, count: 10_000),
        ])
    func nonsense(text: String) throws {
        #expect(throws: LinkError.self) {
            try LinkCodec.decode(KeeperRequest.self, packet: Array(text.utf8), descriptors: [])
        }
    }

    @Test("survives random changes of messages", arguments: 0..<50)
    func randomChanges(seed: Int) throws {
        var random = SeededRandom(seed: UInt64(seed))
        for request in Self.requests {
            var packet = try LinkCodec.encode(request).packet
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                let index = Int.random(in: 0..<packet.count, using: &random)
                packet[index] = UInt8.random(in: 0...255, using: &random)
            }
            // Whatever it means, it is a message or an error.
            _ = try? LinkCodec.decode(KeeperRequest.self, packet: packet, descriptors: [])
        }
    }

    @Test("refuses a file that is no file in memory, or not as long as announced")
    func badFiles() throws {
        let pipe = try makePipe()
        // What was sent is at fault, not the system: who receives it goes on.
        do throws(LinkError) {
            _ = try LinkCodec.decode(KeeperRequest.self, packet: Array("@10".utf8), descriptors: [pipe.read])
            Issue.record("a pipe was read as a file")
        } catch {
            if case .system = error { Issue.record("\(error)") }
        }
        let file = try MemoryFile(name: "test")
        try file.replaceContents(try LinkCodec.encode(KeeperRequest.pong).packet)
        let size = try file.size()
        for announced in [0, size - 1, size + 1] {
            #expect(throws: LinkError.self) {
                try LinkCodec.decode(
                    KeeperRequest.self, packet: Array("@\(announced)".utf8), descriptors: [file.descriptor])
            }
        }
        let whole = try LinkCodec.decode(
            KeeperRequest.self, packet: Array("@\(size)".utf8), descriptors: [file.descriptor])
        #expect(whole.message == .pong)
    }
}

@Suite("A link") struct LinkConnectionTests {
    @Test("carries messages and descriptors in order, and says when it is empty, full and closed")
    func carries() throws {
        let (left, right) = try LinkConnection.pair()
        guard case .wouldBlock = right.receive(KeeperRequest.self) else { throw Unexpected("not empty") }
        let file = try MemoryFile(name: "test")
        try file.replaceContents([1, 2, 3])
        #expect(try left.send(KeeperRequest.hold(name: "a"), descriptors: [file.descriptor]) == .sent)
        var sent = 1
        while try left.send(KeeperRequest.queryGroup(id: UInt64(sent))) == .sent { sent += 1 }
        guard case .message(.hold(name: "a"), let descriptors) = right.receive(KeeperRequest.self) else {
            throw Unexpected("no hold")
        }
        #expect(try MemoryFile(received: try #require(descriptors.first)).read(limit: 10) == [1, 2, 3])
        for id in 1..<sent {
            guard case .message(let request, _) = right.receive(KeeperRequest.self) else { throw Unexpected("\(id)") }
            #expect(request == .queryGroup(id: UInt64(id)))
        }
        #expect(try right.send(KeeperNotice.ping) == .sent)
    }

    @Test("says that the other end is closed, after what was sent before")
    func closes() throws {
        let right: LinkConnection
        do {
            let left: LinkConnection
            (left, right) = try LinkConnection.pair()
            #expect(try left.send(KeeperRequest.pong) == .sent)
        }
        guard case .message(.pong, _) = right.receive(KeeperRequest.self) else { throw Unexpected("no pong") }
        // For a moment every program that another test has just forked has a copy of the other end.
        try eventually("the end") { if case .closed = right.receive(KeeperRequest.self) { true } else { nil } }
        #expect(try right.send(KeeperNotice.ping) == .closed)
    }

    @Test("takes nothing long from who has nothing long to say")
    func briefMessages() throws {
        let (left, right) = try LinkConnection.pair()
        _ = try left.send(KeeperRequest.pong)
        guard case .message(.pong, _) = right.receive(KeeperRequest.self, isBrief: true) else {
            throw TestFailure("no pong")
        }
        let status = KeeperRequest.status(String(repeating: "x", count: LinkCodec.briefLimit))
        _ = try left.send(status)
        guard case .malformed(.malformed) = right.receive(KeeperRequest.self, isBrief: true) else {
            throw TestFailure("took a long packet")
        }
        let (third, fourth) = try LinkConnection.pair()
        _ = try third.send(KeeperRequest.status(String(repeating: "x", count: LinkCodec.inlineLimit)))
        guard case .malformed(.malformed) = fourth.receive(KeeperRequest.self, isBrief: true) else {
            throw TestFailure("took a file")
        }
    }

    @Test("carries a message far larger than a packet")
    func largeMessages() throws {
        let (left, right) = try LinkConnection.pair()
        let text = String(repeating: "0123456789", count: 1_000_000)
        #expect(try left.send(KeeperRequest.status(text)) == .sent)
        guard case .message(let request, let descriptors) = right.receive(KeeperRequest.self) else {
            throw Unexpected("no message")
        }
        #expect(request == .status(text))
        #expect(descriptors.isEmpty)
    }

    @Test("refuses a message beyond all measure, and more descriptors than fit beside one")
    func limits() throws {
        let (left, _) = try LinkConnection.pair()
        #expect(throws: LinkError.self) {
            try left.send(KeeperRequest.status(String(repeating: "x", count: LinkCodec.messageLimit)))
        }
        let many = Array(repeating: left.descriptor, count: PacketSocket.descriptorLimit + 1)
        #expect(throws: LinkError.self) { try left.send(KeeperRequest.pong, descriptors: many) }
    }
}

struct Unexpected: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
