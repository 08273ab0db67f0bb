import ControlAPI
import Foundation
import Glibc
import Platform
import TestSupport
import Testing

/// What clients, and the services themselves, see of `supctl restart`.
@Suite("Restarting", .timeLimit(.minutes(15)))
struct RestartTests {
    private static let beginning = "GET / HTTP/1.1\r\nHost: localhost\r\n"
    private static let end = "Connection: close\r\n\r\n"

    private func service(_ daemon: Daemon) throws -> ServiceStatus {
        try #require(try daemon.status("x").services.first)
    }

    /// A client that has begun a request, at an instance.
    private func begin(_ port: UInt16, _ daemon: Daemon, open: UInt64) throws -> LoopbackConnection {
        let client = try LoopbackConnection(port: port)
        try client.send(Array(Self.beginning.utf8))
        try eventually("it to be connected") {
            try service(daemon).instances.compactMap(\.flow?.connections).reduce(0, +) == open ? true : nil
        }
        return client
    }

    /// The client ends its request, takes the answer, and closes: only then is its connection done.
    private func finish(_ client: consuming LoopbackConnection?) throws -> String {
        guard let connection = client.take() else { throw TestFailure("no such client") }
        try connection.send(Array(Self.end.utf8))
        return try HTTP.rest(of: connection)
    }

    @Test("In place, an open connection is let finish by the old process; a new one waits and is served by the new one")
    func inPlace() throws {
        let port = try freePort()
        let daemon = try Daemon(
            """
            { services: { x: { command: ['@demo@', '--quiet'], listen: \(port.port), deploy: { surge: 0 },
                               balance: { queueTimeout: '1m', drainTimeout: '1m' } } } }
            """)
        let old = try #require(daemon.pids()["x/1"])
        var open = Optional(try begin(port.port, daemon, open: 1))
        let restart = try Program(Daemon.supctl, ["--socket", daemon.socket, "restart", "x"])
        try eventually("draining") { try service(daemon).instances[0].state == "draining" ? true : nil }
        let waiting = try LoopbackConnection(port: port.port)
        try eventually("the new connection to wait") { try service(daemon).fronts?.first?.queued == 1 ? true : nil }
        try waiting.send(Array((Self.beginning + Self.end).utf8))
        // Nothing goes on before the open one is done.
        #expect(try service(daemon).instances[0].pid == old)
        #expect(!restart.ended())
        #expect(try waiting.receive() == .nothing)
        let last = try finish(open.take())
        #expect(last.hasPrefix("HTTP/1.1 200 ") && last.contains("\"pid\":\(old),"), "\(last)")
        let first = try HTTP.rest(of: waiting)
        let result = try restart.wait()
        #expect(result.code == 0, "\(result.output)")
        let new = try #require(daemon.pids()["x/1"])
        #expect(new != old)
        #expect(first.hasPrefix("HTTP/1.1 200 ") && first.contains("\"pid\":\(new),"), "\(first)")
        #expect(try service(daemon).fronts?.first?.turnedAway == 0)
        #expect(try service(daemon).instances[0].lastExit?.reason.contains("KILL") == false)
    }

    @Test("In place, a connection that does not finish is cut after drainTimeout")
    func cut() throws {
        let port = try freePort()
        let daemon = try Daemon(
            """
            { services: { x: { command: ['@demo@', '--quiet'], listen: \(port.port), deploy: { surge: 0 },
                               balance: { queueTimeout: '1m', drainTimeout: '300ms' } } } }
            """)
        let old = try #require(daemon.pids()["x/1"])
        let open = try begin(port.port, daemon, open: 1)
        let began = monotonicNanoseconds()
        #expect(try daemon.ctl("restart", "x").code == 0)
        #expect(monotonicNanoseconds() - began >= 300_000_000, "not before")
        #expect(try HTTP.rest(of: open) == "")
        #expect(try daemon.pids()["x/1"] != old)
        #expect(try HTTP.get(port: port.port, "/").status == 200)
    }

    @Test("Of several, one at a time is replaced once its own connections are done, and new ones go to the others")
    func rolling() throws {
        let port = try freePort()
        let daemon = try Daemon(
            """
            { services: { x: { command: ['@demo@', '--quiet'], replicas: 2, listen: \(port.port),
                               balance: { queueTimeout: '1m', drainTimeout: '1m' } } } }
            """)
        let before = try daemon.pids()
        var clients: [String: LoopbackConnection] = [:]
        for count in 1...2 {
            let client = try begin(port.port, daemon, open: UInt64(count))
            let busy = try service(daemon).instances.first { $0.flow?.connections == 1 && clients[$0.id] == nil }
            clients[try #require(busy).id] = client
        }
        let restart = try Program(Daemon.supctl, ["--socket", daemon.socket, "restart", "x"])
        for _ in 0..<2 {
            let draining = try eventually("one to be draining") {
                try service(daemon).instances.first { $0.state == "draining" }
            }
            #expect(try service(daemon).instances.count { $0.state == "draining" } == 1)
            for _ in 0..<3 {
                let answer = try HTTP.get(port: port.port, "/")
                #expect(answer.status == 200 && !answer.body.contains("\"pid\":\(draining.pid ?? 0),"))
            }
            #expect(!restart.ended())
            let answer = try finish(clients.removeValue(forKey: draining.id))
            #expect(answer.contains("\"pid\":\(before[draining.id] ?? 0),"), "\(answer)")
            try eventually("its replacement") {
                let now = try service(daemon).instances.first { $0.id == draining.id }
                return now?.ready == true && now?.pid != draining.pid ? true : nil
            }
        }
        #expect(try restart.wait().code == 0)
        #expect(try Set(daemon.pids().values).isDisjoint(with: before.values))
    }

    @Test("Environment files are read at every start anew, a restart's and one after an exit")
    func environmentFiles() throws {
        let directory = try TemporaryDirectory()
        let path = try directory.write("x.env", "GREETING=one\n")
        // It has been up for long enough to be replaced at once.
        let daemon = try Daemon(
            """
            { services: { x: { command: ['/bin/sh', '-c', 'echo $$GREETING; exec sleep 1000'],
                               environmentFiles: ['\(path)'], restart: { resetAfter: '1ms', initialDelay: '10ms' } } } }
            """, in: directory)
        func greetings(_ expected: [String]) throws {
            try eventually("\(expected), not \(daemon.logLines("x"))") {
                daemon.logLines("x") == expected.map { "stdout F \($0)" } ? true : nil
            }
        }
        try greetings(["one"])
        _ = try directory.write("x.env", "GREETING=two\n")
        #expect(try daemon.ctl("restart", "x").code == 0)
        try greetings(["one", "two"])
        _ = try directory.write("x.env", "GREETING=three\n")
        kill(try #require(daemon.pids()["x/1"]), SIGKILL)
        try greetings(["one", "two", "three"])
        // One that is gone is the reason of a failed start; once it is back, so is the service.
        try FileManager.default.removeItem(atPath: path)
        kill(try #require(daemon.pids()["x/1"]), SIGKILL)
        try eventually("the failed start") {
            try service(daemon).instances[0].lastExit?.reason.contains(path) == true ? true : nil
        }
        _ = try directory.write("x.env", "GREETING=four\n")
        try greetings(["one", "two", "three", "four"])
    }
}
