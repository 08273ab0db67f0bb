import ControlAPI
import Foundation
import Glibc
import TestSupport
import Testing

/// `supctl scale` with real processes.
@Suite("Scaling what runs", .timeLimit(.minutes(15)))
struct ScalingTests {
    private func write(_ daemon: Daemon, _ text: String) throws {
        _ = try daemon.directory.write("supd.json5", text.replacingOccurrences(of: "@demo@", with: Daemon.demoService))
    }

    private func manifest(_ port: UInt16, _ fields: String) -> String {
        """
        { services: { x: { command: ['@demo@', '--quiet'], listen: \(port), ready: { http: '/' }, \(fields) },
                      other: { command: ['sleep', '1000'] }, job: { kind: 'task', command: ['true'] } } }
        """
    }

    private func scaled(_ daemon: Daemon) throws -> (replicas: Int, from: Int?, running: Int) {
        guard let service = try daemon.status("x").services.first else { throw TestFailure("no service x") }
        return (service.replicas, service.scaledFrom, service.instances.count { $0.pid != nil })
    }

    @Test("Instances are added and drained under load; no request fails, nothing else is touched")
    func underLoad() throws {
        let port = try freePort()
        let daemon = try Daemon(manifest(port.port, "replicas: 1"))
        let before = try daemon.pids()
        let clients = SteadyClients(4, port: port.port)
        try clients.serve(20)
        let up = try daemon.ctl("scale", "x=5")
        #expect(up.code == 0, "\(up.output); \(daemon.keeper.output)")
        #expect(up.output.contains("replicas: 1 → 5"), "\(up.output)")
        #expect(up.output.contains("x=5: 5 instances, the manifest says 1 in "), "\(up.output)")
        try clients.serve(20)
        #expect(try daemon.pids().count == before.count + 4)
        #expect(try daemon.ctl("status").output.contains("scaled to 5, the manifest says 1"))
        let down = try daemon.ctl("scale", "x=1")
        #expect(down.code == 0 && down.output.contains("1 instance, as the manifest says"), "\(down.output)")
        try clients.serve(20)
        #expect(try clients.end().map(\.description) == [])
        #expect(try daemon.pids() == before)
        #expect(try scaled(daemon) == (1, nil, 1))
        let again = try daemon.ctl("scale", "x=1")
        #expect(again.code == 0 && again.output.contains("nothing to change"), "\(again.output)")
        try daemon.keeper.waitForOutput("scale x: done")
    }

    @Test("What is scaled survives supervisor and supd, until the manifest says another number")
    func kept() throws {
        let port = try freePort()
        let daemon = try Daemon(manifest(port.port, "replicas: 2"))
        #expect(try daemon.ctl("scale", "x=3").code == 0)
        let pids = try daemon.pids()
        // The manifest is what it was: there is nothing to do.
        let same = try daemon.ctl("apply")
        #expect(same.code == 0 && same.output.contains("nothing to change"), "\(same.output)")
        let supervisor = try daemon.role("supervisor")
        kill(supervisor, SIGKILL)
        try daemon.waitForAnother("supervisor", than: supervisor)
        #expect(try daemon.pids() == pids)
        #expect(try scaled(daemon) == (3, 2, 3))

        #expect(try daemon.ctl("shutdown").code == 0)
        _ = try daemon.keeper.wait()
        try daemon.startAgain()
        try daemon.keeper.waitForOutput("everything is up")
        #expect(daemon.keeper.output.contains("x: scaled to 3 by \"supctl scale\", the manifest says 2"))
        #expect(try scaled(daemon) == (3, 2, 3))

        // Another change keeps it; another number of replicas does not, and that is said.
        try write(daemon, manifest(port.port, "replicas: 2, stop: { timeout: '4s' }"))
        let other = try daemon.ctl("apply")
        #expect(other.code == 0 && !other.output.contains("replicas"), "\(other.output)")
        #expect(try scaled(daemon) == (3, 2, 3))
        try write(daemon, manifest(port.port, "replicas: 1"))
        let shown = try daemon.ctl("apply", "--dry-run")
        #expect(shown.output.contains("x was scaled to 3 when the manifest said 2; it says 1 now"), "\(shown.output)")
        let won = try daemon.ctl("apply")
        #expect(won.code == 0 && won.output.contains("replicas: 3 → 1"), "\(won.output)")
        #expect(won.output.contains("x was scaled to 3 when the manifest said 2; it says 1 now"), "\(won.output)")
        #expect(try scaled(daemon) == (1, nil, 1))
        try eventually("the file to go") {
            FileManager.default.fileExists(atPath: daemon.directory.file("state/scaling.json")) ? nil : true
        }
    }

    @Test("At a start the manifest wins if it says another number; a broken file is told and ignored")
    func start() throws {
        let port = try freePort()
        let daemon = try Daemon(manifest(port.port, "replicas: 1"))
        #expect(try daemon.ctl("scale", "x=2").code == 0)
        for isBroken in [false, true] {
            #expect(try daemon.ctl("shutdown").code == 0)
            _ = try daemon.keeper.wait()
            if isBroken {
                _ = try daemon.directory.write("state/scaling.json", "{")
            } else {
                try write(daemon, manifest(port.port, "replicas: 3"))
            }
            try daemon.startAgain()
            try daemon.keeper.waitForOutput("everything is up")
            let broken = "scaling.json: it is not what supd has written"
            let text = isBroken ? broken : "scaled to 2 when the manifest said 1; it says 3"
            #expect(daemon.keeper.output.contains(text), "\(daemon.keeper.output)")
            #expect(try scaled(daemon) == (3, nil, 3))
        }
    }

    @Test("What makes no sense is refused in words, and changes nothing")
    func refused() throws {
        let port = try freePort()
        let held = try testListener(listens: true)
        let daemon = try Daemon(
            manifest(port.port, "replicas: 1").replacingOccurrences(
                of: "job:",
                with: "fixed: { command: ['sleep', '1000'], replicas: 0, ready: 'started', port: \(held.port) }, job:"))
        let before = try daemon.pids()
        let cases: [([String], Int32, String)] = [
            (["x=1001"], 1, "x cannot be scaled to 1001: a service has 0 to 1000 instances, not 1001"),
            (["job=2"], 1, "job cannot be scaled to 2: a task runs to its end"),
            (["x/1=2"], 2, "x/1 is an instance: scale its service, x=N"),
            (["othre=2"], 4, "there is no service \"othre\"; did you mean \"other\"?"),
            (["x=2", "x*=3"], 2, "x is to have 2 and 3 instances"),
            (["other=2", "job=2"], 1, "job cannot be scaled to 2"),
            (
                ["all=2"], 1,
                "all means job as well, a task, which is not scaled; name the services: fixed=2 other=2 x=2"
            ),
            (["x=02"], 2, "\"x=02\" is not of the form api=5; a number does not begin with 0, did you mean x=2?"),
            (["fixed=1"], 1, "port \(held.port), which fixed/1 would have, is in use by pid \(getpid())"),
        ]
        for (arguments, code, text) in cases {
            let result = try Program.run(Daemon.supctl, ["--socket", daemon.socket, "scale"] + arguments)
            #expect(result.output.contains(text), "\(result.output)")
            #expect(result.code == code, "\(result.output)")
        }
        withExtendedLifetime(held.socket) {}
        #expect(try daemon.pids() == before)
        #expect(!FileManager.default.fileExists(atPath: daemon.directory.file("state/scaling.json")))
    }

    @Test("Scales go on beside each other and beside an apply that waits; what is not ready in time is told")
    func underWay() throws {
        let directory = try TemporaryDirectory()
        let gate = directory.file("gate")
        _ = try directory.write("gate", "")
        let text = """
            { services: { x: { command: ['sleep', '1000'], ready: { command: ['test', '-e', '\(gate)'] },
                               restart: { initialDelay: '20ms' } },
                          y: { command: ['sleep', '1000'], ready: { command: ['test', '-e', '\(gate)'], timeout: '300ms' },
                               restart: { initialDelay: '20ms', limit: { starts: 1, within: '60s' } } },
                          z: { command: ['sleep', '1000'] } } }
            """
        let daemon = try Daemon(text, in: directory)
        try FileManager.default.removeItem(atPath: gate)
        let waiting = try Program(Daemon.supctl, ["--socket", daemon.socket, "scale", "x=2"])
        try waiting.waitForOutput("x/2")
        #expect(try daemon.ctl("scale", "z=2").code == 0)
        #expect(try daemon.ctl("apply").output.contains("nothing to change"))
        // An apply that waits as well holds up no other service.
        try write(
            daemon,
            text.replacingOccurrences(
                of: "z: {",
                with: "w: { command: ['sleep', '1000'], ready: { command: ['test', '-e', '\(gate)'] } }, z: {"))
        let applying = try Program(Daemon.supctl, ["--socket", daemon.socket, "apply"])
        try applying.waitForOutput("w/1")
        #expect(try daemon.ctl("apply").output.contains("an earlier apply is under way: it waits for w/1"))
        #expect(try daemon.ctl("scale", "z=3").code == 0)
        #expect(try daemon.status("z").services.first?.ready == 3)
        let later = try Program(Daemon.supctl, ["--socket", daemon.socket, "scale", "x=3"])
        #expect(try waiting.wait().code == 1)
        #expect(waiting.output.contains("superseded by a later scale"), "\(waiting.output)")
        _ = try directory.write("gate", "")
        #expect(try later.wait().code == 0)
        _ = try applying.wait()
        try FileManager.default.removeItem(atPath: gate)
        let failed = try daemon.ctl("scale", "y=2")
        #expect(failed.code == 1 && failed.output.contains("y/2"), "\(failed.output)")
        // It is what was asked for all the same: the reason may pass.
        #expect(try daemon.status("y").services.first?.scaledFrom == 1)
    }

    @Test("If it cannot be kept it is not done")
    func unkept() throws {
        let port = try freePort()
        let daemon = try Daemon(manifest(port.port, "replicas: 1"))
        try FileManager.default.createDirectory(
            atPath: daemon.directory.file("state/scaling.json.new"), withIntermediateDirectories: false)
        let result = try daemon.ctl("scale", "x=2")
        #expect(result.code == 1)
        #expect(result.output.contains("nothing has changed: it cannot be kept"), "\(result.output)")
        #expect(try scaled(daemon) == (1, nil, 1))
    }
}
