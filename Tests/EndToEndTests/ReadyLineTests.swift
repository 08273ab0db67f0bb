import ControlAPI
import Foundation
import Glibc
import Platform
import TestSupport
import Testing

/// Services that are ready when a line of their output says so.
@Suite("Readiness by a line of the output", .timeLimit(.minutes(15)))
struct ReadyLineTests {
    @Test("A line that contains the text is readiness, and nothing else is")
    func line() throws {
        let daemon = try Daemon(
            """
            { services: {
                x: { command: ['/bin/sh', '-c', 'echo starting; sleep 0.1; echo listening on port $$PORT >&2; exec sleep 1000'],
                     ready: { log: 'listening on * ${PORT}' } },
                y: { command: ['/bin/sh', '-c', 'echo listening on; printf "listening on port 7"; exec sleep 1000'],
                     ready: { log: 'listening on * 7', timeout: '1s' } } } }
            """, waitUntilUp: false)
        try daemon.keeper.waitForOutput("x/1: ready after")
        try daemon.keeper.waitForOutput(
            #"y/1: not ready within 1 s (no line with "listening on * 7" has come); stopping it"#)
        #expect(try daemon.ctl("restart", "x").code == 0)
    }

    @Test("SIGKILL of the supervisor loses no line, neither one that was seen nor one that comes meanwhile")
    func crash() throws {
        let directory = try TemporaryDirectory()
        let daemon = try Daemon(
            """
            { services: {
                before: { command: ['/bin/sh', '-c', 'echo up; exec sleep 1000'], ready: { log: 'up', timeout: '3s' } },
                during: { command: ['/bin/sh', '-c', 'while [ ! -e go ]; do sleep 0.05; done; echo up; exec sleep 1000'],
                          ready: { log: 'up' } } } }
            """, in: directory, waitUntilUp: false)
        try daemon.keeper.waitForOutput("before/1: ready after")
        let pids = try daemon.pids()
        try daemon.loseSupervisors { _ = try directory.write("go", "") }
        try eventually("readiness") {
            try daemon.status().services.allSatisfy { $0.ready == 1 } ? true : nil
        }
        #expect(try daemon.pids() == pids)
        #expect(!daemon.keeper.output.contains("not ready"))
    }
}
