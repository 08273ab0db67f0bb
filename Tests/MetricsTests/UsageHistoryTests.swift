import Testing

@testable import Metrics

/// What instances have used, in rings of a fixed size.
struct UsageHistoryTests {
    private let second: Int64 = 1_000_000_000

    private func reading(
        _ instance: String = "a/1", process: UInt64 = 1, began: Int64? = nil, cpu: Double = 0, memory: UInt64 = 1 << 20
    ) -> UsageHistory.Reading {
        .init(
            instance: instance, process: process, began: began, cpuSeconds: cpu,
            usage: Usage(memoryBytes: memory, connections: 3, threads: 2, descriptors: 7))
    }

    @Test func `a record has sixteen bytes, and keeps what fits`() {
        #expect(MemoryLayout<UsageRecord>.stride == 16)
        #expect(UsageHistory.Span.allCases.map { $0.count * 16 }.reduce(0, +) == 10_368)
        let cases: [(Usage, Usage)] = [
            (Usage(), Usage()),
            (
                Usage(cpuPercent: 12.34, memoryBytes: 4095, connections: 1, threads: 2, descriptors: 3),
                Usage(cpuPercent: 12.3, memoryBytes: 3072, connections: 1, threads: 2, descriptors: 3)
            ),
            (Usage(cpuPercent: 0, memoryBytes: 0), Usage(cpuPercent: 0, memoryBytes: 0)),
            (
                Usage(cpuPercent: 1e300, memoryBytes: .max, connections: .max, threads: .max, descriptors: .max),
                Usage(
                    cpuPercent: 6553.4, memoryBytes: 0xffff_fffe * 1024, connections: 0xffff_fffe, threads: 65534,
                    descriptors: 0xffff_fffe)
            ),
            (Usage(cpuPercent: -1), Usage(cpuPercent: 0)), (Usage(cpuPercent: .nan), Usage()),
        ]
        for (given, kept) in cases { #expect(UsageRecord(given).usage == kept, "\(given)") }
    }

    @Test func `a ring keeps the last steps, whatever is left out`() {
        func known(_ ring: UsageRing, _ count: Int, upTo step: Int64) -> [UInt64?] {
            ring.values(count, upTo: step).map { $0?.threads }
        }
        let cases: [(steps: [Int64], upTo: Int64, found: [UInt64?])] = [
            ([], 3, [nil, nil, nil]), ([1, 2, 3], 3, [1, 2, 3]), ([1, 2, 3, 4], 4, [2, 3, 4]),
            ([1, 2, 3, 4], 5, [3, 4, nil]), ([1, 4], 4, [nil, nil, 4]), ([1, 2, 4], 4, [2, nil, 4]),
            ([1, 2, 3], 9, [nil, nil, nil]), ([1, 2, 1_000_000], 1_000_000, [nil, nil, 1_000_000]),
            // A clock that goes back is not believed.
            ([5, 4], 5, [nil, nil, 5]), ([-2, -1, 0], 0, [65534, 65534, 0]),
            ([.min, .max], .max, [nil, nil, 65534]),
        ]
        for (steps, upTo, found) in cases {
            var ring = UsageRing(capacity: 3)
            for step in steps {
                let value = step < 0 ? UInt64.max : UInt64(step)
                ring.put(UsageRecord(Usage(threads: value)), at: step)
            }
            let wanted = found.map { $0.map { min($0, 65534) } }
            #expect(known(ring, 3, upTo: upTo) == wanted, "\(steps)")
            #expect(known(ring, 5, upTo: upTo).suffix(3) == wanted[...], "\(steps)")
        }
    }

    @Test func `CPU is that since the last look, of a new process that since it began`() {
        var history = UsageHistory()
        func look(_ readings: UsageHistory.Reading..., at seconds: Int64) {
            history.take(readings, of: ["a/1"], at: seconds * second)
        }
        // Nobody knows when the first one has used what it has.
        look(reading(began: 1 * second, cpu: 100), at: 1000)
        #expect(history.now(of: "a/1").cpuPercent == nil)
        look(reading(began: 1 * second, cpu: 105), at: 1010)
        #expect(history.now(of: "a/1").cpuPercent == 50)
        look(reading(process: 2, began: 1015 * second, cpu: 1), at: 1020)
        #expect(history.now(of: "a/1").cpuPercent == 20)
        look(at: 1030)
        #expect(history.now(of: "a/1").isEmpty)
        #expect(history.since(of: ["a/1"]) == 1000 * second)
        // After a pause one that was there is known all the same.
        look(reading(process: 2, began: 1015 * second, cpu: 11), at: 2020)
        #expect(history.now(of: "a/1").cpuPercent == 1)
        #expect(history.since(of: ["a/1"]) == 2020 * second)
        // One that has just begun has used too few ticks, and one of which nobody knows when it began says nothing.
        look(reading(process: 3, began: 2030 * second - 50_000_000, cpu: 0.05), at: 2030)
        #expect(history.now(of: "a/1").cpuPercent == nil)
        look(reading(process: 4, began: nil, cpu: 1), at: 2040)
        #expect(history.now(of: "a/1").cpuPercent == nil)
    }

    @Test func `looks at some instances say nothing of the others`() {
        var history = UsageHistory()
        func look(_ readings: UsageHistory.Reading..., of instances: Set<String>, at seconds: Int64) {
            history.take(readings, of: instances, at: seconds * second)
        }
        // a/1 has a limit and is always looked at; b/1 runs for days before anybody asks.
        for at: Int64 in stride(from: 0, through: 990, by: 10) { look(reading(cpu: 0), of: ["a/1"], at: at) }
        #expect(history.since(of: ["a/1"]) == 0 && history.since(of: ["a/1", "b/1"]) == nil)
        let both: Set = ["a/1", "b/1"]
        look(reading(), reading("b/1", process: 7, began: 5 * second, cpu: 100_000), of: both, at: 1000)
        #expect(history.now(of: "b/1").cpuPercent == nil)
        #expect(history.since(of: ["a/1"]) == 0 && history.since(of: ["a/1", "b/1"]) == 1000 * second)
        look(reading(), reading("b/1", process: 7, began: 5 * second, cpu: 100_001), of: both, at: 1010)
        #expect(history.now(of: "b/1").cpuPercent == 10)
        // The day is over; b/1 is another process when somebody asks again.
        for at: Int64 in stride(from: 1020, through: 5000, by: 10) { look(reading(), of: ["a/1"], at: at) }
        #expect(history.now(of: "b/1").cpuPercent == 10)
        #expect(history.lookedAt(["a/1"]) == 5000 * second && history.lookedAt(["b/1", "a/1"]) == 1010 * second)
        look(reading(), reading("b/1", process: 8, began: 2000 * second, cpu: 1000), of: both, at: 5010)
        #expect(history.now(of: "b/1").cpuPercent == nil)
        #expect(history.since(of: ["b/1"]) == 5010 * second && history.since(of: ["a/1"]) == 0)
        // A third one, of which nothing is known, has begun since.
        look(reading(), reading("c/1", process: 9, began: 5015 * second, cpu: 4), of: both.union(["c/1"]), at: 5020)
        #expect(history.now(of: "c/1").cpuPercent == 80)
        #expect(history.since(of: []) == nil && history.lookedAt([]) == nil)
    }

    @Test func `the hour and the day, each in its own steps`() throws {
        var history = UsageHistory()
        // Two hours; memory peaks for one look in the middle of the first one.
        for look in 0...720 {
            let memory: UInt64 = look == 100 ? 500 << 20 : UInt64(look) << 20
            history.take([reading(cpu: Double(look), memory: memory)], of: ["a/1"], at: Int64(look) * 10 * second)
        }
        let now = 7200 * second
        let hour = history.series(of: "a/1", .hour, at: now)
        #expect(hour.count == 360 && hour.allSatisfy { $0 != nil })
        #expect(hour.first??.memoryBytes == 361 << 20 && hour.last??.memoryBytes == 720 << 20)
        let day = history.series(of: "a/1", .day, at: now)
        #expect(day.count == 288 && day.compactMap { $0 }.count == 25)
        #expect(day.contains { $0?.memoryBytes == 500 << 20 })
        let summary = UsageHistory.Summary(of: hour)
        #expect(summary.steps == 360 && summary.highest.memoryBytes == 720 << 20)
        let average = try #require(summary.average.cpuPercent)
        #expect(abs(average - 10) < 0.1)
        #expect(summary.average.memoryBytes == 1081 << 19 && summary.average.connections == 3)
        #expect(condensed(hour.map { $0?.memoryBytes }, to: 3) == [480 << 20, 600 << 20, 720 << 20])
        // An hour later all of it has gone by but the day.
        #expect(history.series(of: "a/1", .hour, at: now + 3601 * second).allSatisfy { $0 == nil })
        #expect(UsageHistory.Summary(of: history.series(of: "a/1", .day, at: now + 3601 * second)).steps == 25)
    }

    @Test func `what is gone is forgotten`() {
        var history = UsageHistory()
        history.take([reading("a/1"), reading("b/1")], of: ["a/1", "b/1"], at: second)
        history.keep { $0.hasPrefix("a/") }
        #expect(history.instances == ["a/1"] && history.since(of: ["b/1"]) == nil)
        #expect(history.series(of: "b/1", .hour, at: second).allSatisfy { $0 == nil })
        #expect(condensed([Int?](), to: 5).isEmpty && condensed([1, nil, 2], to: 5) == [1, nil, 2])
    }
}
