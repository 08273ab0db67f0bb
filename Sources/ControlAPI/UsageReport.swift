/// The answer to `GET /v1/usage`: what instances use now and have used. Keys never change their meaning; what is not known
/// is null.
package struct UsageReport: Codable, Sendable, Equatable {
    /// From one look to the next, in seconds.
    package var everySeconds: Int
    /// Since when all of these instances have been looked at without a pause, RFC 3339 in UTC.
    package var since: String?
    /// For how long it goes on if nobody asks again, in seconds.
    package var endsAfterSeconds: Int
    /// In the order of the manifest.
    package var instances: [InstanceUsage]

    /// Creates a report.
    package init(everySeconds: Int, since: String?, endsAfterSeconds: Int, instances: [InstanceUsage]) {
        self.everySeconds = everySeconds
        self.since = since
        self.endsAfterSeconds = endsAfterSeconds
        self.instances = instances
    }
}

/// What one instance uses.
package struct InstanceUsage: Codable, Sendable, Equatable {
    /// `api/2`.
    package var id: String
    /// What the last look has found.
    package var now: UsageValues
    /// The last hour, in steps of ten seconds.
    package var hour: UsageSpan
    /// The last day, in steps of five minutes, of which each has the average of CPU and the highest of all else.
    package var day: UsageSpan
    /// All steps, of the span that was asked for; null: of none.
    package var series: UsageSeries?

    /// Creates an entry.
    package init(id: String, now: UsageValues, hour: UsageSpan, day: UsageSpan, series: UsageSeries? = nil) {
        self.id = id
        self.now = now
        self.hour = hour
        self.day = day
        self.series = series
    }
}

/// What is used at a moment, or as an average or highest value.
package struct UsageValues: Codable, Sendable, Equatable {
    /// CPU in percent of one core, since the look before.
    package var cpuPercent: Double?
    /// Resident memory of its processes.
    package var memoryBytes: UInt64?
    /// Connections of the balancer to it.
    package var connections: UInt64?
    /// Threads of its processes.
    package var threads: UInt64?
    /// Open descriptors of its processes.
    package var descriptors: UInt64?

    /// Creates values.
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
}

/// What came of the steps of an hour or a day.
package struct UsageSpan: Codable, Sendable, Equatable {
    /// How many steps are known.
    package var steps: Int
    /// The averages of these.
    package var average: UsageValues
    /// The highest values.
    package var highest: UsageValues
    /// The course of CPU in thirty parts of the span, the oldest first, of each the highest.
    package var cpuPercent: [Double?]
    /// That of memory.
    package var memoryBytes: [UInt64?]

    /// Creates an entry.
    package init(
        steps: Int, average: UsageValues, highest: UsageValues, cpuPercent: [Double?], memoryBytes: [UInt64?]
    ) {
        self.steps = steps
        self.average = average
        self.highest = highest
        self.cpuPercent = cpuPercent
        self.memoryBytes = memoryBytes
    }
}

/// All steps of a span, the oldest first; the last one is that of now.
package struct UsageSeries: Codable, Sendable, Equatable {
    /// The length of a step.
    package var everySeconds: Int
    /// CPU in percent of one core.
    package var cpuPercent: [Double?]
    /// Resident memory.
    package var memoryBytes: [UInt64?]
    /// Connections.
    package var connections: [UInt64?]
    /// Threads.
    package var threads: [UInt64?]
    /// Open descriptors.
    package var descriptors: [UInt64?]

    /// Creates a series of these steps.
    package init(everySeconds: Int, _ steps: [UsageValues?]) {
        self.everySeconds = everySeconds
        cpuPercent = steps.map { $0?.cpuPercent }
        memoryBytes = steps.map { $0?.memoryBytes }
        connections = steps.map { $0?.connections }
        threads = steps.map { $0?.threads }
        descriptors = steps.map { $0?.descriptors }
    }
}

/// Of which span all steps are asked for.
package enum UsageSeriesName: String, Sendable, Hashable, CaseIterable {
    /// The last hour.
    case hour
    /// The last day.
    case day
}
