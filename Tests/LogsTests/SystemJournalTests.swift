import Glibc
import Platform
import TestSupport
import Testing

@testable import Logs

/// What systemd's journal gets, by a socket in its place.
@Suite struct SystemJournalTests {
    private let directory: TemporaryDirectory
    private let losses = LogLosses()
    private let notices = Notices()

    init() throws { directory = try TemporaryDirectory() }

    private var path: String { directory.file("socket") }

    private func journal() -> SystemJournal {
        SystemJournal(path: path, losses: losses) { [notices] in notices.add($0) }
    }

    private func world(_ systemJournal: SystemJournal, rate: UInt32 = 0) throws -> (LogWriter, ServicePipe, ServicePipe)
    {
        let writer = try LogWriter(
            directory: directory.file("logs"), journal: nil, systemJournal: systemJournal, report: { _ in })
        let (stdout, stderr) = (try ServicePipe(), try ServicePipe())
        writer.attach(
            generation: 1, instance: "api/2", stdout: stdout.reader, stderr: stderr.reader, maxSize: 1 << 24, keep: 1,
            rate: rate, sendsToSystemJournal: true)
        return (writer, stdout, stderr)
    }

    /// Waits until all that was added is sent or dropped.
    private func flush(_ journal: SystemJournal) throws {
        let isDone = Locked(false)
        journal.flush { isDone.update { $0 = true } }
        try eventually("the end of the queue") { isDone.value ? true : nil }
    }

    private func received(_ socket: NoticeSocket) -> [String] {
        var all: [String] = []
        while let datagram = socket.peek(limit: 1 << 16) {
            all.append(String(decoding: datagram.bytes ?? [], as: UTF8.self))
            socket.drop()
        }
        return all
    }

    private func entry(_ message: String, priority: Int = 6, stream: String = "stdout", more: String = "") -> String {
        "SYSLOG_IDENTIFIER=api\nSUPD_SERVICE=api\nSUPD_INSTANCE=api/2\nPRIORITY=\(priority)\nSUPD_STREAM=\(stream)\n"
            + "\(more)MESSAGE=\(message)\n"
    }

    @Test func `every line is an entry with its fields, and in the file as well`() throws {
        let socket = try NoticeSocket(path: path, owner: nil, isOpen: false)
        let journal = journal()
        let (writer, stdout, stderr) = try world(journal)
        try stdout.send("one\n\nthree=3 {}\nunfin")
        writer.takeTurn(budget: 1 << 20)
        try stderr.send("oops\n")
        writer.takeTurn(budget: 1 << 20)
        try flush(journal)
        #expect(
            received(socket) == [
                entry("one"), entry(""), entry("three=3 {}"), entry("oops", priority: 3, stream: "stderr"),
            ])
        try stdout.send("ished")
        writer.finish(generation: 1)
        try flush(journal)
        #expect(received(socket) == [entry("unfinished")])
        #expect(
            text(try lines(directory.file("logs"), "api/2")) == ["one", "", "three=3 {}", "unfinished"])
        #expect(losses["api/2"] == nil && notices.all.isEmpty)
    }

    @Test func `a long line comes in pieces that say so`() throws {
        let socket = try NoticeSocket(path: path, owner: nil, isOpen: false)
        let journal = journal()
        let (writer, stdout, _) = try world(journal)
        let piece = String(repeating: "x", count: CRIFormat.pieceLimit)
        try stdout.send(piece + piece + "end\n")
        writer.takeTurn(budget: 1 << 20)
        try flush(journal)
        let partial = entry(piece, more: "SUPD_PARTIAL=1\n")
        #expect(received(socket) == [partial, partial, entry("end")])
    }

    @Test func `it is switched on and off while the service runs, and what is over the rate is not sent`() throws {
        let socket = try NoticeSocket(path: path, owner: nil, isOpen: false)
        let journal = journal()
        let (writer, stdout, _) = try world(journal, rate: 1)
        writer.clock = { 1_800_000_000_000_000_000 }
        try stdout.send("a\nb\n")
        writer.takeTurn(budget: 1 << 20)
        writer.clock = { 1_800_000_001_000_000_000 }
        writer.writeNotes()
        writer.updateSettings(generation: 1, maxSize: 1 << 20, keep: 1)
        try stdout.send("c\n")
        writer.takeTurn(budget: 1 << 20)
        try flush(journal)
        let note = "[supd] dropped 1 lines (2 bytes): more than 1 a second (log.rate)"
        #expect(received(socket) == [entry("a"), entry(note, priority: 3, stream: "stderr")])
        #expect(text(try lines(directory.file("logs"), "api/2")) == ["a", "c"])
    }

    @Test func `without a journal lines are in the files, counted and told of once; with one they are sent again`()
        throws
    {
        let journal = journal()
        let (writer, stdout, _) = try world(journal)
        for number in 0..<3 {
            try stdout.send("\(number)\n")
            writer.takeTurn(budget: 1 << 20)
            try flush(journal)
        }
        #expect(losses["api/2"]?.lines == 3)
        #expect(losses["api/2"].map { SystemJournal.reason($0.code) } == "there is no journal on this machine")
        #expect(notices.all == [.notInJournal(lines: 1, reason: "there is no journal on this machine")])
        #expect(text(try lines(directory.file("logs"), "api/2")) == ["0", "1", "2"])
        let socket = try NoticeSocket(path: path, owner: nil, isOpen: false)
        try stdout.send("3\n")
        writer.takeTurn(budget: 1 << 20)
        try flush(journal)
        #expect(received(socket) == [entry("3")])
        #expect(losses["api/2"]?.lines == 3)
    }

    @Test func `a journal that takes nothing holds up nobody, and costs no more than its queue`() throws {
        // Nobody reads: the socket is full after some datagrams.
        let socket = try NoticeSocket(path: path, owner: nil, isOpen: false)
        let journal = journal()
        let (writer, stdout, _) = try world(journal)
        try PipeIO.setCapacity(stdout.reader, bytes: 1 << 20)
        let count = 60_000
        for _ in 0..<6 {
            try stdout.send(String(repeating: "a line\n", count: count / 6))
            writer.takeTurn(budget: 1 << 30)
        }
        // All is in the file, whatever the journal does.
        #expect(try lines(directory.file("logs"), "api/2").count == count)
        try flush(journal)
        let sent = received(socket).count
        #expect(sent > 0 && sent < count)
        #expect(losses["api/2"].map { Int($0.lines) } == count - sent)
        #expect(losses["api/2"].map { SystemJournal.reason($0.code) } == "journald takes lines too slowly")
        // Once when it was found out, and once more if the flush took too long; what comes of it later in a minute.
        let told = notices.all.map { if case .notInJournal(let lines, _) = $0 { Int(lines) } else { 0 } }
        #expect((1...2).contains(told.count) && told.reduce(0, +) <= count - sent, "\(told)")
    }

    @Test func `a flush waits for a slow journal no longer than it may; what is left is counted and told`() throws {
        let socket = try NoticeSocket(path: path, owner: nil, isOpen: false)
        let journal = journal()
        let (writer, stdout, _) = try world(journal)
        try PipeIO.setCapacity(stdout.reader, bytes: 1 << 20)
        let count = 20_000
        try stdout.send(String(repeating: "a line\n", count: count))
        writer.takeTurn(budget: 1 << 30)
        let isDone = Locked(false)
        journal.flush(within: .zero) { isDone.update { $0 = true } }
        // From now on all that is sent is taken: without a limit the journal would get everything.
        var sent = 0
        try eventually("the end of the flush") {
            sent += received(socket).count
            return isDone.value ? true : nil
        }
        sent += received(socket).count
        #expect(sent < count)
        #expect(losses["api/2"].map { Int($0.lines) } == count - sent)
        let told = notices.all.reduce(into: UInt64(0)) { sum, notice in
            if case .notInJournal(let lines, "journald takes lines too slowly") = notice { sum += lines }
        }
        #expect(Int(told) == count - sent)
        // It goes on afterwards.
        try stdout.send("later\n")
        writer.takeTurn(budget: 1 << 20)
        try flush(journal)
        #expect(received(socket) == [entry("later")])
    }

    @Test(arguments: [0, 1, 3, 1000])
    func `of a batch no more entries are made than there is room for, and the others are counted`(fitting: Int) {
        let line = "2027-01-15T08:00:00.000000000Z stdout F x\n"
        let output = ByteBuffer()
        for _ in 0..<1000 { output.append(Array(line.utf8)) }
        let size = entry("x").utf8.count
        let (datagrams, left) = JournalEntryWriter(instance: "api/2")
            .entries(output, from: 0, room: (fitting + 1) * size - 1)
        #expect(datagrams == Array(repeating: Array(entry("x").utf8), count: fitting))
        #expect(left.lines == UInt64(1000 - fitting) && left.bytes == UInt64((1000 - fitting) * size))
    }
}
