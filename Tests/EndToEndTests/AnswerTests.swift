import ControlAPI
import Foundation
import Glibc
import Platform
import TestSupport
import Testing

/// What the verbs answer where there is little to do, or where it goes wrong; and what the daemon writes of it.
@Suite("Answers", .timeLimit(.minutes(15)))
struct AnswerTests {
    @Test("A service without instances has a name for every verb")
    func withoutInstances() throws {
        let front = try freePort()
        let daemon = try Daemon(
            """
            { services: { x: { command: ['/bin/sleep', '1000'] },
                          idle: { command: ['/bin/sleep', '1000'], replicas: 0, listen: \(front.port) } } }
            """)
        let hint = "; \"supctl scale idle=1\" starts some"
        for (verb, hint) in [("start", hint), ("stop", ""), ("restart", hint)] {
            let result = try daemon.ctl(verb, "idle")
            #expect(result.code == 0)
            #expect(result.output == "idle has no instances (replicas: 0)\(hint)\n")
        }
        #expect(try daemon.ctl("restart", "--no-wait", "idle").output == "idle has no instances (replicas: 0)\(hint)\n")
        #expect(try daemon.ctl("start", "x", "idle").output.contains("; idle has no instances (replicas: 0)"))
        for words in [
            ["signal", "HUP", "idle"], ["limit", "idle", "core=0"], ["drain", "idle"], ["undrain", "idle"],
        ] {
            let result = try Program.run(Daemon.supctl, ["--socket", daemon.socket] + words)
            #expect(result.code == 1, "\(words)")
            #expect(result.output == "supctl: idle has no instances (replicas: 0)\n", "\(words)")
        }
        #expect(try daemon.ctl("logs", "idle").code == 0)
        // Its front is there and lets nobody wait for ever: nothing will come.
        let client = try LoopbackConnection(port: front.port)
        _ = try eventually("it is turned away") {
            let text = try daemon.ctl("balancer", "idle", "--json").output
            guard let report = try? JSONDecoder().decode(BalancerReport.self, from: Data(text.utf8)) else {
                throw TestFailure("no report: \(text)")
            }
            return report.services.first?.fronts.first?.counters.turnedAway == 1 ? true : nil
        }
        withExtendedLifetime(client) {}
        let status = try daemon.status("idle").services
        #expect(status.map(\.name) == ["idle"])
        #expect(try daemon.status("idl*", "x").services.map(\.name) == ["x", "idle"])
        #expect(try daemon.ctl("start", "idel").output.contains("did you mean \"idle\"?"))
    }

    @Test("A program that ends at once was not started, where nothing else shows that it was")
    func endsAtOnce() throws {
        let directory = try TemporaryDirectory()
        let path = try directory.write("healthy", "")
        let daemon = try Daemon(
            """
            { services: { x: { command: ['/bin/sh', '-c', 'test -e \(path) || exit 3; exec sleep 1000'],
                               restart: { initialDelay: '1h', maxDelay: '1h' } } } }
            """, in: directory)
        #expect(try daemon.ctl("stop", "x").code == 0)
        #expect(try daemon.ctl("start", "x").output.contains("x: started 1 instance in "))
        #expect(try daemon.ctl("stop", "x").code == 0)
        try FileManager.default.removeItem(atPath: path)
        let result = try daemon.ctl("start", "x")
        #expect(result.code == 1)
        #expect(
            result.output.contains("x: cannot start: x/1 has ended: exited with code 3; supd goes on trying"),
            "\(result.output)")
    }

    @Test("The control socket speaks HTTP to whoever can: the status is JSON")
    func rawHTTP() throws {
        let daemon = try Daemon("{ services: { x: { command: ['/bin/sleep', '1000'] } } }")
        let stream = try BlockingStream.connect(to: "unix:\(daemon.socket)")
        try stream.write(Array("GET /v1/status HTTP/1.1\r\nHost: supd\r\nConnection: close\r\n\r\n".utf8))
        var answer: [UInt8] = []
        while case let more = try stream.read(upTo: 65536), !more.isEmpty { answer += more }
        let text = String(decoding: answer, as: UTF8.self)
        let end = try #require(text.range(of: "\r\n\r\n"))
        let head = text[..<end.lowerBound].lowercased()
        #expect(head.hasPrefix("http/1.1 200 ok\r\n") && head.contains("\r\ncontent-type: application/json"), "\(head)")
        var bodies = [String(text[end.upperBound...])]
        // As the documentation has it, where the program is installed.
        if FileManager.default.isExecutableFile(atPath: "/usr/bin/curl") {
            let result = try Program.run(
                "/usr/bin/curl", ["-sS", "--unix-socket", daemon.socket, "http://supd/v1/status"])
            #expect(result.code == 0)
            bodies.append(result.output)
        }
        let pid = try daemon.pids()["x/1"]
        for body in bodies {
            let report = try JSONDecoder().decode(StatusReport.self, from: Data(body.utf8))
            #expect(report.services.first?.instances.first?.pid == pid)
        }
    }

    @Test("A limit is told with old and new value, and by whom it was changed")
    func limit() throws {
        let daemon = try Daemon(
            "{ services: { x: { command: ['/bin/sleep', '1000'], limits: { nofile: '100:200' } } } }")
        #expect(try daemon.ctl("limit", "x", "nofile=50:150").code == 0)
        try daemon.keeper.waitForOutput(
            "limit nofile of x/1 changed from 100:200 to 50:150, asked for by uid \(geteuid()) (pid ")
        let unknown = try daemon.ctl("limit", "x", "nofiles=50")
        #expect(unknown.code == 2)
        #expect(unknown.output.contains("there is no limit \"nofiles\"; did you mean \"nofile\"?"))
    }

    @Test("Lines that could not be written are told by status, with the reason")
    func droppedLines() throws {
        let directory = try TemporaryDirectory()
        // Where the log should be, there is something that takes no lines.
        try FileManager.default.createDirectory(
            atPath: directory.file("log/x/1.log"), withIntermediateDirectories: true)
        let daemon = try Daemon(
            "{ services: { x: { command: ['/bin/sh', '-c', 'echo one; echo two; exec sleep 1000'] } } }", in: directory)
        let dropped = try eventually("both lines") {
            let dropped = try daemon.status("x").services.first?.instances.first?.droppedOutput
            return dropped?.lines == 2 ? dropped : nil
        }
        #expect(dropped == DroppedOutput(lines: 2, bytes: 8, reason: errorMessage(EISDIR)))
        let shown = try daemon.ctl("status", "x").output
        #expect(shown.contains("  log        2 lines (8 bytes) dropped: \(errorMessage(EISDIR))\n"), "\(shown)")
    }

    @Test("Undraining counts those alone that were drained")
    func undrain() throws {
        let front = try freePort()
        let daemon = try Daemon(
            "{ services: { x: { command: ['@demo@', '--quiet'], replicas: 3, listen: \(front.port) } } }")
        #expect(try daemon.ctl("undrain", "all").output.hasPrefix("there is nothing to undrain"))
        #expect(try daemon.ctl("drain", "x/2").output.contains("x/2: drained 1 instance in "))
        #expect(try daemon.ctl("drain", "x/1", "x/2").output.contains("x/1 x/2: drained 2 instances in "))
        #expect(try daemon.ctl("undrain", "all").output.hasPrefix("all: undrained 2 instances in "))
    }

    @Test("Ports of the range that are in use are told in one line for all instances")
    func portsInUse() throws {
        // Held by this test; whoever else has ports behind it is skipped, too.
        let listener = try listen(on: .ipv4("127.0.0.1", port: 0))
        let port = try #require(try SocketAddress.local(of: listener).port)
        let first = min(port, UInt16.max - 500)
        // And some of those that would be next, each on another address that is in the way of 127.0.0.1.
        var held: [UInt16: Descriptor] = [port: listener]
        for (place, address) in [TestAddress.anyIPv4, .anyIPv6, .loopbackIPv4].enumerated() where port == first {
            let number = port + 2 * UInt16(place) + 1
            held[number] = try? testListener(address, port: number).socket
        }
        let daemon = try Daemon(
            """
            { supd: { portRange: '\(port)-\(max(port, first + 500))' },
              services: { x: { command: ['/bin/sleep', '1000'], replicas: 3 } } }
            """)
        let lines = daemon.keeper.output.split(separator: "\n").filter { $0.contains("in use") }
        #expect(lines.count == 1, "\(lines)")
        let line = try #require(lines.first)
        #expect(line.contains("port") && line.contains("\(port)") && line.hasSuffix(" in use; skipped"))
        // Those that strangers hold are nobody's; the instances have the others, each its own.
        func ports() throws -> [UInt16] { try daemon.status("x").services[0].instances.compactMap(\.port) }
        let before = try ports()
        #expect(Set(before).count == 3)
        #expect(before.allSatisfy { held[$0] == nil && (port...max(port, first + 500)).contains($0) }, "\(before)")
        #expect(before.allSatisfy { $0 < port + 100 }, "from the beginning of the range on: \(before)")
        // A port that is taken when its instance starts again, too.
        #expect(try daemon.ctl("stop", "x/2").code == 0)
        let (_, late) = try testListener(.loopbackIPv4, port: before[1])
        #expect(try daemon.ctl("start", "x/2").code == 0)
        let after = try ports()
        #expect(after[0] == before[0] && after[2] == before[2])
        #expect(!before.contains(after[1]) && held[after[1]] == nil, "\(after)")
        withExtendedLifetime((held, late)) {}
    }
}
