import ControlAPI
import Foundation
import Glibc
import Platform
import TestSupport
import Testing

/// Services that say by a descriptor that they are ready.
@Suite("Readiness by a newline", .timeLimit(.minutes(15)))
struct ReadyDescriptorTests {
    private func isReady(_ daemon: Daemon, _ service: String) throws -> Bool {
        try daemon.status().services.first { $0.name == service }?.ready == 1
    }

    @Test("A newline by the descriptor is readiness; others stay closed", arguments: [3, 7])
    func newline(number: Int) throws {
        let daemon = try Daemon(
            """
            { services: { x: { command: ['/bin/bash', '-c', 'ls /proc/$$$$/fd; sleep 0.2; printf "up\\n" >&\(number); exec sleep 1000'],
                               ready: { notify: { fd: \(number) } } } } }
            """)
        try daemon.keeper.waitForOutput("x/1: ready after")
        let open = daemon.logLines("x").compactMap { Int($0.split(separator: " ").last ?? "") }
        #expect(Set(open).isSuperset(of: [0, 1, 2, number]))
        #expect(open.allSatisfy { $0 <= 2 || $0 == number || $0 == 255 }, "\(open)")
        // A restart has a pipe of its own.
        #expect(try daemon.ctl("restart", "x").code == 0)
        #expect(try isReady(daemon, "x"))
    }

    @Test("What is written without a newline is no readiness, and the end of the pipe is the reason of the failure")
    func end() throws {
        let daemon = try Daemon(
            """
            { services: {
                silent: { command: ['/bin/sh', '-c', 'printf almost >&3; exec sleep 1000'],
                          ready: { notify: { fd: 3 }, timeout: '1s' } },
                closing: { command: ['/bin/sh', '-c', 'printf almost >&3; exec sleep 1000 3>&-'],
                           ready: { notify: { fd: 3 }, timeout: '1s' } },
                ending: { command: ['/bin/sh', '-c', 'exit 3'], ready: { notify: { fd: 3 } } } } }
            """, waitUntilUp: false)
        try daemon.keeper.waitForOutput("silent/1: not ready within 1 s (no newline has come by descriptor 3)")
        try daemon.keeper.waitForOutput("closing/1: not ready within 1 s (descriptor 3 was closed without a newline)")
        try daemon.keeper.waitForOutput("ending/1: exited with code 3")
    }

    @Test("SIGKILL of the supervisor loses no newline, neither one that was seen nor one that comes meanwhile")
    func crash() throws {
        let directory = try TemporaryDirectory()
        let daemon = try Daemon(
            """
            { services: {
                before: { command: ['/bin/sh', '-c', 'echo >&3; exec sleep 1000 3>&-'],
                          ready: { notify: { fd: 3 }, timeout: '3s' } },
                during: { command: ['/bin/sh', '-c', 'while [ ! -e go ]; do sleep 0.05; done; echo >&3; exec sleep 1000 3>&-'],
                          ready: { notify: { fd: 3 } } } } }
            """, in: directory, waitUntilUp: false)
        try daemon.keeper.waitForOutput("before/1: ready after")
        let pids = try daemon.pids()
        try daemon.loseSupervisors { _ = try directory.write("go", "") }
        try eventually("readiness") { try isReady(daemon, "during") ? true : nil }
        #expect(try isReady(daemon, "before"))
        #expect(try daemon.pids() == pids)
        #expect(!daemon.keeper.output.contains("not ready"))
    }
}
