import FoundationEssentials
import Platform
import TestSupport
import Testing

@testable import Logs

@Suite struct LogPumpTests {
    private func finish(_ pump: LogPump, _ generation: UInt64) async {
        await withCheckedContinuation { done in pump.finish(generation: generation) { done.resume() } }
    }

    @Test func whatAServiceWritesIsInItsFileOnceItIsFinished() async throws {
        let directory = try TemporaryDirectory()
        let pump = try LogPump(directory: directory.path, journal: nil) { _ in }
        let (stdout, stderr) = (try ServicePipe(), try ServicePipe())
        pump.attach(
            generation: 1, instance: "api/1", stdout: stdout.reader, stderr: stderr.reader, maxSize: 1 << 20, keep: 1)
        try stdout.send("out\n")
        try stderr.send("err")
        await finish(pump, 1)
        #expect(text(try lines(directory.path, "api/1", .stdout)) == ["out"])
        #expect(text(try lines(directory.path, "api/1", .stderr)) == ["err"])
        await finish(pump, 99)
    }

    @Test func linesArriveWithoutBeingAskedFor() async throws {
        let directory = try TemporaryDirectory()
        let pump = try LogPump(directory: directory.path, journal: nil) { _ in }
        let pipe = try ServicePipe()
        pump.attach(generation: 1, instance: "api/1", stdout: pipe.reader, stderr: nil, maxSize: 1 << 20, keep: 1)
        try pipe.send("one\n")
        _ = try eventually("the line") { try rawLines(directory.path, "api/1").count == 1 ? true : nil }
        try pipe.send("two\n")
        _ = try eventually("the next") { try rawLines(directory.path, "api/1").count == 2 ? true : nil }
        withExtendedLifetime(pump) {}
    }

    @Test func oneServicesFloodDoesNotHoldUpTheEndOfAnother() async throws {
        let directory = try TemporaryDirectory()
        let pump = try LogPump(directory: directory.path, journal: nil) { _ in }
        let (flood, quiet) = (try ServicePipe(), try ServicePipe())
        for (generation, instance, pipe) in [(UInt64(1), "flood/1", flood), (2, "quiet/1", quiet)] {
            pump.attach(
                generation: generation, instance: instance, stdout: pipe.reader, stderr: nil, maxSize: 1 << 20, keep: 0)
        }
        let stop = Locked(false)
        let output = try #require(flood.writer)
        let flooding = Task.detached {
            let bytes = ByteBuffer()
            for _ in 0..<600 { bytes.append(Array("\(String(repeating: "x", count: 99))\n".utf8)) }
            while !stop.value { _ = try bytes.write(0..<bytes.count, to: output) }
        }
        try quiet.send("the end")
        // It comes back at all, though the flood never ends.
        await finish(pump, 2)
        #expect(text(try lines(directory.path, "quiet/1")) == ["the end"])
        stop.update { $0 = true }
        try await flooding.value
        await finish(pump, 1)
    }

    @Test func sessionsOfServicesGoToFilesOfTheirOwnThroughPumps() async throws {
        let directory = try TemporaryDirectory()
        let pipes = ["api": try ServicePipe(), "web": try ServicePipe()]
        let notices = Notices()
        var pump = try LogPump(directory: directory.path, journal: nil) { notices.add($0) }
        for round in 1...3 {
            // In another order each time, so that none is taken for the other.
            for (service, pipe) in pipes.sorted(by: { round.isMultiple(of: 2) ? $0.key < $1.key : $0.key > $1.key }) {
                pump.attachSessions(of: service, pipe: pipe.reader, maxSize: 1 << 20, keep: 1)
                // Cut in the middle of a line, which only the next pump will see the end of.
                try pipe.send("of \(service)\nround \(round) ")
            }
            pump.attachmentsComplete()
            await withCheckedContinuation { done in pump.flush { done.resume() } }
            pump = try LogPump(directory: directory.path, journal: pump.journal) { notices.add($0) }
        }
        pump.attachmentsComplete()
        await withCheckedContinuation { done in pump.flush { done.resume() } }
        for service in pipes.keys {
            let name = LogPath.sessions(of: service)
            #expect(
                text(try lines(directory.path, name)) == [
                    "of \(service)", "round 1 of \(service)", "round 2 of \(service)", "round 3 ",
                ])
        }
        #expect(notices.all.isEmpty)
    }

    @Test func aPumpTakesUpTheJournalOfTheOneBefore() async throws {
        let directory = try TemporaryDirectory()
        let pipe = try ServicePipe()
        var pump = try LogPump(directory: directory.path, journal: nil) { _ in }
        let notices = Notices()
        for part in ["be", "gun by one,", " ended by another\nand ", "so on"] {
            pump.attach(generation: 1, instance: "api/1", stdout: pipe.reader, stderr: nil, maxSize: 1 << 20, keep: 1)
            pump.attachmentsComplete()
            try pipe.send(part)
            await withCheckedContinuation { done in pump.flush { done.resume() } }
            pump = try LogPump(directory: directory.path, journal: pump.journal) { notices.add($0) }
        }
        pump.attachmentsComplete()
        await withCheckedContinuation { done in pump.flush { done.resume() } }
        #expect(text(try lines(directory.path, "api/1")) == ["begun by one, ended by another", "and so on"])
        #expect(notices.all.isEmpty)
    }
}
