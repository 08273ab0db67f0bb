import ControlAPI

/// An instance as the full-screen view shows it.
struct TopRow: Equatable {
    var id: String
    var service: String
    var state: String
    var isReady: Bool
    /// In per cent of a core, since the sample before.
    var cpu: Double?
    var memory: UInt64?
    var connections: UInt64?
    /// Connections that wait for any instance of the service.
    var waiting: UInt64?
    var restarts: Int
    var uptime: Double?
    var detail: String
    /// The last values of `cpu`, the latest last.
    var history: [Double]
    /// Up to ten seconds old; nil: supd has not looked.
    var threads: UInt64?
    var descriptors: UInt64?
    /// Memory in ten parts of the last hour, the oldest first; nil: not known.
    var memoryHistory: [Double?] = []
}

/// Samples of what instances use, and what came of them in between.
struct TopSamples {
    private struct Sample {
        var pid: Int32?
        var uptime: Double
        var cpuSeconds: Double
        var history: [Double]
    }

    /// So many values are kept of each instance.
    static let length = 30
    private var last: [String: Sample] = [:]

    /// The rows of a report, in its order. What is not in it is forgotten.
    mutating func rows(_ report: StatusReport, _ usage: [String: InstanceUsage]) -> [TopRow] {
        let before = last
        last = [:]
        return report.services.flatMap { service in
            let waiting = service.fronts?.compactMap(\.queued).max()
            return service.instances.map { instance in
                var row = row(instance, of: service, waiting: waiting, before: before[instance.id])
                row.take(usage[instance.id])
                return row
            }
        }
    }

    private mutating func row(
        _ instance: InstanceStatus, of service: ServiceStatus, waiting: UInt64?, before: Sample?
    ) -> TopRow {
        let cpu = use(of: instance, since: before)
        var history = before?.history ?? []
        history.append(cpu ?? 0)
        history.removeFirst(max(0, history.count - Self.length))
        last[instance.id] = Sample(
            pid: instance.pid, uptime: instance.uptimeSeconds ?? 0, cpuSeconds: Self.cpuSeconds(instance) ?? 0,
            history: history)
        return TopRow(
            id: instance.id, service: service.name, state: Self.state(instance), isReady: instance.ready, cpu: cpu,
            memory: instance.memoryBytes, connections: instance.flow?.connections, waiting: waiting,
            restarts: instance.restarts, uptime: instance.uptimeSeconds, detail: StatusTable.detail(instance),
            history: history)
    }

    private static func state(_ instance: InstanceStatus) -> String {
        if instance.health?.isUnhealthy == true { return "unhealthy" }
        return instance.drained == true ? "drained" : instance.state
    }

    /// CPU time between two samples of one process, over the time between them; of a process that is new, over its life.
    private func use(of instance: InstanceStatus, since before: Sample?) -> Double? {
        guard let now = Self.cpuSeconds(instance), let uptime = instance.uptimeSeconds else { return nil }
        guard let before, before.pid == instance.pid, uptime - before.uptime > 0.05 else { return instance.cpuPercent }
        return max(0, now - before.cpuSeconds) / (uptime - before.uptime) * 100
    }

    private static func cpuSeconds(_ instance: InstanceStatus) -> Double? {
        guard let percent = instance.cpuPercent, let uptime = instance.uptimeSeconds, percent.isFinite, uptime.isFinite
        else { return nil }
        return percent / 100 * uptime
    }
}

extension TopRow {
    /// What supd has found by itself. Of one without a process only the past is of interest.
    fileprivate mutating func take(_ usage: InstanceUsage?) {
        guard let usage else { return }
        if memory != nil { (threads, descriptors) = (usage.now.threads, usage.now.descriptors) }
        let course = usage.hour.memoryBytes
        memoryHistory = stride(from: 0, to: course.count, by: 3).map { first in
            course[first..<min(first + 3, course.count)].compactMap { $0 }.max().map { Double($0) }
        }
    }
}
