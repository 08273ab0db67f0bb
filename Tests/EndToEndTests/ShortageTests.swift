import ControlAPI
import Foundation
import Glibc
import Platform
import TestSupport
import Testing

/// What becomes of starts for which a machine has nothing left: they are tried again, and nothing else is touched.
@Suite("Shortage", .timeLimit(.minutes(15)))
struct ShortageTests {
    /// The ids of those that run, and of those that wait for another try.
    private func places(_ daemon: Daemon, _ service: String) throws -> (running: [String], waiting: [String]) {
        let instances = try daemon.status(service).services.flatMap(\.instances)
        return (
            instances.filter { $0.state == "running" && $0.ready }.map(\.id),
            instances.filter { $0.state == "backoff" }.map(\.id)
        )
    }

    /// Waits until each has had its try and at least so many are up, and answers who runs. Others may follow.
    private func settled(
        _ daemon: Daemon, _ service: String, of count: Int, atLeast least: Int, reason: String
    ) throws -> [String] {
        let running = try eventually("some up, and all others to wait") { () -> [String]? in
            guard let places = try? places(daemon, service), !places.waiting.isEmpty,
                places.running.count + places.waiting.count == count, places.running.count >= least
            else { return nil }
            return places.running
        }
        let status = try daemon.ctl("status", service)
        #expect(status.code == 3)
        #expect(status.output.contains(reason), "\(status.output)")
        #expect(daemon.keeper.output.contains(reason))
        return running
    }

    /// Stops some for good, and waits until so many others have come up in their places.
    private func exchange(
        _ daemon: Daemon, _ service: String, _ running: [String], stopping count: Int, others: Int
    ) throws {
        let stopped = Array(running.prefix(count))
        let result = try Program.run(Daemon.supctl, ["--socket", daemon.socket, "stop"] + stopped)
        #expect(result.code == 0, "\(result.output)")
        // A user's word is kept although descriptors are short: also by the next supervisor.
        let supervisor = try daemon.role("supervisor")
        kill(supervisor, SIGKILL)
        try eventually("another supervisor") { () -> Bool? in
            guard let now = try? daemon.role("supervisor") else { return nil }
            return now != supervisor ? true : nil
        }
        let now = try eventually("\(others) others") { () -> [String]? in
            guard let now = try? places(daemon, service).running else { return nil }
            return Set(now).subtracting(running).count >= others ? now : nil
        }
        #expect(Set(now).isDisjoint(with: stopped))
        #expect(Set(now).isSuperset(of: running.dropFirst(count)))
    }

    @Test("Without descriptors starts wait and say so; who is up goes on, and when some are stopped others come up")
    func descriptors() throws {
        let front = try freePort()
        let daemon = try Daemon(
            """
            { services: { api: { command: ['@demo@', '--quiet'], replicas: 60, listen: \(front.port),
                                 restart: { initialDelay: '100ms', maxDelay: '1s' } } } }
            """, under: .openFiles(128), waitUntilUp: false)
        let running = try settled(
            daemon, "api", of: 60, atLeast: 8,
            reason: "cannot start a process: Too many open files; raise supd's own limit on open files")
        let roles = try daemon.status().daemon.roles
        let pids = try daemon.pids().filter { running.contains($0.key) }
        try eventually("an answer of each that is up") {
            let bodies = try Set((0..<60).map { _ in try HTTP.get(port: front.port, "/").body })
            return pids.values.allSatisfy { pid in bodies.contains { $0.contains("\"pid\":\(pid),") } } ? true : nil
        }
        // Who waits is tried again and again, and no role has died of it.
        try eventually("some tries") {
            daemon.keeper.output.components(separatedBy: "cannot start a process").count > 200 ? true : nil
        }
        #expect(try daemon.status().daemon.roles == roles)
        #expect(try daemon.pids().filter { running.contains($0.key) } == pids)
        try exchange(daemon, "api", running, stopping: 5, others: 3)
        #expect(!daemon.keeper.output.contains("cannot hold"), "\(daemon.keeper.output)")
    }

    @Test(
        "Without processes starts wait and say so, the roles have their threads, and others come up when some are stopped",
        .enabled(if: Launcher.canChangeUser))
    func processes() throws {
        let directory = try TemporaryDirectory()
        chown(directory.path, 61_238, 61_238)
        let front = try freePort()
        let daemon = try Daemon(
            """
            { defaults: { restart: { initialDelay: '100ms', maxDelay: '1s' } },
              services: { api: { command: ['@demo@', '--quiet'], listen: \(front.port) },
                          idle: { command: ['/bin/sleep', '1000'], replicas: 80, dependsOn: ['api'] } } }
            """, in: directory, under: .user(61_238, processes: 100), waitUntilUp: false)
        let running = try settled(
            daemon, "idle", of: 80, atLeast: 35,
            reason: "cannot start a process: Resource temporarily unavailable; a limit on processes is reached")
        let roles = try daemon.status().daemon.roles
        let pids = try daemon.pids().filter { running.contains($0.key) }
        for _ in 0..<5 { #expect(try HTTP.get(port: front.port, "/").status == 200) }
        try eventually("some tries") {
            daemon.keeper.output.components(separatedBy: "cannot start a process").count > 200 ? true : nil
        }
        // No service sees what the keeper has set aside.
        let limits = try ResourceLimits.inForce(of: try #require(pids.values.first))
        #expect(limits["nproc"] == LimitPair(soft: 100, hard: 100))
        #expect(try daemon.status().daemon.roles == roles)
        #expect(try daemon.pids().filter { running.contains($0.key) } == pids)
        // A role can be replaced meanwhile.
        let balancer = try daemon.role("balancer")
        kill(balancer, SIGKILL)
        for _ in 0..<5 { #expect(try HTTP.get(port: front.port, "/").status == 200) }
        #expect(try daemon.role("balancer") != balancer)
        // The roles have more threads by now than when the first ones were started.
        try exchange(daemon, "idle", running, stopping: 30, others: 1)
    }
}
