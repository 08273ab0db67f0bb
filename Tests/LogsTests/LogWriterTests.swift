import FoundationEssentials
import Platform
import TestSupport
import Testing

@testable import Logs

@Suite struct LogWriterTests {
    @Test func aLineIsWrittenInTheFormatOfContainerRuntimes() throws {
        let world = try LogWorld()
        try world.stdout.send("hello\n")
        world.run()
        try world.stderr.send("oops\n")
        world.run()
        let written = try rawLines(world.logs, "api/1").map { String(decoding: $0, as: UTF8.self) }
        #expect(written.count == 2)
        #expect(
            written.first?.wholeMatch(of: /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z stdout F hello/) != nil,
            "\(written)")
        #expect(written.last?.hasSuffix("Z stderr F oops") == true)
    }

    @Test(arguments: [
        ["a\n"], ["\n"], ["\n\n\n"], ["a", "b", "c\n"], ["no newline at the end"], ["a\nb"], ["one\ntwo\nthree\n"],
        ["seven b", "\n"], ["1234567\n"], ["12345678"], ["partial ", "line ", "in ", "pieces\nnext"],
    ])
    func everyLineArrivesOnceHoweverItWasCutIntoWrites(writes: [String]) throws {
        let world = try LogWorld()
        for part in writes {
            try world.stdout.send(part)
            world.run()
        }
        world.writer.finish(generation: 1)
        #expect(try world.written() == text(linesSent(world.stdout.sent)))
    }

    @Test func bytesThatAreNoTextAreKept() throws {
        let world = try LogWorld()
        let bytes = (0...255).map { UInt8($0) }.filter { $0 != 0x0a } + [0x0a, 0xff, 0x00, 0x0d, 0x0a]
        try world.stdout.send(bytes)
        world.run()
        #expect(try lines(world.logs, "api/1") == linesSent(bytes))
    }

    @Test(arguments: [16383, 16384, 16385, 32768, 32769, 40000, 262_143, 262_144, 262_145, 700_000])
    func aVeryLongLineComesInPiecesThatGiveItWhenJoined(length: Int) throws {
        let world = try LogWorld()
        let line = (0..<length).map { UInt8(ascii: "a") + UInt8($0 % 26) }
        for part in stride(from: 0, to: length, by: 50_000) {
            try world.stdout.send(Array(line[part..<min(part + 50_000, length)]))
            world.run()
        }
        try world.stdout.send("\nnext\n")
        world.run()
        #expect(try lines(world.logs, "api/1") == [line, Array("next".utf8)])
        let pieces = try rawLines(world.logs, "api/1")
        #expect(pieces.allSatisfy { $0.count <= CRIFormat.pieceLimit + CRIFormat.prefixLength })
        #expect(pieces.count == (length + CRIFormat.pieceLimit - 1) / CRIFormat.pieceLimit + 1)
    }

    @Test func anUnfinishedLineWaitsForItsEnd() throws {
        let world = try LogWorld()
        try world.stdout.send("done\nunfin")
        world.run()
        #expect(try world.written() == ["done"])
        try world.stdout.send("ished\n")
        world.run()
        #expect(try world.written() == ["done", "unfinished"])
    }

    @Test func theEndOfAPipeEndsTheLine() throws {
        let world = try LogWorld()
        try world.stdout.send("last words")
        try world.stdout.close()
        world.run()
        #expect(world.writer.streamCount == 1)
        #expect(try world.written() == ["last words"])
    }

    @Test func finishDoesNotWaitForAPipeThatAGrandchildHolds() throws {
        let world = try LogWorld()
        try world.stdout.send("one\ntwo")
        world.writer.finish(generation: 1)
        #expect(try world.written() == ["one", "two"])
        #expect(world.writer.streamCount == 0)
    }

    @Test func twoGenerationsOfAnInstanceShareItsFile() throws {
        let world = try LogWorld()
        try world.stdout.send("old\n")
        world.run()
        let next = try ServicePipe()
        world.writer.attach(
            generation: 2, instance: "api/1", stdout: next.reader, stderr: nil, maxSize: 1 << 20, keep: 1)
        try next.send("new\n")
        world.run()
        try world.stdout.send("old again\n")
        world.writer.finish(generation: 1)
        try next.send("new again\n")
        world.run()
        #expect(try world.written() == ["old", "new", "old again", "new again"])
    }

    @Test func aNameThatLeadsElsewhereIsRefused() throws {
        let world = try LogWorld(attached: false)
        for name in ["../x/1", "api", "api/0", "api/01", "api/x", "/1", "api/1/1", "Api/1", "a.b/1", "", "api/1\n"] {
            world.writer.attach(
                generation: 1, instance: name, stdout: world.stdout.reader, stderr: nil, maxSize: 4096, keep: 1)
        }
        #expect(world.writer.streamCount == 0)
        #expect(!world.notices.all.isEmpty)
    }

    @Test func aFloodingServiceDoesNotKeepAnotherOneWaiting() throws {
        let world = try LogWorld()
        try PipeIO.setCapacity(world.stdout.reader, bytes: 1 << 20)
        try world.stdout.send([UInt8](repeating: 0x0a, count: 1 << 20))
        let quiet = try ServicePipe()
        world.writer.attach(
            generation: 2, instance: "web/1", stdout: quiet.reader, stderr: nil, maxSize: 1 << 20, keep: 1)
        try quiet.send("me too\n")
        world.writer.takeTurn(budget: 1)
        #expect(text(try lines(world.logs, "web/1")) == ["me too"])
        #expect(try PipeIO.bytesAvailable(world.stdout.reader) > 0)
    }

    @Test func aPipeThatIsFoundFullAgainAndAgainGetsLarger() throws {
        let world = try LogWorld()
        let before = try PipeIO.capacity(world.stdout.reader)
        for _ in 0..<4 {
            try world.stdout.send([UInt8](repeating: 0x0a, count: 60_000))
            world.run()
        }
        #expect(try PipeIO.capacity(world.stdout.reader) > before)
        #expect(try PipeIO.capacity(world.stderr.reader) == before)
    }

    @Test func oneBatchIsMemoryThatIsGivenBack() throws {
        // A newline becomes 41 bytes.
        let world = try LogWorld()
        try PipeIO.setCapacity(world.stdout.reader, bytes: 1 << 20)
        try world.stdout.send([UInt8](repeating: 0x0a, count: 300_000))
        world.run()
        #expect(try lines(world.logs, "api/1").count == 300_000)
    }
}

@Suite struct RotationTests {
    @Test func filesAreRotatedBySizeAndKeptByCount() throws {
        let world = try LogWorld(maxSize: 4096, keep: 3)
        for number in 0..<1000 {
            try world.stdout.send("line \(number) \(String(repeating: "x", count: 50))\n")
            if number % 7 == 0 { world.run() }
        }
        world.run()
        let names = try FileManager.default.contentsOfDirectory(atPath: "\(world.logs)/api").sorted()
        #expect(names == ["1.log", "1.log.1", "1.log.2", "1.log.3"])
        for name in names {
            let size = try #require(FileManager.default.contents(atPath: "\(world.logs)/api/\(name)")).count
            #expect(size <= 4096)
            #expect(size > 0)
        }
        // What is left is an unbroken run of lines up to the last.
        let numbers = try world.written().compactMap { $0.split(separator: " ").dropFirst().first.flatMap { Int($0) } }
        #expect(numbers == Array((numbers.first ?? 0)...999))
        #expect(numbers.count > 100)
    }

    @Test func nothingIsLostWhenABatchFillsManyFiles() throws {
        let world = try LogWorld(maxSize: 4096, keep: 1000)
        try PipeIO.setCapacity(world.stdout.reader, bytes: 1 << 20)
        for number in 0..<5000 { try world.stdout.send("line \(number)\n") }
        world.run()
        #expect(try world.written() == (0..<5000).map { "line \($0)" })
        #expect(FileManager.default.fileExists(atPath: "\(world.file).50"))
    }

    @Test func keepZeroKeepsTheCurrentFileAlone() throws {
        let world = try LogWorld(maxSize: 4096, keep: 0)
        for number in 0..<200 { try world.stdout.send("line \(number) \(String(repeating: "x", count: 50))\n") }
        world.run()
        #expect(try FileManager.default.contentsOfDirectory(atPath: "\(world.logs)/api") == ["1.log"])
        #expect(try world.written().last?.hasPrefix("line 199 ") == true)
    }

    @Test func aSmallerKeepRemovesWhatIsTooMuch() throws {
        let world = try LogWorld(maxSize: 4096, keep: 5)
        func fill() throws {
            try world.stdout.send(String(repeating: String(repeating: "x", count: 79) + "\n", count: 300))
            world.run()
        }
        try fill()
        #expect(FileManager.default.fileExists(atPath: "\(world.file).5"))
        world.writer.updateSettings(generation: 1, maxSize: 4096, keep: 2)
        try fill()
        #expect(!FileManager.default.fileExists(atPath: "\(world.file).3"))
        #expect(FileManager.default.fileExists(atPath: "\(world.file).2"))
    }

    @Test func aRotationThatStoppedHalfWayIsTakenUpWithoutMovingAFileTwice() throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("1.log")
        let file = LogFile(instance: "api/1", path: path, maxSize: 4096, keep: 4)
        func content() throws -> [String: String] {
            var result: [String: String] = [:]
            for name in try FileIO.names(inDirectory: directory.path) {
                let data = FileManager.default.contents(atPath: directory.file(name)) ?? Data()
                result[name] = String(decoding: data, as: UTF8.self)
            }
            return result
        }
        // 4 was replaced by 3, then the process was killed: 3 is missing.
        for (name, text) in [("1.log", "e"), ("1.log.1", "d"), ("1.log.2", "c"), ("1.log.4", "b")] {
            _ = try directory.write(name, text)
        }
        try file.rotate()
        #expect(try content() == ["1.log.1": "e", "1.log.2": "d", "1.log.3": "c", "1.log.4": "b"])
        // Killed after the last rename: there is no current file, and nothing moves.
        try file.rotate()
        #expect(try content() == ["1.log.1": "e", "1.log.2": "d", "1.log.3": "c", "1.log.4": "b"])
    }

    @Test func aFileThatCannotBeRotatedGrowsToTwiceItsSizeAndThenDropsWithANotice() throws {
        let world = try LogWorld(maxSize: 4096, keep: 1)
        // A directory that is not empty stands where the rotated file should go.
        try FileManager.default.createDirectory(
            atPath: "\(world.file).1/sub", withIntermediateDirectories: true)
        for _ in 0..<200 {
            try world.stdout.send(String(repeating: "x", count: 79) + "\n")
            world.run()
        }
        let size = try #require(FileManager.default.contents(atPath: world.file)).count
        #expect((4096...3 * 4096).contains(size))
        #expect(world.notices.all.contains { if case .rotationFailed("api/1", _) = $0 { true } else { false } })
        #expect(world.notices.all.contains { if case .dropping("api/1", _) = $0 { true } else { false } })
        // Out of the way with it: the rotation works again and the file says what is missing.
        try FileManager.default.removeItem(atPath: "\(world.file).1")
        try world.stdout.send("after\n")
        world.run()
        #expect(try world.written().last == "after")
        #expect(try world.written(.stderr).contains { $0.hasPrefix("[supd] dropped ") })
    }
}
