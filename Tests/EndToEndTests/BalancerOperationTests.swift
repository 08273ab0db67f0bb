import ControlAPI
import Foundation
import Glibc
import Platform
import TestSupport
import Testing

/// What operators do with the balancer.
@Suite("Operating the balancer", .timeLimit(.minutes(15)))
struct BalancerOperationTests {
    private static func manifest(_ listen: String, balance: String = "") -> String {
        """
        { services: { api: {
            command: ["@demo@", "--quiet"], replicas: 2, listen: \(listen), ready: { http: "/healthz" }, \(balance)
        }, worker: { command: "sleep 1000" } } }
        """
    }

    private func balancer(_ daemon: Daemon) throws -> BalancerReport {
        // With a supervisor that is just starting there is nobody to ask.
        try eventually("a report") {
            let result = try daemon.ctl("balancer", "--json")
            if result.code == 5 { return nil }
            guard let report = try? JSONDecoder().decode(BalancerReport.self, from: Data(result.output.utf8)) else {
                throw TestFailure("no report: exit code \(result.code), \(result.output)")
            }
            return report
        }
    }

    /// How many connections an instance has now.
    private func open(_ daemon: Daemon, _ id: String) throws -> UInt64 {
        try balancer(daemon).services[0].instances.first { $0.id == id }?.counters.connections ?? 0
    }

    @Test("drain waits for open connections, gives no new ones, and undrain takes it back")
    func drain() throws {
        let front = try freePort()
        let daemon = try Daemon(Self.manifest("\(front.port)"))
        // Connections of clients that say nothing: one at each instance.
        var clients = try (0..<2).map { _ in try LoopbackConnection(port: front.port) }
        _ = try eventually("a connection at each") {
            try ["api/1", "api/2"].allSatisfy { try open(daemon, $0) == 1 } ? true : nil
        }
        let waiting = try Program(Daemon.supctl, ["--socket", daemon.socket, "drain", "api/2"])
        try waiting.waitForOutput("drain: api/2: 1 connection open")
        #expect(!waiting.ended())
        for _ in 0..<4 { #expect(try HTTP.get(port: front.port, "/").status == 200) }
        let counters = try balancer(daemon).services[0].instances
        #expect(counters.map(\.drained) == [false, true])
        #expect(counters.last?.counters.connectionsTotal == 1)
        #expect(try daemon.status("api").services[0].instances.map(\.drained) == [false, true])
        #expect(try daemon.ctl("status").output.contains("running, drained"))
        // It survives the supervisor.
        let supervisor = try daemon.role("supervisor")
        kill(supervisor, SIGKILL)
        try eventually("another supervisor") {
            let now = try? daemon.role("supervisor")
            return now != nil && now != supervisor ? true : nil
        }
        #expect(try daemon.status("api").services[0].instances.map(\.drained) == [false, true])
        let late = try daemon.ctl("drain", "api/2", "--timeout", "300ms")
        #expect(late.code == 1)
        #expect(late.output.contains("cannot drain in time"))
        clients = []
        let done = try daemon.ctl("drain", "api/2")
        #expect(done.code == 0)
        // Perhaps after a line about connections whose end the balancer has yet to see.
        #expect(done.output.contains("api/2: drained 1 instance in "))
        // The last one: it is done, and said what it means.
        let last = try daemon.ctl("drain", "api/1")
        #expect(last.code == 0)
        #expect(last.output.contains("no instance of api is left: new connections wait for one"))
        #expect(try daemon.ctl("undrain", "api").code == 0)
        #expect(try HTTP.get(port: front.port, "/").status == 200)
        #expect(try daemon.status("api").services[0].instances.map(\.drained) == [false, false])
        let worker = try daemon.ctl("drain", "worker")
        #expect(worker.code == 1)
        #expect(worker.output.contains("no service named has a front"))
        withExtendedLifetime(clients) {}
    }

    @Test("a drained instance stays so through its exit")
    func drainedExit() throws {
        let front = try freePort()
        let daemon = try Daemon(Self.manifest("\(front.port)"))
        let before = try daemon.pids()
        #expect(try daemon.ctl("drain", "api/2").code == 0)
        kill(try #require(before["api/2"]), SIGKILL)
        try eventually("another process") {
            let instance = try daemon.status("api").services[0].instances[1]
            return instance.ready && instance.pid != before["api/2"] ? true : nil
        }
        for _ in 0..<4 { #expect(try HTTP.get(port: front.port, "/").status == 200) }
        let instance = try #require(try balancer(daemon).services[0].instances.last)
        #expect(instance.drained && instance.counters.connectionsTotal == 0)
    }

    @Test("a drain is done although the supervisor that was told so is gone")
    func drainedUnseen() throws {
        let front = try freePort()
        let daemon = try Daemon(Self.manifest("\(front.port)"))
        // The balancer says at once that there is no connection, and says it once; the snapshot may be from before.
        let supervisor = try daemon.role("supervisor")
        #expect(try daemon.ctl("drain", "api", "--no-wait").code == 0)
        kill(supervisor, SIGKILL)
        try eventually("another supervisor") {
            let now = try? daemon.role("supervisor")
            return now != nil && now != supervisor ? true : nil
        }
        #expect(try daemon.ctl("drain", "api", "--timeout", "30s").code == 0)
    }

    @Test("a front written as a map serves like any other, and its backlog is the kernel's")
    func listenMap() throws {
        let front = try freePort()
        let directory = try TemporaryDirectory()
        let daemon = try Daemon(
            Self.manifest(
                "[{ address: \(front.port), backlog: 77, keepAlive: '5m' }, "
                    + "{ address: 'unix:\(directory.file("api.sock"))', maxConnections: 10 }]",
                balance: "balance: { algorithm: 'roundrobin', finTimeout: '5s' }"))
        #expect(try HTTP.get(port: front.port, "/").status == 200)
        let report = try balancer(daemon)
        #expect(
            report.services.map { $0.fronts.map(\.address) } == [
                ["127.0.0.1:\(front.port)", "unix:\(directory.file("api.sock"))"]
            ])
        let table = try daemon.ctl("balancer")
        #expect(table.code == 0 && table.output.contains("api 127.0.0.1:\(front.port)"))
        // Of a listening socket, ss shows the backlog where others show what is to be sent.
        #expect(try backlog(of: front.port) == 77)
        // Nothing of a service without a front.
        #expect(try daemon.ctl("balancer", "worker").output == "no fronts\n")
        #expect(try daemon.ctl("balancer", "wrker").code == 4)
    }

    private func backlog(of port: UInt16) throws -> Int? {
        guard FileManager.default.isExecutableFile(atPath: "/usr/bin/ss") else { return 77 }
        let result = try Program.run("/usr/bin/ss", ["-Hltn", "src", "127.0.0.1:\(port)"])
        return result.output.split(separator: " ").dropFirst(2).first.flatMap { Int($0) }
    }

    @Test("lines about sessions reach their file across SIGKILL of the supervisor and of the balancer, each once")
    func sessionLog() throws {
        let front = try freePort()
        let daemon = try Daemon(Self.manifest("\(front.port)", balance: "balance: { log: true }"))
        let pipe = try sessionPipe(of: daemon.keeper.pid)
        var written = 0
        // What the balancer will say, said in its place, so that each line is known.
        func write() throws {
            written += 1
            let bytes = ByteBuffer()
            bytes.append(Array("test \(written)\n".utf8))
            _ = try bytes.write(0..<bytes.count, to: pipe)
        }
        for role in ["supervisor", "balancer", "supervisor"] {
            for _ in 0..<20 { try write() }
            let pid = try daemon.role(role)
            kill(pid, SIGKILL)
            for _ in 0..<20 { try write() }
            try eventually("another \(role)") {
                let now = try? daemon.role(role)
                return now != nil && now != pid ? true : nil
            }
        }
        let path = daemon.directory.file("log/api/balancer.log")
        let lines = try eventually("all lines") {
            let text = (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
            let lines = text.split(separator: "\n").compactMap {
                $0.firstRange(of: " stdout F test ").map { range in
                    text[range.upperBound...].prefix { $0 != "\n" }
                }
            }
            return lines.count >= written ? lines : nil
        }
        #expect(lines.map(String.init) == (1...written).map(String.init))
        let shown = try daemon.ctl("logs", "--sessions", "api")
        #expect(shown.output.split(separator: "\n").count { $0.contains(" test ") } == written)
        #expect(try !daemon.ctl("logs", "api").output.contains(" test "))
    }

    @Test("every session has its line, also of those that end while there is no supervisor")
    func sessions() throws {
        let front = try freePort()
        let daemon = try Daemon(Self.manifest("\(front.port)", balance: "balance: { log: true }"))
        let path = daemon.directory.file("log/api/balancer.log")
        func lines() -> [Substring] {
            ((try? String(contentsOfFile: path, encoding: .utf8)) ?? "").split(separator: "\n")
        }
        var requests = 0
        func get() throws {
            #expect(try HTTP.get(port: front.port, "/").status == 200)
            requests += 1
        }
        for role in ["supervisor", "balancer", "supervisor"] {
            for _ in 0..<10 { try get() }
            // What a balancer has not written yet ends with it.
            if role == "balancer" { try eventually("all lines") { lines().count == requests ? true : nil } }
            let pid = try daemon.role(role)
            kill(pid, SIGKILL)
            for _ in 0..<10 { try get() }
            try eventually("another \(role)") {
                let now = try? daemon.role(role)
                return now != nil && now != pid ? true : nil
            }
        }
        try eventually("all lines") { lines().count == requests ? true : nil }
        #expect(lines().allSatisfy { $0.contains(" stdout F ") && $0.contains("front=127.0.0.1:\(front.port)") })
        let ends = try balancer(daemon).services[0].fronts[0].counters.ends
        #expect(ends["--", default: 0] > 0)
    }

    /// The writing end that the keeper holds: the only pipe that it could write to, and would not wait for.
    private func sessionPipe(of keeper: Int32) throws -> Descriptor {
        for name in try FileManager.default.contentsOfDirectory(atPath: "/proc/\(keeper)/fd") {
            let path = "/proc/\(keeper)/fd/\(name)"
            let target = (try? FileManager.default.destinationOfSymbolicLink(atPath: path)) ?? ""
            guard target.hasPrefix("pipe:"), let number = Int(name), number > 2 else { continue }
            let info = (try? String(contentsOfFile: "/proc/\(keeper)/fdinfo/\(name)", encoding: .utf8)) ?? ""
            let flags = info.split(separator: "\n").first { $0.hasPrefix("flags:") }?.split(separator: "\t").last
            guard let flags, let bits = Int32(flags, radix: 8), bits & (O_ACCMODE | O_NONBLOCK) == O_WRONLY | O_NONBLOCK
            else { continue }
            let descriptor = Glibc.open(path, O_WRONLY | O_CLOEXEC)
            if descriptor >= 0 { return Descriptor(owning: descriptor) }
        }
        throw TestFailure("the keeper holds no pipe to write to")
    }
}
