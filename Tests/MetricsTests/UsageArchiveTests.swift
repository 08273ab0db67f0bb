import Testing

@testable import Metrics

/// What one supervisor writes down of the past, and the next one reads.
struct UsageArchiveTests {
    private static let second: Int64 = 1_000_000_000
    private let now = 100_000 * UsageArchiveTests.second

    /// `looks` looks ten seconds apart, the last one at `now`: at one with a process, and one without.
    private func history(looks: Int64, haste: Int64 = 1) -> UsageHistory {
        var history = UsageHistory(haste: haste)
        for look in 0..<looks {
            let at = now - (looks - 1 - look) * 10 * Self.second
            history.take(
                [
                    .init(
                        instance: "a/1", process: 7, began: nil, cpuSeconds: Double(look),
                        usage: Usage(
                            memoryBytes: UInt64(look + 1) << 20, connections: nil, threads: 2, descriptors: UInt64(look)
                        ))
                ], of: ["a/1", "down/1"], at: at)
        }
        return history
    }

    private func words(_ archive: UsageArchive) -> [UInt64] {
        var words: [UInt64] = []
        archive.write { words += $0 }
        return words
    }

    private func known(_ history: UsageHistory, _ span: UsageHistory.Span, at time: Int64) -> [Usage] {
        history.series(of: "a/1", span, at: time).compactMap { $0 }
    }

    @Test(arguments: [1, 2, 37, 500] as [Int64]) func `the next one goes on as the one before would have`(looks: Int64)
        throws
    {
        var before = history(looks: looks)
        let words = words(UsageArchive(before, wantedUntil: now + 5))
        var read = try #require(UsageArchive(words, haste: 1, at: now + Self.second))
        #expect(read.wantedUntil == now + 5 && read.history.latest == now && read.history.instances == ["a/1"])
        #expect(read.history.since(of: ["a/1", "down/1"]) == before.since(of: ["a/1", "down/1"]))
        #expect(read.history.lookedAt(["a/1", "down/1"]) == now)
        let next = UsageHistory.Reading(
            instance: "a/1", process: 7, began: nil, cpuSeconds: Double(looks) + 4,
            usage: Usage(memoryBytes: 5 << 20, threads: 3, descriptors: 9))
        func compare(at time: Int64) {
            for span in UsageHistory.Span.allCases {
                #expect(known(read.history, span, at: time) == known(before, span, at: time))
            }
            #expect(read.history.now(of: "a/1") == before.now(of: "a/1"))
        }
        compare(at: now)
        before.take([next], of: ["a/1", "down/1"], at: now + 10 * Self.second)
        read.history.take([next], of: ["a/1", "down/1"], at: now + 10 * Self.second)
        compare(at: now + 10 * Self.second)
        // Of a process that both have known.
        #expect(read.history.now(of: "a/1").cpuPercent == 50)
        #expect(read.history.since(of: ["a/1"]) == now - (looks - 1) * 10 * Self.second)
    }

    @Test func `of an instance it takes little more than its records`() {
        #expect(words(UsageArchive(history(looks: 8640), wantedUntil: 0)).count * 8 < 10_368 + 500)
        // What is young is short.
        #expect(words(UsageArchive(history(looks: 6), wantedUntil: 0)).count * 8 < 600)
    }

    @Test func `what is torn counts as far as it is whole, and what is foreign not at all`() throws {
        let words = words(UsageArchive(history(looks: 40), wantedUntil: now))
        for length in 0..<words.count {
            let read = UsageArchive(Array(words.prefix(length)), haste: 1, at: now)
            #expect(read == nil || read?.history.tracks.count ?? 0 <= 1, "\(length)")
            if length < 6 { #expect(read == nil) }
        }
        #expect(UsageArchive(words, haste: 2, at: now) == nil)
        // Of another boot: the clock was further.
        #expect(UsageArchive(words, haste: 1, at: now - 1) == nil)
        #expect(UsageArchive([], haste: 1, at: now) == nil)
        #expect(UsageArchive(Array(repeating: .max, count: 100), haste: 1, at: now) == nil)
        #expect(UsageArchive(Array(repeating: 0, count: 100), haste: 1, at: now) == nil)
    }

    @Test func `no bit that is another one does harm`() throws {
        let words = words(UsageArchive(history(looks: 3), wantedUntil: now))
        let whole = try #require(UsageArchive(words, haste: 1, at: now))
        for index in words.indices {
            for bit in stride(from: UInt64(0), to: 64, by: 7) {
                var changed = words
                changed[index] ^= 1 << bit
                guard var read = UsageArchive(changed, haste: 1, at: now) else { continue }
                // The checksum has told: that piece and all behind it are gone.
                #expect(read.history.looks.count < whole.history.looks.count, "word \(index), bit \(bit)")
                read.history.take([], of: ["a/1"], at: now + Self.second)
            }
        }
    }

    @Test func `what says nonsense with the right checksum is taken or dropped, and never fatal`() {
        var random = SystemRandomNumberGenerator()
        for _ in 0..<1000 {
            var forged: [UInt64] = []
            UsageArchive(history(looks: 2), wantedUntil: now).write { piece in
                var words = Array(piece.dropFirst().dropLast())
                if forged.count > 4, !words.isEmpty {
                    for _ in 0..<3 {
                        words[Int.random(in: 0..<words.count, using: &random)] =
                            [0, 1, .max, UInt64(Int64.max), random.next()].randomElement(using: &random) ?? 0
                    }
                }
                let checksum = words.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ $1) &* 0x0000_0100_0000_01b3 } as UInt64
                forged += [UInt64(words.count)] + words + [checksum]
            }
            guard var read = UsageArchive(forged, haste: 1, at: now) else { continue }
            let reading = UsageHistory.Reading(
                instance: "a/1", process: 7, began: nil, cpuSeconds: 99, usage: Usage(memoryBytes: 1))
            for later: Int64 in [1, 400, 90_000] {
                read.history.take([reading], of: ["a/1", "down/1"], at: now + later * Self.second)
                for span in UsageHistory.Span.allCases {
                    _ = UsageHistory.Summary(of: read.history.series(of: "a/1", span, at: now + later * Self.second))
                }
            }
            #expect(!words(read).isEmpty)
        }
    }
}
