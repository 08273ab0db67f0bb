import ControlAPI
import Foundation

/// Reports to be shown.
enum Example {
    static func report(_ services: [ServiceStatus]) -> StatusReport {
        StatusReport(
            services: services,
            daemon: DaemonStatus(
                version: "1", manifest: "/etc/supd/supd.json5", roles: ["keeper": 1], uptimeSeconds: 5,
                logDirectory: "/var/log/supd"))
    }

    static func service(_ name: String, state: String = "running", replicas: Int = 3) -> ServiceStatus {
        ServiceStatus(
            name: name, kind: "service", state: state, goal: "up", ready: state == "running" ? replicas : 0,
            replicas: replicas, listen: ["127.0.0.1:8080"], fronts: [flow(address: "127.0.0.1:8080")],
            instances: (1...replicas).map { instance("\(name)/\($0)", state: state) })
    }

    static func instance(_ id: String, state: String = "running") -> InstanceStatus {
        InstanceStatus(
            id: id, state: state, detail: state == "running" ? nil : "next try in 3.2 s",
            pid: 12345, port: 20001, ready: state == "running", restarts: 2, uptimeSeconds: 3725, cpuPercent: 1.25,
            memoryBytes: 12_582_912,
            lastExit: ExitReport(code: nil, signal: "SIGKILL", reason: "killed by SIGKILL", at: "2026-01-31T10:20:30Z"),
            droppedOutput: DroppedOutput(lines: 12, bytes: 3072, reason: "No space left on device"),
            limits: [
                "nofile": LimitStatus(soft: 1024, hard: 4096), "as": LimitStatus(soft: 1 << 30, hard: 1 << 30),
                "core": LimitStatus(soft: 0, hard: nil),
            ],
            flow: flow(address: nil))
    }

    /// What supd has looked at: memory in thirty parts of the hour, the last ones given.
    static func usage(_ id: String, memory: [UInt64?]) -> InstanceUsage {
        let course = Array(repeating: nil, count: max(0, 30 - memory.count * 3)) + memory.flatMap { [$0, $0, $0] }
        let highest = UsageValues(
            cpuPercent: 80, memoryBytes: course.compactMap { $0 }.max(), connections: 9, threads: 5, descriptors: 30)
        let span = UsageSpan(
            steps: 12, average: UsageValues(cpuPercent: 10, memoryBytes: 15 << 20), highest: highest,
            cpuPercent: Array(repeating: 10, count: 30), memoryBytes: course)
        return InstanceUsage(
            id: id,
            now: UsageValues(
                cpuPercent: 1.25, memoryBytes: 12 << 20, connections: 3, threads: 4, descriptors: 17),
            hour: span, day: span)
    }

    static func flow(address: String?) -> FlowStatus {
        FlowStatus(
            address: address, connections: 12, connectionsTotal: 3456, bytesIn: 1 << 20, bytesOut: 5_000_000,
            connectErrors: 1, retries: 2, queued: address == nil ? nil : 0, turnedAway: address == nil ? nil : 0)
    }
}

func makeDirectory(_ path: String) throws {
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
}
