import ControlAPI
import Foundation
import Glibc
import Platform
import TestSupport
import Testing

/// Health probes of real services: who fails is restarted, and clients do not notice.
@Suite("Health", .timeLimit(.minutes(15)))
struct HealthTests {
    private static let health =
        "health: { http: { path: '/healthz', body: 'ok' }, interval: '500ms', timeout: '500ms', failures: 3 }"

    private func manifest(_ port: UInt16, replicas: Int, _ health: String = health) -> String {
        """
        { services: { x: { command: ['@demo@', '--quiet'], replicas: \(replicas), listen: \(port),
                           balance: { drainTimeout: '1s' }, stop: { timeout: '500ms' },
                           restart: { initialDelay: '100ms' }, \(health) } } }
        """
    }

    private func instances(_ daemon: Daemon) throws -> [InstanceStatus] {
        try #require(try daemon.status("x").services.first).instances
    }

    /// Tells an instance what becomes of its `/healthz`.
    private func sicken(_ instance: InstanceStatus, _ how: String) throws {
        #expect(try HTTP.get(port: try #require(instance.port), "/sick?how=\(how)").status == 200)
    }

    @Test(
        "One of several that answers 500, or hangs, is restarted while clients see no failure",
        arguments: ["error", "hang"])
    func several(how: String) throws {
        let port = try freePort()
        let daemon = try Daemon(manifest(port.port, replicas: 3))
        let before = try instances(daemon)
        try eventually("all to be healthy") {
            try instances(daemon).allSatisfy { $0.health?.state == "healthy" } ? true : nil
        }
        let clients = SteadyClients(4, port: port.port)
        try clients.serve(50)
        try sicken(before[1], how)
        // The first exit from then on: the next process may find its port taken by a test beside this one, and be replaced.
        var exit: ExitReport?
        let after = try eventually("a new process") {
            let now = try instances(daemon)
            if exit == nil, now[1].lastExit?.at != before[1].lastExit?.at { exit = now[1].lastExit }
            return now[1].pid != before[1].pid && now[1].ready && now[1].health?.state == "healthy" ? now : nil
        }
        try clients.serve(50)
        let failures = try clients.end()
        #expect(failures.isEmpty, "\(failures)")
        #expect([0, 2].allSatisfy { after[$0].pid == before[$0].pid })
        #expect(
            exit?.reason
                == "unhealthy: GET /healthz"
                + (how == "error"
                    ? " answered 500, three times in a row" : ": no answer within 500 ms, three times in a row"))
        #expect(daemon.keeper.output.contains("x/2: unhealthy: GET /healthz"))
        #expect(after[1].health?.lastFailure?.output == (how == "error" ? "{\"error\":\"sick, as asked for\"}\n" : nil))
        let text = try daemon.ctl("status", "x").output
        #expect(text.contains("last failure"), "\(text)")
    }

    @Test("An only replica that fails is restarted; clients that come meanwhile wait")
    func lone() throws {
        let port = try freePort()
        let daemon = try Daemon(manifest(port.port, replicas: 1))
        let old = try #require(instances(daemon).first)
        let clients = SteadyClients(2, port: port.port)
        try clients.serve(20)
        try sicken(old, "error")
        try eventually("a new process") {
            let now = try instances(daemon)[0]
            return now.pid != old.pid && now.ready ? true : nil
        }
        try clients.serve(20)
        let failures = try clients.end()
        #expect(failures.isEmpty, "\(failures)")
        #expect(try daemon.status("x").services[0].fronts?[0].turnedAway == 0)
    }

    @Test("When all fail one is restarted at a time, and one is always ready")
    func all() throws {
        let port = try freePort()
        let daemon = try Daemon(manifest(port.port, replicas: 2))
        let before = try instances(daemon)
        let clients = SteadyClients(2, port: port.port)
        for instance in before { try sicken(instance, "error") }
        let first = try eventually("one to be restarted") {
            let now = try instances(daemon)
            #expect(now.contains { $0.ready })
            return now.first { $0.state != "running" }
        }
        try eventually("both to be new and healthy") {
            let now = try instances(daemon)
            #expect(now.contains { $0.ready }, "\(first.id)")
            return zip(now, before).allSatisfy { $0.pid != $1.pid && $0.health?.state == "healthy" } ? true : nil
        }
        let failures = try clients.end()
        #expect(failures.isEmpty, "\(failures)")
    }

    @Test(
        "An unhealthy instance that is not restarted is shown as such, and recovers; so it is with a command's output")
    func shown() throws {
        let directory = try TemporaryDirectory()
        let flag = try directory.write("flag", "")
        let port = try freePort()
        let daemon = try Daemon(
            """
            { services: { x: { command: ['@demo@', '--quiet'], listen: \(port.port), restart: 'never',
                health: { command: ['/bin/sh', '-c', 'test -e \(flag) || { echo the flag; echo is down; exit 7; }'],
                          interval: '100ms', timeout: '5s', failures: 2, successes: 2 } } } }
            """, in: directory)
        try eventually("health") { try instances(daemon)[0].health?.state == "healthy" ? true : nil }
        try FileManager.default.removeItem(atPath: flag)
        let status = try eventually("it to be unhealthy") {
            let now = try instances(daemon)[0]
            return now.health?.state == "unhealthy" ? now : nil
        }
        #expect(status.ready && status.state == "running")
        #expect(status.health?.lastFailure?.reason == "the command exited with code 7")
        #expect(status.health?.lastFailure?.output == "the flag\nis down\n")
        #expect(try daemon.ctl("status").output.contains("running, unhealthy"))
        let text = try daemon.ctl("status", "x").output
        #expect(text.contains("| is down") && text.contains("its restart policy is never"), "\(text)")
        // Another supervisor goes on with what it knew.
        kill(try daemon.role("supervisor"), SIGKILL)
        try eventually("the next supervisor") {
            (try? instances(daemon)[0].health?.failures ?? 0 > 0) == true ? true : nil
        }
        _ = try directory.write("flag", "")
        try eventually("it to be healthy again") { try instances(daemon)[0].health?.state == "healthy" ? true : nil }
        #expect(try instances(daemon)[0].pid == status.pid)
    }

    @Test("One that is restarted for its health again and again backs off, and users' commands have their way")
    func backsOff() throws {
        let port = try freePort()
        let health =
            "health: { http: { path: '/healthz', status: 204 }, interval: '100ms', timeout: '90ms', failures: 1 }"
        let daemon = try Daemon(manifest(port.port, replicas: 1, health), waitUntilUp: false)
        try eventually("three restarts with growing pauses") {
            daemon.keeper.output.matches(of: #/x/1: unhealthy: .*; next try in/#).count >= 3 ? true : nil
        }
        #expect(try daemon.ctl("stop", "x").code == 0)
        #expect(try instances(daemon)[0].state == "down")
        #expect(try daemon.ctl("start", "x").code == 0)
        #expect(try daemon.ctl("drain", "x/1").code == 0)
        try eventually("it to be unhealthy and left alone") {
            try instances(daemon)[0].detail?.hasSuffix("not restarted while it is drained") == true ? true : nil
        }
        #expect(try daemon.ctl("shutdown").code == 0)
    }
}
