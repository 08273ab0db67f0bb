import FoundationEssentials
import Glibc
import Platform
import TestSupport
import Testing

@testable import Logs

/// A copy of all that a process killed at this moment would leave: the journal, the files, and what is in the pipes.
struct Wreck {
    var step: LogStep
    var journal: Descriptor
    var counts: Descriptor?
    var directory: TemporaryDirectory
    var stdout: ServicePipe
    var stderr: ServicePipe

    init(_ world: LogWorld, _ step: LogStep, pipesEnd: Bool) throws {
        self.step = step
        journal = try Self.copyMemory(world.writer.journalDescriptor)
        counts = try world.counts.descriptor.map(Self.copyMemory)
        directory = try TemporaryDirectory()
        if FileManager.default.fileExists(atPath: world.logs) {
            try FileManager.default.copyItem(atPath: world.logs, toPath: directory.file("logs"))
        }
        // The copies have other inode numbers; the journal must name them.
        stdout = try ServicePipe(copying: world.stdout, end: pipesEnd)
        stderr = try ServicePipe(copying: world.stderr, end: pipesEnd)
        let resumed = try LogJournal(resuming: journal)
        if var transaction = resumed.transaction(), transaction.phase == .writing,
            let original = try? FileIO.status(path: world.file), original.inode == transaction.inode
        {
            let copy = try FileIO.status(path: "\(directory.file("logs"))/api/1.log")
            transaction.inode = copy.inode
            transaction.device = copy.device
            resumed.commit(transaction)
        }
    }

    /// Copies the pages in use of a memfd to another one.
    private static func copyMemory(_ original: Descriptor) throws -> Descriptor {
        let size = try FileIO.status(original).size
        let copy = try SharedMemory(creating: "wreck", count: size).descriptor
        var offset = off_t(0)
        let (seekData, seekHole) = (Int32(3), Int32(4))
        while true {
            let start = lseek(original.raw, offset, seekData)
            guard start >= 0 else { break }
            let end = lseek(original.raw, start, seekHole)
            let bytes = try FileIO.read(original, at: Int(start), count: Int(end - start))
            guard bytes.withUnsafeBytes({ pwrite(copy.raw, $0.baseAddress, $0.count, start) }) == bytes.count else {
                throw TestFailure("pwrite")
            }
            offset = end
        }
        return copy
    }

    /// Where the file was before the write that was under way, and how long it is now.
    func writeUnderWay() throws -> (before: Int, now: Int)? {
        guard let transaction = try LogJournal(resuming: journal).transaction(), transaction.phase == .writing,
            let file = try? FileIO.status(path: "\(directory.file("logs"))/api/1.log")
        else { return nil }
        return (transaction.fileOffset, file.size)
    }

    /// What the next process makes of it.
    func recover(maxSize: UInt64, attachAgain: Bool) throws -> (stdout: [[UInt8]], stderr: [[UInt8]], [LogNotice]) {
        let notices = Notices()
        let logs = directory.file("logs")
        let writer = try LogWriter(directory: logs, journal: journal) { notices.add($0) }
        if attachAgain {
            writer.attach(
                generation: 1, instance: LogWorld.instance, stdout: stdout.reader, stderr: stderr.reader,
                maxSize: maxSize, keep: 1000)
        }
        writer.finishUnattached()
        while writer.takeTurn(budget: 1 << 20) > 0 {}
        writer.finish(generation: 1)
        return (
            try lines(logs, LogWorld.instance, .stdout), try lines(logs, LogWorld.instance, .stderr), notices.all
        )
    }
}

@Suite struct CrashTests {
    /// What the services write, a list of writes; those with `E` in front go to stderr.
    private static let scripts: [[String]] = [
        ["a\n", "bc", "d\n", "Eerror\n", "E", "1234567", "8", "12345678\n", "", "\n"],
        ["one\ntwo\nthree", " and more", "\nfour\n", "Eno end"],
        [String(repeating: "x", count: 20_000), String(repeating: "y", count: 20_000) + "\nz\n"],
        (0..<12).map { "line \($0) " + String(repeating: "-", count: 700) + "\n" },
        [(0..<300).map { "line \($0)\n" }.joined(), "E" + (0..<300).map { "error \($0)\n" }.joined()],
    ]

    /// Plays a script and looks at every step at what a killed process would leave, and at what the next one makes of it.
    @Test(arguments: [UInt64(4096), 1 << 20], scripts)
    func aKillAtAnyStepLosesAndDoublesNoLine(maxSize: UInt64, script: [String]) throws {
        let world = try LogWorld(maxSize: maxSize)
        var wrecks: [(Wreck, stdout: [UInt8], stderr: [UInt8])] = []
        var failure: (any Error)?
        world.writer.atStep = { step in
            do {
                let wreck = try Wreck(world, step, pipesEnd: wrecks.count % 2 == 0)
                wrecks.append((wreck, world.stdout.sent, world.stderr.sent))
            } catch { failure = failure ?? error }
        }
        for part in script {
            if part.first == "E" {
                try world.stderr.send(String(part.dropFirst()))
            } else {
                try world.stdout.send(part)
            }
            world.run()
        }
        world.writer.finish(generation: 1)
        world.writer.atStep = nil
        if let failure { throw failure }

        #expect(wrecks.count > script.count * 5)
        #expect(Set(wrecks.map(\.0.step)).isSuperset(of: [.announced, .read, .located, .written, .settling, .settled]))
        for (wreck, stdout, stderr) in wrecks {
            // Killed in the middle of the write, too.
            if let (before, now) = try wreck.writeUnderWay(), now > before {
                let middle = try TornWreck(wreck, at: before + Int.random(in: 1...now - before))
                try middle.tear()
            }
            let (out, error, notices) = try wreck.recover(maxSize: maxSize, attachAgain: true)
            #expect(out == linesSent(stdout), "killed at \(wreck.step)")
            #expect(error == linesSent(stderr), "killed at \(wreck.step)")
            #expect(notices.isEmpty, "killed at \(wreck.step)")
        }
    }

    /// Lines that cannot be written: whenever the process is killed, each is counted once.
    @Test func aKillAtAnyStepCountsEveryLostLineOnce() throws {
        let world = try LogWorld()
        // The services' own writes are outside of it.
        let plan = FaultPlan { call, _ in call == "write" ? ENOSPC : nil }
        var wrecks: [(wreck: Wreck, lines: Int)] = []
        var failure: (any Error)?
        var lines = 0
        world.writer.atStep = { step in
            do { wrecks.append((try Wreck(world, step, pipesEnd: false), lines)) } catch { failure = failure ?? error }
        }
        for _ in 0..<2 {
            lines += 1
            try world.stdout.send("lost\n")
            FaultPlan.$current.withValue(plan) { world.run() }
        }
        world.writer.atStep = nil
        if let failure { throw failure }
        #expect(
            Set(wrecks.map(\.wreck.step)).isSuperset(of: [.announced, .read, .located, .settling, .settled, .done]))
        try FaultPlan.$current.withValue(plan) {
            for (wreck, lines) in wrecks {
                let losses = LogLosses(try KeptCounts(resuming: #require(wreck.counts)))
                let writer = try LogWriter(
                    directory: wreck.directory.file("logs"), journal: wreck.journal, losses: losses
                ) { _ in }
                writer.attach(
                    generation: 1, instance: LogWorld.instance, stdout: wreck.stdout.reader,
                    stderr: wreck.stderr.reader, maxSize: 1 << 20, keep: 1)
                while writer.takeTurn(budget: 1 << 20) > 0 {}
                let expected = LogLoss(lines: UInt64(lines), bytes: UInt64(lines * 5), code: ENOSPC)
                #expect(losses[LogWorld.instance] == expected, "killed at \(wreck.step)")
            }
        }
    }

    /// A wreck whose last write got only so far.
    private struct TornWreck {
        let path: String
        let size: Int
        init(_ wreck: Wreck, at size: Int) throws {
            path = "\(wreck.directory.file("logs"))/api/1.log"
            self.size = size
        }
        func tear() throws { try FileIO.truncate(try FileIO.openForAppending(path: path), to: size) }
    }

    @Test func aSecondKillWhileTheFirstIsRepairedLosesNothingEither() throws {
        let world = try LogWorld(maxSize: 4096)
        var first: [Wreck] = []
        world.writer.atStep = { step in
            if step == .written || step == .read {
                if let wreck = try? Wreck(world, step, pipesEnd: true) { first.append(wreck) }
            }
        }
        try world.stdout.send((0..<200).map { "line \($0)\n" }.joined() + "end")
        world.run()
        world.writer.atStep = nil
        #expect(first.count >= 3)
        for wreck in first {
            // A process that dies during its first step after each recovery: three times the same.
            for _ in 0..<3 {
                let journal = try LogJournal(resuming: wreck.journal)
                _ = journal.countAttempt()
                journal.resetAttempts()
                _ = try LogWriter(directory: wreck.directory.file("logs"), journal: wreck.journal) { _ in }
            }
            #expect(try wreck.recover(maxSize: 4096, attachAgain: true).stdout == linesSent(world.stdout.sent))
        }
    }

    @Test func whatAServiceThatIsGoneLeftUnfinishedIsWrittenOut() throws {
        let world = try LogWorld()
        try world.stdout.send("finished\nunfinished")
        world.run()
        try world.crash()
        world.writer.finishUnattached()
        #expect(try world.written() == ["finished", "unfinished"])
        world.writer.finishUnattached()
        #expect(try world.written() == ["finished", "unfinished"])
    }

    @Test func anUnfinishedLineGoesOnAfterACrash() throws {
        let world = try LogWorld()
        try world.stdout.send("half")
        world.run()
        try world.crash()
        try world.stdout.send(" a line\n")
        world.attach()
        world.run()
        #expect(try world.written() == ["half a line"])
    }

    @Test func aJournalOfAnotherKindIsReplacedWithANotice() throws {
        let world = try LogWorld()
        let notices = Notices()
        for size in [4096, 200 << 20] {
            let strange = try SharedMemory(creating: "strange", count: size)
            let writer = try LogWriter(directory: world.logs, journal: strange.descriptor) { notices.add($0) }
            #expect(writer.journalDescriptor !== strange.descriptor)
        }
        #expect(notices.all.count == 2)
        _ = try LogWriter(directory: world.logs, journal: world.stdout.reader) { notices.add($0) }
        #expect(notices.all.count == 3)
    }

    @Test func aDamagedJournalNeverEndsTheProcess() throws {
        var random = SeededRandom(seed: 42)
        for _ in 0..<60 {
            let world = try LogWorld()
            try world.stdout.send("first\nhalf")
            world.run()
            let size = try FileIO.status(world.writer.journalDescriptor).size
            let memory = try SharedMemory(mapping: world.writer.journalDescriptor, count: size)
            for _ in 0..<Int.random(in: 1...40, using: &random) {
                memory[Int.random(in: 8..<4096 + 512, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            try world.crash()
            world.attach()
            world.writer.finishUnattached()
            try world.stdout.send("line\nlast\n")
            world.run()
            #expect(
                try rawLines(world.logs, "api/1").last.map { String(decoding: $0, as: UTF8.self) }?.hasSuffix("last")
                    == true)
        }
    }

    @Test func aTransactionThatEndedThreeProcessesIsGivenUp() throws {
        let world = try LogWorld()
        try world.stdout.send("first\n")
        world.run()
        let journal = try LogJournal(resuming: world.writer.journalDescriptor)
        for _ in 0..<3 { _ = journal.countAttempt() }
        try world.crash()
        #expect(world.notices.all.count == 1)
        world.attach()
        try world.stdout.send("second\n")
        world.run()
        #expect(try world.written() == ["first", "second"])
    }

    @Test func aFileThatWasDeletedAfterTheCrashIsWrittenAnew() throws {
        let world = try LogWorld()
        var wreck: Wreck?
        world.writer.atStep = { step in if step == .written { wreck = try? Wreck(world, step, pipesEnd: true) } }
        try world.stdout.send("line\n")
        world.run()
        let found = try #require(wreck)
        try FileManager.default.removeItem(atPath: found.directory.file("logs"))
        #expect(try found.recover(maxSize: 4096, attachAgain: true).stdout == linesSent(world.stdout.sent))
    }
}
