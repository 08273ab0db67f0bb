import ControlAPI
import Foundation
import Glibc
import Platform
import TestSupport
import Testing

/// The counters of `supctl status --json` after events that are known.
@Suite("Counters", .timeLimit(.minutes(15)))
struct CounterTests {
    private static let request = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

    private func front(_ daemon: Daemon, _ service: String) throws -> FlowStatus {
        try #require(try daemon.status(service).services.first?.fronts?.first)
    }

    private func flows(_ daemon: Daemon, _ service: String) throws -> [FlowStatus] {
        try #require(try daemon.status(service).services.first?.instances).map { try #require($0.flow) }
    }

    @Test("restarts counts what was started again by itself, of each instance, and lastExit is of the last end")
    func restarts() throws {
        let daemon = try Daemon(
            """
            { services: {
                x: { command: ['/bin/sleep', '1000'], replicas: 2,
                     restart: { initialDelay: '10ms', maxDelay: '10ms' } },
                y: { command: ['/bin/sh', '-c', 'exit 7'],
                     restart: { initialDelay: '10ms', maxDelay: '10ms', limit: { starts: 4, within: '1h' } } },
                z: { kind: 'task', command: ['/bin/true'] },
            } }
            """, waitUntilUp: false)
        try daemon.waitUntilAnswering()
        func instance(_ id: String) throws -> InstanceStatus {
            try #require(try daemon.status(id).services.first?.instances.first)
        }
        /// Waits for the next process of an instance.
        func next(_ id: String, after pid: Int32?) throws {
            try eventually("another process of \(id)") {
                let instance = try instance(id)
                return instance.state == "running" && instance.pid != nil && instance.pid != pid ? true : nil
            }
        }
        for id in ["x/1", "x/2"] { try next(id, after: nil) }
        #expect(try instance("x/1").restarts == 0)
        #expect(try instance("x/1").lastExit == nil)
        for (count, signal) in [(1, SIGKILL), (2, SIGSEGV), (3, SIGUSR1)] {
            let pid = try #require(instance("x/1").pid)
            kill(pid, signal)
            try next("x/1", after: pid)
            #expect(try instance("x/1").restarts == count)
        }
        #expect(try instance("x/1").lastExit?.signal == "SIGUSR1")
        #expect(try instance("x/1").lastExit?.code == nil)
        #expect(try instance("x/2").restarts == 0)
        #expect(try instance("x/2").lastExit == nil)
        // One that was asked for is none, and the count begins anew with it.
        #expect(try daemon.ctl("restart", "x/2").code == 0)
        #expect(try instance("x/2").restarts == 0)
        let second = try #require(instance("x/2").pid)
        kill(second, SIGKILL)
        try next("x/2", after: second)
        #expect(try instance("x/2").restarts == 1)
        let third = try #require(instance("x/2").pid)
        #expect(try daemon.ctl("restart", "x/2").code == 0)
        #expect(try instance("x/2").restarts == 0)
        #expect(try instance("x/2").pid != third)
        #expect(try instance("x/2").lastExit?.signal == "SIGTERM")
        try eventually("y to give up") { try instance("y/1").state == "failed" ? true : nil }
        #expect(try instance("y/1").restarts == 3)
        #expect(try instance("y/1").lastExit?.code == 7)
        try eventually("z to be done") { try instance("z/1").state == "completed" ? true : nil }
        #expect(try instance("z/1").restarts == 0)
        // They outlive the supervisor.
        let before = try daemon.role("supervisor")
        kill(before, SIGKILL)
        try daemon.waitForAnother("supervisor", than: before)
        #expect(try [instance("x/1"), instance("x/2"), instance("y/1")].map(\.restarts) == [3, 0, 3])
        #expect(try instance("y/1").lastExit?.code == 7)
    }

    @Test("Each try again of what never starts is a restart: in status, metrics, events and why")
    func failedStarts() throws {
        let daemon = try Daemon(
            """
            { services: { x: { command: ['/no/such/program'],
                               restart: { initialDelay: '10ms', maxDelay: '10ms', limit: { starts: 4, within: '1h' } } } } }
            """, waitUntilUp: false)
        try daemon.waitUntilAnswering()
        try eventually("x to give up") {
            try daemon.status("x").services.first?.instances.first?.state == "failed" ? true : nil
        }
        #expect(try daemon.status("x").services.first?.instances.first?.restarts == 3)
        let sample = "supd_instance_restarts_total{service=\"x\",replica=\"1\",reason=\"start-failed\"} 3\n"
        try eventually("the metric") { try daemon.ctl("metrics").output.contains(sample) ? true : nil }
        try eventually("why") {
            try daemon.ctl("why", "x").output.contains("restarted by itself 3 times in the last hour") ? true : nil
        }
    }

    @Test("Connections and bytes are counted exactly, at the front and at each instance")
    func traffic() throws {
        let port = try freePort()
        let daemon = try Daemon(
            "{ services: { x: { command: ['@demo@', '--quiet'], replicas: 2, listen: \(port.port) } } }")
        var received = 0
        for _ in 0..<6 {
            let client = try LoopbackConnection(port: port.port)
            try client.send(Array(Self.request.utf8))
            let answer = try HTTP.rest(of: client)
            #expect(answer.hasPrefix("HTTP/1.1 200 "))
            received += answer.utf8.count
        }
        try eventually("all to be closed") { try front(daemon, "x").connections == 0 ? true : nil }
        let sent = UInt64(6 * Self.request.utf8.count)
        #expect(
            try front(daemon, "x")
                == FlowStatus(
                    address: "127.0.0.1:\(port.port)", connections: 0, connectionsTotal: 6, bytesIn: sent,
                    bytesOut: UInt64(received), connectErrors: 0, retries: 0, queued: 0, turnedAway: 0))
        var flows = try flows(daemon, "x")
        #expect(flows.map(\.connectionsTotal) == [3, 3])
        #expect(flows.map(\.bytesIn) == [sent / 2, sent / 2])
        #expect(flows.map(\.bytesOut).reduce(0, +) == UInt64(received))
        #expect(flows.map(\.connections) == [0, 0])
        // Open ones, until they are closed.
        var clients = try (0..<4).map { _ in try LoopbackConnection(port: port.port) }
        try eventually("four open") { try front(daemon, "x").connections == 4 ? true : nil }
        flows = try self.flows(daemon, "x")
        #expect(flows.map(\.connections) == [2, 2])
        #expect(flows.map(\.connectionsTotal) == [5, 5])
        clients.removeLast(3)
        try eventually("one open") { try front(daemon, "x").connections == 1 ? true : nil }
        #expect(try front(daemon, "x").connectionsTotal == 10)
        withExtendedLifetime(clients) {}
    }

    @Test("A connect that fails is counted where it failed, and the connection as one that went on")
    func connectErrors() throws {
        let port = try freePort()
        let daemon = try Daemon(
            """
            { supd: { portRange: '31300-31310' },  // No other test's service may be found on the second one's port.
              services: { x: { command: ['/bin/sh', '-c', 'test $$INSTANCE = 1 && exec @demo@ --quiet; exec sleep 1000'],
                               replicas: 2, listen: \(port.port), ready: 'started' } } }
            """)
        let target = try #require(daemon.status("x").services.first?.instances.first?.port)
        try eventually("the instance that listens") {
            (try? HTTP.get(port: target, "/healthz"))?.status == 200 ? true : nil
        }
        // Without a readiness check an instance is in turn as soon as it was started, which the other one may be later.
        try eventually("both to be in turn") {
            let instances = try daemon.status("x").services.first?.instances ?? []
            return instances.count == 2 && instances.allSatisfy { $0.state == "running" && $0.flow != nil } ? true : nil
        }
        for _ in 0..<2 { #expect(try HTTP.get(port: port.port, "/").status == 200) }
        let counts = try front(daemon, "x")
        #expect([counts.connectionsTotal, counts.connectErrors, counts.retries, counts.turnedAway] == [2, 1, 1, 0])
        #expect(try flows(daemon, "x").map(\.connectErrors) == [0, 1])
        let page = try daemon.ctl("status", "x").output
        #expect(page.contains("1 connect error") && page.contains("1 retry"), "\(page)")
    }

    @Test("Who waits is counted at the front, and who was turned away; an instance has no queue")
    func queue() throws {
        let port = try freePort()
        let daemon = try Daemon(
            """
            { services: { x: { command: ['/bin/sleep', '1000'], listen: \(port.port),
                               ready: { http: '/', timeout: '1h' }, balance: { queueTimeout: '1h' } } } }
            """, waitUntilUp: false)
        try eventually("the front") { (try? daemon.status("x"))?.services.first?.fronts?.isEmpty == false ? true : nil }
        let clients = try (0..<3).map { _ in try LoopbackConnection(port: port.port) }
        try eventually("three waiting") { try front(daemon, "x").queued == 3 ? true : nil }
        #expect(try front(daemon, "x").turnedAway == 0)
        let text = try daemon.ctl("status", "--json", "x").output
        let object = try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
        let service = try #require((object["services"] as? [[String: Any]])?.first)
        let instance = try #require((service["instances"] as? [[String: Any]])?.first)
        // Whether there are counters of an instance that has had no connection yet is the balancer's affair.
        if let flow = instance["flow"] as? [String: Any] {
            #expect(flow["queued"] is NSNull && flow["turnedAway"] is NSNull, "\(flow)")
        }
        #expect(try daemon.ctl("status", "x").output.contains("3 waiting"))
        #expect(try daemon.ctl("stop", "x").code == 0)
        for client in clients { #expect(try HTTP.rest(of: client).isEmpty) }
        try eventually("none waiting") { try front(daemon, "x").queued == 0 ? true : nil }
        #expect(try front(daemon, "x").turnedAway == 3)
    }
}
