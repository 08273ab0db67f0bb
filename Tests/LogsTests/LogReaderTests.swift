import FoundationEssentials
import Platform
import TestSupport
import Testing

@testable import Logs

/// Files as a log writer leaves them, with times of the test's choosing.
private final class Files {
    let directory: TemporaryDirectory
    var logs: String { directory.file("logs") }
    var reader: LogReader { LogReader(directory: logs) }

    init() throws { directory = try TemporaryDirectory() }

    /// The lines of a file, written as `SECONDS[!][P] text`: `!` for stderr, `P` for a piece.
    func write(_ name: String, _ lines: [String], torn: String = "") throws {
        let path = "\(logs)/\(name)"
        try FileManager.default.createDirectory(
            atPath: String(path[..<(path.lastIndex(of: "/") ?? path.endIndex)]), withIntermediateDirectories: true)
        let text = lines.map { Self.line($0) + "\n" }.joined() + torn
        try Data(text.utf8).write(to: URL(filePath: path))
    }

    func append(_ name: String, _ lines: [String]) throws {
        let output = ByteBuffer()
        for line in lines { output.append(Array((Self.line(line) + "\n").utf8)) }
        _ = try output.write(0..<output.count, to: try FileIO.openForAppending(path: "\(logs)/\(name)"))
    }

    static func line(_ short: String) -> String {
        let fields = short.split(separator: " ", maxSplits: 1, omittingEmptySubsequences: false)
        let seconds = fields[0].filter(\.isNumber)
        let padded = String(repeating: "0", count: max(0, 9 - seconds.count)) + seconds
        let stream = fields[0].contains("!") ? "stderr" : "stdout"
        let tag = fields[0].contains("P") ? "P" : "F"
        return "2026-01-31T10:20:30.\(padded)Z \(stream) \(tag) \(fields.count > 1 ? fields[1] : "")"
    }
}

private func texts(_ lines: [LogLine]) -> [String] { lines.map { String(decoding: $0.text, as: UTF8.self) } }

@Suite struct LogReaderTests {
    @Test func instancesAreListedByServiceAndNumber() throws {
        let files = try Files()
        #expect(try files.reader.instances() == [], "no directory yet")
        for name in ["web/1.log", "api/10.log", "api/2.log", "api/2.log.1", "api/3.log.7"] { try files.write(name, []) }
        try files.write("api/notes.txt", [])
        try files.write("api/balancer.log", [])
        try files.write("web/balancer.log.1", [])
        try files.write("web/balancers.log", [])
        try files.write("Other/1.log", [])
        try files.write("stray.log", [])
        #expect(try files.reader.instances() == ["api/2", "api/3", "api/10", "api/balancer", "web/1", "web/balancer"])
    }

    @Test(arguments: [0, 1, 2, 3, 4, 5, 6, 7, 100])
    func theLastLinesAreFoundAcrossRotatedFiles(count: Int) throws {
        let files = try Files()
        try files.write("api/1.log.2", ["1 a", "2 b"])
        try files.write("api/1.log.1", ["3 c", "4! d"])
        try files.write("api/1.log", ["5 e", "6 f"], torn: "2026-01-31T10:2")
        let expected = ["a", "b", "c", "d", "e", "f"].suffix(count)
        let lines = try files.reader.tail(instances: ["api/1"], count: count)
        #expect(texts(lines) == Array(expected))
        #expect(try texts(files.reader.tail(instances: ["api/1"], count: nil)) == ["a", "b", "c", "d", "e", "f"])
    }

    @Test func linesOfManyFilesAreFoundBackwardsThroughManyChunks() throws {
        let files = try Files()
        let filler = String(repeating: "x", count: 300)
        for file in 0..<4 {
            let numbers = (0..<1000).map { (3 - file) * 1000 + $0 }
            try files.write(file == 0 ? "api/1.log" : "api/1.log.\(file)", numbers.map { "\($0) \($0) \(filler)" })
        }
        for count in [1, 217, 218, 219, 999, 1000, 1001, 2500, 4000, 5000] {
            let lines = try files.reader.tail(instances: ["api/1"], count: count)
            #expect(texts(lines) == (0..<4000).map { "\($0) \(filler)" }.suffix(count))
        }
    }

    @Test func severalInstancesAreMergedByTime() throws {
        let files = try Files()
        try files.write("api/1.log", ["1 a", "4 d", "4 e", "9 i"])
        try files.write("api/2.log", ["2 b", "3! c", "5 g"])
        try files.write("web/1.log", ["4 f", "7 h"])
        let all = ["api/1", "api/2", "web/1"]
        #expect(try texts(files.reader.tail(instances: all, count: nil)) == Array("abcdefghi").map(String.init))
        #expect(try texts(files.reader.tail(instances: all, count: 4)) == ["f", "g", "h", "i"])
        let last = try #require(try files.reader.tail(instances: ["api/2"], count: 2).first)
        #expect(
            last
                == LogLine(
                    instance: "api/2", timestamp: "2026-01-31T10:20:30.000000003Z", stream: .stderr,
                    text: Array("c".utf8)))
        #expect(try files.reader.tail(instances: ["none/1"], count: 4).isEmpty)
    }

    @Test(arguments: [1, 2, 3])
    func piecesAreJoinedAlsoAcrossStreamsAndFiles(count: Int) throws {
        let files = try Files()
        try files.write("api/1.log.1", ["1 first", "2P long ", "2P line "])
        try files.write("api/1.log", ["2! error", "3P in ", "3 pieces", "4P unfinished"])
        let expected = ["first", "error", "long line in pieces"].suffix(count)
        #expect(try texts(files.reader.tail(instances: ["api/1"], count: count)) == Array(expected))
    }

    @Test func whatIsNoLineIsLeftOut() throws {
        let files = try Files()
        try files.write("api/1.log", ["1 a"])
        var data = try #require(FileManager.default.contents(atPath: "\(files.logs)/api/1.log"))
        data += Data("garbage\n\n2026 stdout F x\n".utf8) + Data([0, 255, 10]) + data
        try data.write(to: URL(filePath: "\(files.logs)/api/1.log"))
        #expect(try texts(files.reader.tail(instances: ["api/1"], count: nil)) == ["a", "a"])
        #expect(try texts(files.reader.tail(instances: ["api/1"], count: 2)) == ["a", "a"])
    }
}

@Suite struct LogFollowerTests {
    /// Follows until so many lines have come.
    private func collect(_ follower: LogFollower, _ count: Int) throws -> [String] {
        var lines: [LogLine] = []
        while true {
            while let line = try follower.next() { lines.append(line) }
            if lines.count >= count { return texts(lines) }
            guard try follower.wait(milliseconds: 30_000) else { throw TestFailure("only \(texts(lines))") }
        }
    }

    @Test func linesAreSeenAsTheyCome() throws {
        let files = try Files()
        try files.write("api/1.log", ["1 a", "2 b", "3 c"])
        let follower = try LogFollower(directory: files.logs, last: 2) { _ in true }
        #expect(try collect(follower, 2) == ["b", "c"])
        try files.append("api/1.log", ["4 d"])
        #expect(try collect(follower, 1) == ["d"])
        try files.append("api/1.log", ["5 e", "6 f"])
        #expect(try collect(follower, 2) == ["e", "f"])
        #expect(try follower.wait(milliseconds: 0) == false)
    }

    @Test func whatCameBeforeTheFirstWaitIsNotMissed() throws {
        let files = try Files()
        try files.write("api/1.log", ["1 a"])
        let follower = try LogFollower(directory: files.logs, last: 0) { _ in true }
        #expect(try follower.next() == nil)
        try files.append("api/1.log", ["2 b"])
        #expect(try collect(follower, 1) == ["b"])
    }

    @Test func aLineThatIsWrittenInPartsIsSeenWhole() throws {
        let files = try Files()
        try files.write("api/1.log", [])
        let follower = try LogFollower(directory: files.logs, last: nil) { _ in true }
        let line = Array((Files.line("1 whole") + "\n").utf8)
        let file = try FileIO.openForAppending(path: "\(files.logs)/api/1.log")
        let output = ByteBuffer()
        output.append(line)
        _ = try output.write(0..<20, to: file)
        _ = try follower.wait(milliseconds: 0)
        #expect(try follower.next() == nil)
        _ = try output.write(20..<line.count, to: file)
        #expect(try collect(follower, 1) == ["whole"])
    }

    @Test func rotationsAreFollowedEvenSeveralAtOnce() throws {
        let files = try Files()
        try files.write("api/1.log", ["1 a"])
        let follower = try LogFollower(directory: files.logs, last: nil) { _ in true }
        #expect(try collect(follower, 1) == ["a"])
        let path = "\(files.logs)/api/1.log"
        let file = LogFile(instance: "api/1", path: path, maxSize: 4096, keep: 5)
        try files.append("api/1.log", ["2 b"])
        try file.rotate()
        try files.write("api/1.log", ["3 c"])
        try file.rotate()
        try files.write("api/1.log", ["4 d"])
        #expect(try collect(follower, 3) == ["b", "c", "d"])
        try files.append("api/1.log", ["5 e"])
        #expect(try collect(follower, 1) == ["e"])
    }

    @Test func aFileThatIsDeletedOrEmptiedIsBegunAnew() throws {
        let files = try Files()
        try files.write("api/1.log.1", ["1 old"])
        try files.write("api/1.log", ["2 a", "3 b"])
        let path = "\(files.logs)/api/1.log"
        let follower = try LogFollower(directory: files.logs, last: 2) { _ in true }
        #expect(try collect(follower, 2) == ["a", "b"])
        try FileIO.remove(path)
        try files.write("api/1.log", ["4 c"])
        #expect(try collect(follower, 1) == ["c"])
        try FileIO.truncate(try FileIO.openForAppending(path: path), to: 0)
        _ = try follower.wait(milliseconds: 0)
        #expect(try follower.next() == nil)
        try files.append("api/1.log", ["5 d"])
        #expect(try collect(follower, 1) == ["d"])
    }

    @Test func aFileThatASupervisorCutsBackAndRepeatsIsShownOnce() throws {
        let files = try Files()
        try files.write("api/1.log", ["1 a", "2 b", "3 c"])
        let follower = try LogFollower(directory: files.logs, last: nil) { _ in true }
        #expect(try collect(follower, 3) == ["a", "b", "c"])
        let file = try FileIO.openForAppending(path: "\(files.logs)/api/1.log")
        try FileIO.truncate(file, to: Files.line("1 a").utf8.count + 1)
        _ = try follower.wait(milliseconds: 0)
        #expect(try follower.next() == nil)
        try files.append("api/1.log", ["2 b", "3 c", "4 d"])
        #expect(try collect(follower, 1) == ["d"])
    }

    @Test func newInstancesAndServicesAreTakenUp() throws {
        let files = try Files()
        try files.write("api/1.log", ["1 a"])
        let follower = try LogFollower(directory: files.logs, last: nil) { !$0.hasPrefix("web/") }
        #expect(try collect(follower, 1) == ["a"])
        #expect(try follower.wait(milliseconds: 0))
        try files.write("api/2.log", ["2 b"])
        #expect(try collect(follower, 1) == ["b"])
        try files.write("web/1.log", ["3 not this"])
        try files.write("db/1.log", ["4 c"])
        #expect(try collect(follower, 1) == ["c"])
        try files.append("db/1.log", ["5 d"])
        #expect(try collect(follower, 1) == ["d"])
    }

    @Test func theLinesOfALogPumpAreFollowedThroughItsRotations() async throws {
        let directory = try TemporaryDirectory()
        let logs = directory.file("logs")
        let notices = Notices()
        let pump = try LogPump(directory: logs, journal: nil) { notices.add($0) }
        let pipe = try ServicePipe()
        pump.attach(generation: 7, instance: "api/1", stdout: pipe.reader, stderr: nil, maxSize: 4096, keep: 1000)
        try pipe.send("first\n")
        await withCheckedContinuation { done in pump.flush { done.resume() } }
        let follower = try LogFollower(directory: logs, last: nil) { _ in true }
        var seen = try collect(follower, 1)
        for batch in 0..<20 {
            for number in 0..<100 { try pipe.send("line \(batch) \(number)\n") }
            if batch % 5 == 0 { seen += try collect(follower, 1) }
        }
        try pipe.send("unfinished")
        await withCheckedContinuation { done in pump.finish(generation: 7) { done.resume() } }
        seen += try collect(follower, 1)
        #expect(seen == text(linesSent(pipe.sent)))
        #expect(notices.all.isEmpty)
        #expect(FileManager.default.fileExists(atPath: "\(logs)/api/1.log.10"))
    }
}
