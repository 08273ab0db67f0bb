/// What an instance uses at a moment, or over a while.
package struct Usage: Sendable, Hashable {
    /// CPU in percent of one core; nil: not known.
    package var cpuPercent: Double?
    /// Resident memory; nil: there was no process.
    package var memoryBytes: UInt64?
    /// Connections of the balancer; nil: it has none to it, or did not answer.
    package var connections: UInt64?
    /// Threads.
    package var threads: UInt64?
    /// Open descriptors; nil: they may not be counted.
    package var descriptors: UInt64?

    /// Creates a value; what is not given is not known.
    package init(
        cpuPercent: Double? = nil, memoryBytes: UInt64? = nil, connections: UInt64? = nil, threads: UInt64? = nil,
        descriptors: UInt64? = nil
    ) {
        self.cpuPercent = cpuPercent
        self.memoryBytes = memoryBytes
        self.connections = connections
        self.threads = threads
        self.descriptors = descriptors
    }

    /// Whether nothing is known.
    package var isEmpty: Bool { self == Usage() }
}

/// A `Usage` in 16 bytes, as it is kept. The highest value of each field stands for what is not known; what does not fit is
/// the highest but one.
struct UsageRecord: Sendable, Hashable {
    private var kibibytes = UInt32.max
    private var connections = UInt32.max
    private var descriptors = UInt32.max
    /// Tenths of a percent: up to 65 cores.
    private var cpu = UInt16.max
    private var threads = UInt16.max

    /// Nothing is known.
    init() {}

    init(_ usage: Usage) {
        kibibytes = Self.fitted(usage.memoryBytes.map { $0 / 1024 })
        connections = Self.fitted(usage.connections)
        descriptors = Self.fitted(usage.descriptors)
        threads = Self.fitted(usage.threads)
        let tenths = usage.cpuPercent.flatMap { $0.isFinite ? UInt64(max(0, min($0, 1e6)) * 10 + 0.5) : nil }
        cpu = Self.fitted(tenths)
    }

    var usage: Usage {
        Usage(
            cpuPercent: Self.known(cpu).map { Double($0) / 10 }, memoryBytes: Self.known(kibibytes).map { $0 * 1024 },
            connections: Self.known(connections), threads: Self.known(threads), descriptors: Self.known(descriptors))
    }

    /// As two words, to be kept elsewhere.
    var words: [UInt64] {
        [
            UInt64(kibibytes) | UInt64(connections) << 32,
            UInt64(descriptors) | UInt64(cpu) << 32 | UInt64(threads) << 48,
        ]
    }

    /// From its words: any two are those of a record.
    init(_ first: UInt64, _ second: UInt64) {
        kibibytes = UInt32(truncatingIfNeeded: first)
        connections = UInt32(truncatingIfNeeded: first >> 32)
        descriptors = UInt32(truncatingIfNeeded: second)
        cpu = UInt16(truncatingIfNeeded: second >> 32)
        threads = UInt16(truncatingIfNeeded: second >> 48)
    }

    private static func fitted<Field: FixedWidthInteger>(_ value: UInt64?) -> Field {
        value.map { min(Field(clamping: $0), Field.max - 1) } ?? Field.max
    }

    private static func known(_ field: some FixedWidthInteger) -> UInt64? {
        field == type(of: field).max ? nil : UInt64(clamping: field)
    }
}

/// The last records of an instance, one for each step of time, the oldest overwritten by the newest. It takes memory from
/// the first record on, and then always the same: 16 bytes a step.
struct UsageRing: Sendable, Hashable {
    let capacity: Int
    private var records: [UsageRecord] = []
    /// The step of the newest record.
    private(set) var latest: Int64?

    init(capacity: Int) { self.capacity = max(1, capacity) }

    /// Keeps the record of a step. Steps that were left out are not known; one before the newest is dropped.
    mutating func put(_ record: UsageRecord, at step: Int64) {
        guard step >= latest ?? Int64.min else { return }
        if records.isEmpty { records = Array(repeating: UsageRecord(), count: capacity) }
        if let latest, step > latest {
            let (distance, overflows) = step.subtractingReportingOverflow(latest)
            let left = overflows ? capacity : Int(clamping: min(distance, Int64(capacity)))
            for back in 0..<left { records[index(step &- Int64(back))] = UsageRecord() }
        }
        records[index(step)] = record
        latest = step
    }

    /// The last `count` steps up to this one, the oldest first; nil: nothing is known of it.
    func values(_ count: Int, upTo step: Int64) -> [Usage?] {
        guard let latest else { return Array(repeating: nil, count: max(0, count)) }
        return (0..<max(0, count)).reversed().map { back in
            let (wanted, overflows) = step.subtractingReportingOverflow(Int64(back))
            let (age, isFar) = latest.subtractingReportingOverflow(wanted)
            guard !overflows, !isFar, age >= 0, age < Int64(capacity) else { return nil }
            let usage = records[index(wanted)].usage
            return usage.isEmpty ? nil : usage
        }
    }

    /// The records up to the newest, the oldest first, without those before the first that is known.
    var recent: [UsageRecord] {
        guard let latest, !records.isEmpty else { return [] }
        let all = (0..<capacity).reversed().map { records[index(latest &- Int64($0))] }
        return Array(all.drop { $0.usage.isEmpty })
    }

    /// A ring with these records up to a step; more than it holds are dropped.
    init(capacity: Int, recent: [UsageRecord], upTo step: Int64) {
        self.init(capacity: capacity)
        guard !recent.isEmpty else { return }
        records = Array(repeating: UsageRecord(), count: self.capacity)
        for (back, record) in recent.reversed().prefix(self.capacity).enumerated() {
            records[index(step &- Int64(back))] = record
        }
        latest = step
    }

    private func index(_ step: Int64) -> Int {
        let rest = Int(step % Int64(capacity))
        return rest < 0 ? rest + capacity : rest
    }
}
