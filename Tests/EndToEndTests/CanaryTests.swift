import ControlAPI
import Foundation
import Glibc
import TestSupport
import Testing

/// `deploy.canary` with real processes.
@Suite("New instances on trial", .timeLimit(.minutes(15)))
struct CanaryTests {
    private func manifest(
        _ port: UInt16, version: Int, hold: String = "1h", program: String = "'@demo@', '--quiet'", fields: String = ""
    ) -> String {
        """
        { services: { x: { command: [\(program)], listen: \(port), replicas: 2, environment: { V: '\(version)' },
                           deploy: { canary: { replicas: 1, hold: '\(hold)' } }, \(fields) } } }
        """
    }

    private func write(_ daemon: Daemon, _ text: String) throws {
        _ = try daemon.directory.write("supd.json5", text.replacingOccurrences(of: "@demo@", with: Daemon.demoService))
    }

    private func detail(_ daemon: Daemon, _ instance: String) throws -> String? {
        try daemon.status("x").services.first?.instances.first { $0.id == instance }?.detail
    }

    private func waitForTrial(_ daemon: Daemon) throws {
        try eventually("x/3 on trial") {
            try detail(daemon, "x/3")?.hasPrefix("on trial for another") == true ? true : nil
        }
    }

    @Test("In silence it is promoted when its time is over, and gets its share before that")
    func promoted() throws {
        let port = try freePort()
        let daemon = try Daemon(manifest(port.port, version: 1))
        let before = try daemon.pids()
        let clients = SteadyClients(4, port: port.port)
        try write(daemon, manifest(port.port, version: 2, hold: "3s"))
        let plan = try daemon.ctl("apply", "--dry-run")
        #expect(plan.output.contains("x  rolling  2 instances, after a canary of 1 for 3 s\n"), "\(plan.output)")
        let apply = try Program(Daemon.supctl, ["--socket", daemon.socket, "apply"])
        try waitForTrial(daemon)
        #expect(try daemon.pids().filter { $0.key != "x/3" } == before)
        try clients.serve(30)
        let canary = try #require(try daemon.status("x").services.first?.instances.first { $0.id == "x/3" })
        #expect(canary.flow?.connectionsTotal ?? 0 > 0)
        let result = try apply.wait()
        #expect(result.code == 0, "\(result.output)")
        #expect(result.output.contains("x: x/3 is on trial for 3 s"), "\(result.output)")
        try clients.serve(20)
        #expect(try clients.end().map(\.description) == [])
        let after = try daemon.pids()
        #expect(
            after.keys.sorted() == ["x/1", "x/2"] && after["x/1"] != before["x/1"] && after["x/2"] != before["x/2"])
    }

    @Test("One that ends goes back, and so does one that refuses connections", arguments: ["ends", "refuses"])
    func worse(fault: String) throws {
        let port = try freePort()
        let directory = try TemporaryDirectory()
        let end = directory.file("end")
        let ready = "ready: { command: ['true'] }"
        let daemon = try Daemon(manifest(port.port, version: 1, fields: ready), in: directory)
        let before = try daemon.pids()
        let program =
            fault == "ends"
            ? "'sh', '-c', '@demo@ --quiet & until test -e \(end); do sleep 0.05; done; echo it burns; kill $$!; exit 3'"
            : "'sh', '-c', 'echo it burns; exec sleep 1000'"
        try write(daemon, manifest(port.port, version: 2, program: program, fields: ready))
        let apply = try Program(Daemon.supctl, ["--socket", daemon.socket, "apply"])
        try waitForTrial(daemon)
        if fault == "ends" {
            _ = try directory.write("end", "")
        } else {
            // What one refuses another one serves.
            try eventually("the end of the trial") { () throws -> Bool? in
                #expect(try HTTP.get(port: port.port, "/").status == 200)
                return apply.ended() ? true : nil
            }
        }
        let result = try apply.wait()
        #expect(result.code == 1)
        let reason = fault == "ends" ? "x/3 ended once on trial: exited with code 3" : "x/3 refused"
        #expect(result.output.contains(reason), "\(result.output)")
        #expect(result.output.contains("x/3 | it burns"), "\(result.output)")
        #expect(try daemon.pids() == before)
        #expect(try HTTP.get(port: port.port, "/").status == 200)
    }

    @Test("supctl promote and supctl rollback decide at once", arguments: ["promote", "rollback"])
    func byHand(verb: String) throws {
        let port = try freePort()
        let daemon = try Daemon(manifest(port.port, version: 1))
        let before = try daemon.pids()
        let early = try daemon.ctl(verb, "x")
        #expect(early.code == 1 && early.output.contains("no rollout of x is under way"), "\(early.output)")
        #expect(try daemon.ctl(verb, "y").code == 4)
        #expect(try daemon.ctl(verb, "x/1").output.contains("takes the name of a service"))
        try write(daemon, manifest(port.port, version: 2))
        let apply = try Program(Daemon.supctl, ["--socket", daemon.socket, "apply"])
        try waitForTrial(daemon)
        let refused = try daemon.ctl("apply")
        #expect(refused.code == 1 && refused.output.contains("ends its trial"), "\(refused.output)")
        let decided = try daemon.ctl(verb, "x")
        #expect(decided.code == 0, "\(decided.output)")
        if verb == "rollback" {
            #expect(decided.output.contains("x: went back to what ran before in "), "\(decided.output)")
            #expect(try daemon.pids() == before)
        }
        let result = try apply.wait()
        let after = try daemon.pids()
        if verb == "promote" {
            #expect(result.code == 0, "\(result.output)")
            #expect(after.keys.sorted() == ["x/1", "x/2"])
            #expect(after["x/1"] != before["x/1"] && after["x/2"] != before["x/2"])
        } else {
            #expect(result.code == 1, "\(result.output)")
            let user = "uid \(geteuid()) (pid "
            let last = result.output.split(separator: "\n").last ?? ""
            #expect(last.hasPrefix("supctl: the manifest: x was rolled back by \(user)"), "\(result.output)")
            #expect(after == before)
            try isTold(daemon, by: user)
        }
    }

    /// Who has sent it back is in the history and in the events, where nothing has failed.
    private func isTold(_ daemon: Daemon, by user: String) throws {
        let history = try eventually("the result to be noted") { () throws -> HistoryReport? in
            let text = try daemon.ctl("history", "--json").output
            let report = try JSONDecoder().decode(HistoryReport.self, from: Data(text.utf8))
            return report.entries.first?.outcome == .underWay ? nil : report
        }
        let entry = try #require(history.entries.first)
        #expect(entry.outcome == .rolledBack && entry.rolledBackBy?.hasPrefix(user) == true, "\(entry)")
        let shown = try daemon.ctl("history").output
        #expect(shown.contains("rolled back") && shown.contains("x was rolled back by \(user)"), "\(shown)")
        let events = try daemon.ctl("events").output
        for text in [
            "rollback x, asked for by \(user)",
            "rollout goes back to what ran before: x was rolled back by \(user)",
            "rollout undone, asked for by \(user)", "apply rolled back: x was rolled back by \(user)",
        ] {
            #expect(events.contains(text), "\(text) in \(events)")
        }
        #expect(!events.contains("apply failed"), "\(events)")
    }

    @Test(
        "supctl stop during the trial goes back, in words, and a restart is refused; the one on trial can be looked at")
    func byOtherVerbs() throws {
        let port = try freePort()
        let daemon = try Daemon(manifest(port.port, version: 1))
        try write(daemon, manifest(port.port, version: 2))
        let apply = try Program(Daemon.supctl, ["--socket", daemon.socket, "apply"])
        try waitForTrial(daemon)
        let restart = try daemon.ctl("restart", "x")
        let text = "a rollout of x is under way: wait for it, or send it back with \"supctl rollback x\""
        #expect(restart.code == 1 && restart.output.contains(text), "\(restart.output)")
        #expect(try daemon.ctl("restart", "x", "--no-wait").code == 1)
        for verb in ["stop", "start", "restart", "drain", "undrain"] {
            let refused = try daemon.ctl(verb, "x/3")
            #expect(refused.code == 1, "\(verb): \(refused.output)")
            #expect(
                refused.output.contains("x/3 is there while x is replaced, and goes by itself"), "\(refused.output)")
        }
        for request in [["signal", "CONT", "x/3"], ["why", "x/3"], ["logs", "x/3"], ["limit", "x/3", "core=0"]] {
            let answer = try Program.run(Daemon.supctl, ["--socket", daemon.socket] + request)
            #expect(answer.code == 0, "\(request): \(answer.output)")
        }
        #expect(try daemon.ctl("status").output.contains("2/2 +1"))
        let stop = try daemon.ctl("stop", "x")
        #expect(stop.code == 0 && stop.output.contains("; x goes back to what ran before"), "\(stop.output)")
        let result = try apply.wait()
        #expect(result.code == 1 && result.output.contains("x was stopped by uid \(getuid()) "), "\(result.output)")
        #expect(
            result.output.contains("before its new version was judged, and keeps the one before"), "\(result.output)")
        #expect(!result.output.contains(" | "), "nobody has failed: \(result.output)")
        #expect(try daemon.ctl("start", "x").code == 0)
        // What is in force is what was before: to apply the new one again is a change.
        let plan = try daemon.ctl("apply", "--dry-run")
        #expect(plan.output.contains("environment.V: changed"), "\(plan.output)")
    }

    @Test("SIGKILL of the supervisor during the trial: it goes on, and its end is kept")
    func supervisorKilled() throws {
        let port = try freePort()
        let daemon = try Daemon(manifest(port.port, version: 1))
        let before = try daemon.pids()
        try write(daemon, manifest(port.port, version: 2, hold: "3s"))
        #expect(try daemon.ctl("apply", "--no-wait").code == 0)
        try waitForTrial(daemon)
        kill(try daemon.role("supervisor"), SIGKILL)
        try eventually("its end, and that of the rollout") { () -> Bool? in
            guard let now = try? daemon.pids(), now["x/3"] == nil, let one = now["x/1"], let two = now["x/2"] else {
                return nil
            }
            return one != before["x/1"] && two != before["x/2"] ? true : nil
        }
    }
}
