/// What instances have used of late: the last hour in steps of ten seconds, the last day in steps of five minutes. A value
/// without a clock; whoever looks at the processes gives it what was found.
///
/// Of an instance it keeps 360 and 288 records of 16 bytes, 10,368 bytes in all, and some 300 more for their arrays and what
/// the next CPU time is compared with. A step of five minutes has the average of CPU, and the highest of everything else: a
/// peak of memory must not be lost.
package struct UsageHistory: Sendable {
    /// What was found of an instance.
    package struct Reading: Sendable, Hashable {
        /// The instance: `api/2`.
        package var instance: String
        /// Its process, which no other one has.
        package var process: UInt64
        /// CPU time so far.
        package var cpuSeconds: Double
        /// Everything else; its CPU is worked out here.
        package var usage: Usage

        /// Creates a reading.
        package init(instance: String, process: UInt64, cpuSeconds: Double, usage: Usage) {
            self.instance = instance
            self.process = process
            self.cpuSeconds = cpuSeconds
            self.usage = usage
        }
    }

    /// How much of the past is asked for.
    package enum Span: String, Sendable, Hashable, CaseIterable {
        /// The last hour.
        case hour
        /// The last day.
        case day

        /// The length of a step in seconds.
        package var step: Int64 { self == .hour ? 10 : 300 }
        /// How many steps there are.
        package var count: Int { self == .hour ? 360 : 288 }
    }

    /// What an instance used over a span.
    package struct Summary: Sendable, Hashable {
        /// The average of each value where it is known.
        package var average = Usage()
        /// The highest.
        package var highest = Usage()
        /// How many steps are known.
        package var steps = 0
    }

    fileprivate struct Track: Sendable {
        var hour = UsageRing(capacity: Span.hour.count)
        var day = UsageRing(capacity: Span.day.count)
        /// What the step of the day under way has so far.
        var underWay: (step: Int64, cpu: Double, looks: Int, highest: Usage)?
        var last: (process: UInt64, cpuSeconds: Double, at: Int64)?
        var now = Usage()
    }

    private var tracks: [String: Track] = [:]
    /// When it was looked last, in nanoseconds of the clock that all times are of.
    package private(set) var latest: Int64?
    /// Since when it is looked at without a pause.
    package private(set) var since: Int64?
    /// A pause that is longer is one.
    private static let longestPause: Int64 = 60_000_000_000

    /// Nothing is known.
    package init() {}

    /// Takes what a look has found at a time, never before the last one.
    package mutating func take(_ readings: [Reading], at now: Int64) {
        let pause = latest.map { max(0, now &- $0) }
        if pause ?? .max > Self.longestPause { since = now }
        latest = now
        let seconds = now / 1_000_000_000
        let present = Set(readings.map(\.instance))
        for name in tracks.keys where !present.contains(name) { tracks[name]?.now = Usage() }
        for reading in readings {
            var track = tracks[reading.instance] ?? Track()
            var usage = reading.usage
            usage.cpuPercent = Self.cpu(reading, track.last, pause, now)
            track.last = (reading.process, reading.cpuSeconds, now)
            track.now = usage
            track.hour.put(UsageRecord(usage), at: seconds / Span.hour.step)
            track.add(usage, at: seconds / Span.day.step)
            tracks[reading.instance] = track
        }
    }

    /// CPU since the last look; of a process that was not there then, since it began.
    private static func cpu(
        _ reading: Reading, _ last: (process: UInt64, cpuSeconds: Double, at: Int64)?, _ pause: Int64?, _ now: Int64
    ) -> Double? {
        let (used, nanoseconds): (Double, Int64)
        if let last, last.process == reading.process {
            (used, nanoseconds) = (reading.cpuSeconds - last.cpuSeconds, now &- last.at)
        } else if let pause, pause <= longestPause {
            (used, nanoseconds) = (reading.cpuSeconds, pause)
        } else {
            return nil
        }
        guard nanoseconds > 0, used.isFinite else { return nil }
        return max(0, used) / (Double(nanoseconds) / 1e9) * 100
    }

    /// Forgets all other instances.
    package mutating func keep(_ isKept: (String) -> Bool) {
        for name in tracks.keys where !isKept(name) { tracks[name] = nil }
    }

    /// The instances of which something is known.
    package var instances: Set<String> { Set(tracks.keys) }

    /// What the last look has found of an instance; empty: nothing.
    package func now(of instance: String) -> Usage { tracks[instance]?.now ?? Usage() }

    /// The steps of a span up to a time, the oldest first; nil where nothing is known.
    package func series(of instance: String, _ span: Span, at now: Int64) -> [Usage?] {
        let ring = span == .hour ? tracks[instance]?.hour : tracks[instance]?.day
        let step = now / 1_000_000_000 / span.step
        return ring?.values(span.count, upTo: step) ?? Array(repeating: nil, count: span.count)
    }
}

extension UsageHistory.Track {
    /// One more look of the step of the day.
    fileprivate mutating func add(_ usage: Usage, at step: Int64) {
        var sum = underWay ?? (step, 0, 0, Usage())
        if sum.step != step { sum = (step, 0, 0, Usage()) }
        if let cpu = usage.cpuPercent {
            sum.cpu += cpu
            sum.looks += 1
        }
        sum.highest.raise(to: usage)
        underWay = sum
        var record = sum.highest
        record.cpuPercent = sum.looks > 0 ? sum.cpu / Double(sum.looks) : nil
        day.put(UsageRecord(record), at: step)
    }
}

extension Usage {
    /// Each value is at least that of another one.
    package mutating func raise(to other: Usage) {
        func higher<Value: Comparable>(_ left: Value?, _ right: Value?) -> Value? {
            guard let left, let right else { return left ?? right }
            return max(left, right)
        }
        cpuPercent = higher(cpuPercent, other.cpuPercent)
        memoryBytes = higher(memoryBytes, other.memoryBytes)
        connections = higher(connections, other.connections)
        threads = higher(threads, other.threads)
        descriptors = higher(descriptors, other.descriptors)
    }
}

extension UsageHistory.Summary {
    /// Of a series.
    package init(of series: [Usage?]) {
        let known = series.compactMap { $0 }
        steps = known.count
        for usage in known { highest.raise(to: usage) }
        func mean(_ values: [Double]) -> Double? {
            values.isEmpty ? nil : values.reduce(0, +) / Double(values.count)
        }
        func mean(_ value: (Usage) -> UInt64?) -> UInt64? {
            mean(known.compactMap(value).map { Double($0) }).map { UInt64(max(0, $0.rounded())) }
        }
        average = Usage(
            cpuPercent: mean(known.compactMap(\.cpuPercent)), memoryBytes: mean { $0.memoryBytes },
            connections: mean { $0.connections }, threads: mean { $0.threads }, descriptors: mean { $0.descriptors })
    }
}

/// Fewer points of a series, of each the highest; nil where none is known.
package func condensed<Value: Comparable>(_ series: [Value?], to count: Int) -> [Value?] {
    guard count > 0, !series.isEmpty else { return [] }
    return (0..<min(count, series.count)).map { point in
        let points = min(count, series.count)
        let range = (point * series.count / points)..<((point + 1) * series.count / points)
        return series[range].compactMap { $0 }.max()
    }
}
