import Foundation
import Testing

@testable import ControlAPI

@Suite("The status report")
struct StatusReportTests {
    static let bare = StatusReport(
        services: [
            ServiceStatus(
                name: "api", kind: "service", state: "down", goal: "down", ready: 0, replicas: 1, listen: [],
                fronts: nil,
                instances: [InstanceStatus(id: "api/1", state: "down", ready: false, restarts: 0)])
        ],
        daemon: DaemonStatus(
            version: "1", manifest: "/m", roles: ["keeper": 1], uptimeSeconds: 1.5, logDirectory: "/var/log/supd"))

    @Test("What is absent is null, and no key is left out")
    func nulls() throws {
        let text = try #require(ControlJSON.encode(Self.bare))
        let object = try #require(try JSONSerialization.jsonObject(with: Data(text)) as? [String: Any])
        let service = try #require((object["services"] as? [[String: Any]])?.first)
        #expect(
            Set(service.keys) == [
                "name", "kind", "state", "goal", "ready", "replicas", "scaledFrom", "scaling", "scalingHindrance",
                "listen",
                "passed", "logFormat", "readiness", "limits", "fronts", "instances",
            ])
        #expect(service["scaledFrom"] is NSNull)
        #expect(service["fronts"] is NSNull)
        #expect(service["limits"] is NSNull)
        let instance = try #require((service["instances"] as? [[String: Any]])?.first)
        #expect(
            Set(instance.keys) == [
                "id", "state", "detail", "pid", "port", "ready", "drained", "statusText", "restarts", "uptimeSeconds",
                "cpuPercent", "health",
                "memoryBytes", "lastExit", "droppedOutput", "notInJournal", "limits",
                "flow",
            ])
        for key in [
            "detail", "pid", "port", "health", "uptimeSeconds", "cpuPercent", "memoryBytes", "lastExit",
            "droppedOutput", "notInJournal",
            "limits",
            "flow", "statusText",
        ] {
            #expect(instance[key] is NSNull, "\(key)")
        }
        let exit = try #require(
            ControlJSON.encode(ExitReport(code: nil, signal: "SIGKILL", reason: "killed", at: "2026-01-31T10:20:30Z")))
        #expect(String(decoding: exit, as: UTF8.self).contains("\"code\":null"))
        let health = try #require(ControlJSON.encode(HealthStatus(state: "unknown", failures: 0)))
        #expect(
            String(decoding: health, as: UTF8.self) == "{\"failures\":0,\"lastFailure\":null,\"state\":\"unknown\"}")
        let failure = try #require(ControlJSON.encode(FailedProbe(reason: "x", at: "y")))
        #expect(String(decoding: failure, as: UTF8.self) == "{\"at\":\"y\",\"output\":null,\"reason\":\"x\"}")
        let limit = try #require(ControlJSON.encode(LimitStatus(soft: 1, hard: nil)))
        #expect(String(decoding: limit, as: UTF8.self) == "{\"hard\":null,\"soft\":1}")
    }

    @Test("A supd that knows no draining is understood all the same")
    func older() throws {
        let text = String(decoding: try #require(ControlJSON.encode(Self.bare)), as: UTF8.self)
        #expect(text.contains("\"drained\":false,"))
        let older = text.replacingOccurrences(of: "\"drained\":false,", with: "")
        #expect(ControlJSON.decode(StatusReport.self, from: older.utf8)?.services[0].instances[0].drained == .some(nil))
    }

    @Test("A report with everything in it reads back as it was written")
    func roundTrip() throws {
        var report = Self.bare
        let flow = FlowStatus(
            address: "127.0.0.1:8080", connections: 1, connectionsTotal: .max, bytesIn: 3, bytesOut: 4,
            connectErrors: 5,
            retries: 6, queued: 7, turnedAway: 8)
        report.services[0].fronts = [flow]
        report.services[0].limits = ["as": LimitStatus(soft: 1 << 30, hard: nil)]
        report.services[0].instances[0] = InstanceStatus(
            id: "api/1", state: "running", detail: "x", pid: 12, port: 20001, ready: true,
            health: HealthStatus(
                state: "unhealthy", failures: 3,
                lastFailure: FailedProbe(reason: "x", output: "y\nz", at: "2026-01-31T10:20:30Z")), restarts: 3,
            uptimeSeconds: 4.5, cpuPercent: 0.5, memoryBytes: .max,
            lastExit: ExitReport(code: 1, signal: nil, reason: "exited", at: "2026-01-31T10:20:30Z"),
            droppedOutput: DroppedOutput(lines: 3, bytes: 120, reason: "No space left on device"),
            limits: ["nofile": LimitStatus(soft: 1024, hard: nil)], flow: flow)
        let text = try #require(ControlJSON.encode(report))
        #expect(ControlJSON.decode(StatusReport.self, from: text) == report)
    }

    @Test("An instance has no queue: what only a front counts is null, not nought")
    func instanceFlow() throws {
        let flow = FlowStatus(
            address: nil, connections: 1, connectionsTotal: 2, bytesIn: 3, bytesOut: 4, connectErrors: 5, retries: 6)
        let text = try #require(ControlJSON.encode(flow))
        let object = try #require(try JSONSerialization.jsonObject(with: Data(text)) as? [String: Any])
        #expect(
            Set(object.keys) == [
                "address", "connections", "connectionsTotal", "bytesIn", "bytesOut", "connectErrors", "retries",
                "queued", "turnedAway",
            ])
        for key in ["address", "queued", "turnedAway"] { #expect(object[key] is NSNull, "\(key)") }
        #expect(ControlJSON.decode(FlowStatus.self, from: text) == flow)
    }

    @Test("A figure that is none becomes null in place of spoiling the whole answer")
    func notFinite() throws {
        var report = Self.bare
        report.services[0].instances[0].cpuPercent = .nan
        report.services[0].instances[0].uptimeSeconds = .infinity
        let text = try #require(ControlJSON.encode(report))
        #expect(ControlJSON.decode(StatusReport.self, from: text) == Self.bare)
    }

    @Test("A selection keeps the services and instances that were named, and nothing else")
    func selection() {
        var report = Self.bare
        report.services[0].instances.append(InstanceStatus(id: "api/2", state: "running", ready: true, restarts: 0))
        #expect(
            report.selecting(Selector.Choice(instances: ["api/2"])).services.first?.instances.map(\.id) == ["api/2"])
        #expect(report.selecting(Selector.Choice(instances: ["web/1"])).services.isEmpty)
        report.services[0].instances = []
        #expect(report.selecting(Selector.Choice(instances: [], servicesWithout: ["api"])).services.count == 1)
    }

    @Test(
        "A service is as wanted when it is up, has completed, or is to be down",
        arguments: [
            ("up", "running", true), ("up", "completed", true), ("up", "degraded", false), ("up", "starting", false),
            ("up", "failed", false), ("up", "backoff", false), ("down", "down", true), ("down", "stopping", true),
        ])
    func asWanted(goal: String, state: String, expected: Bool) {
        var service = Self.bare.services[0]
        service.goal = goal
        service.state = state
        #expect(service.isAsWanted == expected)
    }
}
