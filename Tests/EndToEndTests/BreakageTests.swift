import ControlAPI
import Foundation
import Glibc
import Platform
import TestSupport
import Testing

/// Ways to break a service, each with the first line of `supctl why`, which has to name the cause. In these lines times are
/// written as TIME and T, process ids as N, the port and the directory of the test as PORT and DIR.
@Suite("Ways to break a service", .timeLimit(.minutes(15)))
struct BreakageTests {
    /// A service x that does not come up, and what is said of it.
    struct Breakage: CustomTestStringConvertible, Sendable {
        var testDescription: String
        /// Its fields; `@demo@` is the demo service, DIR the test's directory, PORT a port that a stranger has.
        var service: String
        /// After "x/1: backoff since TIME (AGO): ".
        var line: String

        init(_ name: String, _ service: String, _ line: String) {
            (testDescription, self.service, self.line) = (name, service, line)
        }
    }

    private static let ways = [
        Breakage(
            "missing binary", "command: ['/no/such/program']",
            "could not start: cannot run /no/such/program: No such file or directory; next try in T"),
        Breakage(
            "port taken, as the manifest gives it", "command: ['@demo@'], port: PORT",
            "could not start: port PORT is in use by pid N (demo-service); next try in T"),
        Breakage(
            "port taken, of the program's own choice", "command: ['@demo@'], environment: { PORT: 'PORT' }",
            "exited with code 1 after T, probably its port is taken; next try in T"),
        Breakage(
            "exits at once", "command: ['/bin/sh', '-c', 'echo \"config: unknown key foo\" >&2; exit 3']",
            "exited with code 3 after T; its last line was \"config: unknown key foo\"; next try in T"),
        Breakage(
            "exits at once, without a word", "command: ['/bin/sh', '-c', 'exit 3']",
            "exited with code 3 after T; next try in T"),
        Breakage(
            "segfault", "command: ['/bin/sh', '-c', 'kill -SEGV $$$$'], limits: { core: 0 }",
            "killed by SIGSEGV after T, probably a defect in the program; next try in T"),
        Breakage(
            "rlimit as", leak("as", "as: '4G'"),
            "exited with code 0 after T, probably it has reached its limit of memory (as 4G); next try in T"),
        Breakage(
            "rlimit data", leak("data", "data: '512M'"),
            "exited with code 0 after T, probably it has reached its limit of memory (data 512M); next try in T"),
        Breakage(
            "rlimit cpu", leak("cpu", "cpu: 1"),
            "killed by SIGXCPU after T: cpu limit of 1 s reached; next try in T"),
        Breakage(
            "rlimit fsize", leak("fsize", "fsize: '1M'"),
            "killed by SIGXFSZ after T: fsize limit of 1M reached; next try in T"),
        Breakage(
            "rlimit nofile", leak("nofile", "nofile: 64"),
            "exited with code 0 after T, probably it has reached its limit of open files (nofile 64); next try in T"),
        Breakage(
            "rlimit stack", leak("stack", "stack: '1M'"),
            "killed by SIGSEGV after T, perhaps by its stack limit of 1M; next try in T"),
        Breakage(
            "disk full", "command: ['/bin/sh', '-c', 'cat /bin/sh >/dev/full']",
            "exited with code 1 after T, probably a disk is full; next try in T"),
        Breakage(
            "a directory as the command", "command: ['DIR']",
            "could not start: cannot run DIR: Permission denied; it is a directory; next try in T"),
        Breakage(
            "a file of the environment is missing", "command: ['sleep', '1000'], environmentFiles: ['DIR/gone.env']",
            "could not start: cannot read the environment file DIR/gone.env: No such file or directory; next try in T"),
        Breakage(
            "a warning, and then what it ends for",
            "command: ['/bin/sh', '-c', 'echo \"warning: cache: connection refused\"; echo \"fatal: unknown key foo\"; exit 3']",
            "exited with code 3 after T; its last line was \"fatal: unknown key foo\"; next try in T"),
        Breakage(
            "a guess from a line before the last",
            "command: ['/bin/sh', '-c', 'cat /bin/sh >/dev/full; echo giving up >&2; exit 1']",
            "exited with code 1 after T, probably a disk is full; its last line was \"giving up\"; next try in T"),
        Breakage(
            "directory that never was", "command: ['sleep', '1000'], directory: 'DIR/gone'",
            "could not start: cannot change directory to DIR/gone: No such file or directory; next try in T"),
    ]

    private static let waysOfOthers = [
        Breakage(
            "wrong user", "command: ['sleep', '1000'], user: 'nosuchuser'",
            "could not start: cannot run as user 'nosuchuser': there is no such user; next try in T"),
        Breakage(
            "rlimit nproc", "user: '61234', group: '61234', \(leak("nproc", "nproc: 20"))",
            "exited with code 0 after T, probably it could have no more processes or threads (nproc 20); next try in T"),
        Breakage(
            "rlimit memlock", "user: '61234', group: '61234', \(leak("memlock", "memlock: '64K'"))",
            "exited with code 0 after T, probably it has reached its limit of locked memory (memlock 64K); next try in T"
        ),
    ]

    private static func leak(_ resource: String, _ limit: String) -> String {
        "command: ['@demo@', '--leak', '\(resource)'], directory: '/tmp', limits: { core: 0, \(limit) }"
    }

    /// Tried again after a time that no test waits for.
    private static let once = "restart: { initialDelay: '1h', maxDelay: '1h' }"

    /// A line without what differs from run to run.
    private func normalised(
        _ line: some StringProtocol, _ directory: TemporaryDirectory, port: UInt16? = nil
    ) -> String {
        var line = String(line).replacingOccurrences(of: directory.path, with: "DIR")
        if let port { line = line.replacingOccurrences(of: "port \(port)", with: "port PORT") }
        return line.replacing(/\d{4}-\d\d-\d\dT[\d:.]+Z/, with: "TIME").replacing(#/ \([\dsmhd]+\)/#, with: " (AGO)")
            .replacing(/(at once|after [\d.]+(µs|ms|s))\b/, with: "after T")
            .replacing(/next try in [\d.]+ [a-z]+/, with: "next try in T")
            .replacing(/at most [\d.]+ [a-z]+/, with: "at most T").replacing(/\bpid \d+/, with: "pid N")
            .replacing(/\w+ times in a row/, with: "N times in a row")
    }

    /// Waits until the first line is this one: a moment after an end its last lines may not be written yet.
    private func expect(
        _ line: String, of names: [String] = ["x"], _ daemon: Daemon, port: UInt16? = nil
    ) throws {
        var last = ""
        do {
            try eventually(line) {
                let output = try Program.run(Daemon.supctl, ["--socket", daemon.socket, "why"] + names).output
                last = output
                let first = output.split(separator: "\n").first ?? ""
                return normalised(first, daemon.directory, port: port) == line ? true : nil
            }
        } catch {
            throw TestFailure("\(error); why said:\n\(last)")
        }
    }

    private func breakService(_ way: Breakage) throws {
        let directory = try TemporaryDirectory()
        chmod(directory.path, 0o755)
        let (port, reservation) = try freePort()
        var stranger: Program?
        if way.service.contains("PORT") {
            var environment = ProcessInfo.processInfo.environment
            (environment["PORT"], environment["HOST"]) = ("\(port)", "127.0.0.1")
            stranger = try Program(Daemon.demoService, ["--quiet"], environment: environment)
            try eventually("the stranger") { (try? HTTP.get(port: port, "/").status) == 200 ? true : nil }
        }
        let fields = way.service.replacingOccurrences(of: "DIR", with: directory.path)
            .replacingOccurrences(of: "port: PORT", with: "port: \(port)")
            .replacingOccurrences(of: "'PORT'", with: "'\(port)'")
        let daemon = try Daemon(
            "{ services: { x: { \(fields), \(Self.once) } } }", in: directory, waitUntilUp: false)
        try daemon.waitUntilAnswering()
        try expect("x/1: backoff since TIME (AGO): \(way.line)", daemon, port: port)
        withExtendedLifetime(stranger) {}
        withExtendedLifetime(reservation) {}
    }

    @Test("The first line names the cause", arguments: ways)
    func cause(_ way: Breakage) throws { try breakService(way) }

    @Test(
        "The first line names the cause, of what only root can try",
        .enabled(if: geteuid() == 0, "only root may start what runs as another user"), arguments: waysOfOthers)
    func causeForRoot(_ way: Breakage) throws { try breakService(way) }

    @Test("A directory that is deleted while the service runs")
    func deletedDirectory() throws {
        let directory = try TemporaryDirectory()
        let gone = directory.file("gone")
        try FileManager.default.createDirectory(atPath: gone, withIntermediateDirectories: false)
        let daemon = try Daemon(
            """
            { services: { x: { command: ['sleep', '1000'], directory: '\(gone)',
                               restart: { initialDelay: '20ms', factor: 100, maxDelay: '1h' } } } }
            """, in: directory)
        try FileManager.default.removeItem(atPath: gone)
        #expect(try daemon.ctl("signal", "KILL", "x").code == 0)
        try expect(
            "x/1: backoff since TIME (AGO): could not start: cannot change directory to DIR/gone: "
                + "No such file or directory; next try in T", daemon)
    }

    @Test(
        "A disk that is full: the service's own, and the one that its log is on",
        .enabled(if: SmallDisk.isAllowed, "mounting a small file system needs root"), arguments: [false, true])
    func fullDisk(isOfLogs: Bool) throws {
        let directory = try TemporaryDirectory()
        let disk = try SmallDisk(at: directory.file(isOfLogs ? "log" : "data"))
        let script = isOfLogs ? "sleep 1; echo what nobody will read" : "exec cat /dev/zero >fill"
        if isOfLogs {
            _ = try Program.run("/bin/sh", ["-c", "cat /dev/zero >'\(directory.file("log/fill"))'"])
        }
        let daemon = try Daemon(
            """
            { services: { x: { command: ['/bin/sh', '-c', '\(script); exit 1'], \(Self.once),
                               directory: '\(directory.file(isOfLogs ? "log" : "data"))' } } }
            """, in: directory, waitUntilUp: false)
        try daemon.waitUntilAnswering()
        try expect(
            "x/1: backoff since TIME (AGO): exited with code 1 after T, probably a disk is full; next try in T", daemon)
        withExtendedLifetime(disk) {}
    }

    @Test("A probe that hangs")
    func hungProbe() throws {
        // It is started only once, so that nobody else may have its port meanwhile.
        let (port, reservation) = try freePort()
        let daemon = try Daemon(
            """
            { services: { x: { command: ['@demo@', '--quiet'], port: \(port), ready: { http: '/' }, restart: 'never',
                               health: { http: '/healthz', interval: '500ms', timeout: '500ms' } } } }
            """)
        #expect(try HTTP.get(port: port, "/sick?how=hang").status == 200)
        try expect(
            "x/1: running since TIME (AGO): unhealthy: GET /healthz: no answer within 500 ms, N times in a row; not "
                + "restarted since its restart policy is never", daemon)
        withExtendedLifetime(reservation) {}
    }

    @Test("A process that is stopped by a signal, while it serves and while it is to end")
    func stoppedProcess() throws {
        let daemon = try Daemon("{ services: { x: { command: ['sleep', '1000'], stop: { timeout: '1h' } } } }")
        #expect(try daemon.ctl("signal", "STOP", "x").code == 0)
        let stopped = "its process is stopped, by SIGSTOP or from a terminal, and does nothing until SIGCONT"
        try expect("x/1: running since TIME (AGO): \(stopped)", daemon)
        // Also of those who ask what is not as it should be.
        try expect("x/1: running since TIME (AGO): \(stopped)", of: [], daemon)
        #expect(try daemon.ctl("stop", "--no-wait", "x").code == 0)
        try eventually("what stops it to be said") {
            let line = try daemon.ctl("why", "x").output.split(separator: "\n").first ?? ""
            return line.contains("stop x, asked for by") && line.contains("after SIGTERM") && line.hasSuffix(stopped)
                ? true : nil
        }
        #expect(try daemon.ctl("signal", "CONT", "x").code == 0)
        try eventually("it to end") { try daemon.status("x").services.first?.state == "down" ? true : nil }
    }

    @Test("A dependency that is never ready: the first line names the last one of a chain, and why it is not")
    func dependency() throws {
        let daemon = try Daemon(
            """
            { services: { x: { command: ['sleep', '1000'], dependsOn: ['middle'] },
                          middle: { command: ['sleep', '1000'], dependsOn: ['slow'] },
                          slow: { command: ['sleep', '1000'],
                                  ready: { command: ['/bin/sh', '-c', 'echo not yet; exit 4'], timeout: '1h' } } } }
            """, waitUntilUp: false)
        try daemon.waitUntilAnswering()
        try expect(
            "x/1: waiting since TIME (AGO): waits for middle to be ready; middle/1 waits for slow to be ready; slow/1 is "
                + "starting: waits to be ready: the command exited with code 4: not yet", daemon)
    }

    @Test("A shutdown that is blocked, and a stop: who does not end")
    func blockedShutdown() throws {
        let daemon = try Daemon(
            """
            { services: { x: { command: ['@demo@', '--ignore-term', '--quiet'], ready: { http: '/' },
                               stop: { timeout: '1h' } },
                          y: { command: ['sleep', '1000'], ready: 'started' },
                          user: { command: ['sleep', '1000'], dependsOn: ['x'] } } }
            """)
        let waits = "waits for it to end after SIGTERM, at most T; it ignores SIGTERM"
        let stop = try Program(Daemon.supctl, ["--socket", daemon.socket, "stop", "x"])
        try expect(
            "x/1: stopping since TIME (AGO): stop x, asked for by uid \(getuid()) (pid N); \(waits)", daemon)
        let shutdown = try Program(Daemon.supctl, ["--socket", daemon.socket, "shutdown"])
        try expect(
            "supd stops everything since TIME, asked for by uid \(getuid()) (pid N); it waits for x/1 (stopping; \(waits))",
            of: [], daemon)
        let pid = try #require(daemon.pids()["x/1"])
        kill(pid, SIGKILL)
        #expect(try shutdown.wait().code == 0)
        _ = try stop.wait()
    }

    @Test("An apply that is blocked, and a service that was scaled away: by whom, and what to type")
    func applyAndScale() throws {
        let daemon = try Daemon("{ services: { x: { command: ['sleep', '1000'], replicas: 2 } } }")
        #expect(try daemon.ctl("scale", "x=0").code == 0)
        let who = "asked for by uid \(getuid()) (pid N)"
        try expect("x: down since TIME (AGO): no instances: scale x=0, \(who); the manifest says 2", daemon)
        let why = try daemon.ctl("why", "x")
        #expect(why.code == 0)
        #expect(why.output.contains("\"supctl scale x=2\" starts them again, as the manifest says"), "\(why.output)")
        let start = try daemon.ctl("start", "x")
        #expect(
            start.output
                == "x has no instances (replicas: 0): scaled to 0 by \"supctl scale\", the manifest says 2; "
                + "\"supctl scale x=2\" starts some\n")
        #expect(try daemon.ctl("scale", "x=2").code == 0)

        _ = try daemon.directory.write(
            "supd.json5",
            """
            { services: { x: { command: ['sleep', '1000'], replicas: 2 },
                          slow: { command: ['sleep', '1000'],
                                  ready: { command: ['/bin/sh', '-c', 'echo not yet; exit 4'], timeout: '1h' } } } }
            """)
        let apply = try Program(Daemon.supctl, ["--socket", daemon.socket, "apply"])
        try expect(
            "an apply of DIR/supd.json5 is under way since TIME, \(who); it waits for slow/1 (starting; waits to be ready: "
                + "the command exited with code 4: not yet)", of: [], daemon)
        #expect(try daemon.ctl("stop", "slow").code == 0)
        _ = try apply.wait()
    }

    @Test("A restart and a start that are blocked, and clients that wait: what each of them waits for")
    func underWay() throws {
        let directory = try TemporaryDirectory()
        let gate = try directory.write("gate", "")
        let front = try freePort()
        let daemon = try Daemon(
            """
            { services: { x: { command: ['@demo@', '--quiet'], listen: \(front.port), balance: { queueTimeout: '60s' },
                               ready: { command: ['test', '-e', '\(gate)'], timeout: '1h' } } } }
            """, in: directory)
        func wait(for text: String) throws {
            var last = ""
            do {
                try eventually(text) {
                    last = try daemon.ctl("why", "x").output
                    return last.contains(text) ? true : nil
                }
            } catch {
                throw TestFailure("\(error); why said:\n\(last)")
            }
        }
        try FileManager.default.removeItem(atPath: gate)
        let restart = try Program(Daemon.supctl, ["--socket", daemon.socket, "restart", "x"])
        try wait(for: "; it waits for x/2 (starting; waits to be ready: the command exited with code 1)\n")
        #expect(try daemon.ctl("why", "x").output.contains("\n  a rollout of x is under way since "))
        #expect(try daemon.ctl("stop", "x").code == 0)
        _ = try restart.wait()
        let start = try Program(Daemon.supctl, ["--socket", daemon.socket, "start", "x"])
        try expect("x/1: starting since TIME (AGO): waits to be ready: the command exited with code 1", daemon)
        let client = try LoopbackConnection(port: front.port)
        try wait(for: "\n  a connection to 127.0.0.1:\(front.port) waits for an instance\n")
        _ = try directory.write("gate", "")
        #expect(try start.wait().code == 0)
        withExtendedLifetime(client) {}
    }

    @Test("As JSON: the same sentence, and of each end its code or signal")
    func json() throws {
        let daemon = try Daemon(
            "{ services: { x: { command: ['/bin/sh', '-c', 'kill -SEGV $$$$'], limits: { core: 0 }, \(Self.once) } } }",
            waitUntilUp: false)
        try daemon.waitUntilAnswering()
        try eventually("its end") { try daemon.status("x").services.first?.state == "backoff" ? true : nil }
        let text = try daemon.ctl("why", "--json", "x").output
        let object = try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
        let answer = try #require((object["answers"] as? [[String: Any]])?.first)
        let summary = try #require(answer["summary"] as? String)
        #expect(
            normalised(summary, daemon.directory)
                == "killed by SIGSEGV after T, probably a defect in the program; next try in T")
        let exit = try #require((answer["exits"] as? [[String: Any]])?.first)
        #expect(exit["signal"] as? String == "SIGSEGV" && exit["code"] is NSNull, "\(exit)")
        #expect(exit["cause"] as? String == "a defect in the program")
        #expect(answer["restartsInLastHour"] as? Int == 0)
    }
}
