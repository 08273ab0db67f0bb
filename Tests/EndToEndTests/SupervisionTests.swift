import ControlAPI
import Foundation
import Glibc
import Platform
import TestSupport
import Testing

/// Restarts, stops, dependencies and readiness, with real processes.
@Suite("Supervision", .timeLimit(.minutes(15)))
struct SupervisionTests {
    @Test("A killed instance is restarted, and its last exit is told")
    func restart() throws {
        let daemon = try Daemon("{ services: { x: { command: ['/bin/sleep', '1000'], replicas: 2 } } }")
        let before = try daemon.pids()
        kill(try #require(before["x/1"]), SIGKILL)
        let instance = try eventually("the replacement") {
            let instance = try? daemon.status("x").services.first?.instances.first
            return instance?.state == "running" && instance?.pid != before["x/1"] ? instance : nil
        }
        #expect(instance.restarts == 1)
        #expect(instance.lastExit?.signal == "SIGKILL")
        #expect(try daemon.pids()["x/2"] == before["x/2"])
    }

    @Test("stop, start and restart reach their goal and say so by their exit code")
    func verbs() throws {
        let front = try freePort()
        let daemon = try Daemon(
            """
            { services: { api: { command: ['@demo@', '--quiet'], replicas: 2, listen: \(front.port) },
                          other: { command: ['/bin/sleep', '1000'] } } }
            """)
        let before = try daemon.pids()
        #expect(try daemon.ctl("stop", "api").code == 0)
        #expect(try daemon.status("api").services.first?.state == "down")
        #expect(throws: (any Error).self) { try HTTP.get(port: front.port, "/") }
        // What was stopped on purpose is wanted down: nothing that is wanted is missing.
        #expect(try daemon.ctl("status").code == 0)
        #expect(try daemon.ctl("start", "api").code == 0)
        #expect(try HTTP.get(port: front.port, "/").status == 200)
        #expect(try daemon.ctl("restart", "api/2").code == 0)
        let after = try daemon.pids()
        #expect(after["api/2"] != before["api/2"])
        #expect(after["other/1"] == before["other/1"])
        #expect(try daemon.ctl("stop", "nobody").code == 4)
        #expect(try daemon.ctl("frobnicate").code == 2)
        #expect(try Program.run(Daemon.supctl, ["--socket", "/nonexistent/socket", "status"]).code == 5)
    }

    @Test("Dependencies are started first, tasks run to their end before")
    func dependencies() throws {
        let daemon = try Daemon(
            """
            { services: {
                app: { command: ['@demo@'], port: 29881, dependsOn: { setup: 'completed', db: 'ready' } },
                db: { command: ['@demo@', '--ready-delay', '300ms'], port: 29882 },
                setup: { kind: 'task', command: ['/bin/sh', '-c', 'sleep 0.2; echo done'] },
            } }
            """)
        let log = daemon.keeper.output
        let app = try #require(log.range(of: "app/1: start"))
        #expect(try #require(log.range(of: "db/1: ready")).lowerBound < app.lowerBound)
        #expect(try #require(log.range(of: "setup/1: completed")).lowerBound < app.lowerBound)
        #expect(try daemon.status("setup").services.first?.state == "completed")
    }

    @Test("An instance that does not become ready in time is a failed start")
    func neverReady() throws {
        let daemon = try Daemon(
            """
            { services: { x: { command: ['/bin/sleep', '1000'], ready: { http: '/', timeout: '300ms' },
                               restart: { initialDelay: '10s' } } } }
            """, waitUntilUp: false)
        let instance = try eventually("backoff") {
            let instance = try? daemon.status("x").services.first?.instances.first
            return instance?.state == "backoff" ? instance : nil
        }
        #expect(instance.lastExit?.reason.contains("ready") == true)
    }

    @Test("A readiness command runs as the instance does, and decides")
    func readyByCommand() throws {
        let directory = try TemporaryDirectory()
        let daemon = try Daemon(
            """
            { services: { x: { command: ['/bin/sh', '-c', 'sleep 0.3; touch ready; sleep 1000'],
                               ready: { command: ['/usr/bin/test', '-e', 'ready'] } } } }
            """, in: directory)
        #expect(FileManager.default.fileExists(atPath: directory.file("ready")))
        #expect(try daemon.status("x").services.first?.ready == 1)
    }

    @Test("restart.limit gives up, and says so")
    func limit() throws {
        let daemon = try Daemon(
            """
            { services: { x: { command: ['/bin/sh', '-c', 'exit 7'],
                restart: { initialDelay: '10ms', limit: { starts: 3, within: '1m' } } } } }
            """, waitUntilUp: false)
        let instance = try eventually("the failure") {
            let instance = try? daemon.status("x").services.first?.instances.first
            return instance?.state == "failed" ? instance : nil
        }
        #expect(instance.lastExit?.code == 7)
        #expect(try daemon.ctl("status").code == 3)
    }

    @Test("A process that ignores the stop signal is killed, with all its descendants")
    func stubborn() throws {
        let daemon = try Daemon(
            """
            { services: { x: { command: ['@demo@', '--ignore-term', '--daemonize-child', '--grandchild-holds-output'],
                               port: 29885, stop: { timeout: '300ms' } } } }
            """)
        let scope = daemon.directory.file("run")
        try eventually("all three processes") {
            ProcessesOf(runtimeDirectory: scope).count >= 3 ? true : nil
        }
        #expect(try daemon.ctl("stop", "x").code == 0)
        #expect(try daemon.status("x").services.first?.instances.first?.lastExit?.signal == "SIGKILL")
        #expect(ProcessesOf(runtimeDirectory: scope).isEmpty)
        #expect(try daemon.status("x").services.first?.state == "down")
    }

    @Test("An exit is seen although a grandchild holds the output")
    func heldOutput() throws {
        let daemon = try Daemon(
            """
            { services: { x: { command: ['/bin/sh', '-c', '(trap "" TERM; sleep 1000) & exec sleep 1000'], stop: { timeout: '200ms' } } } }
            """)
        let before = try daemon.pids()
        kill(try #require(before["x/1"]), SIGKILL)
        try eventually("the replacement") {
            let now = try? daemon.pids()["x/1"]
            return now != nil && now != before["x/1"] ? true : nil
        }
    }
}
