import Glibc
import Links
import Platform
import TestSupport
import Testing

@testable import Balancer

@Suite("Loops share the clients")
struct SharingTests {
    /// Connects so many clients, one after the other, each of which is served before the next one comes.
    private func connect(_ count: Int, _ rig: Rig, _ backend: Backend) throws -> [(client: Peer, server: Peer)] {
        try (0..<count).map { _ in
            let (client, server) = try rig.pair(backend)
            try client.send("x")
            #expect(try server.receiveText(1) == "x")
            return (client, server)
        }
    }

    /// Waits until all loops together have so many connections, none more than twice as many as another, or half of all.
    private func expectEven(_ total: Int, _ rig: Rig) throws {
        let counts = try eventually("\(total) connections") {
            let counts = rig.engine.connectionsByLoop
            return counts.reduce(0, +) == total ? counts : nil
        }
        // Evener than that by far, mostly; but how often a loop rests has a limit, which fast clients reach. (Without any rest one
        // loop has four fifths.)
        #expect((counts.max() ?? 0) <= max(2 * (counts.min() ?? 0), total / 2), "\(counts)")
    }

    @Test("clients who stay are spread over the loops", arguments: [2, 4])
    func evens(loops: Int) throws {
        try Rig.run(loops: loops) { rig in
            let backend = try Backend()
            try rig.serve([backend])
            let pairs = try connect(96, rig, backend)
            try expectEven(96, rig)
            for (client, server) in pairs {
                try client.send("y")
                #expect(try server.receiveText(1) == "y")
            }
        }
    }

    @Test("a loop whose clients have left is the one that accepts")
    func comesBack() throws {
        try Rig.run(loops: 2) { rig in
            let backend = try Backend()
            try rig.serve([backend])
            var pairs = try connect(64, rig, backend)
            // Every other one leaves, then as many come: whoever rested must accept again.
            for round in 0..<6 {
                for (index, pair) in pairs.enumerated() where index % 2 == round % 2 {
                    pair.client.close()
                    pair.server.close()
                }
                pairs = pairs.enumerated().filter { $0.offset % 2 != round % 2 }.map(\.element)
                _ = try eventually("they have left") {
                    rig.engine.connectionsByLoop.reduce(0, +) == pairs.count ? true : nil
                }
                pairs += try connect(64 - pairs.count, rig, backend)
            }
            #expect(try rig.front.total == 64 + 6 * 32)
        }
    }

    @Test("a loop that rests goes on when the one that accepts has to pause")
    func pauseOfTheOther() throws {
        try Rig.run(loops: 2, { $0.connectionsPerLoop = 16 }) { rig in
            let backend = try Backend()
            try rig.serve([backend])
            // All places of both loops: whichever is full first, the other one takes the rest.
            let pairs = try connect(32, rig, backend)
            #expect(rig.engine.connectionsByLoop == [16, 16])
            pairs[0].client.close()
            pairs[0].server.close()
            _ = try connect(1, rig, backend)
        }
    }
}
