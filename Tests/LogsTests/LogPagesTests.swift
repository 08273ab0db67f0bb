import Platform
import TestSupport
import Testing

@testable import Logs

@Suite struct LogPagesTests {
    private let directory: TemporaryDirectory
    private func path(_ number: Int) -> String { directory.file("api/\(number).log") }

    init() throws {
        directory = try TemporaryDirectory()
        try FileIO.createDirectories(directory.file("api"))
    }

    /// Appends lines whose text is a number; each second has one.
    private func append(_ numbers: some Sequence<Int>, instance: Int = 1, _ more: String = "", torn: String = "") throws
    {
        let text = numbers.map { "\(Self.time($0)) stdout F \($0)\(more)\n" }.joined() + torn
        try FileIO.append(Array(text.utf8), to: FileIO.openForAppending(path: path(instance)))
    }

    private static func time(_ number: Int) -> String { "2026-01-31T10:20:30.\(100_000_000 + number)Z" }

    private func rotate(_ instance: Int = 1, kept: Int) throws {
        for number in stride(from: kept - 1, through: 1, by: -1) {
            try FileIO.rename("\(path(instance)).\(number)", to: "\(path(instance)).\(number + 1)")
        }
        try FileIO.rename(path(instance), to: "\(path(instance)).1")
    }

    private func page(_ first: LogLine?, count: Int) -> LogPages.Page {
        LogPages.before(first?.place, time: first?.timestamp, of: "api/1", in: directory.path, count: count)
    }

    private func numbers(_ lines: [LogLine]) -> [Int] {
        lines.compactMap { Int(String(decoding: $0.text.prefix { $0 != 0x20 }, as: UTF8.self)) }
    }

    /// All pages, from the end on, until one is empty.
    private func all(count: Int) -> [Int] {
        var found: [Int] = []
        var first: LogLine?
        while true {
            let lines = page(first, count: count).lines
            #expect(lines.count <= count)
            guard let next = lines.first else { return found }
            found = numbers(lines) + found
            first = next
        }
    }

    @Test func whatWasWrittenUpToATimeIsFoundHoweverMuchHasFollowed() throws {
        /// The last lines up to that of a number, in nanoseconds after it.
        func upTo(_ number: Int, _ more: Int64 = 0) throws -> [Int] {
            var writer = TimestampWriter()
            let second = Int64(1_769_854_830) * 1_000_000_000
            #expect(String(decoding: writer.text(of: second + 100_000_000), as: UTF8.self) == Self.time(0))
            let time = second + 100_000_000 + Int64(number) + more
            guard let place = LogPages.place(after: time, of: "api/1", in: directory.path) else { return [] }
            return numbers(LogPages.before(place, of: "api/1", in: directory.path, count: 3).lines)
        }
        #expect(try upTo(5) == [])
        // Two files that were rotated, and a current one of which only a part is ever looked at.
        let long = " " + String(repeating: "x", count: 1000)
        try append(stride(from: 0, to: 20, by: 2))
        try rotate(kept: 1)
        try append(stride(from: 20, to: 4000, by: 2), long)
        try rotate(kept: 2)
        try append(stride(from: 4000, to: 8000, by: 2), long, torn: "2026")
        #expect(try upTo(-1) == [] && upTo(0) == [0] && upTo(5) == [0, 2, 4])
        // The last ones of a file, and those of two.
        #expect(try upTo(18) == [14, 16, 18] && upTo(19) == [14, 16, 18] && upTo(20) == [16, 18, 20])
        for number in [21, 22, 500, 2000, 3998, 3999, 4000, 5000, 7998] {
            let last = number / 2 * 2
            #expect(try upTo(number) == [last - 4, last - 2, last], "\(number)")
        }
        #expect(try upTo(100_000_000) == [7994, 7996, 7998] && upTo(0, .max / 2) == [7994, 7996, 7998])
    }

    @Test(arguments: [1, 7, 1000])
    func pagesGoBackThroughAllFilesAndMissNoLine(count: Int) throws {
        try append(0..<20)
        try rotate(kept: 1)
        try append(20..<25)
        try rotate(kept: 2)
        try append([])
        try rotate(kept: 3)
        try append(25..<40, torn: "2026-01-31T10:20:30.100000040Z stdo")
        #expect(all(count: count) == Array(0..<40))
    }

    @Test func longFilesAreReadInPieces() throws {
        try append(0..<3000, " and so on, for a hundred bytes or more: \(String(repeating: ".", count: 60))")
        #expect(all(count: 10_000) == Array(0..<3000))
        let last = page(nil, count: 10_000)
        #expect(last.hasMore && numbers(last.lines).count < 3000)
    }

    @Test func whatIsNoLineOfOursIsPassedOver() throws {
        try append(0..<3)
        let noise = [UInt8](repeating: 0x78, count: 3 * LogTail.chunk)
        try FileIO.append(noise + [0x0a], to: FileIO.openForAppending(path: path(1)))
        try append(3..<5)
        #expect(all(count: 2) == Array(0..<5))
    }

    @Test func aRotationMeanwhileChangesNothing() throws {
        try append(0..<10)
        let end = page(nil, count: 3)
        #expect(numbers(end.lines) == [7, 8, 9] && end.hasMore)
        try append(10..<12)
        try rotate(kept: 1)
        try append(12..<14)
        #expect(numbers(page(end.lines.first, count: 3).lines) == [4, 5, 6])
    }

    @Test func ofAFileThatIsGoneThereIsNothingWhateverHasItsNumberNow() throws {
        try append(0..<10)
        let first = try #require(page(nil, count: 2).lines.first)
        // As if another file had the number.
        var other = first
        other.timestamp = Self.time(3)
        #expect(page(other, count: 5) == LogPages.Page(lines: [], hasMore: false))
        var beyond = first
        beyond.place?.offset = 1_000_000
        #expect(page(beyond, count: 5).lines.isEmpty)
        beyond.place?.offset = -1
        #expect(page(beyond, count: 5).lines.isEmpty)
        try rotate(kept: 1)
        try append(50..<60)
        try FileIO.remove(path(1) + ".1")
        #expect(page(first, count: 5).lines.isEmpty)
        #expect(LogPages.before(nil, of: "../x/1", in: directory.path, count: 5).lines.isEmpty)
        #expect(LogPages.before(nil, of: "api/7", in: directory.path, count: 5).lines.isEmpty)
    }

    @Test func aTailAtTheEndGoesOnWhereThePagesBegin() throws {
        try append(0..<2000, torn: "2026-01-31T10:20:30.100002000Z stdout F 20")
        var tail = try #require(LogTail(instance: "api/1", directory: directory.path, atEnd: true))
        let before = LogPages.before(tail.place, of: "api/1", in: directory.path, count: 5)
        #expect(numbers(before.lines) == Array(1995..<2000))
        try FileIO.append(Array("00\n".utf8), to: FileIO.openForAppending(path: path(1)))
        try append(2001..<2003)
        #expect(numbers(tail.next()) == [2000, 2001, 2002])
    }

    @Test func pagesOfSeveralAreInOrderAndEndWhereOneHasMore() {
        func page(_ name: String, _ numbers: [Int], hasMore: Bool) -> LogPages.Page {
            LogPages.Page(
                lines: numbers.map {
                    LogLine(instance: name, timestamp: Self.time($0), stream: .stdout, text: Array("\($0)".utf8))
                }, hasMore: hasMore)
        }
        let whole = [page("a/1", [1, 4, 6], hasMore: false), page("a/2", [2, 3, 5, 7], hasMore: false)]
        #expect(numbers(LogPages.merged(whole, count: 10)) == [1, 2, 3, 4, 5, 6, 7])
        #expect(numbers(LogPages.merged(whole, count: 3)) == [5, 6, 7])
        // Between 2 and 4 of the second there may be more of the first.
        let cut = [page("a/1", [4, 6], hasMore: true), page("a/2", [2, 3, 5, 7], hasMore: false)]
        #expect(numbers(LogPages.merged(cut, count: 10)) == [4, 5, 6, 7])
        // A clock that was set back: each one's lines stay in their order.
        let back = [page("a/1", [5, 9, 6], hasMore: false), page("a/2", [7], hasMore: false)]
        #expect(numbers(LogPages.merged(back, count: 10)) == [5, 9, 6, 7])
        #expect(LogPages.merged([], count: 10).isEmpty && LogPages.merged(whole, count: 0).isEmpty)
    }

    @Test func `a page of several has a bound in bytes, and one line more`() {
        let text = [UInt8](repeating: 0x78, count: LogPages.mostText / 2 + 1)
        let pages = (1...4).map { number in
            let line = LogLine(instance: "a/\(number)", timestamp: "\(number)", stream: .stdout, text: text)
            return LogPages.Page(lines: [line], hasMore: false)
        }
        #expect(LogPages.merged(pages, count: 10).map(\.timestamp) == ["3", "4"])
    }
}
