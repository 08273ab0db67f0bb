/// What instances have used of late: the last hour in steps of ten seconds, the last day in steps of five minutes. A value
/// without a clock; whoever looks at the processes gives it what was found.
///
/// Of an instance it keeps 360 and 288 records of 16 bytes, 10,368 bytes in all, and some 400 more for their arrays, when it
/// was looked at, and what the next CPU time is compared with. A step of five minutes has the average of CPU, and the highest of everything else: a
/// peak of memory must not be lost.
package struct UsageHistory: Sendable {
    /// What was found of an instance.
    package struct Reading: Sendable, Hashable {
        /// The instance: `api/2`.
        package var instance: String
        /// Its process, which no other one has.
        package var process: UInt64
        /// When that process began, in nanoseconds of the clock that all times are of; nil: nobody knows.
        package var began: Int64?
        /// CPU time so far.
        package var cpuSeconds: Double
        /// Everything else; its CPU is worked out here.
        package var usage: Usage

        /// Creates a reading.
        package init(instance: String, process: UInt64, began: Int64?, cpuSeconds: Double, usage: Usage) {
            self.instance = instance
            self.process = process
            self.began = began
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

    struct Track: Sendable {
        var hour = UsageRing(capacity: Span.hour.count)
        var day = UsageRing(capacity: Span.day.count)
        /// What the step of the day under way has so far.
        var underWay: (step: Int64, cpu: Double, looks: Int, highest: Usage)?
        var last: (process: UInt64, cpuSeconds: Double, at: Int64)?
        var now = Usage()
    }

    var tracks: [String: Track] = [:]
    /// Of each instance that was looked at, whether there was a process or not: since when without a pause, and the last time.
    var looks: [String: (since: Int64, last: Int64)] = [:]
    /// When it was looked last at any instance, in nanoseconds of the clock that all times are of.
    package internal(set) var latest: Int64?
    /// A pause that is longer is one.
    private static let longestPause: Int64 = 60_000_000_000
    /// CPU time comes in ticks of 10 ms: of a shorter time it says nothing.
    private static let shortestTime: Int64 = 100_000_000

    /// How much shorter steps are than they say: tests are in a hurry.
    let haste: Int64

    /// Nothing is known.
    package init(haste: Int64 = 1) { self.haste = max(1, min(haste, 1000)) }

    func step(of span: Span, at now: Int64) -> Int64 { now / (span.step * 1_000_000_000 / haste) }

    /// Takes what a look at some instances has found at a time, never before the last one. Looks need not be at all instances:
    /// of the others nothing is changed.
    package mutating func take(_ readings: [Reading], of instances: Set<String>, at now: Int64) {
        let before = latest
        latest = now
        let present = Set(readings.map(\.instance))
        for name in instances.subtracting(present) { tracks[name]?.now = Usage() }
        for reading in readings {
            var track = tracks[reading.instance] ?? Track()
            var usage = reading.usage
            usage.cpuPercent = Self.cpu(reading, track.last, before, now)
            track.last = (reading.process, reading.cpuSeconds, now)
            track.now = usage
            track.hour.put(UsageRecord(usage), at: step(of: .hour, at: now))
            track.add(usage, at: step(of: .day, at: now))
            tracks[reading.instance] = track
        }
        for name in instances.union(present) {
            let look = looks[name]
            let goesOn = look.map { now &- $0.last <= Self.longestPause } ?? false
            looks[name] = (goesOn ? look?.since ?? now : now, now)
        }
    }

    /// CPU since the last look at this process; of one that began after the last look at anything, since it began. What a
    /// process has used in a time that nobody knows says nothing of now.
    private static func cpu(
        _ reading: Reading, _ last: (process: UInt64, cpuSeconds: Double, at: Int64)?, _ before: Int64?, _ now: Int64
    ) -> Double? {
        let (used, nanoseconds): (Double, Int64)
        if let last, last.process == reading.process {
            (used, nanoseconds) = (reading.cpuSeconds - last.cpuSeconds, now &- last.at)
        } else if let before, let began = reading.began, began >= before, now &- began <= longestPause {
            (used, nanoseconds) = (reading.cpuSeconds, now &- began)
        } else {
            return nil
        }
        guard nanoseconds >= shortestTime, used.isFinite else { return nil }
        return max(0, used) / (Double(nanoseconds) / 1e9) * 100
    }

    /// Forgets all other instances.
    package mutating func keep(_ isKept: (String) -> Bool) {
        for name in tracks.keys where !isKept(name) { tracks[name] = nil }
        for name in looks.keys where !isKept(name) { looks[name] = nil }
    }

    /// Since when all of these instances are looked at without a pause; nil: one of them is not, or there are none.
    package func since(of instances: [String]) -> Int64? {
        let known = instances.compactMap { looks[$0]?.since }
        return known.count == instances.count ? known.max() : nil
    }

    /// When it was looked last at all of these instances; nil: at one of them never, or there are none.
    package func lookedAt(_ instances: [String]) -> Int64? {
        let known = instances.compactMap { looks[$0]?.last }
        return known.count == instances.count ? known.min() : nil
    }

    /// The instances of which something is known.
    package var instances: Set<String> { Set(tracks.keys) }

    /// What the last look has found of an instance; empty: nothing.
    package func now(of instance: String) -> Usage { tracks[instance]?.now ?? Usage() }

    /// The steps of a span up to a time, the oldest first; nil where nothing is known.
    package func series(of instance: String, _ span: Span, at now: Int64) -> [Usage?] {
        let ring = span == .hour ? tracks[instance]?.hour : tracks[instance]?.day
        return ring?.values(span.count, upTo: step(of: span, at: now)) ?? Array(repeating: nil, count: span.count)
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
