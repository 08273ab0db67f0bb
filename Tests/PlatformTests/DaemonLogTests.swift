import Foundation
import Glibc
import Platform
import Testing

@Suite("The daemon's log") struct DaemonLogTests {
    @Test("marks lines with their level for the journal, and with the time for everybody else")
    func formats() throws {
        let pipe = try makePipe()
        var status = stat()
        try systemCall("fstat") { fstat(pipe.write.raw, &status) }
        let journal = DaemonLog(descriptor: pipe.write.raw, journalStream: "\(status.st_dev):\(status.st_ino)")
        journal.write(.warning, "two\nlines")
        #expect(try read(pipe.read) == "<4>two lines\n")
        let plain = DaemonLog(descriptor: pipe.write.raw, journalStream: "1:\(status.st_ino)")
        plain.write(.error, "text")
        #expect(try read(pipe.read).wholeMatch(of: /\d{4}-\d\d-\d\d \d\d:\d\d:\d\d error: text\n/) != nil)
        plain.write(.info, "text")
        #expect(try read(pipe.read).wholeMatch(of: /\d{4}-\d\d-\d\d \d\d:\d\d:\d\d text\n/) != nil)
        #expect(!plain.isTerminal)
    }

    @Test("cuts a line that is too long")
    func cuts() throws {
        let pipe = try makePipe()
        DaemonLog(descriptor: pipe.write.raw, journalStream: nil).write(.info, String(repeating: "x", count: 100_000))
        let text = try read(pipe.read)
        #expect(text.utf8.count == DaemonLog.lineLimit)
        #expect(text.hasSuffix("x\n"))
    }

    @Test("never waits for its reader: drops lines, counts them, and leaves the shared description as it was")
    func neverWaits() throws {
        let pipe = try makePipe()
        let log = DaemonLog(descriptor: pipe.write.raw, journalStream: nil)
        let line = String(repeating: "x", count: 3000)
        for _ in 0..<1000 { log.write(.info, line) }
        #expect(fcntl(pipe.write.raw, F_GETFL) & O_NONBLOCK == 0)
        var written = 0
        while try read(pipe.read).contains("x") && isReadable(pipe.read) { written += 1 }
        log.write(.info, "last")
        let lines = try read(pipe.read).split(separator: "\n")
        let note = try #require(lines.first?.firstMatch(of: /(\d+) lines dropped/))
        #expect(try #require(Int(note.1)) > 900)
        #expect(try #require(lines.last).hasSuffix("last"))
    }

    @Test("writes to a socket without waiting")
    func sockets() throws {
        let (left, right) = try PacketSocket.pair()
        let log = DaemonLog(descriptor: left.descriptor.raw, journalStream: nil)
        for _ in 0..<1000 { log.write(.info, "text") }
        guard case .packet(let bytes, _) = try right.receive(limit: 100) else { throw Unexpected("nothing") }
        #expect(String(decoding: bytes, as: UTF8.self).hasSuffix(" text\n"))
    }

    private func read(_ descriptor: Descriptor) throws -> String {
        var buffer = [UInt8](repeating: 0, count: 65536)
        let count = try systemCall("read") { Glibc.read(descriptor.raw, &buffer, buffer.count) }
        return String(decoding: buffer.prefix(count), as: UTF8.self)
    }

    private func isReadable(_ descriptor: Descriptor) -> Bool {
        var entry = pollfd(fd: descriptor.raw, events: Int16(POLLIN), revents: 0)
        return poll(&entry, 1, 0) == 1
    }
}
