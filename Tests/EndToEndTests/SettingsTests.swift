import ControlAPI
import Foundation
import Glibc
import Platform
import TestSupport
import Testing

/// Settings whose effect is seen in a process from outside.
@Suite("Settings", .timeLimit(.minutes(15)))
struct SettingsTests {
    @Test("umask arrives in the child", arguments: [("027", mode_t(0o640)), ("0002", mode_t(0o664))])
    func umask(text: String, mode: mode_t) throws {
        let daemon = try Daemon(
            """
            { services: { x: { kind: 'task', umask: '\(text)', command: ['/bin/sh', '-c', 'umask; : > made'] } } }
            """)
        var status = stat()
        #expect(stat(daemon.directory.file("made"), &status) == 0)
        #expect(status.st_mode & 0o777 == mode)
        try eventually("the line of the shell") {
            daemon.logLines("x").contains("stdout F 0\(text.suffix(3))") ? true : nil
        }
    }

    @Test("balancer.user is who the balancer runs as, without a way back", .enabled(if: geteuid() == 0))
    func balancerUser() throws {
        // Neither the installer's user nor the one that is taken where there is none.
        let account = try #require(try Accounts.account(named: "nobody"))
        let front = try freePort()
        let daemon = try Daemon(
            """
            { supd: { balancer: { user: 'nobody' } },
              services: { x: { command: ['@demo@', '--quiet'], listen: \(front.port) } } }
            """)
        let path = "/proc/\(try daemon.role("balancer"))/status"
        let lines = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").map {
            $0.split { $0 == " " || $0 == "\t" }.map(String.init)
        }
        func values(_ name: String) -> [String]? { lines.first { $0.first == name }.map { Array($0.dropFirst()) } }
        #expect(values("Uid:") == Array(repeating: "\(account.user)", count: 4))
        #expect(values("Gid:") == Array(repeating: "\(account.group)", count: 4))
        #expect(values("Groups:") == [])
        #expect(values("NoNewPrivs:") == ["1"])
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] { #expect(values(set) == ["0000000000000000"]) }
        #expect(try HTTP.get(port: front.port, "/").status == 200)
    }

    @Test("balancer.loops is how many event loops there are", .enabled(if: geteuid() == 0))
    func balancerLoops() throws {
        // A loop has an epoll set of its own. Only root sees what the balancer has open.
        func sets(loops: Int) throws -> Int {
            let front = try freePort()
            let daemon = try Daemon(
                """
                { supd: { balancer: { loops: \(loops) } },
                  services: { x: { command: ['@demo@', '--quiet'], listen: \(front.port) } } }
                """)
            #expect(try HTTP.get(port: front.port, "/").status == 200)
            let directory = "/proc/\(try daemon.role("balancer"))/fd"
            return try FileManager.default.contentsOfDirectory(atPath: directory).count {
                (try? FileManager.default.destinationOfSymbolicLink(atPath: "\(directory)/\($0)"))
                    == "anon_inode:[eventpoll]"
            }
        }
        let one = try sets(loops: 1)
        #expect(one >= 1)
        #expect(try sets(loops: 6) == one + 5)
    }

    @Test("Clients that wait for an instance are told by status")
    func waiting() throws {
        let front = try freePort()
        let daemon = try Daemon(
            """
            { services: { slow: { command: ['@demo@', '--quiet', '--ready-delay', '1h'], listen: \(front.port),
                                  ready: { tcp: true, timeout: '1h' }, balance: { queueTimeout: '1h' } } } }
            """, waitUntilUp: false)
        try daemon.keeper.waitForOutput("slow/1: started")
        func waiting(_ words: String) throws {
            try eventually(words) {
                try daemon.ctl("status", "slow").output.contains("127.0.0.1:\(front.port): \(words)") ? true : nil
            }
        }
        var clients = try (0..<3).map { _ in try LoopbackConnection(port: front.port) }
        try waiting("3 open, 3 in all, 0 in, 0 out, 3 waiting\n")
        // Who leaves without a word waits no longer.
        clients.removeFirst()
        try waiting("2 open, 3 in all, 0 in, 0 out, 2 waiting\n")
        withExtendedLifetime(clients) {}
    }

    /// A port that only root may listen on, with its reservation.
    private static func privilegedPort() throws -> (port: UInt16, reservation: Descriptor) {
        for port in (300..<LoopbackPort.unprivilegedStart()).reversed() where (try? LoopbackPort.isFree(port)) == true {
            if let (port, reservation) = try? testListener(port: port, listens: false) { return (port, reservation) }
        }
        throw TestFailure("no port below \(LoopbackPort.unprivilegedStart()) is free")
    }

    private static let hasPrivilegedPorts = LoopbackPort.unprivilegedStart() > 301

    @Test("A front below 1024 is served when supd is root", .enabled(if: geteuid() == 0 && hasPrivilegedPorts))
    func privilegedFront() throws {
        let front = try Self.privilegedPort()
        let daemon = try Daemon("{ services: { x: { command: ['@demo@', '--quiet'], listen: \(front.port) } } }")
        #expect(try HTTP.get(port: front.port, "/").status == 200)
        // Also by the next balancer, which has no rights of its own.
        let balancer = try daemon.role("balancer")
        kill(balancer, SIGKILL)
        #expect(try HTTP.get(port: front.port, "/").status == 200)
    }

    @Test(
        "A front below 1024 ends supd of anybody else, who is told what to do",
        .enabled(if: (Launcher.canChangeUser || geteuid() != 0) && hasPrivilegedPorts))
    func deniedFront() throws {
        // The kernel is asked for the right before it is asked for the port.
        let port = LoopbackPort.unprivilegedStart() - 1
        let directory = try TemporaryDirectory()
        let launcher = geteuid() == 0 ? Launcher.user(61_237) : nil
        if launcher != nil { chown(directory.path, 61_237, 61_237) }
        let daemon = try Daemon(
            "{ services: { x: { command: ['@demo@', '--quiet'], listen: \(port) } } }", in: directory, under: launcher,
            waitUntilUp: false)
        let result = try daemon.keeper.wait(within: 30)
        #expect(result.code == 1)
        let words =
            "x: cannot listen on 127.0.0.1:\(port): Permission denied; ports below \(port + 1) need root or "
            + "CAP_NET_BIND_SERVICE: run supd as root, or let the service listen on a higher one"
        #expect(result.output.contains(words), "\(result.output)")
        #expect(ProcessesOf(runtimeDirectory: directory.file("run"), andRoles: true).isEmpty)
    }
}
