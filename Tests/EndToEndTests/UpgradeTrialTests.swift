import ControlAPI
import Foundation
import Glibc
import Platform
import TestSupport
import Testing

/// A program that `supctl upgrade` tries, and that is not what it should be.
@Suite("The trial of an upgrade", .timeLimit(.minutes(15)))
struct UpgradeTrialTests {
    /// What cannot take over, and what is said of it.
    private static let bad: [(name: String, words: String)] = [
        ("missing", "cannot open it: No such file or directory"),
        ("directory", "cannot open it: Is a directory"),
        ("not executable", "cannot execute it: Permission denied"),
        ("of another architecture", "cannot execute it: Exec format error"),
        ("half", "it"),
        ("crashing", "was ended by signal 11"),
        ("ready", "it is no supd that can take over: it exited with code 0: ready"),
        ("true", "it is no supd that can take over: it exited with code 0"),
        ("failing", "it exited with code 3: some reason"),
    ]

    @Test("A program that fails its trial changes nothing", arguments: bad.map(\.name))
    func failedTrial(kind: String) throws {
        let words = try #require(Self.bad.first { $0.name == kind }?.words)
        let front = try freePort()
        let directory = try TemporaryDirectory()
        let daemon = try Daemon(
            "{ services: { api: { command: ['@demo@', '--quiet'], listen: \(front.port) } } }", in: directory)
        let (before, roles) = (try daemon.pids(), try daemon.status().daemon.roles)
        let kept = try KeptConnection(port: front.port)
        let served = try kept.get("/")
        let path = directory.file("program")
        var program = try #require(FileManager.default.contents(atPath: Daemon.supd))
        func script(_ text: String) throws { try Installed.put("#!/bin/sh\n\(text)\n", at: path) }
        switch kind {
        case "missing": break
        case "directory": mkdir(path, 0o755)
        case "not executable": try Installed.put(program, at: path, mode: "644")
        case "of another architecture":
            // e_machine of the ELF header: a SPARC.
            program[18] = 2
            program[19] = 0
            try Installed.put(program, at: path)
        case "half": try Installed.put(program.prefix(100_000), at: path)
        case "crashing": try script("kill -SEGV $$")
        case "ready": try script("echo ready; echo ready >&3")
        case "true": try script("exec true")
        default: try script("echo some reason >&2; exit 3")
        }
        for arguments in [["upgrade", path], ["upgrade", "--check", path]] {
            let result = try Program.run(Daemon.supctl, ["--socket", daemon.socket] + arguments)
            #expect(result.code == 1)
            #expect(result.output.contains("supd stays as it is: \(path): "), "\(result.output)")
            #expect(result.output.contains(words), "\(result.output)")
        }
        #expect(try daemon.pids() == before)
        #expect(try daemon.status().daemon.roles == roles)
        #expect(try kept.get("/") == served)
        // And nothing is in the way of one that can.
        #expect(try daemon.ctl("upgrade").code == 0)
        #expect(try daemon.pids() == before)
        #expect(try kept.get("/") == served)
    }

    @Test("A trial that hangs is ended; meanwhile there is no second one, and a crash of the supervisor is as always")
    func hangingTrial() throws {
        let directory = try TemporaryDirectory()
        let daemon = try Daemon("{ services: { a: { command: 'sleep 1000' } } }", in: directory)
        let before = try daemon.pids()
        let path = directory.file("program")
        try Installed.put("#!/bin/sh\necho $$ > \(path).pid\nexec sleep 4713\n", at: path)
        let asking = try Program(Daemon.supctl, ["--socket", daemon.socket, "upgrade", path])
        let pid: Int32 = try eventually("the trial") {
            (try? String(contentsOfFile: path + ".pid", encoding: .utf8)).flatMap {
                Int32($0.trimmingCharacters(in: .whitespacesAndNewlines))
            }
        }
        let process = try ProcessDescriptor(pid: pid)
        #expect(try daemon.ctl("upgrade").output.contains("another upgrade is under way"))
        let supervisor = try daemon.role("supervisor")
        kill(supervisor, SIGKILL)
        try daemon.waitForAnother("supervisor", than: supervisor)
        #expect(try daemon.ctl("upgrade").output.contains("another upgrade is under way"))
        try process.waitForEnd(until: monotonicNanoseconds() + 40_000_000_000)
        let result = try asking.wait()
        #expect(result.code == 1)
        #expect(result.output.contains("it has not said within 10 s whether it can take over"), "\(result.output)")
        #expect(try daemon.pids() == before)
        try eventually("an upgrade") { try daemon.ctl("upgrade").code == 0 ? true : nil }
        #expect(try daemon.pids() == before)
    }

    @Test("A program that passes its trial, but cannot be executed in the end, changes nothing but the supervisor")
    func wrapper() throws {
        let front = try freePort()
        let directory = try TemporaryDirectory()
        let daemon = try Daemon(
            "{ services: { api: { command: ['@demo@', '--quiet'], listen: \(front.port) } } }", in: directory)
        let (before, balancer) = (try daemon.pids(), try daemon.role("balancer"))
        let path = directory.file("program")
        // The kernel refuses a script that is executed by a descriptor which is close-on-exec.
        try Installed.put("#!/bin/sh\nexec \(Daemon.supd) \"$@\"\n", at: path)
        #expect(try daemon.ctl("upgrade", "--check", path).code == 0)
        let result = try daemon.ctl("upgrade", path)
        #expect(result.code == 1)
        #expect(result.output.contains("supd stays as it was: cannot execute it"), "\(result.output)")
        #expect(try daemon.pids() == before)
        #expect(try daemon.role("balancer") == balancer)
        #expect(try HTTP.get(port: front.port, "/").status == 200)
        #expect(try daemon.ctl("upgrade").code == 0)
        #expect(try daemon.pids() == before)
    }

    @Test("supd can be stopped while a program is tried, and then stops everything in order")
    func stoppedMeanwhile() throws {
        let directory = try TemporaryDirectory()
        let daemon = try Daemon("{ services: { a: { command: 'sleep 1000' } } }", in: directory)
        let path = directory.file("program")
        try Installed.put("#!/bin/sh\ntouch \(path).begun\nexec sleep 4714\n", at: path)
        let asking = try Program(Daemon.supctl, ["--socket", daemon.socket, "upgrade", path])
        try eventually("the trial") { FileManager.default.fileExists(atPath: path + ".begun") ? true : nil }
        daemon.keeper.send(SIGTERM)
        #expect(try daemon.keeper.wait().code == 0)
        #expect(try asking.wait().code != 0)
        #expect(daemon.keeper.output.contains("everything is stopped"))
    }
}
