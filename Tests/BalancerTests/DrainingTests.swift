import Glibc
import Links
import Platform
import TestSupport
import Testing

@testable import Balancer

@Suite("Endpoints drain")
struct DrainingTests {
    @Test("a draining endpoint keeps its connections, takes no new one, and is reported when the last has ended")
    func drains() throws {
        try Rig.run(loops: 2) { rig in
            let (old, new) = (try Backend(), try Backend())
            try rig.serve([old])
            let pairs = try (0..<4).map { _ in try rig.pair(old) }
            for pair in pairs {
                try pair.client.send("x")
                #expect(try pair.server.receiveText(1) == "x")
            }
            try rig.apply([Rig.pool([old.endpoint(1, .draining), new.endpoint(2)])])
            for _ in 0..<4 {
                let client = try rig.connect()
                try client.send("y")
                #expect(try new.accept().receiveText(1) == "y")
            }
            #expect(!old.waits())
            #expect(!rig.received.contains(.drained(endpoint: 1)))
            for (index, pair) in pairs.enumerated() {
                try pair.client.send("still")
                #expect(try pair.server.receiveText(5) == "still")
                if index == 3 { #expect(!rig.received.contains(.drained(endpoint: 1))) }
                pair.client.close()
                pair.server.close()
            }
            try rig.expect(.drained(endpoint: 1))
            #expect(rig.received.count { $0 == .drained(endpoint: 1) } == 1)
        }
    }

    @Test("what is left after drainTimeout is cut, so that both sides see it")
    func cut() throws {
        try Rig.run { rig in
            let (old, new) = (try Backend(), try Backend())
            try rig.serve([old])
            let (client, server) = try rig.pair(old)
            try client.send("x")
            #expect(try server.receiveText(1) == "x")
            let start = monotonicNanoseconds()
            try rig.apply([Rig.pool([old.endpoint(1, .draining), new.endpoint(2)], drainTimeout: 0.3)])
            // The time counts from the first table that said so.
            try rig.apply([Rig.pool([old.endpoint(1, .draining), new.endpoint(2)], drainTimeout: 0.3)])
            #expect(client.receiveToEndOrError().code == ECONNRESET)
            #expect(server.receiveToEndOrError().code == ECONNRESET)
            #expect(monotonicNanoseconds() - start > 250_000_000)
            try rig.expect(.drained(endpoint: 1))
        }
    }

    @Test("the cut spares connections that took over the places of ended ones")
    func cutSparesOthers() throws {
        try Rig.run { rig in
            let (old, new) = (try Backend(), try Backend())
            try rig.serve([old])
            let ended = try (0..<4).map { _ in try Session(rig, [old]) }
            let staying = try Session(rig, [old])
            for session in ended { session.end() }
            _ = try eventually("they have ended") { try rig.front.current == 1 ? true : nil }
            // In the slots of those that have ended, while the old endpoint's time runs.
            try rig.apply([Rig.pool([old.endpoint(1, .draining), new.endpoint(2)], drainTimeout: 0.5)])
            let others = try (0..<4).map { _ in try Session(rig, [new]) }
            #expect(staying.client.receiveToEndOrError().code == ECONNRESET)
            #expect(staying.server.receiveToEndOrError().code == ECONNRESET)
            try rig.expect(.drained(endpoint: 1))
            for session in others {
                try session.client.send("still")
                #expect(try session.server.receiveText(5) == "still")
            }
            // And the same for an endpoint's slot: the next one that is cut is another one in the same place.
            let newest = try Backend()
            try rig.apply([Rig.pool([new.endpoint(2), newest.endpoint(3)])])
            try rig.apply([Rig.pool([new.endpoint(2, .draining), newest.endpoint(3)], drainTimeout: 0)])
            for session in others { #expect(session.client.receiveToEndOrError().code == ECONNRESET) }
            try rig.expect(.drained(endpoint: 2))
            #expect(try Session(rig, [newest]).index == 0)
        }
    }

    @Test(
        "a parked endpoint takes nothing new and is never cut, and takes part again when it is active",
        arguments: [1, 2])
    func parks(loops: Int) throws {
        try Rig.run(loops: loops) { rig in
            let (first, second) = (try Backend(), try Backend())
            try rig.serve([first])
            let session = try Session(rig, [first])
            try rig.apply([Rig.pool([first.endpoint(1, .parked), second.endpoint(2)], drainTimeout: 0)])
            for _ in 0..<3 { #expect(try Session(rig, [first, second]).index == 1) }
            try session.client.send("still")
            #expect(try session.server.receiveText(5) == "still")
            #expect(!rig.received.contains(.drained(endpoint: 1)))
            // From draining too: no cut hangs over it.
            try rig.apply([Rig.pool([first.endpoint(1, .draining), second.endpoint(2)], drainTimeout: 30)])
            try rig.apply([Rig.pool([first.endpoint(1, .parked), second.endpoint(2)], drainTimeout: 0)])
            try rig.apply([Rig.pool([first.endpoint(1), second.endpoint(2)])])
            #expect(Set(try (0..<4).map { _ in try Session(rig, [first, second]).index }) == [0, 1])
            try session.client.send("still")
            #expect(try session.server.receiveText(5) == "still")
            try rig.apply([Rig.pool([first.endpoint(1, .parked), second.endpoint(2)])])
            session.end()
            try rig.expect(.drained(endpoint: 1))
        }
    }

    @Test("an endpoint that drains or goes without connections is reported right after the table is in force")
    func nothingToDrain() throws {
        try Rig.run { rig in
            let backends = try (0..<2).map { _ in try Backend() }
            try rig.serve(backends)
            let revision = try rig.apply([Rig.pool([backends[0].endpoint(1, .draining)])])
            try rig.expect(.drained(endpoint: 1))
            try rig.expect(.drained(endpoint: 2))
            let notices = rig.received
            let applied = try #require(notices.firstIndex(of: .applied(revision: revision)))
            #expect(try #require(notices.firstIndex(of: .drained(endpoint: 1))) > applied)
            #expect(try #require(notices.firstIndex(of: .drained(endpoint: 2))) > applied)
        }
    }

    @Test("connections of an endpoint that has left the table go on")
    func goneEndpoint() throws {
        try Rig.run { rig in
            let (old, new) = (try Backend(), try Backend())
            try rig.serve([old])
            let (client, server) = try rig.pair(old)
            try rig.apply([Rig.pool([new.endpoint(2)])])
            try client.send("x")
            #expect(try server.receiveText(1) == "x")
            #expect(!rig.received.contains(.drained(endpoint: 1)))
            server.close()
            #expect(try client.receiveToEnd() == [])
            client.close()
            try rig.expect(.drained(endpoint: 1))
        }
    }

    @Test("counters of an instance go on over its generations, and go with its service")
    func countersSurvive() throws {
        try Rig.run { rig in
            let backend = try Backend()
            for generation in 1...3 {
                try rig.apply([Rig.pool([backend.endpoint(UInt64(generation), instance: "api/1")])])
                let (client, server) = try rig.pair(backend)
                try client.send("x")
                _ = try server.receive(1)
                try rig.apply([Rig.pool([])])
            }
            #expect(try rig.instance("api/1").total == 3)
            #expect(try rig.instance("api/1").bytesIn == 3)
            try rig.apply([])
            _ = try eventually("forgotten") { try rig.counters.endpoints.isEmpty ? true : nil }
        }
    }

    @Test("a new supervisor is told what the balancer has, and hears again of what has drained")
    func newSupervisor() throws {
        try Rig.run { rig in
            let backend = try Backend()
            let revision = try rig.apply([Rig.pool([backend.endpoint(1, .draining)])])
            try rig.expect(.drained(endpoint: 1))
            rig.engine.receive(.hello(version: linkVersion))
            try rig.expect(.hello(version: linkVersion, listeners: ["front"], revision: revision))
            try rig.apply([Rig.pool([backend.endpoint(1, .draining)])])
            _ = try rig.find("drained again") { $0.count { $0 == .drained(endpoint: 1) } == 2 ? true : nil }
        }
    }
}
