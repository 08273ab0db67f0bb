import CMatrixSupport
import ControlAPI
import Foundation
import Glibc
import Platform
import TestSupport
import Testing

/// The promises of the process model: what the death of each role costs, and what it does not.
@Suite("Crash-only", .timeLimit(.minutes(15)))
struct CrashOnlyTests {
    private static func manifest(port: UInt16) -> String {
        """
        { services: {
            api: { command: ["@demo@", "--quiet"], replicas: 3, listen: \(port), ready: { http: "/healthz" } },
            lone: { command: ["/bin/sh", "-c", "while :; do sleep 1000; done"] },
        } }
        """
    }

    @Test("SIGKILL of the supervisor leaves every process running, and the next one takes over")
    func supervisorIsKilled() throws {
        let front = try freePort()
        let daemon = try Daemon(Self.manifest(port: front.port))
        let before = try daemon.pids()
        #expect(before.count == 4)
        let open = try KeptConnection(port: front.port)
        let served = try open.get("/")
        for _ in 0..<3 {
            let supervisor = try daemon.role("supervisor")
            kill(supervisor, SIGKILL)
            try daemon.waitForAnother("supervisor", than: supervisor)
            #expect(try daemon.pids() == before)
            #expect(try HTTP.get(port: front.port, "/").status == 200)
            // Of the same process, on the same connection.
            #expect(try open.get("/") == served)
        }
        // The new one can do all that the old one could.
        #expect(try daemon.ctl("restart", "lone").code == 0)
        #expect(try daemon.pids()["lone/1"] != before["lone/1"])
    }

    @Test("After three quick crashes the supervisor begins without its snapshot, says so, and keeps every process")
    func threeCrashes() throws {
        let front = try freePort()
        let daemon = try Daemon(Self.manifest(port: front.port))
        #expect(try daemon.ctl("stop", "lone").code == 0)
        let before = try daemon.pids()
        // One crash lets the next supervisor come with the snapshot, in which a user's word is.
        kill(try daemon.role("supervisor"), SIGKILL)
        try daemon.keeper.waitForOutput("resumed with 3 processes")
        #expect(try daemon.status("lone").services.first?.state == "down")
        // The next ones are killed as soon as they have taken over, which is soon after their start.
        var seen = 0
        try eventually("three quick crashes") {
            if daemon.keeper.output.contains("beginning without the snapshot") { return true }
            let resumed = daemon.keeper.output.components(separatedBy: "resumed with").count - 1
            guard resumed > seen else { return nil }
            seen = resumed
            let roles = (ProcessTable.children(of: daemon.keeper.pid) ?? []).compactMap(ProcessTable.entry)
            for role in roles where role.name == "supd: superviso" && !role.hasEnded { kill(role.pid, SIGKILL) }
            return nil
        }
        #expect(daemon.keeper.output.contains("crashes within 30 s: beginning without the snapshot"))
        // Whose process is whose is told by the labels that the keeper holds; the rest begins as the manifest has it.
        try eventually("the services that were stopped, too") {
            let services = try? daemon.status().services
            return services?.map(\.state) == ["running", "running"] ? true : nil
        }
        let after = try daemon.pids()
        for instance in ["api/1", "api/2", "api/3"] { #expect(after[instance] == before[instance], "\(instance)") }
        #expect(try Set((0..<3).map { _ in try HTTP.get(port: front.port, "/").body }).count == 3)
        #expect(try daemon.ctl("restart", "api/2").code == 0)
    }

    @Test(
        "SIGKILL of the balancer cuts the connections that are open, refuses no new one, and touches no service; what waits to be accepted is served by the next",
        arguments: [false, true])
    func balancerIsKilled(isStoppedBefore: Bool) throws {
        let (front, half, backend) = (try freePort(), try freePort(), try freePort())
        let daemon = try Daemon(
            """
            { services: {
                api: { command: ["@demo@", "--quiet"], replicas: 3, listen: \(front.port), ready: { http: "/healthz" } },
                half: { command: ["/bin/sleep", "1000"], port: \(backend.port), listen: \(half.port), ready: "started" },
            } }
            """)
        let before = try daemon.pids()
        let balancer = try daemon.role("balancer")
        let process = try ProcessDescriptor(pid: balancer)
        let clients = SteadyClients(3, port: front.port)
        defer { clients.stop() }
        // Open ones: one that is kept and idle, one that waits for its answer, and one in the middle of it, where the test
        // serves on the port of a service that does not.
        let idle = try KeptConnection(port: front.port), asking = try KeptConnection(port: front.port)
        _ = try idle.get("/")
        try asking.ask("/work?ms=60000")
        let server = try BlockingListener(host: "127.0.0.1", port: backend.port)
        let reader = try BlockingStream.connect(to: "127.0.0.1:\(half.port)", timeoutSeconds: 30)
        try reader.write(Array("more, please".utf8))
        let writer = try eventually("the balancer's connection") { try server.accept() }
        try writer.limitWaiting(seconds: 30)
        try writer.write(Array(repeating: UInt8(ascii: "x"), count: 10_000))
        let begun = try reader.read(upTo: 10_000).count
        #expect(begun > 0)
        try clients.serve(50)

        var waiting: [KeptConnection] = []
        if isStoppedBefore {
            try process.signal(SIGSTOP)
            try eventually("the balancer to be stopped") { isStopped(balancer) ? true : nil }
            waiting = try (0..<20).map { _ in try KeptConnection(port: front.port) }
            for one in waiting { try one.ask("/") }
        }
        let stopped = monotonicNanoseconds()
        try process.signal(SIGKILL)
        try process.waitForEnd(until: stopped + 30_000_000_000)
        let died = monotonicNanoseconds()

        for one in waiting { #expect(try one.answer().contains("\"service\":\"api\"")) }
        #expect(try idle.rest().isEmpty)
        #expect(try asking.rest().isEmpty)
        #expect(try begun + reader.rest().count <= 10_000)
        #expect(try writer.rest() == Array("more, please".utf8))
        try clients.serve(50)
        let failures = try clients.end()
        #expect(failures.allSatisfy { !$0.isRefusal && $0.began < (isStoppedBefore ? stopped : died) }, "\(failures)")
        // Those that were open at its end; each client has one at a time.
        #expect(failures.count <= clients.count, "\(failures)")
        #expect(try daemon.role("balancer") != balancer)
        #expect(try daemon.pids() == before)
    }

    @Test(
        "A balancer that says what it never should is replaced, and the supervisor goes on",
        .enabled(if: geteuid() == 0, "only root may speak in the balancer's place"),
        arguments: [
            "x", #"{"hello":{"version":3,"listeners":[],"revision":18446744073709551615}}"#,
            #"{"hello":{"version":3}}"#, #"{"hello":{"version":99,"listeners":[],"revision":0}}"#,
        ])
    func balancerTalksNonsense(packet: String) throws {
        let front = try freePort()
        let daemon = try Daemon(Self.manifest(port: front.port))
        let before = try daemon.pids()
        let supervisor = try daemon.role("supervisor")
        let balancer = try daemon.role("balancer")
        // Its link to the supervisor is its descriptor 4.
        let copy = try systemCall("pidfd_getfd") { matrix_descriptor_of(balancer, 4) }
        defer { close(copy) }
        let bytes = Array(packet.utf8)
        #expect(send(copy, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count)
        try eventually("another balancer") {
            let now = try? daemon.role("balancer")
            return now != nil && now != balancer ? true : nil
        }
        for _ in 0..<10 { #expect(try HTTP.get(port: front.port, "/").status == 200) }
        #expect(try daemon.role("supervisor") == supervisor)
        #expect(try daemon.pids() == before)
        #expect(daemon.keeper.output.contains("the balancer is replaced"))
    }

    /// How much longer than promised something may take beside other tests, on a machine that is busy with them. The
    /// promised times themselves are kept, or it is an error, in scripts/bench failures, which scripts/interop runs where
    /// nothing else does.
    private static let patience: (keeper: Double, heartbeat: Double) = (5, 2)
    /// How long services may outlive the keeper, and how long a role may be silent, in seconds.
    private static let promised: (keeper: Double, heartbeat: Double) = (1, 10)

    @Test("SIGKILL of the keeper ends every process of every service at once, grandchildren and deserters included")
    func keeperIsKilled() throws {
        let front = try freePort()
        let daemon = try Daemon(
            """
            { services: {
                api: { command: ["@demo@", "--quiet", "--daemonize-child"], replicas: 2, listen: \(front.port) },
                shell: { command: ["/bin/sh", "-c", "sleep 4711 & sleep 4711 & wait"] },
            } }
            """)
        let marked = try eventually("all processes") {
            let found = ProcessesOf(runtimeDirectory: daemon.directory.file("run"))
            return found.count >= 7 ? found : nil
        }
        #expect(marked.count >= 7)
        let processes = try marked.map { try ProcessDescriptor(pid: $0) }
        let killed = monotonicNanoseconds()
        daemon.keeper.send(SIGKILL)
        let deadline = killed + Int64(Self.promised.keeper * Self.patience.keeper * 1e9)
        for process in processes { try process.waitForEnd(until: deadline) }
        #expect(ProcessesOf(runtimeDirectory: daemon.directory.file("run")).isEmpty)
        daemon.keeper.kill()
        // The port is free again: a new daemon begins as if nothing had been.
        try daemon.startAgain()
        try daemon.keeper.waitForOutput("everything is up")
    }

    @Test("A supd that is started at once when its keeper was killed takes the place of what is left")
    func startedAtOnce() throws {
        let front = try freePort()
        let daemon = try Daemon(Self.manifest(port: front.port))
        for _ in 0..<3 {
            let before = try daemon.pids()
            daemon.keeper.kill()
            try daemon.startAgain()
            try daemon.keeper.waitForOutput("everything is up")
            #expect(try Set(daemon.pids().values).isDisjoint(with: before.values))
            #expect(try HTTP.get(port: front.port, "/").status == 200)
        }
    }

    @Test("The roles are visible by name")
    func names() throws {
        let front = try freePort()
        let daemon = try Daemon(Self.manifest(port: front.port))
        let roles = try daemon.status().daemon.roles
        #expect(Set(roles.keys) == ["keeper", "supervisor", "balancer"])
        for (role, pid) in roles {
            let name = try String(contentsOfFile: "/proc/\(pid)/comm", encoding: .utf8)
            // The kernel keeps 15 bytes.
            #expect(name == "supd: \(role)".prefix(15) + "\n")
        }
    }

    @Test("Descriptors that a parent has left open are closed")
    func inheritedDescriptors() throws {
        let (_, listener) = try testListener()
        let directory = try TemporaryDirectory()
        let supd = try TestChild(
            [
                Daemon.supd, try directory.write("supd.json5", "{ services: { a: { command: 'sleep 1000' } } }"),
                "--runtime-directory", directory.file("run"), "--state-directory", directory.file("state"),
                "--log-directory", directory.file("log"),
            ], descriptors: [listener])
        try eventually("supd to run") {
            let arguments = ["--socket", directory.file("run/control.sock"), "status"]
            return try Program.run(Daemon.supctl, arguments).code == 0 ? true : nil
        }
        let inode = try inode(of: listener)
        guard case .absent = ProcessTable.search(supd.pid, forSockets: [inode]) else {
            throw TestFailure("the keeper has the listener")
        }
    }

    @Test("A supervisor that hangs is replaced within its heartbeat time, and services do not notice")
    func supervisorIsStopped() throws {
        let front = try freePort()
        let daemon = try Daemon(Self.manifest(port: front.port))
        let before = try daemon.pids()
        let supervisor = try daemon.role("supervisor")
        let open = try KeptConnection(port: front.port)
        let served = try open.get("/")
        let process = try ProcessDescriptor(pid: supervisor)
        let stopped = monotonicNanoseconds()
        try process.signal(SIGSTOP)
        defer { try? process.signal(SIGCONT) }
        #expect(try open.get("/") == served)
        #expect(try HTTP.get(port: front.port, "/").status == 200)
        try process.waitForEnd(until: stopped + Int64(Self.promised.heartbeat * Self.patience.heartbeat * 1e9))
        try daemon.waitForAnother("supervisor", than: supervisor)
        #expect(try daemon.pids() == before)
        #expect(try open.get("/") == served)
    }

    @Test("A service that writes without end holds up no restart of another")
    func flood() throws {
        let daemon = try Daemon(
            """
            { services: {
                flood: { command: ['/bin/sh', '-c', 'exec yes $$INSTANCE'], log: { maxSize: '1M', keep: 1 } },
                quiet: { command: ['@demo@', '--quiet'], ready: { http: '/healthz' }, restart: { resetAfter: '10ms' } },
            } }
            """)
        func floodedFile() -> UInt64? {
            var status = stat()
            return stat(daemon.directory.file("log/flood/1.log"), &status) == 0 ? UInt64(status.st_ino) : nil
        }
        for round in 1...10 {
            let before = try daemon.pids()
            let file = floodedFile()
            // By turns an exit that a standing order may follow, and one that the supervisor deals with.
            if round % 2 == 0 {
                kill(try #require(before["quiet/1"]), SIGKILL)
                try eventually("the next process") {
                    let now = try daemon.status("quiet").services.first?.instances.first
                    return now?.state == "running" && now?.pid != before["quiet/1"] ? true : nil
                }
            } else {
                #expect(try daemon.ctl("restart", "quiet").code == 0)
                #expect(try daemon.pids()["quiet/1"] != before["quiet/1"])
            }
            #expect(try daemon.pids()["flood/1"] == before["flood/1"])
            // The flood has gone on, through file after file.
            try eventually("the flood's next file") { floodedFile().flatMap { $0 != file ? true : nil } }
        }
    }

    @Test(
        "A healthy instance that is killed is started again even while the supervisor is stopped, and what a user asks of it then happens",
        arguments: [nil, "stop", "restart"])
    func restartWithoutSupervisor(verb: String?) throws {
        let daemon = try Daemon(
            """
            { services: { a: {
                command: ["/bin/sh", "-c", "echo $$$$ >> pids; exec sleep 1000"],
                restart: { resetAfter: "100ms" },
            } } }
            """)
        let record = daemon.directory.file("pids")
        func started() -> [Int32] {
            ((try? String(contentsOfFile: record, encoding: .utf8)) ?? "").split(separator: "\n").compactMap {
                Int32($0)
            }
        }
        let supervisor = try daemon.role("supervisor")
        var restarted: Int32?
        var asked: Program?
        // Some time after it has become healthy, the keeper has the order to start it again. Until then nobody does while
        // the supervisor cannot; afterwards it does. So try until it has.
        try eventually("a start without the supervisor", within: 60) {
            let pid = try eventually("a process that is healthy") {
                let instance = try daemon.status().services.first?.instances.first
                return (instance?.uptimeSeconds ?? 0) > 1 ? instance?.pid : nil
            }
            kill(supervisor, SIGSTOP)
            defer { kill(supervisor, SIGCONT) }
            let before = started().count
            kill(pid, SIGKILL)
            restarted = try? eventually("a new process", within: 1) {
                started().count > before ? started().last : nil
            }
            // The supervisor has both to read then: this, and what the keeper has done.
            if restarted != nil, let verb {
                asked = try Program(Daemon.supctl, ["--socket", daemon.socket, verb, "a"])
            }
            return restarted
        }
        if let asked {
            #expect(try asked.wait().code == 0)
            let alive = verb == "stop" ? 0 : 1
            try eventually("\(alive) processes") { started().count { kill($0, 0) == 0 } == alive ? true : nil }
            if verb == "restart" { #expect(try daemon.pids()["a/1"] == started().last) }
        } else {
            try eventually("the supervisor knows it") { try daemon.pids()["a/1"] == restarted ? true : nil }
        }
        #expect(try daemon.role("supervisor") == supervisor)
    }

    @Test("SIGTERM stops everything in order; nothing is left", arguments: [SIGTERM, SIGINT])
    func termination(signal: Int32) throws {
        let daemon = try Daemon(
            """
            { services: {
                db: { command: ["/bin/sh", "-c", "trap 'echo db stops; exit 0' TERM; echo armed; while :; do sleep 0.05; done"] },
                api: { command: ["/bin/sh", "-c", "trap 'echo api stops; sleep 0.2; exit 0' TERM; echo armed; while :; do sleep 0.05; done"],
                       dependsOn: ["db"] },
            } }
            """)
        try eventually("both to have their traps") {
            ["db", "api"].allSatisfy { daemon.logLines($0).contains("stdout F armed") } ? true : nil
        }
        daemon.keeper.send(signal)
        let result = try daemon.keeper.wait()
        #expect(result.code == 0)
        let log = result.output
        let api = try #require(log.range(of: "api/1: stopped")), db = try #require(log.range(of: "db/1: stopped"))
        #expect(api.lowerBound < db.lowerBound)
        #expect(daemon.logLines("db").contains("stdout F db stops"))
        #expect(ProcessesOf(runtimeDirectory: daemon.directory.file("run")).isEmpty)
    }

    @Test("A second SIGTERM ends everything at once")
    func secondSignal() throws {
        let daemon = try Daemon(
            """
            { services: { deaf: { command: ["/bin/sh", "-c", "trap '' TERM; while :; do sleep 1; done"],
                                  stop: { timeout: "1h" } } } }
            """)
        daemon.keeper.send(SIGTERM)
        try daemon.keeper.waitForOutput("stopping")
        daemon.keeper.send(SIGTERM)
        try daemon.keeper.wait(within: 10)
        #expect(ProcessesOf(runtimeDirectory: daemon.directory.file("run")).isEmpty)
    }

    @Test("No log line is lost or doubled when the supervisor is killed again and again")
    func logsSurvive() throws {
        let daemon = try Daemon(
            """
            { services: { chatty: {
                command: ["/bin/sh", "-c", "i=0; while [ $$i -lt 30000 ]; do i=$$((i+1)); echo line $$i; done; sleep 1000"],
                log: { maxSize: "100M" } } } }
            """)
        for _ in 0..<5 {
            let supervisor = try daemon.role("supervisor")
            kill(supervisor, SIGKILL)
            try daemon.waitForAnother("supervisor", than: supervisor)
        }
        let lines = try eventually("the last line") {
            let lines = daemon.logLines("chatty")
            return lines.last == "stdout F line 30000" ? lines : nil
        }
        #expect(lines == (1...30000).map { "stdout F line \($0)" })
    }
}
