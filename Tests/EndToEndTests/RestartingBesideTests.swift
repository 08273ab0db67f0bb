import ControlAPI
import Foundation
import Glibc
import TestSupport
import Testing

/// `supctl restart` of services of which another instance may stand in.
@Suite("Restarting with others standing in", .timeLimit(.minutes(15)))
struct RestartingBesideTests {
    private func manifest(_ port: UInt16, _ fields: String, program: String = "'@demo@', '--quiet'") -> String {
        """
        { services: { x: { command: [\(program)], listen: \(port), ready: { http: '/' },
                           restart: { initialDelay: '50ms' }, \(fields) } } }
        """
    }

    @Test("An only instance is restarted under load: no request fails, and none waits for it")
    func only() throws {
        let port = try freePort()
        // A request that waits for an instance is turned away at once.
        let daemon = try Daemon(manifest(port.port, "balance: { queueTimeout: '1ms' }"))
        let clients = SteadyClients(4, port: port.port)
        try clients.serve(20)
        for _ in 0..<3 {
            let before = try daemon.pids()
            let result = try daemon.ctl("restart", "x")
            #expect(result.code == 0 && result.output.contains("restarted 1 instance"), "\(result.output)")
            #expect(try daemon.pids()["x/1"] != before["x/1"])
        }
        try clients.serve(20)
        #expect(try clients.end().map(\.description) == [])
        let front = try #require(try daemon.status("x").services.first?.fronts?.first)
        #expect(front.turnedAway == 0)
        try eventually("those that stood in to be gone") { try daemon.pids().keys.sorted() == ["x/1"] ? true : nil }
    }

    @Test("One that does not come up leaves the old ones, and the command says why with its last lines")
    func broken() throws {
        let port = try freePort()
        let directory = try TemporaryDirectory()
        let broken = directory.file("broken")
        let daemon = try Daemon(
            manifest(
                port.port, "replicas: 2",
                program: """
                    'sh', '-c', 'if test -e \(broken); then echo the disk is on fire; exit 7; fi; exec @demo@ --quiet'
                    """), in: directory)
        let before = try daemon.pids()
        let clients = SteadyClients(2, port: port.port)
        try clients.serve(10)
        _ = try directory.write("broken", "")
        let result = try daemon.ctl("restart", "x")
        #expect(result.code == 1)
        #expect(
            result.output.contains("x/3 has failed 3 times: exited with code 7; what ran before goes on"),
            "\(result.output)")
        #expect(result.output.contains("x/3 | the disk is on fire"), "\(result.output)")
        try eventually("no third") { try daemon.pids().keys.sorted() == ["x/1", "x/2"] ? true : nil }
        #expect(try daemon.pids() == before)
        // Once it is mended, one of them by its name.
        try FileManager.default.removeItem(atPath: broken)
        #expect(try daemon.ctl("restart", "x/2").code == 0)
        let after = try daemon.pids()
        #expect(after["x/1"] == before["x/1"] && after["x/2"] != before["x/2"])
        try clients.serve(10)
        #expect(try clients.end().map(\.description) == [])
    }

    @Test(
        "SIGKILL of the supervisor, or of the balancer, in the middle: it is carried on",
        arguments: ["supervisor", "balancer"])
    func roleKilled(role: String) throws {
        let port = try freePort()
        let directory = try TemporaryDirectory()
        let release = try directory.write("release", "")
        let daemon = try Daemon(
            manifest(port.port, "replicas: 2").replacingOccurrences(
                of: "http: '/'", with: "command: ['test', '-e', '\(release)']"), in: directory)
        let before = try daemon.pids()
        // Before the file is there again nothing new is ready.
        try FileManager.default.removeItem(atPath: release)
        let restart = try Program(Daemon.supctl, ["--socket", daemon.socket, "restart", "x"])
        try eventually("the new one beside the old ones") { try daemon.pids()["x/3"] != nil ? true : nil }
        #expect(try daemon.pids().filter { $0.key != "x/3" } == before)
        kill(try daemon.role(role), SIGKILL)
        _ = try directory.write("release", "")
        try eventually("the end of the restart") { () -> Bool? in
            guard let now = try? daemon.pids(), now["x/3"] == nil, let one = now["x/1"], let two = now["x/2"] else {
                return nil
            }
            return one != before["x/1"] && two != before["x/2"] ? true : nil
        }
        let result = try restart.wait()
        #expect(role == "supervisor" || result.code == 0, "\(result.output)")
        #expect(try HTTP.get(port: port.port, "/").status == 200)
    }

    @Test("A stop ends it, and is done when also the one beside the others is gone")
    func stopped() throws {
        let port = try freePort()
        let directory = try TemporaryDirectory()
        let release = try directory.write("release", "")
        let daemon = try Daemon(
            manifest(port.port, "").replacingOccurrences(
                of: "http: '/'", with: "command: ['test', '-e', '\(release)']"), in: directory)
        try FileManager.default.removeItem(atPath: release)
        let restart = try Program(Daemon.supctl, ["--socket", daemon.socket, "restart", "x"])
        try eventually("the new one beside the old one") { try daemon.pids()["x/2"] != nil ? true : nil }
        #expect(try daemon.ctl("stop", "x").code == 0)
        #expect(try daemon.pids().isEmpty)
        let result = try restart.wait()
        #expect(result.code == 1 && result.output.contains("superseded by a later stop"), "\(result.output)")
    }
}
