import CPlatform
import Glibc
import Links
import Platform
import TestSupport
import Testing

@testable import Balancer

@Suite("The balancer's role serves its two links")
struct RoleTests {
    /// The other ends of a role's links.
    private final class World: Sendable {
        let keeper: LinkConnection
        let supervisor: LinkConnection
        let role: BalancerRole
        private let code = Lock<Int32?>(nil)

        init() throws {
            let (keeper, keeperEnd) = try LinkConnection.pair()
            let (supervisor, supervisorEnd) = try LinkConnection.pair()
            (self.keeper, self.supervisor) = (keeper, supervisor)
            var engine = BalancerEngine.Configuration()
            engine.descriptors = 1024
            let box = ExitBox()
            role = BalancerRole(keeper: keeperEnd, supervisor: supervisorEnd, engine: engine) { box.set($0) }
            exits = box
            role.start()
        }

        private let exits: ExitBox

        var exitCode: Int32? { exits.code }

        func tell(_ request: BalancerRequest, _ descriptors: [Descriptor] = []) throws {
            #expect(try supervisor.send(request, descriptors: descriptors) == .sent)
        }

        /// The next notice that is no line for the log.
        func notice() throws -> BalancerNotice {
            while true {
                let notice = try next(BalancerNotice.self, supervisor)
                if case .log = notice { continue }
                return notice
            }
        }

        func next<Message: LinkMessage>(_ type: Message.Type, _ link: LinkConnection) throws -> Message {
            var entry = pollfd(fd: link.descriptor.raw, events: Int16(POLLIN), revents: 0)
            guard poll(&entry, 1, 30_000) == 1 else { throw TestFailure("no message") }
            guard case .message(let message, _) = link.receive(type) else { throw TestFailure("no message but an end") }
            return message
        }

        func stop() throws {
            let isDone = DoneBox()
            role.engine.stop { isDone.set() }
            _ = try eventually("stopped") { isDone.isSet ? true : nil }
        }
    }

    private final class ExitBox: Sendable {
        private let value = Lock<Int32?>(nil)
        var code: Int32? { value.withLock { $0 } }
        func set(_ code: Int32) { value.withLock { $0 = $0 ?? code } }
    }

    private final class DoneBox: Sendable {
        private let value = Lock(false)
        var isSet: Bool { value.withLock { $0 } }
        func set() { value.withLock { $0 = true } }
    }

    @Test("it says hello, answers pings, takes listeners and tables, and balances")
    func serves() throws {
        let world = try World()
        #expect(try world.next(KeeperRequest.self, world.keeper) == .hello(version: linkVersion))
        for _ in 0..<3 {
            #expect(try world.keeper.send(KeeperNotice.ping) == .sent)
            #expect(try world.next(KeeperRequest.self, world.keeper) == .pong)
        }
        try world.tell(.hello(version: linkVersion))
        #expect(try world.notice() == .hello(version: linkVersion, listeners: [], revision: 0))
        let front = try listen(on: .ipv4("127.0.0.1", port: 0))
        let port = try #require(try SocketAddress.local(of: front).port)
        let backend = try Backend()
        try world.tell(.listener(id: "front"), [front])
        try world.tell(.table(RoutingTable(revision: 3, loops: 2, pools: [Rig.pool([backend.endpoint(1)])])))
        #expect(try world.notice() == .applied(revision: 3))
        let client = try Peer.connect(port: port)
        try client.send("hello")
        #expect(try backend.accept().receiveText(5) == "hello")
        // A new supervisor on the same link.
        try world.tell(.hello(version: linkVersion))
        #expect(try world.notice() == .hello(version: linkVersion, listeners: ["front"], revision: 3))
        try world.tell(.queryCounters(query: 9))
        guard case .counters(9, let counters) = try world.notice() else { throw TestFailure("no counters") }
        #expect(counters.fronts.map(\.counts.total) == [1])
        try world.stop()
    }

    @Test("it exits with 0 when the keeper is gone")
    func keeperGone() throws {
        let keeper: ExitBox = try {
            let (keeper, keeperEnd) = try LinkConnection.pair()
            let (_, supervisorEnd) = try LinkConnection.pair()
            let box = ExitBox()
            BalancerRole(
                keeper: keeperEnd, supervisor: supervisorEnd, engine: BalancerEngine.Configuration()
            ) { box.set($0) }.start()
            withExtendedLifetime(keeper) {}
            return box
        }()
        #expect(try eventually("it exits") { keeper.code } == 0)
    }

    @Test("messages that make no sense are passed over")
    func nonsense() throws {
        let world = try World()
        for text in [
            "", "{", "null", "{\"other\":{}}", "{\"table\":{\"_0\":{}}}", "@", "@99999999999999999999", "@5", "@-1",
        ] {
            guard !text.isEmpty else { continue }
            #expect(
                send(world.supervisor.descriptor.raw, text, text.utf8.count, Int32(MSG_NOSIGNAL)) == text.utf8.count)
        }
        try world.tell(.hello(version: 99))
        #expect(try world.notice() == .hello(version: linkVersion, listeners: [], revision: 0))
        #expect(world.exitCode == nil)
    }

    @Test("a link that carries only nonsense ends it")
    func onlyNonsense() throws {
        let world = try World()
        for _ in 0..<100 { #expect(send(world.supervisor.descriptor.raw, "x", 1, Int32(MSG_NOSIGNAL)) == 1) }
        #expect(try eventually("it exits") { world.exitCode } == 1)
    }

    @Test("a supervisor that does not read is no harm, and gets everything in order later")
    func slowSupervisor() throws {
        let world = try World()
        try world.tell(.hello(version: linkVersion))
        let queries: UInt64 = 3000
        var sent: UInt64 = 0
        while sent < queries {
            if try world.supervisor.send(BalancerRequest.queryCounters(query: sent)) == .sent {
                sent += 1
            } else {
                usleep(1000)
            }
        }
        #expect(try world.notice() == .hello(version: linkVersion, listeners: [], revision: 0))
        for query in 0..<queries { #expect(try world.notice() == .counters(query: query, BalancerCounters())) }
    }
}
