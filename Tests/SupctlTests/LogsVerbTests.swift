import ControlAPI
import Platform
import TestSupport
import Testing

@testable import supctl

@Suite("supctl logs, against a daemon of the test's", .timeLimit(.minutes(15)))
struct LogsVerbTests: VerbSuite {
    let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    @Test("Of the lines only those of a time, and with a text, are shown; as JSON, too")
    func logsSelected() throws {
        try writeLogs()
        var report = Example.report([Example.service("api"), Example.service("web", replicas: 1)])
        report.daemon.logDirectory = directory.path
        let server = try ScriptedServer(path, Array(repeating: .json(report), count: 6))
        let one = "2026-01-31T10:20:30.100Z api/1   one\n"
        #expect(run("logs", "--until", "2026-01-31T10:20:30.1Z").output == one)
        #expect(run("logs", "--since", "2026-01-31T10:20:30.101Z", "api").output.hasSuffix("api/1   three\n"))
        #expect(run("logs", "--since", "10m").output.isEmpty)
        #expect(run("logs", "--grep", "^ONE$").output.isEmpty)
        #expect(run("logs", "--grep", "^(one|x)", "-n1").output == one)
        #expect(
            run("logs", "--json", "web").output == """
                {"instance":"web/1","message":"two","service":"web","stream":"stderr","time":"2026-01-31T10:20:30.200000000Z"}

                """)
        #expect(server.requests().count == 6)
    }

    @Test("An object of a service that logs JSON is passed on with members added, what is none is a message")
    func logsOfObjects() throws {
        try makeDirectory(directory.file("api"))
        _ = try directory.write(
            "api/1.log",
            """
            2026-01-31T10:20:30.100000000Z stdout F {"level":"info","n":1.0}
            2026-01-31T10:20:30.200000000Z stderr F panic: {}

            """)
        var report = Example.report([Example.service("api")])
        report.daemon.logDirectory = directory.path
        report.services[0].logFormat = "json"
        var plain = report
        plain.services[0].logFormat = "text"
        let server = try ScriptedServer(path, [.json(report), .json(report), .json(plain)])
        let members = #""instance":"api/1","service":"api","stream":"stdout","time":"2026-01-31T10:20:30.100000000Z""#
        let message =
            #"{"instance":"api/1","message":"panic: {}","service":"api","stream":"stderr","#
            + #""time":"2026-01-31T10:20:30.200000000Z"}"# + "\n"
        #expect(run("logs", "--json").output == "{\(members),\"level\":\"info\",\"n\":1.0}\n" + message)
        #expect(run("logs").output.contains(#"api/1   {"level":"info","n":1.0}"#))
        #expect(run("logs", "--json").output.hasPrefix(#"{"instance":"api/1","message":"{\"level\""#))
        #expect(server.requests().count == 3)
    }

    @Test(
        "What cannot be meant is said",
        arguments: [
            (["--since", "x"], "--since takes a time like 10m"),
            (["--until", "25:00"], "--until takes a time like 10m"),
            (["--grep", "("], "--grep takes a regular expression as grep -E does, not \"(\": Unmatched ( or \\("),
            (["-f", "--until", "now"], "--follow has no end: leave out --until"),
            (["--since", "1m", "--until", "2m"], "--since is later than --until"),
        ])
    func logsMisused(arguments: [String], message: String) {
        let result = run(["logs"] + arguments)
        #expect(result.code == 2)
        #expect(result.errors.hasPrefix("supctl: \(message)"), "\(result.errors)")
    }

    @Test("Of a service without instances there are no logs, which is said; those that it left are shown")
    func logsWithoutInstances() throws {
        try writeLogs()
        var report = Example.report([Example.service("api"), Example.service("web", replicas: 1)])
        report.daemon.logDirectory = directory.path
        for (index, name) in ["idle", "web"].enumerated() {
            report.services[index].name = name
            report.services[index].replicas = 0
            report.services[index].instances = []
        }
        let server = try ScriptedServer(path, Array(repeating: .json(report), count: 3))
        let idle = run("logs", "idle")
        #expect(idle.code == 0 && idle.output.isEmpty)
        #expect(idle.errors == "supctl: idle has no instances (replicas: 0)\n")
        #expect(run("logs", "web").output == "2026-01-31T10:20:30.200Z web/1 ! two\n")
        #expect(run("logs", "idel").errors == "supctl: there is no service \"idel\"; did you mean \"idle\"?\n")
        #expect(server.requests().count == 3)
    }

    @Test("Logs of sessions are apart from those of instances")
    func sessionLogs() throws {
        try writeLogs()
        _ = try directory.write("api/balancer.log", "2026-01-31T10:20:30.150000000Z stdout F a session\n")
        var report = Example.report([Example.service("api"), Example.service("web", replicas: 1)])
        report.daemon.logDirectory = directory.path
        report.services[1].listen = []
        let server = try ScriptedServer(path, Array(repeating: .json(report), count: 5))
        #expect(!run("logs").output.contains("session"))
        #expect(!run("logs", "api").output.contains("session"))
        let line = "2026-01-31T10:20:30.150Z api/balancer   a session\n"
        #expect(run("logs", "--sessions").output == line)
        #expect(run("logs", "--sessions", "a*").output == line)
        #expect(run("logs", "--sessions", "web").code == 4)
        #expect(server.requests().count == 5)
    }

    @Test("Logs come from where the daemon says, in the order of their times, of those named")
    func logs() throws {
        try writeLogs()
        var report = Example.report([Example.service("api"), Example.service("new", replicas: 1)])
        report.daemon.logDirectory = directory.path
        let server = try ScriptedServer(path, Array(repeating: .json(report), count: 4))
        #expect(
            run("logs").output == """
                2026-01-31T10:20:30.100Z api/1   one
                2026-01-31T10:20:30.200Z web/1 ! two
                2026-01-31T10:20:30.300Z api/1   three

                """)
        #expect(run("logs", "-n1", "api").output == "2026-01-31T10:20:30.300Z api/1   three\n")
        #expect(run("logs", "new").output.isEmpty)
        #expect(run("logs", "apu").code == 4)
        #expect(server.requests().count == 4)
    }

    private func writeLogs() throws {
        for name in ["api", "web"] { try makeDirectory(directory.file(name)) }
        _ = try directory.write(
            "api/1.log",
            """
            2026-01-31T10:20:30.100000000Z stdout F one
            2026-01-31T10:20:30.300000000Z stdout F three

            """)
        _ = try directory.write("web/1.log", "2026-01-31T10:20:30.200000000Z stderr F two\n")
    }
}
