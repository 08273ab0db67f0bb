import ControlAPI
import Foundation
import Glibc
import Metrics
import Platform
import TestSupport
import Testing

/// `supctl metrics` and GET /metrics after events that are known.
@Suite("Metrics", .timeLimit(.minutes(15)))
struct MetricsTests {
    /// The samples of now, by what stands before their values.
    private func samples(_ daemon: Daemon) throws -> [String: Double] {
        let result = try daemon.ctl("metrics")
        guard result.code == 0 else { throw TestFailure("exit code \(result.code): \(result.output)") }
        var samples: [String: Double] = [:]
        for line in result.output.split(separator: "\n") where !line.hasPrefix("#") {
            guard let blank = line.lastIndex(of: " "), let value = Double(line[line.index(after: blank)...]) else {
                throw TestFailure("no sample: \(line)")
            }
            samples[String(line[..<blank])] = value
        }
        return samples
    }

    @Test("What is known to have happened is in the figures, and outlives the supervisor where it is said so")
    func figures() throws {
        let (port, page) = (try freePort(), try freePort())
        let daemon = try Daemon(
            """
            { supd: { web: { listen: \(page.port) } },
              services: {
                x: { command: ['@demo@', '--quiet'], replicas: 2, listen: \(port.port),
                     limits: { nofile: 512, stack: '4M', fsize: '1G', memlock: '64K', nproc: 4000 },
                     restart: { initialDelay: '10ms' },
                     health: { http: '/healthz', interval: '100ms' } },
                y: { command: ['/bin/sh', '-c', 'echo one; echo two; exec sleep 1000'] },
            } }
            """)
        let x1 = #"{service="x",replica="1""#
        for _ in 0..<6 { #expect(try HTTP.get(port: port.port, "/").status == 200) }
        let before = try eventually("six connections that have ended, a health probe, and two lines") {
            let samples = try samples(daemon)
            return samples[#"supd_front_sessions_ended_total{service="x",address="127.0.0.1:\#(port.port)",end="--"}"#]
                == 6
                && samples[#"supd_probes_total{service="x",kind="health",result="passed"}"#] ?? 0 > 0
                && samples[#"supd_log_lines_total{service="y",replica="1"}"#] == 2 ? samples : nil
        }
        #expect(before[#"supd_log_bytes_total{service="y",replica="1"}"#] == 8)
        #expect(before[#"supd_front_connections_total{service="x",address="127.0.0.1:\#(port.port)"}"#] == 6)
        let assigned = (1...2).compactMap { before[#"supd_endpoint_connections_total{service="x",replica="\#($0)"}"#] }
        #expect(assigned.reduce(0, +) == 6)
        #expect(before["supd_instance_limit\(x1),limit=\"nofile\"}"] == 512)
        let descriptors = try #require(before["supd_instance_open_descriptors\(x1)}"])
        #expect(descriptors >= 4)
        #expect(before["supd_instance_limit_usage_ratio\(x1),limit=\"nofile\"}"] == descriptors / 512)
        for (limit, value) in [("stack", 4_194_304.0), ("fsize", 1_073_741_824), ("memlock", 65536)] {
            #expect(before["supd_instance_limit_bytes\(x1),limit=\"\(limit)\"}"] == value)
        }
        let stack = try #require(before["supd_instance_limit_usage_ratio\(x1),limit=\"stack\"}"])
        #expect(stack > 0 && stack < 0.5)
        #expect(before["supd_instance_limit_usage_ratio\(x1),limit=\"memlock\"}"] == 0)
        for limit in ["fsize", "nproc"] {
            #expect(before["supd_instance_limit_usage_ratio\(x1),limit=\"\(limit)\"}"] == nil)
        }
        #expect(before["supd_instance_limit\(x1),limit=\"nproc\"}"] == 4000)
        #expect(before["supd_instance_resident_memory_bytes\(x1)}"] ?? 0 > 1e6)
        #expect(
            before["supd_instance_start_time_seconds\(x1)}"].map { abs($0 - Date().timeIntervalSince1970) < 600 }
                == true)
        #expect(before[#"supd_service_ready_replicas{service="x"}"#] == 2)
        for role in ["keeper", "supervisor", "balancer", "web"] {
            #expect(before["supd_role_up{role=\"\(role)\"}"] == 1)
            #expect(before["supd_role_starts_total{role=\"\(role)\"}"] == 1)
            #expect(before["supd_role_resident_memory_bytes{role=\"\(role)\"}"] ?? 0 > 1e6)
        }

        let pid = try #require(daemon.status("x").services.first?.instances.first?.pid)
        kill(pid, SIGKILL)
        try eventually("a restart") {
            try samples(daemon)["supd_instance_restarts_total\(x1),reason=\"killed\"}"] == 1 ? true : nil
        }
        #expect(try daemon.ctl("restart", "x/1").code == 0)
        // What a user asks for is in the snapshot before it is answered, and all that was before it: the restart is not
        // taken up again.
        for verb in ["drain", "undrain"] { #expect(try daemon.ctl(verb, "x/2").code == 0) }
        for role in ["supervisor", "balancer", "web"] {
            let old = try daemon.role(role)
            kill(old, SIGKILL)
            try daemon.waitForAnother(role, than: old)
        }
        let after = try eventually("a balancer that answers, and a dashboard's process") {
            let samples = try samples(daemon)
            return samples["supd_balancer_accept_pauses_total"] != nil && samples[#"supd_role_up{role="web"}"#] == 1
                ? samples : nil
        }
        #expect(after["supd_instance_restarts_total\(x1),reason=\"killed\"}"] == 1)
        #expect(after["supd_instance_restarts_total\(x1),reason=\"requested\"}"] == 1)
        #expect(after["supd_instance_restarts_total\(x1),reason=\"exited\"}"] == 0)
        #expect(after[#"supd_role_starts_total{role="keeper"}"#] == 1)
        #expect(after[#"supd_role_starts_total{role="supervisor"}"#] == 2)
        #expect(after[#"supd_role_starts_total{role="balancer"}"#] == 2)
        // It is counted by who starts it, the keeper.
        #expect(after[#"supd_role_starts_total{role="web"}"#] == 2)
    }

    @Test("Every family of the table is explained in the help, and no line of it is too wide")
    func help() throws {
        let text = try Program.run(Daemon.supctl, ["help", "metrics"]).output
        for family in MetricFamily.all { #expect(text.contains("\n  \(family.name)")) }
        #expect(text.split(separator: "\n").allSatisfy { $0.count <= 80 })
    }

    @Test("Without a front there is no balancer to tell of, and what is stopped uses nothing")
    func withoutFront() throws {
        let daemon = try Daemon("{ services: { y: { command: ['/bin/sleep', '1000'] } } }")
        #expect(try daemon.ctl("stop", "y").code == 0)
        let samples = try samples(daemon)
        #expect(samples[#"supd_service_wanted{service="y"}"#] == 0)
        #expect(samples[#"supd_instance_state{service="y",replica="1",state="down"}"#] == 1)
        for start in [
            "supd_front", "supd_endpoint", "supd_balancer", #"supd_role_up{role="balancer""#, "supd_instance_threads",
        ] {
            #expect(!samples.keys.contains { $0.hasPrefix(start) })
        }
    }
}
