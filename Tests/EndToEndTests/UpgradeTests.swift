import ControlAPI
import Foundation
import Glibc
import Platform
import TestSupport
import Testing

/// `supctl upgrade` with real programs. The new version is a copy of the same program: another file, which is what a
/// package leaves behind; what a version that differs in what it reads may do is in `KeeperTests`.
@Suite("Upgrading supd itself", .timeLimit(.minutes(15)))
struct UpgradeTests {
    private static func inode(_ path: String) -> UInt64 {
        var status = stat()
        return stat(path, &status) == 0 ? UInt64(status.st_ino) : 0
    }

    private static func children(of pid: Int32, named name: String) -> [Int32] {
        (ProcessTable.children(of: pid) ?? []).compactMap(ProcessTable.entry)
            .filter { $0.name == name && !$0.hasEnded }.map(\.pid)
    }

    @Test("What services say of themselves is heard by the new version, and what they said before is not forgotten")
    func notices() throws {
        let (front, late) = (try freePort(), try freePort())
        let directory = try TemporaryDirectory()
        let supd = try Installed.supd(in: directory)
        func waiting(_ command: String) -> String { "while [ ! -e go ]; do sleep 0.05; done; \(command)" }
        let daemon = try Daemon(
            """
            { defaults: { ready: { timeout: "60s" } }, services: {
                before: { command: ["@demo@", "--quiet", "--notify", "--status", "early", "--listen-fd"], watchdog: "2s",
                          ready: { notify: "systemd" }, listen: { address: "127.0.0.1:\(front.port)", pass: true } },
                word: { command: ["/bin/sh", "-c", "\(waiting("exec @demo@ --quiet --notify --status late --listen-fd"))"],
                        ready: { notify: "systemd" }, listen: { address: "127.0.0.1:\(late.port)", pass: true } },
                newline: { command: ["/bin/sh", "-c", "\(waiting("echo >&3; exec sleep 1000 3>&-"))"],
                           ready: { notify: { fd: 3 } } },
                line: { command: ["/bin/sh", "-c", "\(waiting("echo up; exec sleep 1000"))"], ready: { log: "up" } },
            } }
            """, in: directory, supd: supd, waitUntilUp: false)
        try daemon.waitUntilAnswering()
        func ready() throws -> [String] { try daemon.status().services.filter { $0.ready == 1 }.map(\.name) }
        try eventually("the first") { try ready() == ["before"] ? true : nil }
        try eventually("all processes") { try daemon.pids().count == 4 ? true : nil }
        let pids = try daemon.pids()
        _ = try Installed.supd(in: directory)
        let result = try daemon.ctl("upgrade")
        #expect(result.code == 0, "\(result.output)\n\(daemon.keeper.output)")
        #expect(try ready() == ["before"])
        _ = try directory.write("go", "")
        try eventually("all to be ready") { try ready() == ["before", "word", "newline", "line"] ? true : nil }
        #expect(try daemon.pids() == pids, "\(daemon.keeper.output)")
        let texts = try daemon.status().services.flatMap(\.instances).map(\.statusText)
        #expect(texts == ["early", "late", nil, nil])
        // The watchdog of the first has been fed on.
        #expect(!daemon.keeper.output.contains("watchdog"))
        #expect(try HTTP.get(port: front.port, "/").status == 200)
    }

    @Test(
        "Services keep their processes, no client of any kind notices, no log line is lost, and the keeper is the same process"
    )
    func underLoad() throws {
        let front = try freePort()
        let directory = try TemporaryDirectory()
        let supd = try Installed.supd(in: directory)
        let daemon = try Daemon(
            """
            { services: {
                api: { command: ["@demo@", "--quiet"], replicas: 3, listen: \(front.port), ready: { http: "/healthz" } },
                writer: { command: ["/bin/sh", "-c", "i=0; while :; do i=$$((i+1)); echo line $$i; sleep 0.001; done"] },
                deserter: { command: ["/bin/sh", "-c", "setsid sleep 4712 & echo $$! > deserter; wait"] },
            } }
            """, in: directory, supd: supd)
        let before = try daemon.pids()
        // As a full disk would leave it: its own lock says nothing of who holds it.
        #expect(truncate(directory.file("state/state.lock"), 0) == 0)
        let clients = SteadyClients(3, port: front.port)
        defer { clients.stop() }
        var kept: KeptConnection? = try KeptConnection(port: front.port)
        let served = try kept?.get("/")
        try clients.serve(50)
        var balancers: [Int32] = [try daemon.role("balancer")]
        for round in 1...3 {
            let (oldSupervisor, oldBalancer) = (try daemon.role("supervisor"), try daemon.role("balancer"))
            _ = try Installed.supd(in: directory)
            let asking = try KeptConnection(port: front.port)
            try asking.ask("/work?ms=300")
            let result = try daemon.ctl("upgrade")
            #expect(result.code == 0, "\(result.output)\n\(daemon.keeper.output)")
            #expect(result.output.contains("no service was stopped"))
            #expect(!daemon.keeper.ended())
            #expect(Self.inode("/proc/\(daemon.keeper.pid)/exe") == Self.inode(supd))
            for role in ["supervisor", "balancer"] {
                #expect(Self.inode("/proc/\(try daemon.role(role))/exe") == Self.inode(supd), "\(role)")
            }
            #expect(try daemon.role("supervisor") != oldSupervisor)
            #expect(try daemon.role("balancer") != oldBalancer)
            balancers.append(try daemon.role("balancer"))
            #expect(try daemon.pids() == before)
            // What was open goes on, be it silent or in the middle of an answer.
            #expect(try kept?.get("/") == served)
            #expect(try asking.answer().contains("\"service\":\"api\""))
            try clients.serve(50)
            #expect(try HTTP.get(port: front.port, "/").status == 200)
            let version = try JSONDecoder().decode(
                VersionReport.self,
                from: Data(ControlClient(socketPath: daemon.socket).ask(.version)))
            #expect(version.upgrades == round)
            #expect(version.program == supd)
            #expect(version.upgradeFailure == nil)
        }
        #expect(try clients.end().isEmpty)
        #expect(!daemon.keeper.output.contains("another supd keeps its history"), "\(daemon.keeper.output)")
        // The locks were never given up.
        let other = try Program.run(
            Daemon.supd, [directory.file("supd.json5")] + Daemon.directoryOptions(in: directory))
        #expect(other.code == 2)
        #expect(other.output.contains("runs already in"))
        let elsewhere = try TemporaryDirectory()
        let beside = try Program.run(
            Daemon.supd,
            [
                directory.file("supd.json5"), "--runtime-directory", elsewhere.file("run"), "--state-directory",
                directory.file("state"), "--log-directory", elsewhere.file("log"),
            ])
        #expect(beside.code == 2 && beside.output.contains("keeps its history and events in"), "\(beside.output)")

        // Its children are still its own: an end is seen at once, and so is who has left the group of the dead one.
        let deserter = try #require(
            Int32(
                try String(contentsOfFile: directory.file("deserter"), encoding: .utf8).trimmingCharacters(
                    in: .whitespacesAndNewlines)))
        let leader = try #require(before["deserter/1"])
        let desertedProcess = try ProcessDescriptor(pid: deserter)
        kill(leader, SIGKILL)
        try desertedProcess.waitForEnd(until: monotonicNanoseconds() + 30_000_000_000)
        try eventually("another process of the service") {
            let now = try daemon.pids()["deserter/1"]
            return now != nil && now != leader ? true : nil
        }

        // The first balancer has ended when its last connection has, and those in between at once.
        for balancer in balancers.dropLast().dropFirst() { try waitUntilGone(balancer) }
        #expect(kill(balancers[0], 0) == 0)
        kept = nil
        try waitUntilGone(balancers[0])
        try daemon.keeper.waitForOutput("the balancer before (pid \(balancers[0])) exited with code 0")

        #expect(try daemon.ctl("stop", "writer").code == 0)
        let lines = try wholeLog(directory, "writer")
        #expect(lines.count > 100)
        for (index, line) in lines.enumerated() where line != "stdout F line \(index + 1)" {
            Issue.record("line \(index + 1) is \(line)")
            break
        }
    }

    @Test("The keeper's end still takes every service along, and the runtime directory is free for the next one")
    func keeperIsKilledAfterwards() throws {
        let front = try freePort()
        let daemon = try Daemon(
            "{ services: { api: { command: ['@demo@', '--quiet'], replicas: 2, listen: \(front.port) } } }")
        #expect(try daemon.ctl("upgrade").code == 0)
        let processes = try daemon.pids().values.map { try ProcessDescriptor(pid: $0) }
        daemon.keeper.send(SIGKILL)
        for process in processes { try process.waitForEnd(until: monotonicNanoseconds() + 10_000_000_000) }
        daemon.keeper.kill()
        try daemon.startAgain()
        try daemon.keeper.waitForOutput("everything is up")
        #expect(try HTTP.get(port: front.port, "/").status == 200)
    }

    @Test("What a user asked for before is so afterwards: what was stopped stays stopped, and what was drained drained")
    func goalsAreKept() throws {
        let front = try freePort()
        let daemon = try Daemon(
            """
            { services: {
                api: { command: ['@demo@', '--quiet'], replicas: 2, listen: \(front.port) },
                idle: { command: 'sleep 1000' },
            } }
            """)
        #expect(try daemon.ctl("stop", "idle").code == 0)
        #expect(try daemon.ctl("drain", "api/1").code == 0)
        #expect(try daemon.ctl("upgrade").code == 0)
        let services = try daemon.status().services
        #expect(services.map(\.state) == ["running", "down"])
        let bodies = try (0..<6).map { _ in try HTTP.get(port: front.port, "/").body }
        #expect(Set(bodies.map { $0.contains("\"instance\":1") }) == [false], "\(bodies)")
    }

    @Test("systemd is spoken to as before: the watchdog is fed by the same process, and services see nothing of it")
    func notifications() throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("notify")
        let listener = Descriptor(
            owning: try systemCall("socket") {
                socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
            })
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        try withUnsafePointer(to: &address) { pointer in
            try pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                _ = try systemCall("bind") { bind(listener.raw, generic, socklen_t(MemoryLayout<sockaddr_un>.size)) }
            }
        }
        func wait(for text: String) throws {
            try eventually("\(text) for systemd") {
                var bytes = [UInt8](repeating: 0, count: 4096)
                let count = recv(listener.raw, &bytes, bytes.count, 0)
                return count > 0 && String(decoding: bytes[..<count], as: UTF8.self).contains(text) ? true : nil
            }
        }
        var environment = ProcessInfo.processInfo.environment
        environment["NOTIFY_SOCKET"] = path
        environment["WATCHDOG_USEC"] = "500000"
        let daemon = try Daemon(
            "{ services: { a: { command: 'sleep 1000' } } }", in: directory, environment: environment)
        try wait(for: "READY=1")
        #expect(try daemon.ctl("upgrade").code == 0)
        // Nothing of before is left to be read.
        var bytes = [UInt8](repeating: 0, count: 4096)
        while recv(listener.raw, &bytes, bytes.count, 0) > 0 {}
        for _ in 0..<3 { try wait(for: "WATCHDOG=1") }
        #expect(try daemon.ctl("restart", "a").code == 0)
        let pid = try #require(try daemon.pids()["a/1"])
        let given = String(
            decoding: FileManager.default.contents(atPath: "/proc/\(pid)/environ") ?? Data(), as: UTF8.self)
        #expect(!given.contains("NOTIFY_SOCKET") && !given.contains("SUPD_KEEPER"))
    }

    @Test(
        "What supd has changed of its own limits services do not see afterwards either, and the roles have their share",
        .enabled(if: Launcher.canChangeUser))
    func limits() throws {
        let directory = try TemporaryDirectory()
        chown(directory.path, 61_241, 61_241)
        let daemon = try Daemon(
            "{ services: { a: { command: ['/bin/sleep', '1000'] } } }", in: directory,
            under: .user(61_241, processes: 100))
        let before = try ResourceLimits.inForce(of: try #require(try daemon.pids()["a/1"]))
        #expect(before["nproc"] == LimitPair(soft: 100, hard: 100))
        let keeper = try ResourceLimits.inForce(of: daemon.keeper.pid)
        for _ in 0..<3 {
            #expect(try daemon.ctl("upgrade").code == 0)
            #expect(try daemon.ctl("restart", "a").code == 0)
            #expect(try ResourceLimits.inForce(of: try #require(try daemon.pids()["a/1"])) == before)
            #expect(try ResourceLimits.inForce(of: daemon.keeper.pid) == keeper)
        }
    }

    @Test("A service that has said that it is ready is so afterwards, and is heard further on")
    func readiness() throws {
        let daemon = try Daemon(
            """
            { services: { x: { command: ['@demo@', '--quiet', '--notify', '--status', 'serving'],
                               ready: { notify: 'systemd' } } } }
            """)
        let before = try daemon.pids()
        for _ in 0..<2 {
            #expect(try daemon.ctl("upgrade").code == 0)
            let instance = try #require(try daemon.status().services.first?.instances.first)
            #expect(instance.ready)
            #expect(instance.statusText == "serving")
        }
        #expect(try daemon.pids() == before)
        #expect(try daemon.ctl("restart", "x").code == 0)
        #expect(try daemon.status().services.first?.instances.first?.ready == true)
    }

    @Test("Two users at once get one upgrade, or two in turn, and many in a row leave nothing behind")
    func often() throws {
        let front = try freePort()
        let daemon = try Daemon(
            "{ services: { api: { command: ['@demo@', '--quiet'], replicas: 2, listen: \(front.port) } } }")
        let before = try daemon.pids()
        func open() -> Int {
            (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(daemon.keeper.pid)/fd"))?.count ?? 0
        }
        #expect(try daemon.ctl("upgrade").code == 0)
        try eventually("one balancer") {
            Self.children(of: daemon.keeper.pid, named: "supd: balancer").count == 1 ? true : nil
        }
        let descriptors = open()
        for _ in 0..<8 {
            let both = try (0..<2).map { _ in try Program(Daemon.supctl, ["--socket", daemon.socket, "upgrade"]) }
            let results = try both.map { try $0.wait() }
            #expect(results.contains { $0.code == 0 }, "\(results)")
        }
        #expect(try daemon.pids() == before)
        #expect(try HTTP.get(port: front.port, "/").status == 200)
        try eventually("one balancer") {
            Self.children(of: daemon.keeper.pid, named: "supd: balancer").count == 1 ? true : nil
        }
        try eventually("what was open before") { open() <= descriptors ? true : nil }
        #expect(!daemon.keeper.output.contains("it is killed"))
    }

    /// All lines of an instance's log in order, without time stamps, over all files of its rotation.
    private func wholeLog(_ directory: TemporaryDirectory, _ service: String) throws -> [String] {
        try String(contentsOfFile: directory.file("log/\(service)/1.log"), encoding: .utf8).split(separator: "\n").map {
            $0.split(separator: " ", maxSplits: 1).dropFirst().joined()
        }
    }

    private func waitUntilGone(_ pid: Int32) throws {
        try eventually("end of process \(pid)") {
            ProcessTable.entry(of: pid).map(\.hasEnded) ?? true ? true : nil
        }
    }
}
