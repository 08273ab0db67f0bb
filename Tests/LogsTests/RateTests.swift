import Glibc
import Platform
import TestSupport
import Testing

@testable import Logs

/// `log.rate`: so many lines a second are kept, and the others counted.
@Suite struct RateTests {
    /// A second of the lines' clock.
    private static let second: Int64 = 1_000_000_000
    private static let begin: Int64 = 1_800_000_000 * second

    private func note(_ lines: Int, _ bytes: Int, rate: Int) -> String {
        "[supd] dropped \(lines) lines (\(bytes) bytes): more than \(rate) a second (log.rate)"
    }

    private func world(rate: UInt32) throws -> (LogWorld, Locked<Int64>) {
        let world = try LogWorld(rate: rate)
        let time = Locked(Self.begin)
        world.writer.clock = { time.value }
        return (world, time)
    }

    @Test func `what is more than the rate is dropped, and told of once a second`() throws {
        let (world, time) = try world(rate: 3)
        for second in 0..<3 {
            time.update { $0 = Self.begin + Int64(second) * Self.second }
            for number in 0..<10 {
                try world.stdout.send("\(second).\(number)\n")
                if number % 4 == 0 { world.run() }
            }
            world.run()
        }
        let kept = (0..<3).flatMap { second in (0..<3).map { "\(second).\($0)" } }
        #expect(try world.written() == kept)
        #expect(try world.written(.stderr) == [note(7, 28, rate: 3), note(7, 28, rate: 3)])
        #expect(world.losses["api/1"] == LogLoss(lines: 21, bytes: 84, code: LogLoss.overRate))
        #expect(world.losses["api/1"]?.reason == "more lines a second than log.rate allows")
        #expect(world.amounts["api/1"]?.lines == 30)
        // The operator hears of it once.
        #expect(world.notices.all == [.flooding(instance: "api/1", rate: 3)])
        // The rest is told when nothing follows, but not within the second.
        #expect(world.writer.hasUnwrittenNotes)
        world.writer.writeNotes()
        #expect(world.writer.hasUnwrittenNotes)
        time.update { $0 += Self.second }
        world.writer.writeNotes()
        #expect(!world.writer.hasUnwrittenNotes)
        #expect(try world.written(.stderr).count == 3)
    }

    @Test func `each stream has its own rate, and the second begins anew when the clock is set back`() throws {
        let (world, time) = try world(rate: 1)
        try world.stdout.send("out\nmore\n")
        try world.stderr.send("error\n")
        world.run()
        time.update { $0 -= 100 * Self.second }
        try world.stdout.send("earlier\n")
        world.run()
        #expect(try world.written() == ["out", "earlier"])
        #expect(try world.written(.stderr) == ["error", note(1, 5, rate: 1)])
    }

    @Test(arguments: [0, 1, 2])
    func `a long line is kept or dropped as a whole, over batches`(before: Int) throws {
        let (world, time) = try world(rate: 2)
        let line = String(repeating: "x", count: 50_000)
        for number in 0..<before { try world.stdout.send("\(number)\n") }
        for part in ["begin ", line, line, "\nlast", " words\n"] {
            try world.stdout.send(part)
            world.run()
            // What was begun is not looked at again in another second.
            if part == line { time.update { $0 += Self.second } }
        }
        let kept = (0..<before).map { "\($0)" } + (before < 2 ? ["begin \(line)\(line)"] : []) + ["last words"]
        #expect(try world.written() == kept)
        #expect(try world.written(.stderr).count == (before < 2 ? 0 : 2))
        let lost = before < 2 ? nil : LogLoss(lines: 1, bytes: 100_007, code: LogLoss.overRate)
        #expect(world.losses["api/1"] == lost)
    }

    @Test func `a rate is changed and taken away while the service runs`() throws {
        let (world, _) = try world(rate: 1)
        try world.stdout.send("a\nb\n")
        world.run()
        world.writer.updateSettings(generation: 1, maxSize: 1 << 20, keep: 1, rate: 3)
        try world.stdout.send("c\nd\ne\n")
        world.run()
        world.writer.updateSettings(generation: 1, maxSize: 1 << 20, keep: 1)
        try world.stdout.send("f\ng\n")
        world.run()
        #expect(try world.written() == ["a", "c", "d", "f", "g"])
        #expect(
            try world.written(.stderr) == ["[supd] dropped 2 lines (4 bytes): more lines a second than log.rate allows"]
        )
    }

    @Test func `what a process ends with is told of, its unfinished line, too`() throws {
        let (world, time) = try world(rate: 1)
        try world.stdout.send("a\nb\nlast")
        world.writer.finish(generation: 1)
        #expect(try world.written() == ["a"])
        time.update { $0 += Self.second }
        world.writer.writeNotes()
        #expect(try world.written(.stderr) == [note(1, 2, rate: 1), note(1, 5, rate: 1)])
        #expect(world.losses["api/1"]?.lines == 2)
    }

    @Test func `a full disk and a flood are counted together`() throws {
        let (world, time) = try world(rate: 2)
        let plan = FaultPlan { call, _ in call == "write" ? ENOSPC : nil }
        try world.stdout.send("a\nb\nc\n")
        FaultPlan.$current.withValue(plan) { world.run() }
        #expect(world.losses["api/1"] == LogLoss(lines: 3, bytes: 6, code: ENOSPC))
        time.update { $0 += Self.second }
        try world.stdout.send("d\n")
        world.run()
        #expect(try world.written() == ["d"])
        #expect(try world.written(.stderr) == ["[supd] dropped 3 lines (6 bytes): No space left on device"])
    }

    @Test(arguments: ["up on port 80", "up on " + String(repeating: "x", count: 20_000) + " 80"])
    func `a line that somebody waits for is seen, dropped or not`(line: String) throws {
        let directory = try TemporaryDirectory()
        let seen = Locked<[UInt64]>([])
        let writer = try LogWriter(
            directory: directory.path, journal: nil, seen: { generation in seen.update { $0.append(generation) } },
            report: { _ in })
        writer.clock = { Self.begin }
        let pipe = try ServicePipe()
        writer.awaitLine(LinePattern("up on * 80"), of: 7)
        writer.attach(
            generation: 7, instance: "api/1", stdout: pipe.reader, stderr: nil, maxSize: 1 << 20, keep: 1, rate: 1)
        try pipe.send("one\ntwo\nup on\n 80\nup")
        writer.takeTurn(budget: 1 << 20)
        #expect(seen.value == [])
        try pipe.send(String(line.dropFirst(2)))
        writer.takeTurn(budget: 1 << 20)
        try pipe.send("\nthree\n")
        writer.takeTurn(budget: 1 << 20)
        #expect(seen.value == [7])
        #expect(text(try lines(directory.path, "api/1")) == ["one"])
    }

    @Test func `a flood of what is dropped takes neither files nor memory`() throws {
        let (world, _) = try world(rate: 100)
        try PipeIO.setCapacity(world.stdout.reader, bytes: 1 << 20)
        try world.stdout.send([UInt8](repeating: 0x0a, count: 1 << 20))
        world.run()
        #expect(try lines(world.logs, "api/1").count == 100)
        #expect(world.losses["api/1"]?.lines == UInt64(1 << 20) - 100)
    }

    // MARK: Crashes

    /// Writes, the lines of which come in one second.
    private static let scripts: [[String]] = [
        ["a\n", "b\nc\nd\n", "e", "\n", "f\ng\n"],
        ["a\nb\n", String(repeating: "x", count: 40_000), "y\nlate\n", "later\n"],
        ["a\nb\nc\n", String(repeating: "x", count: 40_000), "y\nlate\n", "later\n"],
        [(0..<300).map { "line \($0)\n" }.joined()],
    ]

    @Test(arguments: [UInt64(4096), 1 << 20], scripts)
    func `a kill at any step keeps the same lines, and counts each of the others once`(
        maxSize: UInt64, script: [String]
    ) throws {
        let world = try LogWorld(maxSize: maxSize, rate: 3)
        world.writer.clock = { Self.begin }
        var wrecks: [(wreck: Wreck, sent: [UInt8])] = []
        var failure: (any Error)?
        world.writer.atStep = { step in
            do { wrecks.append((try Wreck(world, step, pipesEnd: false), world.stdout.sent)) } catch {
                failure = failure ?? error
            }
        }
        for part in script {
            try world.stdout.send(part)
            world.run()
        }
        world.writer.atStep = nil
        if let failure { throw failure }
        #expect(wrecks.count > script.count * 5)
        for (wreck, sent) in wrecks {
            let counts = try KeptCounts(resuming: #require(wreck.counts))
            let (losses, amounts) = (LogLosses(counts), LogAmounts(counts))
            let logs = wreck.directory.file("logs")
            let writer = try LogWriter(directory: logs, journal: wreck.journal, losses: losses, amounts: amounts) {
                _ in
            }
            writer.clock = { Self.begin + Self.second / 2 }
            writer.attach(
                generation: 1, instance: LogWorld.instance, stdout: wreck.stdout.reader, stderr: wreck.stderr.reader,
                maxSize: maxSize, keep: 1000, rate: 3)
            while writer.takeTurn(budget: 1 << 20) > 0 {}
            writer.finish(generation: 1)
            writer.clock = { Self.begin + Self.second }
            writer.writeNotes()

            let all = linesSent(sent)
            #expect(try lines(logs, LogWorld.instance) == Array(all.prefix(3)), "killed at \(wreck.step)")
            let dropped = UInt64(max(0, all.count - 3))
            #expect(losses[LogWorld.instance]?.lines ?? 0 == dropped, "killed at \(wreck.step)")
            let taken = amounts[LogWorld.instance]
            #expect(taken?.bytes ?? 0 == UInt64(sent.count), "killed at \(wreck.step)")
            // One that is dropped and has no end is none that has ended.
            let ended = sent.count { $0 == 0x0a }
            #expect((UInt64(ended)...UInt64(all.count)).contains(taken?.lines ?? 0), "killed at \(wreck.step)")
            // [supd] dropped N lines …
            let told = text(try lines(logs, LogWorld.instance, .stderr)).compactMap { line in
                line.split(separator: " ").dropFirst(2).first.flatMap { UInt64($0) }
            }
            #expect(told.reduce(0, +) == dropped, "killed at \(wreck.step)")
        }
    }

    @Test func `a record of a version without rates is read, with the window of the slot`() throws {
        let journal = try LogJournal()
        let slot = try #require(journal.allocate(generation: 1, stream: .stdout, instance: "api/1"))
        let window = RateWindow(second: 12, count: 3, line: .dropped)
        journal.settle(LogTransaction(phase: .settling, slot: slot, window: window))
        #expect(journal.window(slot) == window)
        let other = RateWindow(second: 13, count: 1, line: .kept)
        journal.commit(LogTransaction(phase: .settling, slot: slot, window: other))
        #expect(journal.transaction()?.window == other)
        // The first record, and in it what stands behind the checksum that all versions know.
        let behind = 1024 + 256 + 20 * 8
        #expect(journal.memory.load(at: behind) == 13)
        for offset in [behind, behind + 8, behind + 16] { journal.memory.store(0, at: offset) }
        #expect(journal.transaction()?.phase == .settling)
        #expect(journal.transaction()?.window == window)
    }

    @Test func `losses of files and of systemd's journal are counted apart, each with its last reason`() {
        let counts = KeptCounts()
        let (files, journal) = (LogLosses(counts), LogLosses(counts, of: .systemJournal))
        files.add(DroppedLines(lines: 1, bytes: 2, code: 5), of: "a/1")
        files.add(DroppedLines(lines: 1, bytes: 2, code: LogLoss.overRate), of: "a/1")
        journal.add(DroppedLines(lines: 7, bytes: 8, code: 28), of: "a/2")
        #expect(files["a/1"] == LogLoss(lines: 2, bytes: 4, code: LogLoss.overRate))
        #expect(files["a/2"] == nil && journal["a/1"] == nil)
        #expect(journal["a/2"] == LogLoss(lines: 7, bytes: 8, code: 28))
        #expect(files.all().keys.sorted() == ["a/1"])
        #expect(LogAmounts(counts)["a/1"] == nil)
    }
}
