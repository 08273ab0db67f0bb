import ControlAPI
import Foundation
import Glibc
import Platform
import TestSupport
import Testing

/// The wall clock is set by an hour while supd waits for all that it ever waits for.
@Suite("The clock", .timeLimit(.minutes(15)))
struct ClockTests {
    private func instance(_ daemon: Daemon, _ service: String) throws -> InstanceStatus {
        try #require(try daemon.status(service).services.first?.instances.first)
    }

    private func begun(_ daemon: Daemon) -> Int { daemon.logLines("soon").count { $0 == "stdout F begun" } }

    /// How far a time stamp is ahead of the machine's clock, in whole hours.
    private func hoursAhead(_ stamp: String) throws -> Int64 {
        guard let date = ISO8601DateFormatter().date(from: "\(stamp.prefix(19))Z") else {
            throw TestFailure("no time: \(stamp)")
        }
        return Int64((date.timeIntervalSinceNow / 3600).rounded())
    }

    @Test("Nothing that supd waits for comes earlier or later when the clock is set", arguments: [Int64(1), -1])
    func supervision(hours: Int64) throws {
        let directory = try TemporaryDirectory()
        let clock = try SteppedClock(in: directory)
        let slow = try directory.writeProgram(
            "slow",
            """
            #!/bin/sh
            trap 'sleep 2; echo clean; exit 0' TERM
            sleep 1000 &
            echo ready
            wait

            """)
        let (api, empty) = (try freePort(), try freePort())
        let daemon = try Daemon(
            """
            { services: {
                soon: { command: ['/bin/sh', '-c', 'echo begun; exit 3'],
                        restart: { initialDelay: '1s', maxDelay: '1s', jitter: 0 } },
                late: { command: ['/bin/sh', '-c', 'exit 4'],
                        restart: { initialDelay: '30m', maxDelay: '30m', jitter: 0 } },
                unready: { command: ['/bin/sleep', '1000'], ready: { http: '/', timeout: '30m' } },
                stubborn: { command: ['@demo@', '--ignore-term'], ready: { tcp: true }, stop: { timeout: '2s' } },
                patient: { command: ['\(slow)'], stop: { timeout: '30m' } },
                api: { command: ['@demo@', '--quiet'], listen: \(api.port), balance: { idleTimeout: '30m' } },
                empty: { command: ['/bin/sleep', '1000'], ready: { http: '/', timeout: '30m' },
                         listen: \(empty.port), balance: { queueTimeout: '2s' } },
            } }
            """, in: directory, environment: clock.environment, waitUntilUp: false)
        try daemon.waitUntilAnswering()
        try eventually("all that waits") {
            let states = Dictionary(
                uniqueKeysWithValues: try daemon.status().services.map { ($0.name, $0.instances[0].state) })
            return states["soon"] == "backoff" && states["late"] == "backoff" && states["unready"] == "starting"
                && states["stubborn"] == "running" && daemon.logLines("patient").contains("stdout F ready")
                && states["api"] == "running" && states["empty"] == "starting" ? true : nil
        }
        let idle = try LoopbackConnection(port: api.port)
        let queued = try LoopbackConnection(port: empty.port)
        try eventually("both connections") {
            let status = try daemon.status()
            return status.services.first { $0.name == "api" }?.instances.first?.flow?.connections == 1
                && status.services.first { $0.name == "empty" }?.fronts?.first?.queued == 1 ? true : nil
        }
        let stops = try ["stubborn", "patient"].map {
            try Program(Daemon.supctl, ["--socket", daemon.socket, "stop", $0])
        }
        try eventually("both to be stopping") {
            try ["stubborn", "patient"].allSatisfy { try instance(daemon, $0).state == "stopping" } ? true : nil
        }
        let roles = try daemon.status().daemon.roles
        let uptime = try #require(instance(daemon, "api").uptimeSeconds)
        let before = begun(daemon)

        try clock.set(hours: hours)
        // What is due comes.
        try eventually("more starts") { begun(daemon) >= before + 3 ? true : nil }
        for stop in stops { #expect(try stop.wait().code == 0) }
        #expect(try instance(daemon, "stubborn").lastExit?.signal == "SIGKILL")
        _ = try HTTP.rest(of: queued)
        #expect(try daemon.status("empty").services.first?.fronts?.first?.turnedAway == 1)
        // What is not does not.
        #expect(try instance(daemon, "patient").lastExit?.code == 0)
        #expect(daemon.logLines("patient").last == "stdout F clean")
        #expect(try instance(daemon, "late").state == "backoff")
        #expect(try instance(daemon, "late").restarts == 0)
        #expect(try instance(daemon, "unready").state == "starting")
        #expect(try instance(daemon, "unready").restarts == 0)
        #expect(try instance(daemon, "api").flow?.connections == 1)
        #expect(try idle.receive() == .nothing)
        #expect(try daemon.status().daemon.roles == roles)
        let later = try #require(instance(daemon, "api").uptimeSeconds)
        #expect((uptime...uptime + 300).contains(later))
        // What is shown is the clock's.
        #expect(try hoursAhead(try #require(instance(daemon, "soon").lastExit?.at)) == hours)
        let text = try String(contentsOfFile: directory.file("log/soon/1.log"), encoding: .utf8)
        let stamps = try text.split(separator: "\n").map { try hoursAhead(String($0)) }
        #expect(stamps.first == 0 && stamps.last == hours, "\(stamps)")
        // And back.
        try clock.set(hours: 0)
        let again = begun(daemon)
        try eventually("more starts") { begun(daemon) >= again + 2 ? true : nil }
        #expect(try instance(daemon, "late").state == "backoff")
        #expect(try daemon.status().daemon.roles == roles)
        withExtendedLifetime((idle, api, empty)) {}
    }

    @Test("A service that writes all the time is neither held up nor loses a line while the clock is set")
    func lines() throws {
        let directory = try TemporaryDirectory()
        let clock = try SteppedClock(in: directory)
        // A line a call: where supd pauses between looks. It is ahead from the beginning, so that a pause that ended by the
        // wall clock would take an hour.
        try clock.set(hours: 1)
        let script = try directory.writeProgram(
            "count",
            """
            #!/bin/sh
            i=0
            while [ $i -lt 100000 ]; do echo line $i; i=$((i + 1)); done
            echo end
            exec sleep 1000

            """)
        let daemon = try Daemon(
            "{ services: { x: { command: ['\(script)'], log: { maxSize: '64K', keep: 1000 } } } }", in: directory,
            environment: clock.environment, waitUntilUp: false)
        var steps = 0
        let ahead: [Int64] = [1, 0, -1, 1, -1, 0]
        try eventually("the last line", within: 60) {
            steps += 1
            try clock.set(hours: ahead[steps % ahead.count])
            return daemon.logLines("x").last == "stdout F end" ? true : nil
        }
        #expect(steps > ahead.count)
        let shown = try daemon.ctl("logs", "x").output.split(separator: "\n")
        let lines = shown.map { line in
            line.firstRange(of: " x/1   ").map { String(line[$0.upperBound...]) } ?? "?? \(line)"
        }
        #expect(lines == (0..<100_000).map { "line \($0)" } + ["end"])
        #expect(FileManager.default.fileExists(atPath: directory.file("log/x/1.log.10")))
        #expect(!daemon.keeper.output.contains("drop"), "\(daemon.keeper.output)")
    }
}
