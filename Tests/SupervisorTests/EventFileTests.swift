import Events
import Foundation
import Platform
import Synchronization
import TestSupport
import Testing

@testable import Supervisor

/// What the file has told.
private final class Notes: Sendable {
    private let lines = Mutex<[String]>([])
    var all: [String] { lines.withLock { $0 } }
    func add(_ text: String) { lines.withLock { $0.append(text) } }
}

@Suite("The file of events")
struct EventFileTests {
    private let directory: TemporaryDirectory
    private let notes = Notes()
    private static let small = EventFile.Limits(segment: 4000, checkpoint: 1000, lines: 10)

    init() throws { directory = try TemporaryDirectory() }

    private func open(_ limits: EventFile.Limits = EventFile.Limits(), counter: MemoryFile? = nil) -> EventFile {
        EventFile(stateDirectory: directory.path, counter: counter, limits: limits) { [notes] in notes.add("\($1)") }
    }

    private func state(_ to: String, of instance: String = "api/1") -> EventRecord {
        EventRecord(
            number: 0, at: "2026-01-31T10:20:30.123Z", service: "api", instance: instance,
            kind: .state(.init(from: nil, to: to)))
    }

    /// All that is told after a number, in small pieces.
    private func numbers(_ file: EventFile, after: UInt64 = 0) -> [UInt64] {
        var numbers: [UInt64] = []
        var last = after
        while true {
            let (text, next) = file.read(after: last, limit: 300)
            if text.isEmpty { return numbers }
            let lines = text.split(separator: UInt8(ascii: "\n"))
            numbers += lines.compactMap { EventLine.number(of: $0) }
            guard next == numbers.last else { return numbers + [0] }
            last = next
        }
    }

    @Test(
        "Who wants those of some instances gets no others, from memory and from disk, and comes to the end all the same"
    )
    func filter() {
        var file = open()
        file.append((1...3).flatMap { [state("\($0)"), state("\($0)", of: "api/2")] })
        for _ in 0..<2 {
            let (text, last) = file.read(after: 0, limit: 1 << 20, EventFilter(instances: ["api/2"]))
            let numbers = text.split(separator: UInt8(ascii: "\n")).compactMap { EventLine.number(of: $0) }
            #expect(numbers == [2, 4, 6] && last == 6)
            #expect(file.read(after: 4, limit: 1 << 20, EventFilter(instances: ["api/1"])).text.count == text.count / 3)
            // A piece that is full ends with the last that was looked at.
            #expect(file.read(after: 0, limit: 1, EventFilter(instances: ["api/2"])).last == 2)
            let none = file.read(after: 0, limit: 1, EventFilter(instances: []))
            #expect(none.text.isEmpty && none.last == 6)
            // Of the next one some are on disk alone.
            file = open()
        }
    }

    @Test("Numbers go on with the next supervisor, which knows what all events come to; nobody else may read them")
    func goingOn() throws {
        let first = open()
        first.append([state("starting"), state("running"), state("down", of: "api/2")])
        #expect(numbers(first) == [1, 2, 3])
        let second = open()
        #expect(second.last == 3)
        #expect(second.ledger == first.ledger)
        #expect(second.ledger.instances["api/1"]?.state == "running")
        second.append([state("backoff")])
        #expect(numbers(second) == [1, 2, 3, 4])
        #expect(numbers(second, after: 2) == [3, 4])
        #expect(numbers(second, after: 4) == [])
        // One that was never given is of another directory: all that there is follows.
        #expect(numbers(second, after: 99) == [1, 2, 3, 4])
        let mode = try FileManager.default.attributesOfItem(atPath: directory.file("events"))[.posixPermissions]
        #expect(mode as? Int == 0o600)
        #expect(notes.all.isEmpty)
    }

    @Test("A torn last line is dropped", arguments: [#"{"number":3,"at":"20"#, "\u{0}\u{0}\u{0}", "{"])
    func tornLine(rest: String) throws {
        open().append([state("starting"), state("running")])
        let handle = try #require(FileHandle(forWritingAtPath: directory.file("events")))
        try handle.seekToEnd()
        try handle.write(contentsOf: Data(rest.utf8))
        let file = open()
        #expect(file.last == 2)
        file.append([state("backoff")])
        #expect(numbers(file) == [1, 2, 3])
        let text = try String(contentsOfFile: directory.file("events"), encoding: .utf8)
        #expect(text.split(separator: "\n").allSatisfy { EventLine.event(Array($0.utf8)) != nil }, "\(text)")
        #expect(notes.all.count == 1 && notes.all[0].contains("not whole"))
    }

    @Test("Lines that nobody can read are left out, and said to be; all others are there")
    func brokenLines() throws {
        open().append([state("starting"), state("running")])
        let path = directory.file("events")
        let good = try String(contentsOfFile: path, encoding: .utf8)
        try Data(("nonsense\n\u{0}\n{\"checkpoint\":7}\n" + good + "{}\n").utf8).write(to: URL(filePath: path))
        let file = open()
        #expect(file.last == 2)
        #expect(file.ledger.instances["api/1"]?.state == "running")
        file.append([state("down")])
        #expect(numbers(file) == [1, 2, 3])
        #expect(notes.all.count == 1 && notes.all[0].contains("cannot be read"), "\(notes.all)")
    }

    @Test("Full files are renamed: what is kept is bounded, and ends with the last event")
    func rotation() throws {
        let file = open(Self.small)
        for number in 1...300 { file.append([state(number % 2 == 0 ? "running" : "backoff", of: "api/\(number % 7)")]) }
        for name in ["events", "events.old"] {
            let size = try FileManager.default.attributesOfItem(atPath: directory.file(name))[.size] as? Int
            #expect(size ?? 0 > 1000 && size ?? .max < 12_000, "\(name): \(size ?? -1)")
        }
        let names = try FileManager.default.contentsOfDirectory(atPath: directory.path)
        #expect(names.sorted() == ["events", "events.old"])
        let told = numbers(file)
        let first = try #require(told.first)
        #expect(first > 1)
        #expect(told == Array(first...300))
        #expect(numbers(file, after: 5) == told)
        #expect(numbers(file, after: 290) == Array(291...300))
        // Instances whose last event is long gone are known all the same.
        let next = open(Self.small)
        #expect(next.last == 300)
        #expect(next.ledger == file.ledger)
        #expect(numbers(next) == told)
        #expect(notes.all.isEmpty, "\(notes.all)")
    }

    @Test("Cut between the two renamings, nothing is lost", arguments: [true, false])
    func cutRotation(hasNew: Bool) throws {
        let file = open(Self.small)
        for number in 1...30 { file.append([state(number % 2 == 0 ? "running" : "backoff")]) }
        let told = numbers(file)
        try? FileManager.default.removeItem(atPath: directory.file("events.old"))
        try FileManager.default.moveItem(atPath: directory.file("events"), toPath: directory.file("events.old"))
        if hasNew { try Data("rubbish".utf8).write(to: URL(filePath: directory.file("events.new"))) }
        let next = open(Self.small)
        #expect(next.last == 30)
        #expect(next.ledger == file.ledger)
        next.append([state("down")])
        #expect(numbers(next).suffix(3) == [29, 30, 31])
        #expect(Set(numbers(next)).isSubset(of: Set(told + [31])))
    }

    @Test("A full disk is told once, and stops nothing; what comes meanwhile is written when there is room again")
    func fullDisk() throws {
        let file = open()
        file.append([state("starting")])
        let isFull = Mutex(true)
        let plan = FaultPlan { call, _ in call == "write" && isFull.withLock { $0 } ? 28 : nil }
        FaultPlan.$current.withValue(plan) {
            for _ in 1...5 { file.append([state("running"), state("backoff")]) }
        }
        #expect(notes.all.count == 1 && notes.all[0].contains("EVENTS ARE NOT KEPT"), "\(notes.all)")
        #expect(numbers(file) == Array(1...11))
        #expect(EventFile(stateDirectory: directory.path, counter: nil, note: { _, _ in }).last == 1)
        file.append([state("running")])
        #expect(notes.all.count == 2 && notes.all[1].contains("again"), "\(notes.all)")
        let next = open()
        #expect(next.last == 12)
        #expect(numbers(next) == Array(1...12))
        #expect(next.ledger == file.ledger)
    }

    @Test(
        "Part of a line on a disk that has become full does no harm, whether it can be cut off or not",
        arguments: [true, false])
    func partOfALine(cannotCut: Bool) throws {
        let file = open()
        file.append([state("starting")])
        let path = directory.file("events")
        // The first call writes part, as the kernel does when the disk becomes full.
        let plan = FaultPlan { call, _ in
            if call == "ftruncate", cannotCut { return 5 }
            guard call == "write" else { return nil }
            if let handle = FileHandle(forWritingAtPath: path) {
                _ = try? handle.seekToEnd()
                try? handle.write(contentsOf: Data(#"{"number":2,"a"#.utf8))
            }
            return 28
        }
        FaultPlan.$current.withValue(plan) { file.append([state("running")]) }
        file.append([state("backoff")])
        #expect(numbers(file) == [1, 2, 3])
        let next = open()
        #expect(next.last == 3)
        #expect(next.ledger == file.ledger)
        #expect(numbers(next) == [1, 2, 3])
    }

    @Test("Of a long time without a disk the last events are in memory, and the numbers tell what is missing")
    func longTrouble() throws {
        let counter = try MemoryFile(name: "test")
        let file = open(Self.small, counter: counter)
        file.append([state("starting")])
        let plan = FaultPlan { call, _ in call == "write" ? 28 : nil }
        FaultPlan.$current.withValue(plan) {
            for _ in 1...100 { file.append([state("running")]) }
        }
        let told = numbers(file)
        #expect(told.first == 1 && told.last == 101)
        #expect(told.count < 25 && told.dropFirst().elementsEqual((101 - UInt64(told.count) + 2)...101))
        // The next supervisor gives no number twice, though those on disk end earlier.
        let next = open(Self.small, counter: counter)
        #expect(next.last == 101)
        #expect(next.isContinued)
        next.append([state("down")])
        #expect(numbers(next) == [1, 102])
    }

    @Test("Whether this keeper has told anything, its counter says")
    func counter() throws {
        #expect(!open().isContinued)
        let counter = try MemoryFile(name: "test")
        let file = open(counter: counter)
        #expect(!file.isContinued)
        file.append([state("running")])
        #expect(open(counter: counter).isContinued)
        #expect(!open(counter: try MemoryFile(name: "test")).isContinued)
    }

    @Test("A directory, or a link, in the place of the file is told and touched by nobody")
    func unsuitable() throws {
        try FileManager.default.createDirectory(atPath: directory.file("events"), withIntermediateDirectories: false)
        let file = open()
        file.append([state("running")])
        #expect(numbers(file) == [1])
        #expect(notes.all.count == 1 && notes.all[0].contains("EVENTS ARE NOT KEPT"))
        // Once it is gone, all is well.
        try FileManager.default.removeItem(atPath: directory.file("events"))
        file.append([state("down")])
        #expect(numbers(open()) == [1, 2])
    }

    @Test("A file that could not even be read at the start goes on after what is in it")
    func lateOpening() throws {
        let earlier = open()
        for _ in 1...5 { earlier.append([state("running")]) }
        try FileManager.default.moveItem(atPath: directory.file("events"), toPath: directory.file("aside"))
        try FileManager.default.createDirectory(atPath: directory.file("events"), withIntermediateDirectories: false)
        let file = open()
        file.append([state("starting", of: "api/2")])
        try FileManager.default.removeItem(atPath: directory.file("events"))
        try FileManager.default.moveItem(atPath: directory.file("aside"), toPath: directory.file("events"))
        file.append([state("backoff", of: "api/2")])
        file.append([state("running", of: "api/2")])
        let onDisk = numbers(open())
        #expect(onDisk == onDisk.sorted() && Set(onDisk).count == onDisk.count)
        #expect(onDisk.starts(with: Array(1...5)) && onDisk.count > 5)
        #expect(open().ledger.instances["api/2"]?.state == "running")
    }

    @Test("A file that somebody has removed is made again")
    func removed() throws {
        let file = open()
        file.append([state("starting")])
        try FileManager.default.removeItem(atPath: directory.file("events"))
        file.append([state("running")])
        #expect(notes.all.count == 1 && notes.all[0].contains("was removed"))
        #expect(numbers(open()) == [2])
    }

    @Test("An event that is too long is dropped, and said to be")
    func tooLong() {
        let file = open()
        file.append([state(String(repeating: "x", count: EventLine.limit)), state("running")])
        #expect(numbers(file) == [1])
        #expect(notes.all.count == 1 && notes.all[0].contains("too long"))
    }
}
