import ControlAPI
import Foundation
import Glibc
import TestSupport
import Testing

/// `replicas: { min, max, target }` with real processes; what takes minutes takes seconds here.
@Suite("Services that scale themselves", .timeLimit(.minutes(15)))
struct AutoScalingTests {
    private static let haste = ["PATH": "/usr/bin:/bin", "SUPD_TEST_SCALING_HASTE": "50"]

    private func manifest(_ port: UInt16, replicas: String) -> String {
        """
        { services: { x: { command: ['@demo@', '--quiet'], listen: \(port), ready: { http: '/' }, replicas: \(replicas),
                           balance: { drainTimeout: '1s' } },
                      other: { command: ['sleep', '1000'] } } }
        """
    }

    private func count(_ daemon: Daemon) throws -> Int? { try daemon.status("x").services.first?.replicas }

    private func waitFor(_ number: Int, _ daemon: Daemon) throws {
        try eventually("\(number) instances", within: 60) {
            let service = try daemon.status("x").services.first
            return service?.replicas == number && service?.ready == number && service?.instances.count == number
                ? true : nil
        }
    }

    @Test("Connections that are held make it more, their end fewer, and each step says why")
    func connections() throws {
        let port = try freePort()
        let daemon = try Daemon(
            manifest(port.port, replicas: "{ min: 1, max: 3, target: { connections: 2 } }"), environment: Self.haste)
        let first = try daemon.pids()
        #expect(try daemon.ctl("status").output.contains("scaled by itself: 1 to 3, 2 connections each"))
        do {
            let held = try (0..<6).map { _ in try KeptConnection(port: port.port) }
            for one in held { _ = try one.get("/") }
            try waitFor(3, daemon)
            // Those that were there are untouched, and what is held goes on.
            #expect(try daemon.pids().filter { first[$0.key] != nil } == first)
            for one in held { _ = try one.get("/") }
            let refused = try daemon.ctl("scale", "x=2")
            #expect(refused.code == 1 && refused.output.contains("x scales itself (1 to 3"), "\(refused.output)")
            // The number is kept for whoever comes next.
            let supervisor = try daemon.role("supervisor")
            kill(supervisor, SIGKILL)
            try daemon.waitForAnother("supervisor", than: supervisor)
            #expect(try count(daemon) == 3)
            for one in held { _ = try one.get("/") }
        }
        try waitFor(1, daemon)
        #expect(try daemon.pids() == first)
        let events = try daemon.ctl("events", "x").output
        for text in [
            // How many there are on average depends on when it was looked first.
            "scaled from 1 to 2: ", "scaled from 2 to 3: ", " connections per instance over ", ", the target is 2",
            "scaled from 3 to 2: at most ", "scaled from 2 to 1: at most ",
        ] {
            #expect(events.contains(text), "\(text) in \(events)")
        }
        #expect(daemon.keeper.output.contains("x/1: x scaled from 1 to 2: "))
    }

    @Test("Where no port is left it becomes as many as it can, and says once why not more, and when that is over")
    func hindered() throws {
        let port = try freePort()
        // As many as the manifest may need; a user gives `other` two of them.
        let text = manifest(port.port, replicas: "{ min: 1, max: 4, target: { connections: 2 } }").replacingOccurrences(
            of: "{ services:", with: "{ supd: { portRange: '31340-31344' }, services:")
        let daemon = try Daemon(text, environment: Self.haste)
        #expect(try daemon.ctl("scale", "other=3").code == 0)
        do {
            let held = try (0..<12).map { _ in try KeptConnection(port: port.port) }
            for one in held { _ = try one.get("/") }
            try waitFor(2, daemon)
            let reason = "supd.portRange (\"31340-31344\") has 5 ports for instances, and 6 would be needed"
            try daemon.keeper.waitForOutput("x cannot scale from 2 to 4: \(reason)")
            #expect(try daemon.status("x").services.first?.scalingHindrance == reason)
            #expect(try daemon.ctl("status").output.contains("its load asks for more than it can have: \(reason)"))
            #expect(try daemon.ctl("why", "x").output.contains("as many instances as its load asks for: \(reason)"))
            // It goes on trying, also under another supervisor, and says no more.
            let supervisor = try daemon.role("supervisor")
            kill(supervisor, SIGKILL)
            try daemon.waitForAnother("supervisor", than: supervisor)
            #expect(try daemon.status("x").services.first?.scalingHindrance == reason)
            withExtendedLifetime(held) {}
        }
        try eventually("that it is over") {
            try daemon.status("x").services.first?.scalingHindrance == nil ? true : nil
        }
        let events = try daemon.ctl("events", "x").output
        #expect(events.components(separatedBy: "cannot scale from 2 to ").count == 2, "\(events)")
        try waitFor(1, daemon)
    }

    @Test("Its number survives supd, and an apply makes it another rule, or a count, without touching what runs")
    func kept() throws {
        let port = try freePort()
        let daemon = try Daemon(
            manifest(port.port, replicas: "{ max: 2, target: { connections: 1 } }"), environment: Self.haste)
        func apply(_ replicas: String) throws -> Program.Result {
            let text = manifest(port.port, replicas: replicas)
            _ = try daemon.directory.write(
                "supd.json5", text.replacingOccurrences(of: "@demo@", with: Daemon.demoService))
            return try daemon.ctl("apply")
        }
        let held = try (0..<4).map { _ in try KeptConnection(port: port.port) }
        for one in held { _ = try one.get("/") }
        try waitFor(2, daemon)
        let two = try daemon.pids()
        let more = try apply("{ max: 3, target: { connections: 2 } }")
        #expect(more.code == 0 && more.output.contains("1 to 2, 1 connection each → 1 to 3, 2 connections each"))
        #expect(more.output.contains("live"), "\(more.output)")
        #expect(try daemon.pids() == two)
        #expect(try daemon.ctl("shutdown").code == 0)
        _ = try daemon.keeper.wait()
        try daemon.startAgain()
        try daemon.keeper.waitForOutput("everything is up")
        #expect(daemon.keeper.output.contains("x: goes on with 2 instances, as it has scaled itself"))
        let counted = try apply("1")
        #expect(counted.code == 0, "\(counted.output)")
        try waitFor(1, daemon)
        #expect(try daemon.status("x").services.first?.scaling == nil)
        #expect(try daemon.ctl("scale", "x=2").code == 0)
        withExtendedLifetime(held) {}
    }

    @Test("CPU decides as well")
    func cpu() throws {
        let daemon = try Daemon(
            """
            { services: { x: { command: ['sh', '-c', 'while :; do :; done'], ready: 'started',
                               replicas: { max: 2, target: { cpu: '10%' } } } } }
            """, environment: Self.haste)
        try waitFor(2, daemon)
        let events = try daemon.ctl("events", "x").output
        #expect(events.contains("% of a core per instance over ") && events.contains("the target is 10%"), "\(events)")
    }
}
