import Foundation
import Glibc
import Platform
import TestSupport
import Testing

private let isRoot = geteuid() == 0

@Suite("A process that is forked in advance") struct SpareProcessTests {
    /// One that waits, and the pipe of its stdout and stderr.
    static func spare(old: Bool = false) throws -> (process: SpareProcess, output: Descriptor) {
        let pipe = try makePipe()
        var spawn = Spawn(candidates: [], arguments: [], environment: [])
        spawn.descriptors = [nil, pipe.write, pipe.write]
        spawn.resetsOOMScore = true
        spawn.avoidsNewCalls = old
        return (try SpareProcess(spawn), pipe.read)
    }

    /// Waits until it has nothing more to do.
    static func waitUntilItWaits(_ process: SpareProcess) throws {
        try eventually("a process that waits") {
            let name = try? String(contentsOfFile: "/proc/\(process.forked.pid)/comm", encoding: .utf8)
            return name == "supd: spare\n" && ProcessTable.entry(of: process.forked.pid)?.state == UInt8(ascii: "S")
                ? true : nil
        }
    }

    static func finish(_ process: SpareProcess, _ output: Descriptor) throws -> SpawnTests.Run {
        try SpawnTests.wait(process.forked.status)
        let outcome = Spawn.outcome(of: process.forked.status)
        let text = try FileHandle(fileDescriptor: output.raw).readToEnd() ?? Data()
        try SpawnTests.wait(process.forked.process.descriptor)
        let exit = try #require(try process.forked.process.exit())
        return SpawnTests.Run(outcome: outcome, output: String(decoding: text, as: UTF8.self), exit: exit)
    }

    @Test("waits, then becomes what it is told, like any other", arguments: [false, true])
    func becomes(old: Bool) throws {
        let (process, output) = try Self.spare(old: old)
        try Self.waitUntilItWaits(process)
        // Nothing of ours is kept open by it.
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: "/proc/\(process.forked.pid)/fd").sorted()
                == ["0", "1", "2", "3"])
        var spawn = SpawnTests.shell(
            "echo \"$0|$A\"; test $$ = $OWN && pwd; umask; ulimit -n; ls /proc/self/fd; cat /proc/self/oom_score_adj")
        spawn.arguments = ["näme", "-c", spawn.arguments[2]]
        spawn.environment.append("A=ü *")
        spawn.processIDVariables = ["OWN"]
        spawn.directory = "/usr"
        spawn.umask = 0o137
        spawn.limits = [.init(resource: 7, soft: 20, hard: 30)]
        #expect(process.take(spawn))
        process.go()
        let run = try Self.finish(process, output)
        #expect(run.outcome == .executed)
        #expect(run.lines == ["näme|ü *", "/usr", "0137", "20", "0", "1", "2", "3", "0"])
        #expect(run.exit == .code(0))
    }

    @Test("becomes another user", .enabled(if: isRoot, "needs root"))
    func credentials() throws {
        let (process, output) = try Self.spare()
        var spawn = SpawnTests.shell("id -u; id -G; grep CapEff /proc/self/status")
        spawn.credentials = .init(user: 65534, group: 65533, supplementary: [65533, 12345])
        #expect(process.take(spawn))
        process.go()
        #expect(try Self.finish(process, output).lines == ["65534", "65533 12345", "CapEff:\t0000000000000000"])
    }

    @Test("says which stage failed")
    func stages() throws {
        let (process, output) = try Self.spare()
        var spawn = SpawnTests.shell("true")
        spawn.directory = "/nowhere"
        #expect(process.take(spawn))
        process.go()
        let run = try Self.finish(process, output)
        #expect(run.outcome == .failed(SpawnError(stage: .directory, code: ENOENT)))
        #expect(run.exit == .code(127))
    }

    @Test("does not take what is too long or cannot be said, and goes only with what it took")
    func refuses() throws {
        let (process, output) = try Self.spare()
        var spawn = SpawnTests.shell("true")
        process.go()
        spawn.environment = [String(repeating: "x", count: SpareProcess.capacity)]
        #expect(!process.take(spawn))
        spawn.environment = ["A=\0B"]
        #expect(!process.take(spawn))
        spawn.environment = []
        spawn.candidates = []
        #expect(!process.take(spawn))
        process.go()
        try Self.waitUntilItWaits(process)
        #expect(Spawn.outcome(of: process.forked.status) == .pending)
        #expect(process.take(SpawnTests.shell("echo after all")))
        process.go()
        #expect(try Self.finish(process, output).lines == ["after all"])
        #expect(!process.take(SpawnTests.shell("true")))
    }

    @Test("ends when nobody can let it go any more")
    func letGo() throws {
        var spare: SpareProcess? = try Self.spare().process
        let process = try #require(spare).forked.process
        spare = nil
        try SpawnTests.wait(process.descriptor)
        #expect(try process.exit() == .signal(SIGKILL, coreDumped: false))
    }

    @Test("fails as the system call does", arguments: ["mmap", "pipe2", "clone3"])
    func faults(call: String) throws {
        let error = #expect(throws: SpawnError.self) {
            try FaultPlan.$current.withValue(FaultPlan { name, _ in name == call ? EAGAIN : nil }) {
                try SpareProcess(Spawn(candidates: [], arguments: [], environment: []))
            }
        }
        #expect(error == SpawnError(stage: call == "clone3" ? .fork : .prepare, code: EAGAIN))
    }
}
