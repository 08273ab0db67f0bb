import Platform
import TestSupport
import Testing

@testable import Logs

@Suite struct LogTailTests {
    private let directory: TemporaryDirectory
    private var path: String { directory.file("api/1.log") }

    init() throws {
        directory = try TemporaryDirectory()
        try FileIO.createDirectories(directory.file("api"))
    }

    private func append(_ texts: [String], newline: Bool = true) throws {
        let lines = texts.map { "2026-01-31T10:20:30.123456789Z stdout F \($0)" }.joined(separator: "\n")
        try FileIO.append(Array((lines + (newline ? "\n" : "")).utf8), to: FileIO.openForAppending(path: path))
    }

    private func tail() throws -> LogTail { try #require(LogTail(instance: "api/1", directory: directory.path)) }

    private func texts(_ tail: inout LogTail) -> [String] {
        tail.next().map { String(decoding: $0.text, as: UTF8.self) }
    }

    @Test func whatIsThereComesFirstAndWhatIsAddedAfterwards() throws {
        try append(["a", "b"])
        var tail = try tail()
        #expect(texts(&tail) == ["a", "b"])
        #expect(texts(&tail) == [])
        try append(["c"])
        #expect(texts(&tail) == ["c"])
    }

    @Test func aLineThatIsNotCompleteIsNotShownYet() throws {
        try append(["a", "hal"], newline: false)
        var tail = try tail()
        #expect(texts(&tail) == ["a"])
        try FileIO.append(Array("f\n".utf8), to: FileIO.openForAppending(path: path))
        #expect(texts(&tail) == ["half"])
    }

    @Test func aFileThatIsNotThereYetMayCome() throws {
        var tail = try tail()
        #expect(texts(&tail) == [])
        try append(["a"])
        #expect(texts(&tail) == ["a"])
    }

    @Test func rotationLosesNoLine() throws {
        try append(["a"])
        var tail = try tail()
        #expect(texts(&tail) == ["a"])
        try append(["b"])
        try FileIO.rename(path, to: path + ".1")
        try append(["c"])
        #expect(texts(&tail) == ["b"])
        #expect(texts(&tail) == ["c"])
        #expect(texts(&tail) == [])
    }

    @Test func ofALongFileOnlyTheEndIsReadAndNoTornLine() throws {
        let lines = (0..<5000).map { "line \($0) of many" }
        try append(lines)
        var tail = try tail()
        let found = texts(&tail)
        #expect(found.count > 500 && found.count < 1500)
        #expect(found == Array(lines.suffix(found.count)))
    }

    @Test func aFloodIsTakenInPieces() throws {
        try append(["first"])
        var tail = try tail()
        _ = texts(&tail)
        let lines = (0..<5000).map { "line \($0)" }
        try append(lines)
        var found: [String] = []
        while true {
            let more = texts(&tail)
            if more.isEmpty { break }
            #expect(more.joined().utf8.count <= LogTail.chunk)
            found += more
        }
        #expect(found == lines)
    }

    @Test func aFileThatWasCutGoesOnFromThere() throws {
        try append(["a", "b"])
        var tail = try tail()
        _ = texts(&tail)
        try FileIO.truncate(FileIO.openForAppending(path: path), to: 0)
        #expect(texts(&tail) == [])
        try append(["c"])
        #expect(texts(&tail) == ["c"])
    }

    @Test(arguments: ["", "api", "../etc/passwd", "api/../1", "api/1/2", "/api/1"])
    func whatIsNoInstanceHasNoLog(name: String) { #expect(LogTail(instance: name, directory: "/") == nil) }
}
