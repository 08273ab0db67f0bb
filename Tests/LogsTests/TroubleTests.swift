import FoundationEssentials
import Glibc
import Platform
import TestSupport
import Testing

@testable import Logs

@Suite struct TroubleTests {
    /// Fails a call with an errno while it is on.
    private final class Trouble: Sendable {
        let code = Locked<Int32?>(nil)
        let calls: Set<String>
        init(_ calls: Set<String>) { self.calls = calls }
        var plan: FaultPlan { FaultPlan { [code, calls] call, _ in calls.contains(call) ? code.value : nil } }
    }

    @Test(arguments: [
        ("write", ENOSPC), ("write", EIO), ("write", EDQUOT), ("open", EACCES), ("open", EROFS), ("open", EMFILE),
    ])
    func linesThatCannotBeWrittenAreCountedAndTheServiceGoesOn(call: String, code: Int32) throws {
        let world = try LogWorld()
        let trouble = Trouble([call])
        try FaultPlan.$current.withValue(trouble.plan) {
            if call == "write" {
                try world.stdout.send("before\n")
                world.run()
            }
            trouble.code.update { $0 = code }
            for number in 0..<100 {
                let sent = [UInt8]("line \(number)\n".utf8)
                _ = sent.withUnsafeBytes { write(world.stdout.writer?.raw ?? -1, $0.baseAddress, $0.count) }
                world.run()
            }
            #expect(try PipeIO.bytesAvailable(world.stdout.reader) == 0, "the service is not held up")
            trouble.code.update { $0 = nil }
            // An open that failed is tried again a second later; the retry's clock is the lines' own.
            world.writer.clock = { wallClockNanoseconds() + 2_000_000_000 }
            try world.stdout.send("after\n")
            world.run()
        }
        #expect(try world.written() == (call == "write" ? ["before", "after"] : ["after"]))
        let bytes = (0..<100).map { "line \($0)\n".utf8.count }.reduce(0, +)
        #expect(
            try world.written(.stderr) == ["[supd] dropped 100 lines (\(bytes) bytes): \(errorMessage(code))"])
        #expect(world.notices.all.count == 2)
        guard case .dropping("api/1", let error) = world.notices.all.first else {
            Issue.record("no notice of dropping: \(world.notices.all)")
            return
        }
        #expect(error.code == code)
        #expect(world.notices.all.last == .recovered(instance: "api/1", lines: 100, bytes: UInt64(bytes)))
        // The file tells of them once, status goes on doing so.
        #expect(world.losses["api/1"] == LogLoss(lines: 100, bytes: UInt64(bytes), code: code))
        #expect(world.losses["api/2"] == nil)
    }

    @Test func theNoteIsWrittenEvenIfTheServiceSaysNothingMore() throws {
        let world = try LogWorld()
        let trouble = Trouble(["write"])
        try FaultPlan.$current.withValue(trouble.plan) {
            try world.stdout.send("half")
            world.run()
            trouble.code.update { $0 = ENOSPC }
            _ = write(world.stdout.writer?.raw ?? -1, " lost\nnext", 10)
            world.run()
            #expect(world.writer.hasUnwrittenNotes)
            world.writer.writeNotes()
            #expect(world.writer.hasUnwrittenNotes)
            trouble.code.update { $0 = nil }
            world.writer.writeNotes()
            #expect(!world.writer.hasUnwrittenNotes)
        }
        #expect(try world.written(.stderr) == ["[supd] dropped 1 lines (10 bytes): No space left on device"])
        try world.stdout.send(" line\n")
        world.run()
        #expect(try world.written() == ["next line"])
    }

    @Test func whatWasDroppedIsStillToldAfterACrash() throws {
        let world = try LogWorld()
        let trouble = Trouble(["write"])
        FaultPlan.$current.withValue(trouble.plan) {
            trouble.code.update { $0 = ENOSPC }
            _ = write(world.stdout.writer?.raw ?? -1, "lost\n", 5)
            world.run()
        }
        try world.crash()
        #expect(world.writer.hasUnwrittenNotes)
        world.attach()
        try world.stdout.send("kept\n")
        world.run()
        #expect(try world.written() == ["kept"])
        #expect(try world.written(.stderr) == ["[supd] dropped 1 lines (5 bytes): No space left on device"])
    }

    @Test(arguments: [false, true])
    func whatAProcessLostBeforeItEndedIsToldByTheNextOne(overACrash: Bool) throws {
        let world = try LogWorld()
        let trouble = Trouble(["write"])
        FaultPlan.$current.withValue(trouble.plan) {
            trouble.code.update { $0 = ENOSPC }
            for generation in 1...3 {
                if generation > 1 { world.attach(generation: UInt64(generation)) }
                _ = write(world.stdout.writer?.raw ?? -1, "lost\nlast words", 15)
                world.run()
                // The last words get a newline, as every line without one.
                world.writer.finish(generation: UInt64(generation))
                #expect(world.writer.hasUnwrittenNotes)
            }
        }
        #expect(world.losses["api/1"] == LogLoss(lines: 6, bytes: 48, code: ENOSPC))
        #expect(world.notices.all.count == 1, "\(world.notices.all)")
        if overACrash {
            try world.crash()
            #expect(world.losses["api/1"] == LogLoss(lines: 6, bytes: 48, code: ENOSPC))
        }
        world.attach(generation: 4)
        world.writer.finishUnattached()
        try world.stdout.send("kept\n")
        world.run()
        #expect(try world.written() == ["kept"])
        #expect(try world.written(.stderr) == ["[supd] dropped 6 lines (48 bytes): No space left on device"])
        world.writer.writeNotes()
        #expect(!world.writer.hasUnwrittenNotes)
        #expect(try world.written(.stderr).count == 1)
    }

    @Test(arguments: [false, true])
    func whatAProcessLostBeforeItEndedIsToldThoughThereIsNoNextOne(overACrash: Bool) throws {
        let world = try LogWorld()
        let trouble = Trouble(["write"])
        try FaultPlan.$current.withValue(trouble.plan) {
            trouble.code.update { $0 = ENOSPC }
            _ = write(world.stdout.writer?.raw ?? -1, "lost\n", 5)
            world.run()
            world.writer.finish(generation: 1)
            if overACrash {
                try world.crash()
                world.writer.finishUnattached()
            }
            for _ in 0..<3 {
                world.writer.writeNotes()
                #expect(world.writer.hasUnwrittenNotes)
            }
            trouble.code.update { $0 = nil }
            world.writer.writeNotes()
        }
        #expect(!world.writer.hasUnwrittenNotes)
        #expect(try world.written(.stderr) == ["[supd] dropped 1 lines (5 bytes): No space left on device"])
        #expect(world.notices.all.count == (overACrash ? 3 : 2), "\(world.notices.all)")
        #expect(world.losses["api/1"] == LogLoss(lines: 1, bytes: 5, code: ENOSPC))
        // It is counted for good, and the files are told once.
        try world.crash()
        #expect(world.losses["api/1"] == LogLoss(lines: 1, bytes: 5, code: ENOSPC))
        #expect(!world.writer.hasUnwrittenNotes)
    }

    @Test func whatWasDroppedIsCountedOverCrashesAndStarts() throws {
        let world = try LogWorld()
        let trouble = Trouble(["write"])
        func lose(_ text: String, _ code: Int32) {
            FaultPlan.$current.withValue(trouble.plan) {
                trouble.code.update { $0 = code }
                _ = write(world.stdout.writer?.raw ?? -1, text, text.utf8.count)
                world.run()
                trouble.code.update { $0 = nil }
            }
        }
        #expect(world.losses["api/1"] == nil)
        lose("one\n", ENOSPC)
        lose("two\n", ENOSPC)
        // The supervisor's crash, at rest: the stream is open still.
        try world.crash()
        #expect(world.losses["api/1"] == LogLoss(lines: 2, bytes: 8, code: ENOSPC))
        world.attach()
        lose("three\n", EIO)
        #expect(world.losses["api/1"] == LogLoss(lines: 3, bytes: 14, code: EIO))
        // The process ends, and another one of the instance begins.
        world.writer.finish(generation: 1)
        world.attach(generation: 2)
        lose("four\n", ENOSPC)
        #expect(world.losses["api/1"] == LogLoss(lines: 4, bytes: 19, code: ENOSPC))
        try world.crash()
        #expect(world.losses["api/1"] == LogLoss(lines: 4, bytes: 19, code: ENOSPC))
    }

    @Test func aDirectoryThatIsRemovedIsMadeAgainAndNothingIsLost() throws {
        let world = try LogWorld()
        try world.stdout.send("one\n")
        world.run()
        try FileManager.default.removeItem(atPath: world.logs)
        try world.stdout.send("two\n")
        world.run()
        try world.stdout.send("three\n")
        world.run()
        #expect(try world.written() == ["two", "three"])
        #expect(world.notices.all.isEmpty)
    }

    @Test func aFileThatIsRenamedOrCutByOthersIsNoObstacle() throws {
        let world = try LogWorld()
        try world.stdout.send("one\n")
        world.run()
        try FileIO.rename(world.file, to: "\(world.logs)/moved")
        for line in ["two\n", "three\n"] {
            try world.stdout.send(line)
            world.run()
        }
        #expect(try world.written() == ["three"], "the second went along with the file")
        try FileIO.truncate(try FileIO.openForAppending(path: world.file), to: 0)
        try world.stdout.send("four\n")
        world.run()
        #expect(try world.written() == ["four"])
    }

    @Test func aTornLastLineOfAnEarlierBootIsEnded() throws {
        let world = try LogWorld()
        try FileManager.default.createDirectory(atPath: "\(world.logs)/api", withIntermediateDirectories: true)
        try Data("2026-01-31T10:20:30.123456789Z stdout F to".utf8).write(to: URL(filePath: world.file))
        try world.stdout.send("next\n")
        world.run()
        #expect(try world.written() == ["to", "next"])
    }

    @Test(arguments: ["directory", "link", "fifo"])
    func whatIsNoRegularFileIsNotWrittenTo(kind: String) throws {
        let world = try LogWorld()
        try FileManager.default.createDirectory(atPath: "\(world.logs)/api", withIntermediateDirectories: true)
        switch kind {
        case "directory": try FileManager.default.createDirectory(atPath: world.file, withIntermediateDirectories: true)
        case "link":
            try FileManager.default.createSymbolicLink(atPath: world.file, withDestinationPath: "\(world.logs)/x")
        default: mkfifo(world.file, 0o600)
        }
        try world.stdout.send("line\n")
        world.run()
        #expect(try PipeIO.bytesAvailable(world.stdout.reader) == 0)
        #expect(!FileManager.default.fileExists(atPath: "\(world.logs)/x"))
        guard case .dropping("api/1", _) = world.notices.all.first else {
            Issue.record("no notice: \(world.notices.all)")
            return
        }
    }

    /// A real full disk: a file system of 256 KiB, if we may mount one.
    @Test(.enabled(if: geteuid() == 0, "mounting needs root"))
    func aFullDiskKeepsWholeLinesAndCountsTheOthersExactly() throws {
        let world = try LogWorld(attached: false)
        try FileManager.default.createDirectory(atPath: world.logs, withIntermediateDirectories: true)
        try withKnownMount(world.logs) {
            world.attach()
            var sent = 0
            let filler = String(repeating: "x", count: 100)
            for batch in 0..<10 {
                for _ in 0..<500 {
                    try world.stdout.send("line \(sent) \(filler)\n")
                    sent += 1
                }
                world.run()
                #expect(try PipeIO.bytesAvailable(world.stdout.reader) == 0, "batch \(batch)")
            }
            let kept = try world.written()
            #expect(kept.count > 1000 && kept.count < sent)
            #expect(kept == (0..<kept.count).map { "line \($0) \(filler)" })
            // Room again: somebody removes a file, here ours.
            try FileManager.default.removeItem(atPath: world.file)
            // A program that another test has just forked has it open until it executes; so there is room a little later.
            try eventually("room") {
                try world.stdout.send("after\n")
                sent += 1
                world.run()
                return try world.written() == ["after"] ? true : nil
            }
            let note = try world.written(.stderr).first ?? ""
            #expect(note.hasPrefix("[supd] dropped \(sent - 1 - kept.count) lines ("), "\(note)")
            #expect(note.hasSuffix(" bytes): No space left on device"))
            world.writer.finish(generation: 1)
        }
    }

    private func withKnownMount(_ path: String, _ body: () throws -> Void) throws {
        guard mount("tmpfs", path, "tmpfs", 0, "size=256k") == 0 else {
            throw TestFailure("mount: \(errorMessage(errno))")
        }
        defer { umount2(path, 2) }  // MNT_DETACH
        try body()
    }
}
