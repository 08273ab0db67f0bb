import ControlAPI
import Foundation
import Glibc
import Platform
import TestSupport
import Testing

/// Services that get the listening socket itself.
@Suite("Listening sockets that are passed", .timeLimit(.minutes(15)))
struct PassedSocketTests {
    private func environment(of pid: Int32) throws -> [String] {
        try String(contentsOfFile: "/proc/\(pid)/environ", encoding: .utf8).split(separator: "\0").map(String.init)
    }

    @Test("Replicas share the socket, each is told of it by its own pid, and a restart refuses nobody")
    func replicas() throws {
        let front = try freePort()
        let daemon = try Daemon(
            """
            { services: { x: { command: ['@demo@', '--quiet', '--listen-fd', '--notify'], replicas: 2,
                               ready: { notify: 'systemd' },
                               listen: [{ address: '127.0.0.1:\(front.port)', pass: true }] } } }
            """)
        for pid in try daemon.pids().values {
            let variables = try environment(of: pid)
            #expect(variables.contains("LISTEN_FDS=1") && variables.contains("LISTEN_PID=\(pid)"))
            #expect(variables.contains("LISTEN_FDNAMES=x"))
        }
        #expect(try HTTP.get(port: front.port, "/").status == 200)
        #expect(
            try daemon.ctl("status").output.contains("127.0.0.1:\(front.port): its instances accept by themselves\n"))
        // The socket is the keeper's: whoever starts next has it again.
        let pids = try daemon.pids()
        let restart = try Program(Daemon.supctl, ["--socket", daemon.socket, "restart", "x"])
        while !restart.ended() { #expect(try HTTP.get(port: front.port, "/").status == 200) }
        let after = try daemon.pids()
        #expect(after.count == 2 && Set(after.values).isDisjoint(with: pids.values))
        // Also while nobody serves: the client waits in the kernel.
        #expect(try daemon.ctl("stop", "x").code == 0)
        let client = try LoopbackConnection(port: front.port)
        try client.send(Array("GET / HTTP/1.0\r\n\r\n".utf8))
        #expect(try daemon.ctl("start", "x").code == 0)
        #expect(try HTTP.rest(of: client).contains("200 OK"))
    }

    @Test("All sockets come in the order of the fronts, blocking, above them the one to say readiness by")
    func order() throws {
        let first = try freePort()
        let second = try freePort()
        let balanced = try freePort()
        let directory = try TemporaryDirectory()
        let daemon = try Daemon(
            """
            { services: { x: { command: ['/bin/sh', '-c', 'echo >&6; exec sleep 1000'], ready: { notify: { fd: 6 } },
                               listen: [{ address: 'unix:\(directory.path)/socket', pass: true },
                                        { address: '127.0.0.1:\(second.port)', pass: true },
                                        \(balanced.port),
                                        { address: '127.0.0.1:\(first.port)', pass: true }] } } }
            """, in: directory)
        let pid = try #require(try daemon.pids()["x/1"])
        #expect(try environment(of: pid).contains("LISTEN_FDS=3"))
        func inode(_ number: Int) throws -> String {
            try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(pid)/fd/\(number)")
        }
        for number in 3...5 {
            #expect(try inode(number).hasPrefix("socket:"))
            let info = try String(contentsOfFile: "/proc/\(pid)/fdinfo/\(number)", encoding: .utf8)
            let flags = try #require(
                info.split(separator: "\n").first { $0.hasPrefix("flags:") }?.split(separator: "\t").last)
            #expect(try #require(Int(flags, radix: 8)) & Int(O_NONBLOCK) == 0)
        }
        #expect(try inode(6).hasPrefix("pipe:"))
        let ports = [second.port, first.port]
        for (number, port) in zip(4..., ports) {
            // While others come and go, one reading of the table may leave some out.
            try eventually("descriptor \(number) to be seen as port \(port)") {
                try String(contentsOfFile: "/proc/net/tcp", encoding: .utf8).split(separator: "\n").contains {
                    let fields = $0.split(separator: " ")
                    return fields.count > 9 && fields[1].hasSuffix(":" + String(format: "%04X", port))
                        && fields[3] == "0A" && (try? inode(number)) == "socket:[\(fields[9])]"
                } ? true : nil
            }
        }
        // The same after a crash of the supervisor and of the process.
        let supervisor = try daemon.role("supervisor")
        kill(supervisor, SIGKILL)
        try daemon.waitForAnother("supervisor", than: supervisor)
        let before = try inode(3)
        #expect(try daemon.ctl("restart", "x").code == 0)
        let next = try #require(try daemon.pids()["x/1"])
        #expect(next != pid)
        #expect(try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(next)/fd/3") == before)
    }

    @Test("A service that has run for long enough gets them also from its standing order")
    func heir() throws {
        let front = try freePort()
        let daemon = try Daemon(
            """
            { services: { x: { command: ['@demo@', '--quiet', '--listen-fd'], restart: { resetAfter: '100ms' },
                               listen: { address: '127.0.0.1:\(front.port)', pass: true } } } }
            """)
        // A spare process is what a standing order is seen by.
        try eventually("a standing order") {
            try ProcessTable.all().contains { $0.name == "supd: spare" && $0.parent == daemon.keeper.pid } ? true : nil
        }
        let pid = try #require(try daemon.pids()["x/1"])
        kill(pid, SIGKILL)
        #expect(try HTTP.get(port: front.port, "/").status == 200)
        let next = try eventually("another process") { try daemon.pids()["x/1"].flatMap { $0 == pid ? nil : $0 } }
        #expect(try environment(of: next).contains("LISTEN_PID=\(next)"))
    }
}
