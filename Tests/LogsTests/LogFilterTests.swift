import FoundationEssentials
import TestSupport
import Testing

@testable import Logs

/// The lines that `supctl logs --since --until --grep` asks for.
@Suite struct LogFilterTests {
    /// 2026-01-31T10:00:00Z.
    private static let start: Int64 = 1_769_853_600

    private static func line(_ second: Int64, _ text: String) -> [UInt8] {
        var writer = TimestampWriter()
        let time = writer.text(of: (start + second) * 1_000_000_000)
        return CRIFormat.prefix(time: time, stream: .stdout, tag: CRIFormat.full) + Array(text.utf8) + [0x0a]
    }

    /// A line a second in three files: seconds 0 to 29 in the oldest, and so on.
    private static func write(_ directory: TemporaryDirectory, padding: Int = 0, seconds: Int64 = 90) throws {
        try FileManager.default.createDirectory(
            atPath: directory.file("api"), withIntermediateDirectories: true)
        for (index, name) in ["1.log.2", "1.log.1", "1.log"].enumerated() {
            let third = seconds / 3
            let range = Int64(index) * third..<Int64(index + 1) * third
            let bytes = range.flatMap { line($0, "\($0) \(String(repeating: "x", count: padding))") }
            try Data(bytes).write(to: URL(filePath: directory.file("api/\(name)")))
        }
    }

    private static func numbers(
        _ directory: TemporaryDirectory, last: Int? = nil, since: Int64? = nil, until: Int64? = nil,
        text: (([UInt8]) -> Bool)? = nil
    ) throws -> [Int64] {
        var filter = LogFilter()
        filter.since = since.map { (start + $0) * 1_000_000_000 }
        filter.until = until.map { (start + $0) * 1_000_000_000 }
        filter.text = text
        let follower = try LogFollower(directory: directory.path, last: last, filter: filter) { _ in true }
        var found: [Int64] = []
        while let line = try follower.next() {
            let number = String(decoding: line.text.prefix { $0 != 0x20 }, as: UTF8.self)
            found.append(try #require(Int64(number)))
        }
        return found
    }

    @Test(arguments: [nil, -100, 0, 29, 30, 45, 60, 89, 90, 1000] as [Int64?])
    func linesOfATime(since: Int64?) throws {
        let directory = try TemporaryDirectory()
        try Self.write(directory)
        for until: Int64? in [nil, -100, 0, 29, 30, 45, 60, 89, 90, 1000] {
            for last: Int? in [nil, 0, 1, 7, 1000] {
                let all = (0..<90).filter { $0 >= since ?? .min && $0 <= until ?? .max }
                let found = try Self.numbers(directory, last: last, since: since, until: until)
                #expect(
                    found == Array(all.suffix(last ?? .max)),
                    "until \(String(describing: until)), \(String(describing: last))")
            }
        }
    }

    @Test func theLastLinesAreThoseThatMatch() throws {
        let directory = try TemporaryDirectory()
        try Self.write(directory)
        let found = try Self.numbers(directory, last: 3, since: 10) { $0.first == UInt8(ascii: "2") }
        #expect(found == [27, 28, 29])
    }

    /// Files longer than what is halved: 3 MB in all, 90 bytes to 4 KB a line.
    @Test(arguments: [50, 4000])
    func longFilesAreHalved(padding: Int) throws {
        let directory = try TemporaryDirectory()
        let seconds: Int64 = padding < 100 ? 30_000 : 900
        try Self.write(directory, padding: padding, seconds: seconds)
        for since in stride(from: Int64(0), to: seconds, by: Int(seconds / 40)) {
            #expect(try Self.numbers(directory, since: since, until: since + 5).first == since)
            #expect(try Self.numbers(directory, since: since).count == Int(seconds - since))
        }
    }

    @Test func whatIsNoLineIsNoObstacleToHalving() throws {
        let directory = try TemporaryDirectory()
        try FileManager.default.createDirectory(atPath: directory.file("api"), withIntermediateDirectories: true)
        let garbage = [UInt8](repeating: UInt8(ascii: "g"), count: 700_000)
        let bytes = Self.line(0, "0 ") + garbage + [0x0a] + (100..<200).flatMap { Self.line($0, "\($0) ") } + garbage
        try Data(bytes).write(to: URL(filePath: directory.file("api/1.log")))
        for since: Int64 in [0, 50, 100, 170, 199, 300] {
            #expect(try Self.numbers(directory, since: since) == ([0] + Array(100..<200)).filter { $0 >= since })
        }
    }

    @Test func aClockSetBackWithinAMinuteHidesNothing() throws {
        let directory = try TemporaryDirectory()
        try FileManager.default.createDirectory(atPath: directory.file("api"), withIntermediateDirectories: true)
        let seconds = Array(Int64(0)..<9000) + Array(Int64(8950)..<18000)
        let bytes = seconds.flatMap { Self.line($0, "\($0) \(String(repeating: "x", count: 100))") }
        try Data(bytes).write(to: URL(filePath: directory.file("api/1.log")))
        for since: Int64 in stride(from: 8900, to: 9100, by: 10) {
            #expect(try Self.numbers(directory, since: since) == seconds.filter { $0 >= since })
        }
    }
}
