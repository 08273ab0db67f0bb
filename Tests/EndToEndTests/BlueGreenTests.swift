import ControlAPI
import Foundation
import Glibc
import Platform
import TestSupport
import Testing

/// `deploy.strategy: "blue-green"` with real processes.
@Suite("All new instances take over at once", .timeLimit(.minutes(15)))
struct BlueGreenTests {
    /// One loop: what another loop does in the moment in which it takes on a table is not seen in the order of answers.
    private func manifest(_ port: UInt16, version: Int, start: String = "", fields: String = "") -> String {
        """
        { supd: { balancer: { loops: 1 } },
          services: { x: { command: ['sh', '-c', '\(start) exec @demo@ --quiet'], listen: \(port), replicas: 3,
                           environment: { V: '\(version)' }, deploy: { strategy: 'blue-green' }, \(fields) } } }
        """
    }

    private func write(_ daemon: Daemon, _ text: String) throws {
        _ = try daemon.directory.write("supd.json5", text.replacingOccurrences(of: "@demo@", with: Daemon.demoService))
    }

    private func details(_ daemon: Daemon) throws -> [String: String] {
        let instances = try daemon.status("x").services.first?.instances ?? []
        return Dictionary(uniqueKeysWithValues: instances.compactMap { one in one.detail.map { (one.id, $0) } })
    }

    @Test("Under load no request fails; before the switch the old ones answer, and after it the new ones")
    func underLoad() throws {
        let port = try freePort()
        let directory = try TemporaryDirectory()
        let go = directory.file("go")
        let daemon = try Daemon(manifest(port.port, version: 1), in: directory)
        let before = try daemon.pids()
        let clients = Witnesses(6, port: port.port)
        try clients.wait(answers: 60)
        // One of the new set takes until it is told.
        try write(
            daemon,
            manifest(port.port, version: 2, start: "test $$INSTANCE = 6 && until test -e \(go); do sleep 0.05; done;"))
        let plan = try daemon.ctl("apply", "--dry-run")
        #expect(plan.code == 0 && plan.output.contains("x  blue-green  3 instances"), "\(plan.output)")
        let apply = try Program(Daemon.supctl, ["--socket", daemon.socket, "apply"])
        try eventually("x/4 and x/5 ready") {
            let details = try details(daemon)
            let text = "ready: takes connections once all of the new instances are"
            return details["x/4"] == text && details["x/5"] == text ? true : nil
        }
        let table = try daemon.ctl("status").output
        #expect(table.contains("3/3 +2"), "\(table)")
        let why = try daemon.ctl("why", "x/4")
        #expect(why.output.contains("takes connections once all of the new instances are"), "\(why.output)")
        try clients.wait(answers: 100)
        #expect(clients.answers().allSatisfy { before.values.contains($0.pid) })
        _ = try directory.write("go", "")
        let result = try apply.wait()
        #expect(result.code == 0, "\(result.output)")
        #expect(result.output.contains("x: 2 of 3 new instances ready, none serves before all are"), "\(result.output)")
        try clients.wait(answers: 60)
        #expect(try clients.end() == [])
        let answers = clients.answers()
        let old = answers.filter { before.values.contains($0.pid) }
        let new = answers.filter { !before.values.contains($0.pid) }
        let lastOld = try #require(old.map(\.began).max())
        let firstNew = try #require(new.map(\.ended).min())
        #expect(
            lastOld <= firstNew, "an old one got a connection \(lastOld - firstNew) ns after a new one had answered")
        let after = try daemon.pids()
        #expect(after.keys.sorted() == ["x/1", "x/2", "x/3"])
        #expect(Set(after.values).isDisjoint(with: before.values))
        let events = try daemon.ctl("events").output
        #expect(events.contains("rollout: all new instances are ready and take over"), "\(events)")
        #expect(events.contains("gone: it stood in while x was replaced"), "\(events)")
    }

    @Test("SIGKILL of the supervisor while the new set comes up: the next one switches when all of it is ready")
    func supervisorKilled() throws {
        let port = try freePort()
        let directory = try TemporaryDirectory()
        let go = directory.file("go")
        let daemon = try Daemon(manifest(port.port, version: 1), in: directory)
        let before = try daemon.pids()
        let clients = Witnesses(4, port: port.port)
        try clients.wait(answers: 20)
        let start = "test $$INSTANCE = 6 && until test -e \(go); do sleep 0.05; done;"
        try write(daemon, manifest(port.port, version: 2, start: start))
        #expect(try daemon.ctl("apply", "--no-wait").code == 0)
        try eventually("x/4 and x/5 ready") {
            let details = try details(daemon)
            return details["x/4"]?.hasPrefix("ready: ") == true && details["x/5"]?.hasPrefix("ready: ") == true
                ? true : nil
        }
        kill(try daemon.role("supervisor"), SIGKILL)
        try clients.wait(answers: 50)
        #expect(clients.answers().allSatisfy { before.values.contains($0.pid) })
        _ = try directory.write("go", "")
        try eventually("the rollout's end") { () -> Bool? in
            guard let now = try? daemon.pids() else { return nil }
            return now.keys.sorted() == ["x/1", "x/2", "x/3"] && Set(now.values).isDisjoint(with: before.values)
                ? true : nil
        }
        #expect(try clients.end() == [])
        let answers = clients.answers()
        let lastOld = try #require(answers.filter { before.values.contains($0.pid) }.map(\.began).max())
        let firstNew = try #require(answers.filter { !before.values.contains($0.pid) }.map(\.ended).min())
        #expect(lastOld <= firstNew, "an old one got a connection after a new one had answered")
    }

    @Test("One that does not come up: nothing switches, and no process of before is touched")
    func broken() throws {
        let port = try freePort()
        let daemon = try Daemon(manifest(port.port, version: 1))
        let before = try daemon.pids()
        let clients = Witnesses(4, port: port.port)
        try clients.wait(answers: 20)
        try write(
            daemon, manifest(port.port, version: 2, start: "test $$INSTANCE = 5 && { echo it burns; exit 3; };"))
        let result = try daemon.ctl("apply")
        #expect(
            result.code == 1 && result.output.contains("x/5 has failed 3 times: exited with code 3"), "\(result.output)"
        )
        #expect(result.output.contains("x/5 | it burns"), "\(result.output)")
        try clients.wait(answers: 20)
        #expect(try clients.end() == [])
        #expect(clients.answers().allSatisfy { before.values.contains($0.pid) })
        #expect(try daemon.pids() == before)
    }

    @Test("supctl restart goes the same way, and supctl rollback after the switch goes back without a failed request")
    func restartAndRollback() throws {
        let port = try freePort()
        // A connection that stays open keeps the old ones, longer than the test takes.
        let fields = "balance: { drainTimeout: '60s' }"
        let daemon = try Daemon(manifest(port.port, version: 1, fields: fields))
        let clients = Witnesses(4, port: port.port)
        try clients.wait(answers: 20)
        let first = try daemon.pids()
        #expect(try daemon.ctl("restart", "x").code == 0)
        let second = try daemon.pids()
        #expect(Set(first.values).isDisjoint(with: second.values) && Set(second.keys).isSuperset(of: first.keys))
        try eventually("those beside gone") { try daemon.pids().keys.sorted() == ["x/1", "x/2", "x/3"] ? true : nil }
        let kept = try (0..<3).map { _ in try KeptConnection(port: port.port) }
        for connection in kept { _ = try connection.get("/") }
        try write(daemon, manifest(port.port, version: 2, fields: fields))
        let apply = try Program(Daemon.supctl, ["--socket", daemon.socket, "apply"])
        try eventually("the switch after that of the restart") {
            try daemon.ctl("events", "x").output.split(separator: "\n")
                .count { $0.contains("all new instances are ready and take over") } == 2 ? true : nil
        }
        let back = try daemon.ctl("rollback", "x")
        #expect(back.code == 0, "\(back.output)")
        // It has waited until that was so.
        #expect(back.output.contains("x: went back to what ran before in "), "\(back.output)")
        #expect(try daemon.pids().keys.sorted() == ["x/1", "x/2", "x/3"])
        let result = try apply.wait()
        #expect(result.code == 1 && result.output.contains(": x was rolled back by uid "), "\(result.output)")
        try clients.wait(answers: 20)
        #expect(try clients.end() == [])
        #expect(try daemon.pids().keys.sorted() == ["x/1", "x/2", "x/3"])
        withExtendedLifetime(kept) {}
    }
}

/// Clients that make one request after the other, each on a new connection, and note who has answered when.
private final class Witnesses: Sendable {
    struct Answer: Sendable {
        var pid: Int32
        /// When it began to connect, and when it had the whole answer, on the monotonic clock.
        var began: Int64
        var ended: Int64
    }

    private struct Greeting: Decodable { var pid: Int32 }
    private let state: Lock<(answers: [Answer], failures: [String], ends: Bool, running: Int)>

    init(_ count: Int, port: UInt16) {
        state = Lock((answers: [], failures: [], ends: false, running: count))
        for _ in 0..<count { startThread { [self] in run(port) } }
    }

    private func run(_ port: UInt16) {
        while !state.withLock({ $0.ends }) {
            let began = monotonicNanoseconds()
            do {
                let body = try HTTP.get(port: port, "/").body
                let pid = try JSONDecoder().decode(Greeting.self, from: Data(body.utf8)).pid
                let answer = Answer(pid: pid, began: began, ended: monotonicNanoseconds())
                state.withLock { $0.answers.append(answer) }
            } catch {
                state.withLock { $0.failures.append("\(error)") }
            }
            usleep(2000)
        }
        state.withLock { $0.running -= 1 }
    }

    /// Waits until so many more were answered.
    func wait(answers more: Int) throws {
        let goal = state.withLock { $0.answers.count } + more
        try eventually("\(more) more answers") { state.withLock { $0.answers.count } >= goal ? true : nil }
    }

    func answers() -> [Answer] { state.withLock { $0.answers } }

    /// Ends them, and returns what failed.
    func end() throws -> [String] {
        state.withLock { $0.ends = true }
        try eventually("the clients' end", within: 60) { state.withLock { $0.running } == 0 ? true : nil }
        return state.withLock { $0.failures }
    }
}
