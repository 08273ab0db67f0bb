import ControlAPI
import Foundation
import Glibc
import Platform
import TestSupport
import Testing

/// `idle` with real processes.
@Suite("Services that sleep while nobody connects", .timeLimit(.minutes(15)))
struct SleepingTests {
    private func manifest(_ port: UInt16, _ fields: String = "") -> String {
        """
        { services: { x: { command: ['@demo@', '--quiet'], listen: \(port), ready: { http: '/' }, idle: { stopAfter: '1s' },
                           \(fields) },
                      other: { command: ['sleep', '1000'] } } }
        """
    }

    private func state(_ daemon: Daemon) throws -> String? { try daemon.status("x").services.first?.state }

    private func waitUntilAsleep(_ daemon: Daemon) throws {
        try eventually("sleep", within: 60) { try state(daemon) == "idle" ? true : nil }
        #expect(try daemon.pids()["x/1"] == nil)
    }

    @Test("It is stopped without connections, not with one; the first connection starts it and is served")
    func sleepAndWake() throws {
        let port = try freePort()
        let daemon = try Daemon(manifest(port.port))
        let first = try daemon.pids()
        try waitUntilAsleep(daemon)
        #expect(daemon.keeper.output.contains("x/1: no connection for 1 s: x sleeps until the next one comes"))
        let status = try daemon.ctl("status")
        #expect(status.code == 0, "asleep is as it should be: \(status.output)")
        #expect(status.output.contains("asleep: the next connection starts it"), "\(status.output)")
        #expect(try daemon.status().services.first?.goal == "up")

        #expect(try HTTP.get(port: port.port, "/").status == 200)
        #expect(daemon.keeper.output.contains("x/1: a connection waits: x is woken"))
        let second = try daemon.pids()
        #expect(second["x/1"] != nil && second["x/1"] != first["x/1"])
        #expect(second["other/1"] == first["other/1"])

        // A connection that is open keeps it awake, however silent; the next sleep comes after its end.
        do {
            let open = try LoopbackConnection(port: port.port)
            try eventually("a longer life than stopAfter") {
                let uptime = try daemon.status("x").services.first?.instances.first?.uptimeSeconds ?? 0
                return uptime > 3 ? true : nil
            }
            #expect(try daemon.pids()["x/1"] == second["x/1"])
            withExtendedLifetime(open) {}
        }
        try waitUntilAsleep(daemon)
    }

    @Test("It sleeps on through lost supervisors and balancers, which wake it all the same")
    func lostRoles() throws {
        let port = try freePort()
        let daemon = try Daemon(manifest(port.port, "replicas: 2"))
        for role in ["supervisor", "balancer"] {
            try waitUntilAsleep(daemon)
            let old = try daemon.role(role)
            kill(old, SIGKILL)
            try daemon.waitForAnother(role, than: old)
            #expect(try state(daemon) == "idle")
            // A balancer takes its listeners before it takes connections: the kernel holds them.
            #expect(try HTTP.get(port: port.port, "/").status == 200)
            try eventually("both") { try daemon.status("x").services.first?.ready == 2 ? true : nil }
        }
    }

    @Test("A start that takes longer than connections wait is told; start, stop and apply mean what they say")
    func commands() throws {
        let port = try freePort()
        let directory = try TemporaryDirectory()
        let gate = try directory.write("gate", "")
        let daemon = try Daemon(
            manifest(port.port, "balance: { queueTimeout: '300ms' }").replacingOccurrences(
                of: "ready: { http: '/' }", with: "ready: { command: ['test', '-e', '\(gate)'] }"), in: directory)
        try waitUntilAsleep(daemon)
        try FileManager.default.removeItem(atPath: gate)
        #expect(throws: (any Error).self) { try HTTP.get(port: port.port, "/") }
        _ = try directory.write("gate", "")
        try daemon.keeper.waitForOutput("its start took longer than balance.queueTimeout (0.3 s)")
        try waitUntilAsleep(daemon)

        // A start by a user, which no counter shows, gives it its time as well.
        let started = monotonicNanoseconds()
        #expect(try daemon.ctl("start", "x").code == 0)
        #expect(try daemon.pids()["x/1"] != nil)
        try waitUntilAsleep(daemon)
        #expect(monotonicNanoseconds() - started > 1_000_000_000)
        #expect(try daemon.ctl("stop", "x").code == 0)
        #expect(try state(daemon) == "down")
        #expect(throws: (any Error).self) { try HTTP.get(port: port.port, "/") }
        #expect(try daemon.ctl("restart", "x").code == 0)
        try waitUntilAsleep(daemon)

        let text = manifest(port.port).replacingOccurrences(of: "idle: { stopAfter: '1s' },", with: "")
        _ = try directory.write("supd.json5", text.replacingOccurrences(of: "@demo@", with: Daemon.demoService))
        let applied = try daemon.ctl("apply")
        #expect(applied.code == 0 && applied.output.contains("idle.stopAfter: 1s → none"), "\(applied.output)")
        #expect(try state(daemon) == "running")
    }
}
