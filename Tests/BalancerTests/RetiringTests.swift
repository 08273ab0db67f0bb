import Glibc
import Links
import Platform
import TestSupport
import Testing

@testable import Balancer

@Suite("A balancer retires")
struct RetiringTests {
    /// Set once a balancer has ended.
    private final class End: Sendable {
        private let value = Lock(false)
        var hasCome: Bool { value.withLock { $0 } }
        func come() { value.withLock { $0 = true } }
    }

    /// Lets a rig's engine retire.
    private func retire(_ rig: Rig) -> End {
        let end = End()
        rig.engine.retire { end.come() }
        return end
    }

    @Test("it serves what it has, leaves new connections to the next, and ends with its last one", arguments: [1, 2])
    func serves(loops: Int) throws {
        try Rig.run(loops: loops) { old in
            let backend = try Backend()
            try old.serve([backend])
            let pairs = try (0..<3).map { _ in try old.pair(backend) }
            let next = BalancerEngine(.small) { _ in }
            defer { next.stop {} }
            next.receive(.listener(id: "front"), [old.frontSocket])
            next.receive(.table(RoutingTable(revision: 1, loops: loops, pools: [Rig.pool([backend.endpoint(1)])])))
            let end = retire(old)
            for _ in 0..<20 {
                let (client, server) = try old.pair(backend)
                try client.send("new")
                #expect(try server.receiveText(3) == "new")
                client.close()
                #expect(try server.receiveToEnd() == [])
                server.close()
            }
            for (index, pair) in pairs.enumerated() {
                try pair.client.send("old")
                #expect(try pair.server.receiveText(3) == "old")
                #expect(!end.hasCome)
                if index == 2 { break }
                pair.client.close()
                pair.server.close()
            }
            pairs[2].client.close()
            pairs[2].server.close()
            try eventually("its end") { end.hasCome ? true : nil }
        }
    }

    @Test("one without connections ends at once, and so does one that never had a table", arguments: [true, false])
    func empty(hasTable: Bool) throws {
        try Rig.run { rig in
            let backend = try Backend()
            if hasTable { try rig.serve([backend]) }
            let end = retire(rig)
            try eventually("its end") { end.hasCome ? true : nil }
        }
    }

    @Test("what is left after drainTimeout is cut, so that both sides see it")
    func cut() throws {
        try Rig.run { rig in
            let backend = try Backend()
            try rig.apply([Rig.pool([backend.endpoint(1)], drainTimeout: 0.3)])
            let (client, server) = try rig.pair(backend)
            try client.send("x")
            #expect(try server.receiveText(1) == "x")
            let start = monotonicNanoseconds()
            let end = retire(rig)
            #expect(client.receiveToEndOrError().code == ECONNRESET)
            #expect(server.receiveToEndOrError().code == ECONNRESET)
            #expect(monotonicNanoseconds() - start > 250_000_000)
            try eventually("its end") { end.hasCome ? true : nil }
        }
    }

    @Test("a connection that waits for an endpoint waits on, and is served")
    func waiting() throws {
        try Rig.run { rig in
            let backend = try Backend()
            var pool = Rig.pool([backend.endpoint(1)])
            pool.maxConnections = 1
            try rig.apply([pool])
            let (first, server) = try rig.pair(backend)
            let second = try rig.connect()
            try second.send("second")
            try eventually("one that waits") { try rig.front.queued == 1 ? true : nil }
            let end = retire(rig)
            first.close()
            server.close()
            let other = try backend.accept()
            #expect(try other.receiveText(6) == "second")
            #expect(!end.hasCome)
            second.close()
            other.close()
            try eventually("its end") { end.hasCome ? true : nil }
        }
    }

    @Test("no arrival is forgotten between the two, however they fall", arguments: [1, 2])
    func arrivals(loops: Int) throws {
        for _ in 0..<10 {
            try Rig.run(loops: loops) { old in
                let backend = try Backend()
                try old.serve([backend])
                let next = BalancerEngine(.small) { _ in }
                defer { next.stop {} }
                next.receive(.listener(id: "front"), [old.frontSocket])
                next.receive(
                    .table(RoutingTable(revision: 1, loops: loops, pools: [Rig.pool([backend.endpoint(1)])])))
                var clients: [Peer] = []
                for number in 0..<40 {
                    clients.append(try old.connect())
                    if number == 20 { _ = retire(old) }
                }
                // All are passed on, without another arrival that would wake anybody.
                for _ in clients { try backend.accept().close() }
            }
        }
    }

    @Test("what a supervisor says to it is not heard any more")
    func deaf() throws {
        try Rig.run { rig in
            let backend = try Backend()
            try rig.serve([backend])
            let (client, server) = try rig.pair(backend)
            let end = retire(rig)
            rig.engine.receive(.table(RoutingTable(revision: 9, loops: 1, pools: [])))
            try client.send("on")
            #expect(try server.receiveText(2) == "on")
            #expect(!end.hasCome)
            client.close()
            server.close()
            try eventually("its end") { end.hasCome ? true : nil }
            #expect(!rig.received.contains(.applied(revision: 9)))
        }
    }
}

extension BalancerEngine.Configuration {
    /// As a rig's.
    fileprivate static var small: Self {
        var configuration = Self()
        configuration.descriptors = 4096
        return configuration
    }
}
