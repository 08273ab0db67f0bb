import ControlAPI
import Foundation
import Glibc
import Platform
import TestSupport
import Testing

/// `supctl usage` with real processes.
@Suite("What instances use over time", .timeLimit(.minutes(10)))
struct UsageTests {
    private func usage(_ daemon: Daemon, _ names: String...) throws -> UsageReport {
        let result = try Program.run(Daemon.supctl, ["--socket", daemon.socket, "usage", "--json"] + names)
        guard let report = try? JSONDecoder().decode(UsageReport.self, from: Data(result.output.utf8)) else {
            throw TestFailure("no usage: exit code \(result.code), \(result.output)")
        }
        return report
    }

    @Test("The first question is answered at once, and from then on it is looked by itself")
    func asked() throws {
        let port = try freePort()
        let daemon = try Daemon(
            """
            { services: { x: { command: ['@demo@', '--quiet'], listen: \(port.port), replicas: 2 },
                          busy: { command: ['sh', '-c', 'while :; do :; done'] }, none: { command: ['sleep', '9'], replicas: 0 } } }
            """)
        let held = try (0..<4).map { _ in try KeptConnection(port: port.port) }
        for one in held { _ = try one.get("/") }
        let first = try usage(daemon)
        #expect(first.instances.map(\.id) == ["x/1", "x/2", "busy/1"])
        for instance in first.instances {
            #expect(instance.now.memoryBytes ?? 0 > 100_000 && instance.now.threads ?? 0 > 0, "\(instance)")
            #expect(instance.now.descriptors ?? 0 > 2 && instance.hour.steps == 1 && instance.day.steps == 1)
            #expect(instance.series?.memoryBytes.count == 360 && instance.series?.everySeconds == 10)
        }
        #expect(first.instances.prefix(2).map(\.now.connections) == [2, 2])
        // In the history, too: the one step that there is.
        #expect(first.instances.prefix(2).map { $0.series?.connections.compactMap { $0 } } == [[2], [2]])
        #expect(first.instances.prefix(2).map(\.hour.highest.connections) == [2, 2])
        #expect(first.since != nil)
        // What a second look has found is there later.
        let second = try eventually("another look", within: 60) {
            let report = try usage(daemon, "busy")
            return report.instances.first?.hour.steps ?? 0 > 1 ? report : nil
        }
        #expect(second.instances.map(\.id) == ["busy/1"])
        #expect(second.instances.first?.now.cpuPercent ?? 0 > 1)
        #expect(second.since == first.since)
        let shown = try daemon.ctl("usage", "x")
        #expect(shown.code == 0 && shown.output.contains("MEM 1H") && shown.output.contains("x/2"), "\(shown.output)")
        #expect(shown.output.contains("looked at every 10 s since "), "\(shown.output)")
        #expect(try daemon.ctl("usage", "y").code == 4)
        withExtendedLifetime(held) {}
    }

    @Test("It is looked without being asked: for a day at all, and always at a service with a limit")
    func byItself() throws {
        // Steps of a quarter of a second, and what takes four seconds beside them.
        let daemon = try Daemon(
            """
            { services: { limited: { command: ['sleep', '1000'], limits: { nofile: 512 } },
                          busy: { command: ['sh', '-c', 'while :; do :; done'] },
                          later: { command: ['sh', '-c', 'sleep 4; touch "$$0"; sleep 1000', '${INSTANCE}'], replicas: 0 } } }
            """, environment: ["PATH": "/usr/bin:/bin", "SUPD_TEST_USAGE_HASTE": "40"])
        func wait(_ number: Int) throws {
            #expect(try daemon.ctl("scale", "later=\(number)").code == 0)
            try eventually("the end of four seconds", within: 60) {
                access("\(daemon.directory.path)/\(number)", F_OK) == 0 ? true : nil
            }
        }
        try wait(1)
        let first = try usage(daemon, "limited", "busy")
        // A question is good for one look, the others were due by themselves.
        #expect(first.instances.first?.hour.steps ?? 0 > 2, "\(first.instances.map(\.hour.steps))")
        // What was never looked at has used its CPU time nobody knows when.
        #expect(first.instances.last?.hour.steps == 1 && first.instances.last?.now.cpuPercent == nil)
        try wait(2)
        let second = try usage(daemon, "limited", "busy")
        #expect(second.instances.last?.hour.steps ?? 0 > 3, "\(second.instances.map(\.hour.steps))")
        #expect(second.instances.last?.hour.highest.cpuPercent ?? 1000 < 200)
        #expect(second.since == first.since && first.since != nil)
    }

    @Test("It is looked no more once the time after a question is over, but at a service with a limit")
    func ends() throws {
        // Steps of a quarter of a second, and one second in place of the day.
        let daemon = try Daemon(
            """
            { services: { limited: { command: ['sleep', '1000'], limits: { nofile: 512 } },
                          plain: { command: ['sleep', '1000'] } } }
            """,
            environment: ["PATH": "/usr/bin:/bin", "SUPD_TEST_USAGE_HASTE": "40", "SUPD_TEST_USAGE_LEASE": "1"])
        func steps() throws -> (limited: Int, plain: Int) {
            let report = try usage(daemon, "limited", "plain")
            #expect(report.endsAfterSeconds <= 1 && report.instances.count == 2)
            return (report.instances.first?.hour.steps ?? 0, report.instances.last?.hour.steps ?? 0)
        }
        var before = try steps()
        // Every question has both looked at for a second more: what comes after that is seen by who asks seldom.
        var seconds = 2
        try eventually("looks at the one with a limit alone", within: 60) {
            pause(for: .seconds(seconds))
            seconds *= 2
            let now = try steps()
            defer { before = now }
            return now.limited - before.limited > now.plain - before.plain + 3 ? true : nil
        }
    }

    @Test(
        "why tells of a process that has met its limit of memory how its memory rose, without anybody having asked before"
    )
    func feedsWhy() throws {
        // An hour is a minute, a point of its course two seconds; some 60 MiB, one every 150 ms, are several of them.
        let daemon = try Daemon(
            """
            { services: { leaks: { command: ['@demo@', '--leak', 'data', '--leak-pause', '150ms'],
                                   limits: { data: '64M' }, restart: 'never' } } }
            """, environment: ["PATH": "/usr/bin:/bin", "SUPD_TEST_USAGE_HASTE": "60"], waitUntilUp: false)
        try eventually("its end", within: 120) {
            (try? daemon.status("leaks").services.first?.instances.first)?.lastExit != nil ? true : nil
        }
        let why = try daemon.ctl("why", "leaks").output
        let found = try #require(
            why.firstMatch(of: /its memory rose from ([0-9.]+)M to ([0-9]+)M in the last hour/), "\(why)")
        let (lowest, highest) = (try #require(Double(found.1)), try #require(Double(found.2)))
        #expect(highest > 30 && lowest < highest / 1.5, "\(why)")
    }

    @Test("Neither SIGKILL of the supervisor nor an upgrade costs the past")
    func kept() throws {
        let daemon = try Daemon(
            "{ services: { x: { command: ['sh', '-c', 'while :; do sleep 0.01; done'] } } }",
            environment: ["PATH": "/usr/bin:/bin", "SUPD_TEST_USAGE_HASTE": "40"])
        let format = ISO8601DateFormatter()
        format.formatOptions = [.withInternetDateTime, .withFractionalSeconds]
        func steps() throws -> (count: Int, since: Double) {
            let report = try usage(daemon, "x")
            let since = try #require(report.since.flatMap(format.date))
            return (report.instances.first?.hour.steps ?? 0, since.timeIntervalSince1970)
        }
        let since = try steps().since
        let before = try eventually("some looks", within: 60) { () throws -> Int? in
            let count = try steps().count
            return count > 5 ? count : nil
        }
        let supervisor = try daemon.role("supervisor")
        kill(supervisor, SIGKILL)
        try daemon.waitForAnother("supervisor", than: supervisor)
        let killed = try steps()
        #expect(killed.count >= before && abs(killed.since - since) < 0.1, "\(killed), \(before), \(since)")
        let upgrade = try daemon.ctl("upgrade", Daemon.supd)
        #expect(upgrade.code == 0, "\(upgrade.output)")
        let upgraded = try steps()
        #expect(upgraded.count >= killed.count && abs(upgraded.since - since) < 0.1, "\(upgraded), \(killed)")
        #expect(!daemon.keeper.output.contains("cannot read what instances have used"))
    }
}
