import ControlAPI
import Foundation
import Glibc
import Platform
import TestSupport
import Testing

/// `supctl signal`, down to the trap of the process.
@Suite("Signals", .timeLimit(.minutes(15)))
struct SignalTests {
    /// A program that writes a line for every signal it gets.
    private static let script = """
        #!/bin/sh
        trap 'echo got HUP' HUP
        trap 'echo got USR1' USR1
        trap 'echo got USR2' USR2
        trap 'echo got RTMIN+3' 37
        sleep 1000 &
        echo ready
        while :; do wait; done

        """

    private let daemon: Daemon

    init() throws {
        let directory = try TemporaryDirectory()
        let script = try directory.writeProgram("traps", Self.script)
        daemon = try Daemon(
            """
            { services: { api: { command: ['\(script)'], replicas: 2 }, web: { command: ['\(script)'] },
                          down: { command: ['\(script)'], replicas: 0 } } }
            """, in: directory)
        try eventually("all traps") { [daemon] in
            Self.instances.allSatisfy { daemon.logLines($0.0, $0.1).contains("stdout F ready") } ? true : nil
        }
    }

    private static let instances = [("api", 1), ("api", 2), ("web", 1)]

    /// How many lines there are of a signal: of api/1, api/2, web/1.
    private func got(_ signal: String) -> [Int] {
        Self.instances.map { instance in
            daemon.logLines(instance.0, instance.1).count { $0 == "stdout F got \(signal)" }
        }
    }

    @Test("A signal goes to the processes that the names stand for, and to no other")
    func selectors() throws {
        let steps: [(names: [String], got: [Int])] = [
            (["api/2"], [0, 1, 0]), (["api"], [1, 2, 0]), (["a*"], [2, 3, 0]), (["*/1"], [3, 3, 1]),
            (["api/?"], [4, 4, 1]), (["web", "api/1"], [5, 4, 2]), (["api", "api/1", "a*"], [6, 5, 2]),
            (["all"], [7, 6, 3]),
        ]
        var before = [0, 0, 0]
        for step in steps {
            let result = try Program.run(
                Daemon.supctl, ["--socket", daemon.socket, "signal", "USR1"] + step.names)
            #expect(result.code == 0)
            let count = zip(step.got, before).count { $0 != $1 }
            let words = count == 1 ? "1 process" : "\(count) processes"
            #expect(result.output == "\(step.names.joined(separator: " ")): SIGUSR1 sent to \(words)\n")
            try eventually("\(step.got) after \(step.names), not \(got("USR1"))") {
                got("USR1") == step.got ? true : nil
            }
            before = step.got
        }
        // Each process is the one that it was.
        #expect(try daemon.status().services.flatMap(\.instances).allSatisfy { $0.restarts == 0 && $0.pid != nil })
        #expect(daemon.keeper.output.contains("signal USR1 to api/2, asked for by uid \(geteuid()) (pid "))
    }

    @Test(
        "A signal is named with or without SIG, in any case, real-time ones too",
        arguments: [
            ("HUP", "HUP"), ("SIGHUP", "HUP"), ("hup", "HUP"), ("sigusr2", "USR2"), ("rtmin+3", "RTMIN+3"),
            ("SIGRTMIN+3", "RTMIN+3"),
        ])
    func names(word: String, signal: String) throws {
        let result = try daemon.ctl("signal", word, "web")
        #expect(result.output == "web: SIG\(signal) sent to 1 process\n")
        try eventually("the line") { got(signal) == [0, 0, 1] ? true : nil }
    }

    @Test("A signal that ends a process is an exit like any other")
    func kills() throws {
        let before = try #require(daemon.pids()["web/1"])
        #expect(try daemon.ctl("signal", "KILL", "web").code == 0)
        let instance = try eventually("the next process") {
            let instance = try daemon.status("web").services.first?.instances.first
            return instance?.state == "running" && instance?.pid != before ? instance : nil
        }
        #expect(instance.lastExit?.signal == "SIGKILL" && instance.restarts == 1)
    }

    @Test("What cannot be sent is refused with the reason, and nothing is sent")
    func refused() throws {
        let cases: [(words: [String], code: Int32, text: String)] = [
            (["FOO", "api"], 2, "there is no signal \"FOO\"; it is named as in HUP, USR1"),
            (["0", "api"], 2, "there is no signal \"0\""), (["rtmin+99", "api"], 2, "there is no signal \"RTMIN+99\""),
            (["USR1"], 2, "which service?"), ([], 2, "which signal, and to which service?"),
            (["USR1", "apj"], 4, "there is no service \"apj\"; did you mean \"api\"?"),
            (["USR1", "api/3"], 4, "there is no instance \"api/3\""), (["USR1", "x*"], 4, "nothing matches \"x*\""),
            (["USR1", "api", "nobody"], 4, "there is no service \"nobody\""),
            (["USR1", "down"], 1, "down has no instances (replicas: 0)"),
        ]
        for (words, code, text) in cases {
            let result = try Program.run(Daemon.supctl, ["--socket", daemon.socket, "signal"] + words)
            #expect(result.code == code, "\(words): \(result.output)")
            #expect(result.output.contains(text), "\(words): \(result.output)")
        }
        #expect(try daemon.ctl("stop", "web").code == 0)
        let stopped = try daemon.ctl("signal", "USR1", "web")
        #expect(stopped.code == 1 && stopped.output.contains("web/1: no process is running"), "\(stopped.output)")
        // What was sent now has come, and nothing before it.
        #expect(try daemon.ctl("signal", "USR1", "api").code == 0)
        try eventually("one line each") { got("USR1") == [1, 1, 0] ? true : nil }
    }
}
