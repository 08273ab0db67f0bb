import ControlAPI
import Foundation
import Glibc
import Platform
import TestSupport
import Testing

/// `supctl logs` as people use it, and what the manifest says of the files that it reads.
@Suite("Logs", .timeLimit(.minutes(15)))
struct FollowTests {
    /// A service that writes what it is told by a fifo in its directory. It holds both ends: the fifo never ends.
    private static func manifest(_ log: String) -> String {
        """
        { services: { x: { command: ['/bin/sh', '-c', 'exec cat 0<>fifo'], log: \(log) },
                      other: { command: ['/bin/sh', '-c', 'echo other; exec sleep 1000'] } } }
        """
    }

    private static func start(_ log: String) throws -> Daemon {
        let directory = try TemporaryDirectory()
        guard mkfifo(directory.file("fifo"), 0o600) == 0 else { throw TestFailure("mkfifo: errno \(errno)") }
        return try Daemon(manifest(log), in: directory)
    }

    /// Has the service write lines.
    private func write(_ lines: [String], _ daemon: Daemon) throws {
        let fifo = try eventually("a reader") {
            let fifo = open(daemon.directory.file("fifo"), O_WRONLY | O_NONBLOCK | O_CLOEXEC)
            return fifo >= 0 ? Descriptor(owning: fifo) : nil
        }
        _ = fcntl(fifo.raw, F_SETFL, 0)
        let bytes = Array(lines.map { $0 + "\n" }.joined().utf8)
        let count = Glibc.write(fifo.raw, bytes, bytes.count)
        guard count == bytes.count else { throw TestFailure("wrote \(count) of \(bytes.count) bytes: errno \(errno)") }
    }

    /// What supctl has shown, without time and name.
    private func shown(_ output: String) -> [String] {
        output.split(separator: "\n").map { line in
            line.firstRange(of: " x/1   ").map { String(line[$0.upperBound...]) } ?? "?? \(line)"
        }
    }

    private func waitFor(_ lines: [String], _ follower: Program) throws {
        do {
            try eventually("\(lines.last ?? "")") {
                let shown = shown(follower.output)
                return shown.count >= lines.count && follower.output.hasSuffix("\n") ? true : nil
            }
        } catch {
            throw TestFailure("\(error); the output was:\n\(follower.output)")
        }
        #expect(shown(follower.output) == lines)
    }

    @Test("logs -f shows the last lines and all that come, through rotations and restarts of the instance, of supd too")
    func follow() throws {
        let daemon = try Self.start("{ maxSize: '4K', keep: 100 }")
        func numbered(_ range: Range<Int>) -> [String] {
            range.map { "line \($0) " + String(repeating: "x", count: 80) }
        }
        try write(numbered(0..<10), daemon)
        try eventually("the first lines") { daemon.logLines("x").count == 10 ? true : nil }
        let follower = try Program(
            Daemon.supctl, ["--socket", daemon.socket, "logs", "-f", "-n", "3", "x"])
        var expected = numbered(7..<10)
        try waitFor(expected, follower)
        // Each over several files.
        for round in 1...4 {
            let lines = numbered(round * 100..<round * 100 + 100)
            try write(lines, daemon)
            expected += lines
            try waitFor(expected, follower)
            if round == 1 { #expect(try daemon.ctl("restart", "x").code == 0) }
            if round == 2 {
                let before = try #require(daemon.pids()["x/1"])
                kill(before, SIGKILL)
                try eventually("the next process") {
                    let pid = try daemon.pids()["x/1"]
                    return pid != nil && pid != before ? true : nil
                }
            }
            if round == 3 {
                let before = try daemon.role("supervisor")
                kill(before, SIGKILL)
                try eventually("the next supervisor") {
                    let pid = try? daemon.role("supervisor")
                    return pid != nil && pid != before ? true : nil
                }
            }
        }
        #expect(FileManager.default.fileExists(atPath: daemon.directory.file("log/x/1.log.5")), "it was rotated")
        // And through a supd that is stopped and started.
        daemon.keeper.send(SIGTERM)
        #expect(try daemon.keeper.wait().code == 0)
        try daemon.startAgain()
        try daemon.keeper.waitForOutput("everything is up")
        try write(["the last"], daemon)
        expected.append("the last")
        try waitFor(expected, follower)
        #expect(!follower.ended())
        follower.send(SIGINT)
        // Nothing was caught: the shell's 128 and the signal's number.
        #expect(try follower.wait().code == 128 + SIGINT)
        #expect(shown(follower.output) == expected)
    }

    @Test("status --watch shows one picture after the other until SIGINT, as JSON a line each")
    func watch() throws {
        let daemon = try Daemon("{ services: { x: { command: ['sleep', '1000'] } } }")
        let table = try Program(Daemon.supctl, ["--socket", daemon.socket, "status", "--watch"])
        let json = try Program(Daemon.supctl, ["--socket", daemon.socket, "status", "-w", "--json", "x"])
        try eventually("two pictures") { table.output.components(separatedBy: "NAME ").count > 2 ? true : nil }
        try eventually("two lines") { json.output.split(separator: "\n").count > 1 ? true : nil }
        for watching in [table, json] {
            #expect(!watching.ended())
            watching.send(SIGINT)
            #expect(try watching.wait().code == 0)
        }
        let line = try #require(json.output.split(separator: "\n").first)
        let report = try JSONDecoder().decode(StatusReport.self, from: Data(line.utf8))
        #expect(report.services.map(\.name) == ["x"])
        #expect(try daemon.ctl("status", "--watch", "nobody").code == 4)
    }

    @Test("A watch ends by SIGINT while nobody answers", arguments: ["status", "balancer"], [false, true])
    func unansweredWatch(verb: String, onTerminal: Bool) throws {
        let directory = try TemporaryDirectory()
        let server = try ScriptedServer(directory.file("control.sock"), [.silence])
        defer { server.end() }
        let watching = try Program(
            Daemon.supctl, ["--socket", directory.file("control.sock"), verb, "--watch"],
            to: onTerminal ? .terminal : .pipe)
        try eventually("the question") { server.requests().isEmpty ? nil : true }
        watching.send(SIGINT)
        // One that has waited for the answer has failed.
        #expect(try watching.wait().code == 0, "\(watching.output)")
    }

    @Test("top says that it needs a terminal, and what does without")
    func top() throws {
        let daemon = try Daemon("{ services: { x: { command: ['sleep', '1000'] } } }")
        let result = try daemon.ctl("top")
        #expect(result.code == 2 && result.output.contains("top needs a terminal"), "\(result.output)")
    }

    @Test("Without -n, logs -f begins with ten lines, and with -n 0 with what comes")
    func beginnings() throws {
        let daemon = try Self.start("{}")
        try write((0..<30).map { "line \($0)" }, daemon)
        try eventually("the lines") { daemon.logLines("x").count == 30 ? true : nil }
        let ten = try Program(Daemon.supctl, ["--socket", daemon.socket, "logs", "--follow", "x/1"])
        let none = try Program(Daemon.supctl, ["--socket", daemon.socket, "logs", "-f", "-n", "0", "x"])
        try waitFor((20..<30).map { "line \($0)" }, ten)
        // Only once it follows; what it shows first tells when that is.
        var count = 0
        try eventually("a line of what comes") {
            count += 1
            try write(["more \(count)"], daemon)
            return none.output.contains("more") ? true : nil
        }
        try write(["end"], daemon)
        try none.waitForOutput("end\n")
        try ten.waitForOutput("end\n")
        #expect(!none.output.contains("line "))
        #expect(shown(ten.output) == (20..<30).map { "line \($0)" } + (1...count).map { "more \($0)" } + ["end"])
        #expect(try shown(daemon.ctl("logs", "-n", "2", "x").output) == ["more \(count)", "end"])
        #expect(try shown(daemon.ctl("logs", "x").output).count == 31 + count)
        #expect(try daemon.ctl("logs").output.contains(" other/1   other\n"))
        #expect(try daemon.ctl("logs", "-n", "x", "x").code == 2)
        #expect(try daemon.ctl("logs", "-f", "nobody").code == 4)
        for follower in [ten, none] {
            follower.send(SIGTERM)
            #expect(try follower.wait().code == 128 + SIGTERM)
        }
    }

    @Test("log.rate comes into force with an apply, and what it drops is in the log, in status and in the metrics")
    func rate() throws {
        let daemon = try Self.start("{ maxSize: '1M' }")
        let pids = try daemon.pids()
        try write((0..<50).map { "before \($0)" }, daemon)
        try eventually("the first lines") { daemon.logLines("x").count == 50 ? true : nil }
        _ = try daemon.directory.write("supd.json5", Self.manifest("{ maxSize: '1M', rate: 10 }"))
        let applied = try daemon.ctl("apply")
        #expect(applied.code == 0)
        #expect(applied.output.contains("log.rate"), "\(applied.output)")
        #expect(try daemon.pids() == pids)
        // In one write, so that it is taken in one or two seconds.
        try write((0..<500).map { "after \($0)" }, daemon)
        // Nothing more comes: the note follows by itself.
        let note = try eventually("the note") { daemon.logLines("x").first { $0.contains("[supd] dropped") } }
        #expect(note.hasSuffix(": more than 10 a second (log.rate)"), "\(note)")
        let kept = daemon.logLines("x").count { $0.contains("after") }
        #expect(kept >= 10 && kept < 100, "\(kept)")
        let dropped = try #require(daemon.status("x").services.first?.instances.first?.droppedOutput)
        #expect(dropped.lines == 500 - UInt64(kept))
        #expect(dropped.reason == "more lines a second than log.rate allows")
        let metric = "supd_log_dropped_lines_total{service=\"x\",replica=\"1\"} \(dropped.lines)\n"
        let metrics = try daemon.ctl("metrics").output
        #expect(
            metrics.contains(metric),
            "\(metrics.split(separator: "\n").filter { $0.contains("supd_log_dropped_lines") })")
        #expect(daemon.keeper.output.contains("x/1 writes more than 10 lines a second"))
        // And in an event, of which there is one a minute at most.
        let events = try eventually("the event") {
            let events = try daemon.ctl("events", "x").output
            return events.contains("dropped \(dropped.lines) lines (") ? events : nil
        }
        #expect(events.components(separatedBy: " of its output: more lines a second than log.rate allows").count == 2)
    }

    @Test("logs -f --json goes by the log.format of the manifest in force, also of one that is applied meanwhile")
    func formats() throws {
        let daemon = try Self.start("{}")
        try write([#"{"a":0}"#], daemon)
        let follower = try Program(Daemon.supctl, ["--socket", daemon.socket, "logs", "-f", "--json", "x"])
        try follower.waitForOutput(#""message":"{\"a\":0}""#)
        try write([#"{"a":1}"#], daemon)
        try follower.waitForOutput(#""message":"{\"a\":1}""#)
        func apply(_ log: String) throws {
            _ = try daemon.directory.write("supd.json5", Self.manifest(log))
            #expect(try daemon.ctl("apply").code == 0)
        }
        // It looks ten times a second at most.
        func writeUntil(_ expected: (Int) -> String, from first: Int) throws -> Int {
            var number = first
            try eventually(expected(first)) {
                number += 1
                try write([#"{"a":\#(number)}"#], daemon)
                return (first...number).contains { follower.output.contains(expected($0)) } ? true : nil
            }
            return number
        }
        try apply("{ format: 'json' }")
        let last = try writeUntil({ #","a":\#($0)}"# }, from: 10)
        // It outlives the supervisor.
        let supervisor = try daemon.role("supervisor")
        kill(supervisor, SIGKILL)
        try daemon.waitForAnother("supervisor", than: supervisor)
        try apply("{}")
        _ = try writeUntil({ #""message":"{\"a\":\#($0)}""# }, from: last + 1)
        #expect(!follower.ended())
        follower.send(SIGTERM)
        _ = try follower.wait()
    }

    @Test("A last line without its newline is in the log, however the process ends")
    func unfinished() throws {
        let daemon = try Daemon(
            """
            { services: { code: { command: ['/bin/sh', '-c', 'printf "one\\nby a code"'], restart: 'never' },
                          signal: { command: ['/bin/sh', '-c', 'printf "by a signal"; kill -9 $$$$'], restart: 'never' },
                          closed: { command: ['/bin/sh', '-c', 'printf closed; exec sleep 1000 >&- 2>&-'] },
                          stopped: { command: ['/bin/sh', '-c', 'printf stopped; exec sleep 1000'] } } }
            """, waitUntilUp: false)
        func wait(_ service: String, _ lines: [String]) throws {
            try eventually("the end of \(service)") { daemon.logLines(service) == lines ? true : nil }
        }
        try wait("code", ["stdout F one", "stdout F by a code"])
        try wait("signal", ["stdout F by a signal"])
        try wait("closed", ["stdout F closed"])
        #expect(try daemon.ctl("shutdown").code == 0)
        #expect(try daemon.keeper.wait(within: 30).code == 0)
        #expect(daemon.logLines("stopped") == ["stdout F stopped"])
    }

    @Test("Without a supd it is said where logs were looked for, and how to name another place")
    func withoutSupd() throws {
        let directory = try TemporaryDirectory()
        for service in ["api", "web"] {
            try FileManager.default.createDirectory(
                atPath: directory.file("logs/\(service)"), withIntermediateDirectories: true)
        }
        _ = try directory.write("logs/api/1.log", "2026-01-31T10:20:30.100000000Z stdout F one\n")
        func logs(_ place: String, _ name: String) throws -> Program.Result {
            try Program.run(
                Daemon.supctl, ["--socket", directory.file("none"), "logs", name],
                environment: ["LOGS_DIRECTORY": directory.file(place)])
        }
        #expect(try logs("logs", "api").output.hasSuffix("one\n"))
        let unknown = try logs("logs", "apu")
        #expect(unknown.code == 4)
        let place = "\(directory.file("logs")) (if supd keeps them elsewhere, set LOGS_DIRECTORY to that directory)"
        #expect(
            unknown.output.contains("did you mean \"api\"?; looked in \(place), for I cannot reach supd at"),
            "\(unknown)")
        let nothing = try logs("elsewhere", "api")
        #expect(nothing.code == 5)
        #expect(nothing.output.contains("there are no logs in \(directory.file("elsewhere")) (if supd"), "\(nothing)")
    }

    @Test("logs --json passes on the objects of a service with log.format: json, and an apply says which these are")
    func objects() throws {
        let daemon = try Self.start("{ format: 'json' }")
        #expect(try daemon.status().services.map(\.logFormat) == ["json", "text"])
        try write([#"{"level":"info","n":1.50,"time":"mine"}"#, "no object"], daemon)
        try eventually("both lines") { daemon.logLines("x").count == 2 ? true : nil }
        func lines() throws -> [String] {
            try daemon.ctl("logs", "--json", "x").output.split(separator: "\n").map(String.init)
        }
        let passed = try lines()
        let time = #""[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{9}Z""#
        let object = try Regex(
            #"\{"instance":"x/1","service":"x","stream":"stdout","supd_time":\#(time),"level":"info","n":1\.50,"time":"mine"\}"#
        )
        let message = try Regex(
            #"\{"instance":"x/1","message":"no object","service":"x","stream":"stdout","time":\#(time)\}"#)
        #expect(passed.count == 2)
        #expect(try object.wholeMatch(in: passed.first ?? "") != nil, "\(passed)")
        #expect(try message.wholeMatch(in: passed.last ?? "") != nil, "\(passed)")
        // What is in the file is what the service wrote.
        #expect(daemon.logLines("x") == [#"stdout F {"level":"info","n":1.50,"time":"mine"}"#, "stdout F no object"])
        _ = try daemon.directory.write("supd.json5", Self.manifest("{ format: 'text' }"))
        #expect(try daemon.ctl("apply").code == 0)
        #expect(try daemon.status().services.map(\.logFormat) == ["text", "text"])
        #expect(try lines().first?.contains(#""message":"{\"level\":\"info\""#) == true)
    }

    @Test("log.maxSize and log.keep of the manifest are the sizes and the number of the files")
    func rotation() throws {
        let daemon = try Self.start("{ maxSize: '8K', keep: 2 }")
        let lines = (0..<600).map { "line \($0) " + String(repeating: "y", count: 50) }
        for start in stride(from: 0, to: lines.count, by: 50) { try write(Array(lines[start..<start + 50]), daemon) }
        try eventually("the last line") { daemon.logLines("x").last?.contains("line 599 ") == true ? true : nil }
        let folder = daemon.directory.file("log/x")
        let names = try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
        #expect(names == ["1.log", "1.log.1", "1.log.2"])
        for name in ["1.log.1", "1.log.2"] {
            let size = try #require(FileManager.default.contents(atPath: "\(folder)/\(name)")).count
            #expect((8192 - 200...8192).contains(size), "\(name): \(size)")
        }
        let kept = try shown(daemon.ctl("logs", "x").output)
        #expect(kept == lines.suffix(kept.count))
        #expect(kept.count > 140 && kept.count < 240, "\(kept.count)")
    }
}
