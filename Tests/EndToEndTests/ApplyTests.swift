import ControlAPI
import Foundation
import Glibc
import Platform
import TestSupport
import Testing

/// `supctl apply` with real processes.
@Suite("Applying a manifest", .timeLimit(.minutes(15)))
struct ApplyTests {
    private func write(_ daemon: Daemon, _ text: String) throws {
        _ = try daemon.directory.write("supd.json5", text.replacingOccurrences(of: "@demo@", with: Daemon.demoService))
    }

    private func manifest(_ port: UInt16, _ fields: String, others: String = "") -> String {
        """
        { services: { x: { command: ['@demo@', '--quiet'], listen: \(port), ready: { http: '/' }, \(fields) },
                      other: { command: ['sleep', '1000'] }, \(others) } }
        """
    }

    @Test("A changed environment is rolled out under load: no request fails, what is not changed keeps its process")
    func rolling() throws {
        let port = try freePort()
        let daemon = try Daemon(manifest(port.port, "replicas: 2, environment: { SECRET: 'hunter2' }"))
        let before = try daemon.pids()
        let clients = SteadyClients(4, port: port.port)
        try clients.serve(20)
        try write(daemon, manifest(port.port, "replicas: 2, environment: { SECRET: 'hunter3' }"))
        let shown = try daemon.ctl("apply", "--dry-run")
        #expect(shown.code == 0)
        #expect(shown.output.contains("x  rolling  2 instances\n    environment.SECRET: changed\n"), "\(shown.output)")
        #expect(try daemon.pids() == before)
        let result = try daemon.ctl("apply")
        #expect(result.code == 0, "\(result.output); \(daemon.keeper.output)")
        #expect(!result.output.contains("hunter"))
        try clients.serve(20)
        #expect(try clients.end().map(\.description) == [])
        let after = try daemon.pids()
        #expect(Set(after.keys) == Set(before.keys))
        #expect(after["other/1"] == before["other/1"])
        for name in ["x/1", "x/2"] {
            #expect(after[name] != before[name])
            let environment = try String(contentsOfFile: "/proc/\(after[name] ?? 0)/environ", encoding: .utf8)
            #expect(environment.contains("SECRET=hunter3"))
        }
        #expect(!daemon.keeper.output.contains("hunter"))
        let again = try daemon.ctl("apply")
        #expect(again.code == 0 && again.output.contains("nothing to change"), "\(again.output)")
    }

    @Test("A release that never becomes ready changes nothing, and says why with its last lines")
    func broken() throws {
        let port = try freePort()
        let daemon = try Daemon(manifest(port.port, "replicas: 2"))
        let before = try daemon.pids()
        let clients = SteadyClients(4, port: port.port)
        try clients.serve(20)
        try write(
            daemon,
            """
            { services: { x: { command: ['sh', '-c', 'echo the disk is on fire; exit 7'], listen: \(port.port), replicas: 2,
                               ready: { http: '/' }, restart: { initialDelay: '50ms' } },
                          other: { command: ['sleep', '1000'] } } }
            """)
        let result = try daemon.ctl("apply")
        #expect(result.code == 1)
        #expect(result.output.contains("x/3 has failed 3 times: exited with code 7"), "\(result.output)")
        #expect(result.output.contains("x/3 | the disk is on fire"), "\(result.output)")
        // The last that is said before is so, too.
        let progress = result.output.split(separator: "\n").filter { $0.hasPrefix("apply: ") }
        #expect(
            progress.last?.hasPrefix("apply: x goes back to what ran before: 2 of 2 as before") == true,
            "\(result.output)")
        try clients.serve(20)
        #expect(try clients.end().map(\.description) == [])
        #expect(try daemon.pids() == before)
        // It went back: applying what was there is no change.
        try write(daemon, manifest(port.port, "replicas: 2"))
        #expect(try daemon.ctl("apply").output.contains("nothing to change"))
    }

    @Test("A manifest with an error changes nothing, and all errors are shown")
    func invalid() throws {
        let port = try freePort()
        let daemon = try Daemon(manifest(port.port, ""))
        let before = try daemon.pids()
        try write(daemon, manifest(port.port, "replicsa: 2, stop: { timeout: 'x' }"))
        let result = try daemon.ctl("apply")
        #expect(result.code == 1)
        #expect(result.output.contains("did you mean \"replicas\""), "\(result.output)")
        #expect(result.output.contains("services.x.stop.timeout"), "\(result.output)")
        let missing = try daemon.ctl("apply", daemon.directory.file("nowhere.json5"))
        #expect(missing.code == 1 && missing.output.contains("No such file"), "\(missing.output)")
        #expect(try daemon.pids() == before)
    }

    @Test("Services come and go, fronts open and close, and the number of instances changes, each without the others")
    func shape() throws {
        let (port, next, third) = (try freePort(), try freePort(), try freePort())
        let path = "unix:@socket@"
        let daemon = try Daemon(manifest(port.port, "replicas: 1"))
        let socket = path.replacingOccurrences(of: "@socket@", with: daemon.directory.file("front.sock"))
        let before = try daemon.pids()
        try write(
            daemon,
            """
            { services: { x: { command: ['@demo@', '--quiet'], listen: [\(next.port), '\(socket)'], ready: { http: '/' }, replicas: 3 },
                          y: { command: ['@demo@', '--quiet'], listen: \(third.port) } } }
            """)
        let result = try daemon.ctl("apply")
        #expect(result.code == 0, "\(result.output); \(daemon.keeper.output)")
        let after = try daemon.pids()
        #expect(Set(after.keys) == ["x/1", "x/2", "x/3", "y/1"])
        #expect(after["x/1"] == before["x/1"])
        #expect(throws: (any Error).self) { try HTTP.get(port: port.port, "/") }
        for open in [next.port, third.port] {
            let clients = SteadyClients(1, port: open)
            try clients.serve(3)
            #expect(try clients.end().map(\.description) == [])
        }
        #expect(FileManager.default.fileExists(atPath: daemon.directory.file("front.sock")))
        // Without any front, and back to one.
        try write(daemon, "{ services: { x: { command: ['@demo@', '--quiet'], ready: { http: '/' } } } }")
        #expect(try daemon.ctl("apply").code == 0)
        #expect(Set(try daemon.pids().keys) == ["x/1"])
        #expect(try daemon.pids()["x/1"] == before["x/1"])
        #expect(!FileManager.default.fileExists(atPath: daemon.directory.file("front.sock")))
        try write(daemon, manifest(port.port, ""))
        #expect(try daemon.ctl("apply").code == 0)
        let clients = SteadyClients(1, port: port.port)
        try clients.serve(3)
        #expect(try clients.end().map(\.description) == [])
        #expect(try daemon.pids()["x/1"] == before["x/1"])
    }

    @Test("Limits and the balancer's settings change in what runs")
    func live() throws {
        let port = try freePort()
        let daemon = try Daemon(manifest(port.port, "limits: { nofile: 500 }"))
        let before = try daemon.pids()
        try write(
            daemon,
            manifest(port.port, "limits: { nofile: 400 }, balance: { maxConnections: 7, log: true }, log: { keep: 1 }"))
        let result = try daemon.ctl("apply")
        #expect(result.code == 0 && result.output.contains("x  live"), "\(result.output)")
        #expect(try daemon.pids() == before)
        let pid = try #require(before["x/1"])
        try eventually("the limit") {
            let limits = try String(contentsOfFile: "/proc/\(pid)/limits", encoding: .utf8)
            return limits.contains(/Max open files +400 +400/) ? true : nil
        }
        let clients = SteadyClients(1, port: port.port)
        try clients.serve(3)
        #expect(try clients.end().map(\.description) == [])
        try eventually("lines of sessions") {
            FileManager.default.fileExists(atPath: daemon.directory.file("log/x/balancer.log")) ? true : nil
        }
    }

    @Test("A limit is raised in what runs")
    func raised() throws {
        let port = try freePort()
        let daemon = try Daemon(manifest(port.port, "limits: { nofile: '100:200' }"))
        let before = try daemon.pids()
        try write(daemon, manifest(port.port, "limits: { nofile: '150:200' }"))
        let result = try daemon.ctl("apply")
        #expect(result.code == 0 && result.output.contains("limits.nofile: 100:200 → 150:200"), "\(result.output)")
        #expect(try daemon.pids() == before)
        let pid = try #require(before["x/1"])
        try eventually("the limit") {
            let limits = try String(contentsOfFile: "/proc/\(pid)/limits", encoding: .utf8)
            return limits.contains(/Max open files +150 +200/) ? true : nil
        }
    }

    @Test("Who may connect to a front changes while it is open")
    func listenOptions() throws {
        let port = try freePort()
        func manifest(_ listen: String) -> String {
            "{ services: { x: { command: ['@demo@', '--quiet'], ready: { http: '/' }, listen: { \(listen) } } } }"
        }
        let daemon = try Daemon(manifest("address: '127.0.0.1:\(port.port)'"))
        let before = try daemon.pids()
        #expect(try HTTP.get(port: port.port, "/").status == 200)
        try write(daemon, manifest("address: '127.0.0.1:\(port.port)', allow: ['192.0.2.0/24']"))
        let result = try daemon.ctl("apply")
        #expect(result.code == 0 && result.output.contains("x  live"), "\(result.output)")
        #expect(throws: (any Error).self) { try HTTP.get(port: port.port, "/") }
        try write(daemon, manifest("address: '127.0.0.1:\(port.port)', allow: ['127.0.0.0/8']"))
        #expect(try daemon.ctl("apply").code == 0)
        #expect(try HTTP.get(port: port.port, "/").status == 200)
        // One that hangs is waited for so long, and no longer: otherwise this would be done at once.
        let balancer = try daemon.role("balancer")
        kill(balancer, SIGSTOP)
        let began = monotonicNanoseconds()
        try write(daemon, manifest("address: '127.0.0.1:\(port.port)', allow: ['192.0.2.0/24']"))
        #expect(try daemon.ctl("apply").code == 0)
        #expect(monotonicNanoseconds() - began >= 2_000_000_000)
        kill(balancer, SIGCONT)
        try eventually("nobody may connect") { (try? HTTP.get(port: port.port, "/")) == nil ? true : nil }
        #expect(try daemon.pids() == before)
    }

    @Test("A front that cannot be opened changes nothing")
    func front() throws {
        let (port, taken) = (try freePort(), try freePort())
        let daemon = try Daemon(manifest(port.port, ""))
        let before = try daemon.pids()
        let squatter = try testListener(port: taken.port)
        defer { withExtendedLifetime(squatter) {} }
        try write(daemon, manifest(taken.port, "replicas: 3"))
        let result = try daemon.ctl("apply")
        #expect(
            result.code == 1 && result.output.contains("cannot listen on 127.0.0.1:\(taken.port)"), "\(result.output)")
        #expect(try daemon.pids() == before)
        let clients = SteadyClients(1, port: port.port)
        try clients.serve(3)
        #expect(try clients.end().map(\.description) == [])
    }

    @Test("A front that a failed release had given up is there again, the one that it had opened is not")
    func frontsGoBack() throws {
        let (port, next) = (try freePort(), try freePort())
        let daemon = try Daemon(manifest(port.port, "replicas: 2"))
        let before = try daemon.pids()
        try write(
            daemon,
            """
            { services: { x: { command: ['false'], listen: \(next.port), replicas: 2, ready: { http: '/' },
                               restart: { initialDelay: '20ms' } },
                          other: { command: ['sleep', '1000'] } } }
            """)
        let result = try daemon.ctl("apply")
        #expect(result.code == 1, "\(result.output)")
        let clients = SteadyClients(2, port: port.port)
        try clients.serve(5)
        #expect(try clients.end().map(\.description) == [])
        #expect(throws: (any Error).self) { try HTTP.get(port: next.port, "/") }
        #expect(try daemon.pids() == before)
        // Nothing is left of it that would keep somebody else out, once the balancer has the next table.
        let free = try eventually("the address to be free") { try? testListener(port: next.port) }
        withExtendedLifetime(free) {}
    }

    @Test("Other settings of log reach the log of sessions that is open")
    func sessionLogSettings() throws {
        let port = try freePort()
        let daemon = try Daemon(manifest(port.port, "balance: { log: true }"))
        func get(_ count: Int) throws {
            for _ in 0..<count { #expect(try HTTP.get(port: port.port, "/").status == 200) }
        }
        func isRotated() -> Bool {
            FileManager.default.fileExists(atPath: daemon.directory.file("log/x/balancer.log.1"))
        }
        try get(60)
        try write(daemon, manifest(port.port, "balance: { log: true }, log: { maxSize: '4K' }"))
        #expect(try daemon.ctl("apply").code == 0)
        #expect(!isRotated())
        try get(1)
        try eventually("a rotated log of sessions") { isRotated() ? true : nil }
    }

    @Test("A service that leaves and comes back logs its sessions as before")
    func sessionLogComesBack() throws {
        let port = try freePort()
        let text = manifest(port.port, "balance: { log: true }")
        let daemon = try Daemon(text)
        func lines() -> Int {
            let path = daemon.directory.file("log/x/balancer.log")
            return ((try? String(contentsOfFile: path, encoding: .utf8)) ?? "").split(separator: "\n").count
        }
        #expect(try HTTP.get(port: port.port, "/").status == 200)
        try eventually("the first line") { lines() == 1 ? true : nil }
        try write(daemon, "{ services: { other: { command: ['sleep', '1000'] } } }")
        #expect(try daemon.ctl("apply").code == 0)
        try write(daemon, text)
        let result = try daemon.ctl("apply")
        #expect(result.code == 0, "\(result.output); \(daemon.keeper.output)")
        #expect(try HTTP.get(port: port.port, "/").status == 200)
        try eventually("the second line") { lines() == 2 ? true : nil }
    }

    @Test("An apply that takes a front away is done when the balancer has closed it, too")
    func frontIsClosed() throws {
        let port = try freePort()
        let text = manifest(port.port, "")
        let daemon = try Daemon(text)
        #expect(try daemon.ctl("stop", "x").code == 0)
        try write(daemon, "{ services: { other: { command: ['sleep', '1000'] } } }")
        let balancer = try daemon.role("balancer")
        kill(balancer, SIGSTOP)
        let began = monotonicNanoseconds()
        // One that hangs is waited for so long, and no longer.
        #expect(try daemon.ctl("apply").code == 0)
        #expect(monotonicNanoseconds() - began >= 2_000_000_000)
        kill(balancer, SIGCONT)
        // It may still have it open, now that nobody waits any more.
        try write(daemon, text)
        let back = try eventually("the front to be free") { () throws -> Program.Result? in
            let result = try daemon.ctl("apply")
            return result.output.lowercased().contains("address already in use") ? nil : result
        }
        #expect(back.code == 0, "\(back.output)")
        for round in 1...5 {
            try write(daemon, "{ services: { other: { command: ['sleep', '1000'] } } }")
            #expect(try daemon.ctl("apply").code == 0)
            #expect(!holdsListener(on: port.port, balancer), "\(round)")
            // The keeper's copy is closed a moment later.
            _ = try eventually("the address to be free") { try? testListener(port: port.port) }
            try write(daemon, text)
            let result = try daemon.ctl("apply")
            #expect(result.code == 0, "\(round): \(result.output)")
        }
    }

    /// Whether a process has a socket that listens on a port of IPv4, by /proc/net/tcp.
    private func holdsListener(on port: UInt16, _ pid: Int32) -> Bool {
        let table = (try? String(contentsOfFile: "/proc/net/tcp", encoding: .utf8)) ?? ""
        let end = String(format: ":%04X", port)
        let listening = table.split(separator: "\n").dropFirst().compactMap { line -> String? in
            let fields = line.split(separator: " ")
            guard fields.count > 9, fields[1].hasSuffix(end), fields[3] == "0A" else { return nil }
            return "socket:[\(fields[9])]"
        }
        let descriptors = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/fd")) ?? []
        return descriptors.contains { descriptor in
            let target = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(pid)/fd/\(descriptor)")
            return target.map(listening.contains) ?? false
        }
    }

    @Test("What is refused is told with its reasons, whether it is waited for or not", arguments: [[], ["--no-wait"]])
    func refusedInWords(options: [String]) throws {
        let daemon = try Daemon("{ services: { other: { command: ['sleep', '1000'] } } }")
        try write(daemon, "{ services: { other: { comand: 'sleep 1000' } } }")
        let result = try Program.run(Daemon.supctl, ["--socket", daemon.socket, "apply"] + options)
        #expect(result.code == 1)
        #expect(result.output.contains("is not valid; nothing has changed"), "\(result.output)")
        #expect(result.output.contains("did you mean \"command\""), "\(result.output)")
    }

    @Test("A front of supd's own in the way is named, and what to do about it")
    func ownFrontInTheWay() throws {
        let port = try freePort()
        let daemon = try Daemon(manifest(port.port, ""))
        try write(
            daemon,
            manifest(port.port, "").replacingOccurrences(
                of: "listen: \(port.port)", with: "listen: '0.0.0.0:\(port.port)'"))
        let result = try daemon.ctl("apply")
        #expect(result.code == 1)
        #expect(
            result.output.contains(
                "supd's own front 127.0.0.1:\(port.port) is in the way: apply a manifest without it first"),
            "\(result.output)")
        // That would be supd's own keeper, and with it all services.
        #expect(!result.output.contains("end it"), "\(result.output)")
    }

    @Test("SIGKILL of the supervisor in the middle of a rollout: it is carried on, and no request fails")
    func supervisorKilled() throws {
        let port = try freePort()
        let daemon = try Daemon(manifest(port.port, "replicas: 2"))
        let before = try daemon.pids()
        let clients = SteadyClients(4, port: port.port)
        try clients.serve(20)
        // Before the file is there no new instance is ready: the rollout is under way when the supervisor is killed.
        let release = daemon.directory.file("release")
        try write(
            daemon,
            manifest(port.port, "replicas: 2, environment: { V: '2' }").replacingOccurrences(
                of: "http: '/'", with: "command: ['test', '-e', '\(release)']"))
        let apply = try Program(Daemon.supctl, ["--socket", daemon.socket, "apply"])
        try eventually("the new one beside the old ones") { try daemon.pids()["x/3"] != nil ? true : nil }
        let supervisor = try daemon.role("supervisor")
        kill(supervisor, SIGKILL)
        _ = try apply.wait()
        _ = try daemon.directory.write("release", "")
        try eventually("the end of the rollout") { () -> Bool? in
            guard let now = try? daemon.pids(), now["x/3"] == nil, let one = now["x/1"], let two = now["x/2"] else {
                return nil
            }
            return one != before["x/1"] && two != before["x/2"] ? true : nil
        }
        try clients.serve(20)
        #expect(try clients.end().map(\.description) == [])
        // The process of the last one beside the others is gone a moment before the rollout is over.
        let again = try eventually("the rollout's own end") { () -> Program.Result? in
            let result = try daemon.ctl("apply")
            return result.output.contains("an earlier apply is under way: it waits for x/3") ? nil : result
        }
        #expect(again.output.contains("nothing to change"), "\(again.output)\n\(daemon.keeper.output)")
        #expect(try daemon.pids()["other/1"] == before["other/1"])
    }
}
