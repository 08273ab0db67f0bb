import Glibc
import Links
import Platform
import TestSupport
import Testing

@testable import Balancer

@Suite("Shortages pause, and nothing spins")
struct ShortageTests {
    @Test("when all places are taken accepting pauses, and goes on when a connection closes")
    func placesTaken() throws {
        try Rig.run { configuration in
            configuration.connectionsPerLoop = 4
        } _: { rig in
            let backend = try Backend()
            try rig.serve([backend])
            let clients = try (0..<7).map { number in
                let client = try rig.connect()
                try client.send("\(number)")
                return client
            }
            let first = try (0..<4).map { _ in try backend.accept() }
            _ = try eventually("accepting pauses") { try rig.counters.acceptPauses > 0 ? true : nil }
            #expect(try rig.front.total == 4)
            #expect(!backend.waits(milliseconds: 50))
            for (number, server) in first.enumerated() {
                #expect(try server.receiveText(1) == "\(number)")
                server.close()
                clients[number].close()
            }
            for number in 4..<7 { #expect(try backend.accept().receiveText(1) == "\(number)") }
        }
    }

    @Test("as long as any loop has a place, whoever comes is served")
    func placesOfOtherLoops() throws {
        try Rig.run(loops: 2) { configuration in
            configuration.connectionsPerLoop = 4
        } _: { rig in
            let backend = try Backend()
            try rig.serve([backend])
            for _ in 0..<3 {
                // Nobody comes after the last one, who would bring along those before.
                let pairs = try (0..<8).map { _ in try rig.pair(backend) }
                for pair in pairs { pair.client.reset() }
                _ = try eventually("all places are free") { try rig.front.current == 0 ? true : nil }
            }
        }
    }

    @Test("without descriptors accepting pauses, and recovers", arguments: [EMFILE, ENFILE, ENOMEM])
    func noDescriptors(code: Int32) throws {
        try Rig.run { rig in
            let backend = try Backend()
            try rig.serve([backend])
            rig.engine.failAccepts(loop: 0, count: 3, code: code)
            // Behind it in every loop's mailbox.
            try rig.serve([backend])
            let client = try rig.connect()
            try client.send("x")
            #expect(try backend.accept().receiveText(1) == "x")
            // Three failures are three pauses, not thousands of tries.
            #expect(try rig.counters.acceptPauses == 3)
            // Whoever writes it to the log says whose it is.
            let text = try rig.find("why") {
                $0.lazy.compactMap { if case .log(_, let text) = $0 { text } else { nil } }.first
            }
            #expect(text == "pauses accepting: \(errorMessage(code))")
        }
    }

    @Test("the error of a connection that was gone before its accept stops nothing")
    func abortedConnection() throws {
        try Rig.run { rig in
            let backend = try Backend()
            try rig.serve([backend])
            rig.engine.failAccepts(loop: 0, count: 5, code: ECONNABORTED)
            // Behind it in every loop's mailbox.
            try rig.serve([backend])
            let client = try rig.connect()
            try client.send("x")
            #expect(try backend.accept().receiveText(1) == "x")
            #expect(try rig.counters.acceptPauses == 0)
        }
    }

    @Test("an idle balancer with open connections uses no processor time")
    func idle() throws {
        try Rig.run(loops: 2) { rig in
            let backend = try Backend()
            try rig.serve([backend])
            let pairs = try (0..<20).map { _ in try rig.pair(backend) }
            for pair in pairs {
                try pair.client.send("x")
                _ = try pair.server.receive(1)
            }
            // A loop that spins or polls is never quiet for so long; one that was only late is, the next time.
            try eventually("half a second without a wake-up") {
                let before = rig.engine.wakeUps
                usleep(500_000)
                return rig.engine.wakeUps == before ? true : nil
            }
            withExtendedLifetime(pairs) {}
        }
    }
}
