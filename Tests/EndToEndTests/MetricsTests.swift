import ControlAPI
import Events
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

    @Test("Whatever role is killed, no counter falls but to 0, where its process is another one")
    func monotonic() throws {
        let port = try freePort()
        let web = try freePort()
        // Six lines at once, of which two a second are kept, from processes of which all but the last have ended.
        let daemon = try Daemon(
            """
            { supd: { web: { listen: \(web.port) } },
              services: {
                x: { command: ['@demo@', '--quiet'], listen: \(port.port), health: { http: '/healthz', interval: '100ms' } },
                y: { command: ['/bin/sh', '-c', 'for i in 1 2 3 4 5 6; do echo $$i; done; exec sleep 1000'],
                     log: { rate: 2 }, restart: { initialDelay: '10ms' } },
            } }
            """)
        let dropped = #"supd_log_dropped_lines_total{service="y",replica="1"}"#
        for count in 1...3 {
            try eventually("\(count * 6) lines") {
                try samples(daemon)[#"supd_log_lines_total{service="y",replica="1"}"#] == Double(count * 6) ? true : nil
            }
            guard count < 3 else { break }
            kill(try #require(daemon.status("y").services.first?.instances.first?.pid), SIGKILL)
        }
        for _ in 0..<3 { #expect(try HTTP.get(port: port.port, "/").status == 200) }
        let restarts = #"supd_instance_restarts_total{service="y",replica="1",reason="killed"}"#
        var before = try eventually(
            "three connections that have ended, and both restarts, of which it is told a little later"
        ) {
            let samples = try samples(daemon)
            let ended = #"supd_front_sessions_ended_total{service="x",address="127.0.0.1:\#(port.port)",end="--"}"#
            return samples[ended] == 3 && samples[restarts] == 2 ? samples : nil
        }
        #expect(before[dropped] ?? 0 >= 6)
        #expect(before[#"supd_probes_total{service="x",kind="health",result="passed"}"#] ?? 0 >= 1)
        for role in ["supervisor", "web", "balancer"] {
            let old = try daemon.role(role)
            kill(old, SIGKILL)
            try daemon.waitForAnother(role, than: old)
            // What has never happened to the balancer that is there now it does not tell of, or tells 0.
            func beginsAnew(_ name: String) -> Bool {
                role == "balancer"
                    && ["supd_front_", "supd_endpoint_", "supd_balancer_"].contains { name.hasPrefix($0) }
            }
            let after = try eventually("all that there was before") { () -> [String: Double]? in
                let samples = try samples(daemon)
                guard samples["supd_balancer_accept_pauses_total"] != nil else { return nil }
                let names = before.keys.filter { $0.contains("_total") && !beginsAnew($0) }
                return names.allSatisfy { samples[$0] != nil } ? samples : nil
            }
            for (name, value) in before where name.contains("_total") {
                if name == "supd_role_cpu_seconds_total{role=\"\(role)\"}" { continue }
                if beginsAnew(name) {
                    #expect(after[name] ?? 0 == 0, "\(name)")
                } else {
                    #expect(after[name] ?? -1 >= value, "\(name) after the end of the \(role)")
                }
            }
            #expect(after["supd_role_starts_total{role=\"\(role)\"}"] == 2)
            before = after
        }
    }

    @Test("What was dropped before a supervisor's end is told as an event by it or by the next one, and only once")
    func droppedOverACrash() throws {
        let directory = try TemporaryDirectory()
        let lines = "for i in 1 2 3 4 5 6; do echo $$i; done; exec sleep 1000"
        let daemon = try Daemon(
            """
            { services: {
                y: { command: ['/bin/sh', '-c', '\(lines)'], log: { rate: 1 } },
                z: { command: ['/bin/sh', '-c', 'while [ ! -e go ]; do sleep 0.05; done; \(lines)'], log: { rate: 1 } },
            } }
            """, in: directory)
        func dropped() throws -> UInt64? {
            try daemon.status("y").services.first?.instances.first?.droppedOutput?.lines
        }
        // As soon as they are: the supervisor is about to tell of them.
        try eventually("dropped lines") { try dropped() ?? 0 >= 4 ? true : nil }
        /// The lines that all events of a service tell of.
        func told(of service: String = "y") throws -> UInt64 {
            try daemon.ctl("events", "--json").output.split(separator: "\n").reduce(0) { sum, line in
                guard let event = EventLine.event(Array(line.utf8)), event.service == service,
                    case .logDropped(let drop) = event.kind
                else { return sum }
                return sum + drop.lines
            }
        }
        // A third one within half a minute would begin without all that those before have left.
        for _ in 0..<2 {
            let old = try daemon.role("supervisor")
            kill(old, SIGKILL)
            try daemon.waitForAnother("supervisor", than: old)
            try eventually("the event") { try told() == dropped() ? true : nil }
        }
        // Nothing of it comes again: the supervisor looks at all services at once, so that a repeat would come no later than what is
        // new of another one.
        _ = try directory.write("go", "")
        try eventually("the event of z") { try told(of: "z") > 0 ? true : nil }
        #expect(try daemon.ctl("stop", "y").code == 0)
        let (all, lost) = (try told(), try dropped())
        #expect(all == lost)
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
