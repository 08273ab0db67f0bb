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
    /// A supd of a directory's own, installed as a package would: by a rename.
    private static func install(in directory: TemporaryDirectory) throws -> String {
        let path = directory.file("supd")
        try put(copyOf: Daemon.supd, at: path)
        return path
    }

    /// Writes a program by another process: what is open for writing here, a child of another test may have as well, and
    /// then it cannot be executed (ETXTBSY).
    private static func put(copyOf source: String, at path: String, mode: String = "755") throws {
        let script = "cp \"$1\" \"$2.new\" && chmod \"$3\" \"$2.new\" && mv \"$2.new\" \"$2\""
        let result = try Program.run("/bin/sh", ["-c", script, "sh", source, path, mode])
        guard result.code == 0 else { throw TestFailure(result.output) }
    }

    private static func put(_ contents: Data, at path: String, mode: String = "755") throws {
        try contents.write(to: URL(fileURLWithPath: path + ".contents"))
        try put(copyOf: path + ".contents", at: path, mode: mode)
    }

    private static func put(_ script: String, at path: String) throws { try put(Data(script.utf8), at: path) }

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
        let supd = try Self.install(in: directory)
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
        _ = try Self.install(in: directory)
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
        let supd = try Self.install(in: directory)
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
            _ = try Self.install(in: directory)
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

    /// What cannot take over, and what is said of it.
    private static let bad: [(name: String, words: String)] = [
        ("missing", "cannot open it: No such file or directory"),
        ("directory", "cannot open it: Is a directory"),
        ("not executable", "cannot execute it: Permission denied"),
        ("of another architecture", "cannot execute it: Exec format error"),
        ("half", "it"),
        ("crashing", "was ended by signal 11"),
        ("ready", "it is no supd that can take over: it exited with code 0: ready"),
        ("true", "it is no supd that can take over: it exited with code 0"),
        ("failing", "it exited with code 3: some reason"),
    ]

    @Test("A program that fails its trial changes nothing", arguments: bad.map(\.name))
    func failedTrial(kind: String) throws {
        let words = try #require(Self.bad.first { $0.name == kind }?.words)
        let front = try freePort()
        let directory = try TemporaryDirectory()
        let daemon = try Daemon(
            "{ services: { api: { command: ['@demo@', '--quiet'], listen: \(front.port) } } }", in: directory)
        let (before, roles) = (try daemon.pids(), try daemon.status().daemon.roles)
        let kept = try KeptConnection(port: front.port)
        let served = try kept.get("/")
        let path = directory.file("program")
        var program = try #require(FileManager.default.contents(atPath: Daemon.supd))
        func script(_ text: String) throws { try Self.put("#!/bin/sh\n\(text)\n", at: path) }
        switch kind {
        case "missing": break
        case "directory": mkdir(path, 0o755)
        case "not executable": try Self.put(program, at: path, mode: "644")
        case "of another architecture":
            // e_machine of the ELF header: a SPARC.
            program[18] = 2
            program[19] = 0
            try Self.put(program, at: path)
        case "half": try Self.put(program.prefix(100_000), at: path)
        case "crashing": try script("kill -SEGV $$")
        case "ready": try script("echo ready; echo ready >&3")
        case "true": try script("exec true")
        default: try script("echo some reason >&2; exit 3")
        }
        for arguments in [["upgrade", path], ["upgrade", "--check", path]] {
            let result = try Program.run(Daemon.supctl, ["--socket", daemon.socket] + arguments)
            #expect(result.code == 1)
            #expect(result.output.contains("supd stays as it is: \(path): "), "\(result.output)")
            #expect(result.output.contains(words), "\(result.output)")
        }
        #expect(try daemon.pids() == before)
        #expect(try daemon.status().daemon.roles == roles)
        #expect(try kept.get("/") == served)
        // And nothing is in the way of one that can.
        #expect(try daemon.ctl("upgrade").code == 0)
        #expect(try daemon.pids() == before)
        #expect(try kept.get("/") == served)
    }

    @Test("A trial that hangs is ended; meanwhile there is no second one, and a crash of the supervisor is as always")
    func hangingTrial() throws {
        let directory = try TemporaryDirectory()
        let daemon = try Daemon("{ services: { a: { command: 'sleep 1000' } } }", in: directory)
        let before = try daemon.pids()
        let path = directory.file("program")
        try Self.put("#!/bin/sh\necho $$ > \(path).pid\nexec sleep 4713\n", at: path)
        let asking = try Program(Daemon.supctl, ["--socket", daemon.socket, "upgrade", path])
        let pid: Int32 = try eventually("the trial") {
            (try? String(contentsOfFile: path + ".pid", encoding: .utf8)).flatMap {
                Int32($0.trimmingCharacters(in: .whitespacesAndNewlines))
            }
        }
        let process = try ProcessDescriptor(pid: pid)
        #expect(try daemon.ctl("upgrade").output.contains("another upgrade is under way"))
        let supervisor = try daemon.role("supervisor")
        kill(supervisor, SIGKILL)
        try daemon.waitForAnother("supervisor", than: supervisor)
        #expect(try daemon.ctl("upgrade").output.contains("another upgrade is under way"))
        try process.waitForEnd(until: monotonicNanoseconds() + 40_000_000_000)
        let result = try asking.wait()
        #expect(result.code == 1)
        #expect(result.output.contains("it has not said within 10 s whether it can take over"), "\(result.output)")
        #expect(try daemon.pids() == before)
        try eventually("an upgrade") { try daemon.ctl("upgrade").code == 0 ? true : nil }
        #expect(try daemon.pids() == before)
    }

    @Test("A program that passes its trial, but cannot be executed in the end, changes nothing but the supervisor")
    func wrapper() throws {
        let front = try freePort()
        let directory = try TemporaryDirectory()
        let daemon = try Daemon(
            "{ services: { api: { command: ['@demo@', '--quiet'], listen: \(front.port) } } }", in: directory)
        let (before, balancer) = (try daemon.pids(), try daemon.role("balancer"))
        let path = directory.file("program")
        // The kernel refuses a script that is executed by a descriptor which is close-on-exec.
        try Self.put("#!/bin/sh\nexec \(Daemon.supd) \"$@\"\n", at: path)
        #expect(try daemon.ctl("upgrade", "--check", path).code == 0)
        let result = try daemon.ctl("upgrade", path)
        #expect(result.code == 1)
        #expect(result.output.contains("supd stays as it was: cannot execute it"), "\(result.output)")
        #expect(try daemon.pids() == before)
        #expect(try daemon.role("balancer") == balancer)
        #expect(try HTTP.get(port: front.port, "/").status == 200)
        #expect(try daemon.ctl("upgrade").code == 0)
        #expect(try daemon.pids() == before)
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

    /// What a journald has got that takes a line now and then, until it hurries.
    private final class SlowJournal: Sendable {
        private let numbers = Lock<[String]>([])
        private let isOver = Lock(false)
        private let isHurrying = Lock(false)

        init(at path: String) throws {
            let socket = try NoticeSocket(path: path, owner: nil, isOpen: false)
            startThread { [self] in
                while !isOver.withLock({ $0 }) {
                    if !isHurrying.withLock({ $0 }) { pause(for: .milliseconds(200)) }
                    guard let datagram = socket.peek(limit: 1 << 16) else {
                        pause(for: .milliseconds(1))
                        continue
                    }
                    let text = String(decoding: datagram.bytes ?? [], as: UTF8.self)
                    let number = text.firstRange(of: "MESSAGE=").map { text[$0.upperBound...].prefix { $0 != " " } }
                    numbers.withLock { $0.append(String(number ?? "?")) }
                    socket.drop()
                }
            }
        }

        var received: [String] { numbers.withLock { $0 } }
        func hurry() { isHurrying.withLock { $0 = true } }
        func end() { isOver.withLock { $0 = true } }
    }

    @Test("Lines that wait for a slow journald are sent before the supervisor leaves")
    func journal() throws {
        let directory = try TemporaryDirectory()
        let journald = try SlowJournal(at: directory.file("journal"))
        defer { journald.end() }
        let supd = try Self.install(in: directory)
        // Long ones: a few of them fill the socket.
        let lines = 120
        let loop = "while [ $$i -lt \(lines) ]; do printf '%d %012000d\\\\n' $$i 0; i=$$((i+1)); done"
        let daemon = try Daemon(
            """
            { services: { x: { command: ["/bin/sh", "-c",
                "while [ ! -e go ]; do sleep 0.05; done; i=0; \(loop); exec sleep 1000"],
                log: { journal: true } } } }
            """, in: directory, environment: ["PATH": "/usr/bin:/bin", "SUPD_TEST_JOURNAL": directory.file("journal")],
            supd: supd)
        _ = try directory.write("go", "")
        try eventually("a first line") { journald.received.isEmpty ? nil : true }
        let upgrade = try Program(Daemon.supctl, ["--socket", daemon.socket, "upgrade", supd])
        // The supervisor is asked to leave then, and has most of them still.
        try daemon.keeper.waitForOutput("takes over: it is supd")
        journald.hurry()
        let result = try upgrade.wait()
        #expect(result.code == 0, "\(result.output)\n\(daemon.keeper.output)")
        let wanted = (0..<lines).map(String.init)
        do {
            try eventually("all lines") { journald.received.count >= lines ? true : nil }
        } catch {
            throw TestFailure("\(error): \(journald.received.count) of \(lines)\n\(daemon.keeper.output)")
        }
        #expect(journald.received == wanted)
        #expect(daemon.logLines("x").count == lines)
    }

    @Test("Connections that outlive an upgrade have their lines, and those that outlive their drain time are cut")
    func sessionLines() throws {
        let (front, short) = (try freePort(), try freePort())
        let daemon = try Daemon(
            """
            { services: {
                api: { command: ['@demo@', '--quiet'], listen: \(front.port), balance: { log: true } },
                short: { command: ['@demo@', '--quiet'], listen: \(short.port), balance: { drainTimeout: '200ms' } },
            } }
            """)
        var kept: KeptConnection? = try KeptConnection(port: front.port)
        _ = try kept?.get("/")
        let cut = try KeptConnection(port: short.port)
        _ = try cut.get("/")
        #expect(try daemon.ctl("upgrade").code == 0)
        #expect(try cut.rest().isEmpty)
        #expect(try HTTP.get(port: short.port, "/").status == 200)
        #expect(try HTTP.get(port: front.port, "/").status == 200)
        _ = try kept?.get("/")
        kept = nil
        // Of the two balancers.
        try eventually("both lines") {
            let log = daemon.directory.file("log/api/balancer.log")
            let lines = try? String(contentsOfFile: log, encoding: .utf8).split(separator: "\n")
            return lines?.count == 2 ? true : nil
        }
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

    @Test("supd can be stopped while a program is tried, and then stops everything in order")
    func stoppedMeanwhile() throws {
        let directory = try TemporaryDirectory()
        let daemon = try Daemon("{ services: { a: { command: 'sleep 1000' } } }", in: directory)
        let path = directory.file("program")
        try Self.put("#!/bin/sh\ntouch \(path).begun\nexec sleep 4714\n", at: path)
        let asking = try Program(Daemon.supctl, ["--socket", daemon.socket, "upgrade", path])
        try eventually("the trial") { FileManager.default.fileExists(atPath: path + ".begun") ? true : nil }
        daemon.keeper.send(SIGTERM)
        #expect(try daemon.keeper.wait().code == 0)
        #expect(try asking.wait().code != 0)
        #expect(daemon.keeper.output.contains("everything is stopped"))
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
