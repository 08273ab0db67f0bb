import FoundationEssentials
import Glibc
import Platform
import TestSupport
import Testing

@testable import Logs

/// The wall clock is set while lines are written and read.
@Suite struct ClockTests {
    private static let hour: Int64 = 3_600_000_000_000

    /// Forth, back, back and forth again.
    private static let steps: [Int64] = [0, hour, 0, -hour, 0, hour, -hour]

    @Test func aClockThatIsSetLosesNothingAndKeepsOrderAndRotation() throws {
        let world = try LogWorld(maxSize: 4096, keep: 1000)
        var batch = 0
        world.writer.clock = { wallClockNanoseconds() + Self.steps[batch % Self.steps.count] }
        for number in 0..<2000 {
            // Unfinished lines too: the batches do not end where lines do.
            try world.stdout.send(number % 3 == 0 ? "line \(number)\n" : "li")
            if number % 5 == 0 {
                world.run()
                batch += 1
            }
            if number % 3 != 0 { try world.stdout.send("ne \(number)\n") }
        }
        world.run()
        let expected = (0..<2000).map { "line \($0)" }
        #expect(try world.written() == expected)
        #expect(world.notices.all.isEmpty)
        let times = try rawLines(world.logs, "api/1").compactMap { CRIFormat.parse($0[...])?.timestamp }
        #expect(times != times.sorted(), "the clock was set at all")
        // Every file but the last is as full as it may be.
        var rotated = 0
        while let data = FileManager.default.contents(atPath: "\(world.file).\(rotated + 1)") {
            rotated += 1
            #expect((4096 - 64...4096).contains(data.count))
        }
        #expect(rotated > 10)
        // As they are read: all, the last ones, and from several instances.
        func read(_ count: Int?) throws -> [String] {
            text(try LogReader(directory: world.logs).tail(instances: ["api/1"], count: count).map(\.text))
        }
        #expect(try read(nil) == expected)
        #expect(try read(700) == expected.suffix(700))
    }

    @Test(arguments: [hour, -hour])
    func aFollowerGoesOnThroughRotationsWhileTheClockIsSet(step: Int64) throws {
        let world = try LogWorld(maxSize: 4096, keep: 1000)
        var offset: Int64 = 0
        world.writer.clock = { wallClockNanoseconds() + offset }
        let other = try ServicePipe()
        world.writer.attach(
            generation: 2, instance: "web/1", stdout: other.reader, stderr: nil, maxSize: 4096, keep: 1000)
        try world.stdout.send("line 0\n")
        try other.send("line 0\n")
        world.run()
        let follower = try LogFollower(directory: world.logs, last: 0) { _ in true }
        var seen: [String: [String]] = [:]
        for number in 1...1000 {
            try world.stdout.send("line \(number)\n")
            try other.send("line \(number)\n")
            if number % 50 == 0 {
                offset = offset == 0 ? step : 0
                world.run()
                while let line = try follower.next() {
                    seen[line.instance, default: []].append(String(decoding: line.text, as: UTF8.self))
                }
                _ = try follower.wait(milliseconds: 0)
            }
        }
        while let line = try follower.next() {
            seen[line.instance, default: []].append(String(decoding: line.text, as: UTF8.self))
        }
        let expected = (1...1000).map { "line \($0)" }
        #expect(seen["api/1"] == expected)
        #expect(seen["web/1"] == expected)
    }

    /// After a failed open the next second fails without another try: a second of the lines' clock.
    @Test(arguments: [hour, -hour])
    func aFileThatCouldNotBeOpenedIsTriedAgainAlthoughTheClockIsSet(step: Int64) throws {
        let world = try LogWorld()
        let isInTrouble = Locked(true)
        let plan = FaultPlan { call, _ in call == "open" && isInTrouble.value ? EACCES : nil }
        var offset: Int64 = 0
        world.writer.clock = { wallClockNanoseconds() + offset }
        try FaultPlan.$current.withValue(plan) {
            try world.stdout.send("lost\n")
            world.run()
            isInTrouble.update { $0 = false }
            offset = step
            try world.stdout.send("kept\n")
            world.run()
        }
        #expect(try world.written() == ["kept"])
    }

    @Test func aKilledWritersTransactionIsFinishedUnderAnotherClock() throws {
        for step in [Self.hour, -Self.hour] {
            let world = try LogWorld()
            world.writer.clock = { wallClockNanoseconds() + step }
            try world.stdout.send("one\nunfin")
            world.run()
            try world.crash()
            world.attach()
            try world.stdout.send("ished\ntwo\n")
            world.run()
            #expect(try world.written() == ["one", "unfinished", "two"])
        }
    }
}
