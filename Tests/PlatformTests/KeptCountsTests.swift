import Glibc
import Testing

@testable import Platform

@Suite("Counts that are kept")
struct KeptCountsTests {
    private static let (first, last) = (KeptCounts.Column(0), KeptCounts.Column(17))

    private func next(_ counts: KeptCounts) throws -> KeptCounts {
        try KeptCounts(resuming: #require(counts.descriptor))
    }

    @Test("The next process goes on with every count, and finds no name that is gone")
    func goesOn() throws {
        let counts = try KeptCounts(keeping: "counts")
        counts.add([(Self.first, 3), (Self.last, 1)], to: "api/1")
        counts.add([(Self.first, 4)], to: "api/1")
        counts.set([(Self.last, .max)], of: "wéb")
        counts.add([(Self.first, 1)], to: "gone")
        counts.keep { $0 != "gone" }
        let second = try next(counts)
        #expect(second.all.keys.sorted() == ["api/1", "wéb"])
        #expect(second["api/1"]?[Self.first] == 7 && second["api/1"]?[Self.last] == 1)
        #expect(second["wéb"]?[Self.last] == .max && second["gone"] == nil)
        // The place of the one that is gone is taken again, and nothing is left in it.
        second.add([(Self.last, 2)], to: "new")
        second.add([(Self.first, 1)], to: "api/1")
        let third = try next(second)
        #expect(third["new"]?[Self.first] == 0 && third["new"]?[Self.last] == 2)
        #expect(third["api/1"]?[Self.first] == 8)
    }

    @Test("A name that is half written, or nonsense, counts as none; so does a second one of the same name")
    func damaged() throws {
        let counts = try KeptCounts(keeping: "counts")
        for name in ["a", "b", "c", "d"] { counts.add([(Self.first, 1)], to: name) }
        let memory = try SharedMemory(mapping: #require(counts.descriptor), count: 4096 + KeptCounts.most * 256)
        memory.store(0, at: 4096)  // Killed before the length.
        memory.store(.max, at: 4096 + 256)
        memory[4096 + 512 + 8] = 0xff  // No UTF-8.
        #expect(try next(counts).all.keys.sorted() == ["d"])
        memory.store(1, at: 4096)
        memory[4096 + 8] = UInt8(ascii: "d")
        memory.store(5, at: 4096 + 112)
        #expect(try next(counts).all.mapValues { $0[Self.first] } == ["d": 5])
        memory.store(.max, at: 8)  // More places than there are.
        #expect(try next(counts).all.count == 1)
        memory.store(1, at: 0)
        #expect(throws: SystemError.self) { try next(counts) }
    }

    @Test("There is an end to the names, and to how long one is")
    func limits() throws {
        let counts = try KeptCounts(keeping: "counts")
        for number in 0..<KeptCounts.most + 5 { counts.add([(Self.first, 1)], to: "a/\(number)") }
        counts.add([(Self.first, 1)], to: String(repeating: "x", count: 105))
        counts.add([(Self.first, 1)], to: "")
        counts.add([(Self.first, 1)], to: "a/0")
        #expect(counts.all.count == KeptCounts.most && counts["a/\(KeptCounts.most)"] == nil)
        #expect(try next(counts)["a/0"]?[Self.first] == 2)
        #expect(try next(counts).all == counts.all)
    }

    @Test("Without memory to keep them in they are counted all the same")
    func alone() {
        let counts = KeptCounts()
        counts.add([(Self.first, 2)], to: "a")
        #expect(counts["a"]?[Self.first] == 2 && counts.descriptor == nil && counts["b"] == nil)
        counts.keep { _ in false }
        #expect(counts.all.isEmpty)
    }
}
