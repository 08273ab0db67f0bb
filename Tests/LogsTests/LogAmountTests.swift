import Testing

@testable import Logs

@Suite struct LogAmountTests {
    @Test func linesAndBytesAreCountedHoweverTheyWereCutIntoWrites() throws {
        let world = try LogWorld()
        #expect(world.amounts["api/1"] == nil)
        for part in ["one\ntwo\n", "thr", "ee\n\n", String(repeating: "x", count: 40_000), "\nrest"] {
            try world.stdout.send(part)
            world.run()
        }
        try world.stderr.send("oops\n")
        world.run()
        // Lines that have ended: one, two, three, an empty one, a long one in pieces; and one of stderr.
        #expect(world.amounts["api/1"] == LogAmount(lines: 6, bytes: UInt64(world.stdout.sent.count + 5)))
        world.writer.finish(generation: 1)
        #expect(world.amounts["api/1"] == LogAmount(lines: 7, bytes: UInt64(world.stdout.sent.count + 5)))
    }

    @Test func theNextProcessGoesOn() throws {
        let world = try LogWorld()
        try world.stdout.send("one\n")
        world.run()
        try world.crash()
        world.attach()
        #expect(world.amounts["api/1"] == LogAmount(lines: 1, bytes: 4))
        try world.stdout.send("two\n")
        world.run()
        #expect(world.amounts["api/1"] == LogAmount(lines: 2, bytes: 8))
    }
}
