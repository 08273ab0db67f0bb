import ControlAPI
import Foundation
import Glibc
import Platform
import TestSupport
import Testing

/// Services that say themselves how they are.
@Suite("Readiness by the service's own word", .timeLimit(.minutes(15)))
struct NotifyTests {
    private func instance(_ daemon: Daemon, _ name: String) throws -> InstanceStatus {
        guard let found = try daemon.status().services.flatMap(\.instances).first(where: { $0.id == name }) else {
            throw TestFailure("there is no \(name)")
        }
        return found
    }

    private func waitFor(_ daemon: Daemon, _ name: String, _ what: String, _ holds: (InstanceStatus) -> Bool) throws {
        try eventually(what) { holds(try instance(daemon, name)) ? true : nil }
    }

    /// Sends one datagram to a service's socket, as a process of the test's own.
    private func send(_ bytes: [UInt8], to path: String) -> Int32 {
        let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
        let sent = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                sendto(
                    descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL), $0,
                    socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        return sent < 0 ? errno : 0
    }

    /// NOTIFY_SOCKET of a process.
    private func path(of pid: Int32) throws -> String {
        try #require(ProcessTable.environmentValue("NOTIFY_SOCKET", of: pid))
    }

    @Test("A service is ready when it says so; its status and its stop are shown")
    func ready() throws {
        let daemon = try Daemon(
            """
            { services: { x: { command: ['@demo@', '--quiet', '--notify', '--status', 'serving 7 clients'],
                               ready: { notify: 'systemd' } } } }
            """)
        try daemon.keeper.waitForOutput("x/1: ready after")
        #expect(try instance(daemon, "x/1").statusText == "serving 7 clients")
        #expect(try daemon.ctl("status", "x").output.contains("  says       serving 7 clients\n"))
        let path = try path(of: try #require(try instance(daemon, "x/1").pid))
        var status = stat()
        #expect(stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFSOCK)
        // Its socket goes with it.
        #expect(try daemon.ctl("stop", "x").code == 0)
        try eventually("the end of \(path)") { access(path, F_OK) != 0 ? true : nil }
        #expect(try daemon.ctl("start", "x").code == 0)
        #expect(try instance(daemon, "x/1").ready)
    }

    @Test("A service that says nothing is not ready, and the start fails with the reason")
    func silent() throws {
        let daemon = try Daemon(
            """
            { services: { x: { command: ['@demo@', '--quiet'], ready: { notify: 'systemd', timeout: '1s' } } } }
            """, waitUntilUp: false)
        try daemon.keeper.waitForOutput("x/1: not ready within 1 s (READY=1 has not come); stopping it")
    }

    @Test("A silent service is restarted by its watchdog, and one that feeds it is not")
    func watchdog() throws {
        let daemon = try Daemon(
            """
            { services: {
                dead: { command: ['@demo@', '--quiet', '--notify', '--silent-after', '600ms'], watchdog: '500ms' },
                alive: { command: ['@demo@', '--quiet', '--notify'], watchdog: '1s', ready: { notify: 'systemd' } } } }
            """)
        let alive = try #require(try instance(daemon, "alive/1").pid)
        let environment = try String(contentsOfFile: "/proc/\(alive)/environ", encoding: .utf8).split(separator: "\0")
        #expect(environment.contains("WATCHDOG_USEC=1000000"))
        #expect(environment.contains("WATCHDOG_PID=\(alive)"))
        try daemon.keeper.waitForOutput("dead/1: watchdog: silent for 0.5 s; stopping it")
        try waitFor(daemon, "dead/1", "a restart") { $0.restarts > 0 }
        #expect(try instance(daemon, "dead/1").lastExit?.reason == "watchdog: silent for 0.5 s")
        let now = try instance(daemon, "alive/1")
        #expect(now.pid == alive && now.restarts == 0)
    }

    @Test("SIGKILL of the supervisor loses no word: neither one said before nor one said meanwhile")
    func crash() throws {
        // A port of the range may be somebody else's by the time that it is listened on.
        let front = try freePort()
        let directory = try TemporaryDirectory()
        let daemon = try Daemon(
            """
            { services: {
                before: { command: ['@demo@', '--quiet', '--notify'], ready: { notify: 'systemd', timeout: '3s' } },
                during: { command: ['/bin/sh', '-c', 'while [ ! -e go ]; do sleep 0.05; done; exec @demo@ --quiet --notify --listen-fd'],
                          listen: { address: '127.0.0.1:\(front.port)', pass: true },
                          ready: { notify: 'systemd', timeout: '60s' } } } }
            """, in: directory, waitUntilUp: false)
        try daemon.keeper.waitForOutput("before/1: ready after")
        let pids = try daemon.pids()
        try daemon.loseSupervisors { _ = try directory.write("go", "") }
        try waitFor(daemon, "during/1", "readiness") { $0.ready }
        // Past the time in which `before` would have had to say it again.
        try daemon.keeper.waitForOutput("during/1: ready after")
        #expect(try daemon.pids() == pids)
        #expect(try instance(daemon, "before/1").ready)
        #expect(!daemon.keeper.output.contains("before/1: not ready"))
    }

    @Test("Strangers, floods and malformed datagrams change nothing and stop nobody")
    func malice() throws {
        let daemon = try Daemon(
            """
            { services: {
                x: { command: ['@demo@', '--quiet', '--notify'], ready: { notify: 'systemd' }, watchdog: '60s' },
                y: { command: ['/bin/sh', '-c', 'echo begun; exec sleep 1000'], ready: { notify: 'systemd' } } } }
            """, waitUntilUp: false)
        try daemon.waitUntilAnswering()
        try waitFor(daemon, "x/1", "readiness") { $0.ready }
        try waitFor(daemon, "y/1", "a process") { $0.pid != nil }
        let y = try #require(try instance(daemon, "y/1").pid)
        let path = try path(of: y)
        // This test is no process of the instance.
        #expect(send(Array("READY=1\nSTATUS=forged".utf8), to: path) == 0)
        try daemon.keeper.waitForOutput("y/1: a notice of pid \(getpid())")
        var random = SystemRandomNumberGenerator()
        let datagrams = (0..<3000).map { round in
            let length = round % 100 == 0 ? 60_000 : Int.random(in: 0...200, using: &random)
            let bytes = (0..<length).map { _ in UInt8.random(in: 0...255, using: &random) }
            return round % 3 == 0 ? Array("READY=1\nWATCHDOG=trigger\n".utf8) + bytes : bytes
        }
        // A flood waits at its sender, once that is faster than the reader, and is told of.
        var blocked = 0
        try eventually("a flood") {
            for datagram in datagrams where send(datagram, to: path) == EAGAIN { blocked += 1 }
            let isTold = daemon.keeper.output.contains("y/1: more comes by its NOTIFY_SOCKET than supd reads")
            return blocked > 0 && isTold ? true : nil
        }
        #expect(try !instance(daemon, "y/1").ready)
        #expect(try instance(daemon, "y/1").statusText == nil)
        #expect(try instance(daemon, "x/1").ready)
        let said = daemon.keeper.output.split(separator: "\n").count { $0.contains("y/1: ") }
        #expect(said < 12, "\(daemon.keeper.output)")
    }

    @Test(
        "A service of another user reaches its socket, and nobody else does",
        .enabled(if: Launcher.canChangeUser))
    func otherUser() throws {
        let directory = try TemporaryDirectory()
        chmod(directory.path, 0o755)
        let account = try #require(try Accounts.account(named: "nobody"))
        let daemon = try Daemon(
            """
            { services: { x: { command: ['/bin/sh', '-c', 'systemd-notify --ready --status=here; exec sleep 1000'],
                               user: 'nobody', directory: '/', ready: { notify: 'systemd' } } } }
            """, in: directory, waitUntilUp: access("/usr/bin/systemd-notify", X_OK) == 0)
        try daemon.waitUntilAnswering()
        try waitFor(daemon, "x/1", "a process") { $0.pid != nil }
        let path = try path(of: try #require(try instance(daemon, "x/1").pid))
        var status = stat()
        #expect(stat(path, &status) == 0)
        #expect(status.st_uid == account.user && status.st_mode & 0o777 == 0o600)
        if access("/usr/bin/systemd-notify", X_OK) == 0 {
            #expect(try instance(daemon, "x/1").statusText == "here")
        }
        // The other way round: one that may not get there is told so.
        chmod(directory.file("run"), 0o750)
        #expect(try daemon.ctl("restart", "x", "--timeout", "5s").code != 0)
        try daemon.keeper.waitForOutput("user nobody may not enter \(directory.file("run")); use chmod o+x")
    }
}
