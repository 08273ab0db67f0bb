import ControlAPI
import Foundation
import Glibc
import Platform
import TestSupport
import Testing

/// What a process finds when it starts, and what is said when it cannot.
@Suite("Spawning", .timeLimit(.minutes(15)))
struct SpawningTests {
    @Test("A process finds clean descriptors, signals, a session of its own, and its environment")
    func cleanStart() throws {
        let daemon = try Daemon(
            """
            { services: {
                probe: { command: ["@demo@", "--task", "--print-descriptors", "--print-environment"], kind: "task",
                         environment: { GREETING: "hello ${SERVICE}/${INSTANCE} $$5" } },
                api: { command: ["@demo@"], port: 29871 },
                plain: { command: ["/bin/sleep", "1000"] },
            } }
            """)
        let lines = try eventually("the lines of the task") {
            let lines = daemon.logLines("probe").joined(separator: "\n")
            return ["GREETING=", "API_PORT=", "SERVICE="].allSatisfy(lines.contains) ? lines : nil
        }
        #expect(lines.contains("GREETING=hello probe/1 $5"))
        #expect(lines.contains("API_ADDRESS=127.0.0.1:29871"))
        #expect(lines.contains("API_PORT=29871"))
        #expect(lines.contains("SERVICE=probe"))
        // A program that changes nothing of what it was given.
        let pid = try #require(daemon.pids()["plain/1"])
        let status = try String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)
        for mask in ["SigBlk", "SigIgn"] {
            #expect(status.contains("\(mask):\t0000000000000000"), "\(mask) is clean")
        }
        // While it is being loaded it has its libraries open.
        #expect(try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(pid)/fd/0") == "/dev/null")
        try eventually("nothing open but 0, 1 and 2") {
            let open = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/fd")
            return Set(open) == ["0", "1", "2"] ? true : nil
        }
        let entry = try #require(ProcessTable.entry(of: pid))
        #expect(entry.group == pid && entry.session == pid)
    }

    @Test("What systemd says to supd alone reaches no service, not even one that asks for it by name")
    func systemdsWords() throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("notify.sock")
        let socket = try datagramSocket(at: path)
        let words = [
            "NOTIFY_SOCKET": path, "WATCHDOG_USEC": "60000000", "LISTEN_FDS": "1", "LISTEN_PID": "1",
            "LISTEN_FDNAMES": "front", "JOURNAL_STREAM": "1:2", "INVOCATION_ID": "0123",
        ]
        let names = words.keys.sorted()
        let environment = ProcessInfo.processInfo.environment.merging(words) { $1 }
            .merging(["GREETING": "hello"]) { $1 }
        let front = try freePort()
        let list = (names + ["GREETING"]).map { "'\($0)'" }.joined(separator: ", ")
        let daemon = try Daemon(
            """
            { services: { plain: { command: ['@demo@', '--quiet'], listen: \(front.port) },
                          greedy: { command: ['/bin/sleep', '1000'], inheritEnvironment: [\(list)] } } }
            """, in: directory, environment: environment)
        func variables(_ pid: Int32) throws -> [String: String] {
            let data = try #require(FileManager.default.contents(atPath: "/proc/\(pid)/environ"))
            let entries = data.split(separator: 0).map {
                String(decoding: $0, as: UTF8.self).split(separator: "=", maxSplits: 1).map(String.init)
            }
            return Dictionary(entries.map { ($0[0], $0.count > 1 ? $0[1] : "") }) { $1 }
        }
        // It was told, and it has listened.
        let told = try variables(daemon.keeper.pid)
        for (name, value) in words { #expect(told[name] == value, "\(name)") }
        var buffer = [UInt8](repeating: 0, count: 4096)
        try eventually("READY=1") {
            let count = recv(socket.raw, &buffer, buffer.count, Int32(MSG_DONTWAIT))
            return count > 0 && String(decoding: buffer[..<count], as: UTF8.self).contains("READY=1") ? true : nil
        }
        let pids = try daemon.pids()
        for name in ["plain/1", "greedy/1"] {
            let variables = try variables(try #require(pids[name]))
            #expect(Set(names).isDisjoint(with: variables.keys), "\(name): \(variables)")
            #expect(variables["GREETING"] == (name == "greedy/1" ? "hello" : nil))
        }
        // Nor the roles, which would be taken for whom systemd speaks to.
        for role in ["supervisor", "balancer"] {
            let variables = try variables(try daemon.role(role))
            let own = Set(["NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID"])
            #expect(own.isDisjoint(with: variables.keys), "\(role): \(variables)")
        }
    }

    /// Where systemd would listen for sd_notify(3).
    private func datagramSocket(at path: String) throws -> Descriptor {
        let type = Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let socket = Descriptor(owning: try systemCall("socket") { Glibc.socket(AF_UNIX, type, 0) })
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        try withUnsafePointer(to: &address) { pointer in
            _ = try pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                try systemCall("bind", path) { bind(socket.raw, generic, socklen_t(MemoryLayout<sockaddr_un>.size)) }
            }
        }
        return socket
    }

    /// A service that cannot start, and what must be said of it.
    struct Failure: CustomTestStringConvertible, Sendable {
        var service: String
        /// `@` in it is the manifest's folder.
        var words: String
        var testDescription: String { words }
    }

    @Test(
        "A failed step is named with its reason",
        arguments: [
            Failure(
                service: "command: ['/nonexistent/x']", words: "cannot run /nonexistent/x: No such file or directory"),
            Failure(
                service: "command: ['no-such-program-here']", words: "cannot find 'no-such-program-here' in PATH ("),
            Failure(service: "command: ['/nonexistent']", words: "cannot run /nonexistent: No such file or directory"),
            Failure(service: "command: ['./none']", words: "cannot run @/none: No such file or directory"),
            Failure(
                service: "command: ['./closed']",
                words: "cannot run @/closed: Permission denied; it is not executable; use chmod +x"),
            Failure(
                service: "command: ['/bin/sleep', '1'], directory: '/srv/nonexistent'",
                words: "cannot change directory to /srv/nonexistent: No such file or directory"),
            Failure(
                service: "command: ['/bin/sleep', '1'], environmentFiles: ['/nonexistent/env']",
                words: "/nonexistent/env"),
            Failure(
                service: "command: ['./script-without-interpreter']",
                words: "cannot run @/script-without-interpreter: its interpreter /nonexistent/interpreter (named in "
                    + "its first line) does not exist"),
            Failure(
                service: "command: ['./nameless']",
                words: "cannot run @/nameless: Exec format error; its first line #! names no interpreter"),
            Failure(
                service: "command: ['./text']",
                words: "cannot run @/text: Exec format error; it is neither a program nor a script that begins with #!"),
            Failure(
                service: "command: ['./empty']", words: "cannot run @/empty: Exec format error; the file is empty"),
            Failure(
                service: "command: ['./other-machine']",
                words: "cannot run @/other-machine: Exec format error; it was built for MIPS, and this machine is "),
        ])
    func failures(_ failure: Failure) throws { try expect(failure) }

    @Test("A user whom nobody knows is named", .enabled(if: geteuid() == 0, "only root may name a user"))
    func unknownUser() throws {
        try expect(Failure(service: "command: ['/bin/sleep', '1'], user: 'nosuchuser'", words: "nosuchuser"))
    }

    private func expect(_ failure: Failure) throws {
        let directory = try TemporaryDirectory()
        for (name, text) in [
            ("script-without-interpreter", "#!/nonexistent/interpreter\n"), ("text", "script-less\n"),
            ("nameless", "#!\n"), ("empty", ""),
        ] {
            _ = try directory.writeProgram(name, text)
        }
        _ = try directory.write("closed", "#!/bin/sh\n")
        // An ELF header of a machine that nobody has.
        var header = [UInt8](repeating: 0, count: 64)
        header.replaceSubrange(0..<7, with: [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1])
        header[16] = 2
        header[18] = 0x08
        _ = try directory.writeProgram("other-machine", header)
        let daemon = try Daemon(
            "{ services: { x: { \(failure.service) }, good: { command: ['/bin/sleep', '1000'] } } }", in: directory,
            waitUntilUp: false)
        let reason = try eventually("a failed start in the status") {
            try? daemon.status("x").services.first?.instances.first?.lastExit?.reason
        }
        #expect(reason.contains(failure.words.replacingOccurrences(of: "@", with: directory.path)), "\(reason)")
        // What cannot start disturbs nobody else.
        try eventually("the good one") {
            try? daemon.status("good").services.first?.state == "running" ? true : nil
        }
        let result = try daemon.ctl("status")
        #expect(result.code == 3)
    }

    /// A cap, and what must come of it when it is provoked.
    struct Cap: CustomTestStringConvertible, Sendable {
        var resource: String
        var limits: String
        /// What the status says of the exit; nil where the process survives and reports the refusal itself.
        var reason: String?
        var needsRoot = false
        /// How far it comes, and the errno that refuses more.
        var refused: ClosedRange<Int>?
        var code: Int32 = 0
        var testDescription: String { resource }
    }

    @Test(
        "Each cap is enforced",
        arguments: [
            Cap(resource: "nofile", limits: "nofile: 64", refused: 32...64, code: EMFILE),
            Cap(resource: "as", limits: "as: '4G'", refused: 1 << 30...4 << 30, code: ENOMEM),
            Cap(resource: "data", limits: "data: '512M'", refused: 256 << 20...512 << 20, code: ENOMEM),
            Cap(resource: "stack", limits: "stack: '1M'", reason: "SIGSEGV"),
            Cap(resource: "cpu", limits: "cpu: 1", reason: "SIGXCPU"),
            Cap(resource: "fsize", limits: "fsize: '1M'", reason: "SIGXFSZ"),
            Cap(resource: "core", limits: "core: 0", reason: "SIGABRT"),
        ])
    func caps(_ cap: Cap) throws { try provoke(cap) }

    @Test(
        "Each cap that root is exempt from is enforced on another user",
        .enabled(if: geteuid() == 0, "only root may start what runs as another user"),
        arguments: [
            Cap(resource: "nproc", limits: "nproc: 20", needsRoot: true, refused: 1...20, code: EAGAIN),
            Cap(resource: "memlock", limits: "memlock: '64K'", needsRoot: true, refused: 0...65536, code: ENOMEM),
        ])
    func capsOfOthers(_ cap: Cap) throws { try provoke(cap) }

    private func provoke(_ cap: Cap) throws {
        let user = cap.needsRoot ? "user: '61234', group: '61234'," : ""
        let directory = try TemporaryDirectory()
        chmod(directory.path, 0o755)
        let daemon = try Daemon(
            """
            { services: { x: { kind: "task", restart: "never", directory: "/tmp", \(user)
                command: ["@demo@", "--leak", "\(cap.resource)"], limits: { core: 0, \(cap.limits) } } } }
            """.replacingOccurrences(of: "core: 0, core: 0", with: "core: 0"), in: directory, waitUntilUp: false)
        let instance = try eventually("the end of the task", within: 60) {
            let instance = try? daemon.status("x").services.first?.instances.first
            return instance?.lastExit != nil || instance?.state == "completed" ? instance : nil
        }
        let log = daemon.logLines("x").joined(separator: "\n")
        if let reason = cap.reason {
            #expect(instance.lastExit?.signal == reason, "\(String(describing: instance.lastExit)) \(log)")
        } else {
            #expect(instance.lastExit?.code == 0, "\(String(describing: instance.lastExit)) \(log)")
        }
        // Not any failure, nor the limit that was inherited: this one.
        if let refused = cap.refused {
            let words = try eventually("the line of the refusal") {
                daemon.logLines("x").first { $0.contains("refused after ") }?.split(separator: " ")
            }
            let amount = words.drop { $0 != "after" }.dropFirst().first.flatMap { Int($0) }
            #expect(amount.map(refused.contains) == true, "\(words)")
            #expect(words.last.map { "\($0)" } == "\(cap.code))", "\(words)")
        }
        if cap.resource == "stack" {
            #expect(!daemon.logLines("x").joined().contains("stack: 2097152 bytes deep"))
        }
    }

    @Test("status shows the limits in force, and limit changes them in the running process")
    func limits() throws {
        let daemon = try Daemon(
            "{ services: { x: { command: ['/bin/sleep', '1000'], limits: { nofile: '100:200', core: 0 } } } }")
        func nofile() throws -> [UInt64?] {
            let limits = try daemon.status("x").services.first?.instances.first?.limits?["nofile"]
            return [limits?.soft, limits?.hard]
        }
        #expect(try nofile() == [100, 200])
        #expect(try daemon.ctl("limit", "x", "nofile=50:150").code == 0)
        #expect(try nofile() == [50, 150])
        let text = try String(contentsOfFile: "/proc/\(daemon.pids()["x/1"] ?? 0)/limits", encoding: .utf8)
        #expect(text.split(separator: "\n").contains { $0.hasPrefix("Max open files") && $0.contains("50") })
    }

    @Test("A fixed port taken by a stranger is an error that names its pid and program")
    func portTaken() throws {
        let (port, reservation) = try freePort()
        var environment = ProcessInfo.processInfo.environment
        (environment["PORT"], environment["HOST"]) = ("\(port)", "127.0.0.1")
        let stranger = try Program(Daemon.demoService, ["--quiet"], environment: environment)
        try eventually("the stranger") { (try? HTTP.get(port: port, "/").status) == 200 ? true : nil }
        let daemon = try Daemon(
            """
            { services: { x: { command: ['@demo@'], port: \(port), restart: { initialDelay: '50ms', maxDelay: '50ms' } },
                          good: { command: ['/bin/sleep', '1000'] } } }
            """, waitUntilUp: false)
        let reason = try eventually("the failed start") {
            try? daemon.status("x").services.first?.instances.first?.lastExit?.reason
        }
        #expect(
            reason.contains("\(port)") && reason.contains("pid \(stranger.pid) (demo-service)"), "\(reason)")
        #expect(try daemon.ctl("status").output.contains("pid \(stranger.pid) (demo-service)"))
        #expect(daemon.keeper.output.contains("x/1: ") && daemon.keeper.output.contains(reason))
        #expect(try daemon.status("good").services.first?.instances.first?.ready == true)
        // The stranger has not been touched, and when it goes the service comes.
        #expect(!stranger.ended())
        stranger.kill()
        try eventually("x") { try daemon.status("x").services.first?.instances.first?.ready == true ? true : nil }
        withExtendedLifetime(reservation) {}
    }
}
