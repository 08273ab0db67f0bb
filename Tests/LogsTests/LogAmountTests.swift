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

    @Test func theNextProcessCountsFromItsBeginning() throws {
        let world = try LogWorld()
        try world.stdout.send("one\n")
        world.run()
        try world.crash()
        world.attach()
        #expect(world.amounts["api/1"] == nil)
        try world.stdout.send("two\n")
        world.run()
        #expect(world.amounts["api/1"] == LogAmount(lines: 1, bytes: 4))
    }

    @Test func instancesOfServicesThatAreGoneAreForgotten() {
        let amounts = LogAmounts()
        for name in ["a/1", "ab/1", "a/2"] { amounts.add(lines: 1, bytes: 2, of: name) }
        amounts.add(lines: 0, bytes: 0, of: "c/1")
        amounts.keep { $0.hasPrefix("a/") }
        #expect(["a/1", "a/2", "ab/1", "c/1"].map { amounts[$0]?.lines } == [1, 1, nil, nil])
    }
}
