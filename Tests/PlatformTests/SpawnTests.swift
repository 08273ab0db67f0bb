import Foundation
import Glibc
import Platform
import TestSupport
import Testing

private let isRoot = geteuid() == 0

@Suite("Starting a process") struct SpawnTests {
    /// How a start went: what the status pipe said, what the program wrote, how it ended.
    struct Run {
        var outcome: Spawn.Outcome
        var output: String
        var exit: ProcessExit
        var lines: [Substring] { output.split(separator: "\n") }
    }

    /// A shell script as a start.
    static func shell(_ script: String) -> Spawn {
        Spawn(candidates: ["/bin/sh"], arguments: ["sh", "-c", script], environment: ["PATH=/usr/bin:/bin"])
    }

    /// Starts it with stdout and stderr in a pipe, and waits for its end.
    static func run(_ spawn: Spawn) throws -> Run {
        var spawn = spawn
        let forked: Spawn.Forked
        let output: Descriptor
        do {
            let pipe = try makePipe()
            output = pipe.read
            spawn.descriptors[1] = pipe.write
            spawn.descriptors[2] = pipe.write
            forked = try spawn.start()
            spawn.descriptors = []
        }
        try wait(forked.status)
        let outcome = Spawn.outcome(of: forked.status)
        let text = try FileHandle(fileDescriptor: output.raw).readToEnd() ?? Data()
        try wait(forked.process.descriptor)
        let exit = try #require(try forked.process.exit())
        return Run(outcome: outcome, output: String(decoding: text, as: UTF8.self), exit: exit)
    }

    static func wait(_ descriptor: Descriptor) throws {
        var entry = pollfd(fd: descriptor.raw, events: Int16(POLLIN), revents: 0)
        if try systemCall("poll", "", { poll(&entry, 1, 30_000) }) == 0 { throw Unexpected("nothing to read") }
    }

    @Test(
        "gives it further descriptors by their numbers, and leaves those in between closed", arguments: [false, true])
    func furtherDescriptors(old: Bool) throws {
        let pipe = try makePipe(nonblockingRead: true)
        var spawn = Self.shell("ls /proc/$$/fd; echo seven >&7; echo nine >&9")
        spawn.avoidsNewCalls = old
        // Whatever is at those numbers here.
        spawn.further = [9: pipe.write, 7: pipe.write]
        let run = try Self.run(spawn)
        // The shell keeps its own at 10 or 255, if at all; in a pipeline it would have those of the pipe for a moment.
        let numbers = run.lines.compactMap { Int($0) }.filter { $0 < 10 }.sorted()
        #expect(numbers == [0, 1, 2, 7, 9], "\(run.output)")
        #expect(PipeIO.readAvailable(pipe.read, limit: 100) == Array("seven\nnine\n".utf8))
    }

    @Test("gives it its own process id as the value of variables", arguments: [false, true])
    func ownProcessID(old: Bool) throws {
        var spawn = Self.shell("echo $$ $LISTEN_PID $WATCHDOG_PID; env | grep -c PID")
        spawn.processIDVariables = ["LISTEN_PID", "WATCHDOG_PID"]
        spawn.avoidsNewCalls = old
        let run = try Self.run(spawn)
        let ids = (run.lines.first ?? "").split(separator: " ")
        #expect(ids.count == 3 && Set(ids).count == 1, "\(run.output)")
        #expect(run.lines.last == "2")
    }

    @Test("gives it arguments and environment as they are", arguments: [false, true])
    func argumentsAndEnvironment(old: Bool) throws {
        var spawn = Spawn(
            candidates: ["/bin/sh"], arguments: ["name", "-c", "echo \"$0|$1|$2\"; echo \"$A|$B\"", "zero", "", "ü *"],
            environment: ["A=", "B=x=y z"])
        spawn.avoidsNewCalls = old
        let run = try Self.run(spawn)
        #expect(run.outcome == .executed)
        #expect(run.lines == ["zero||ü *", "|x=y z"])
        #expect(run.exit == .code(0))
    }

    @Test(
        "gives it a session and a group of its own, clean signals, and no descriptor but its own",
        arguments: [false, true])
    func cleanProcess(old: Bool) throws {
        let leaked = open("/proc/self/status", O_RDONLY)  // not close-on-exec
        defer { close(leaked) }
        #expect(leaked > 2)
        var mask = sigset_t()
        sigfillset(&mask)
        var before = sigset_t()
        pthread_sigmask(SIG_BLOCK, &mask, &before)
        defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
        var spawn = Self.shell("ls /proc/self/fd; cat /proc/self/status; cut -d' ' -f1,5,6 /proc/$$/stat")
        spawn.avoidsNewCalls = old
        let run = try Self.run(spawn)
        // `ls` itself has the directory open.
        #expect(run.lines.prefix(4) == ["0", "1", "2", "3"])
        #expect(run.lines.contains("SigBlk:\t0000000000000000"))
        #expect(run.lines.contains("SigIgn:\t0000000000000000"))
        let ids = try #require(run.lines.last).split(separator: " ")
        #expect(ids.count == 3 && Set(ids).count == 1)
    }

    @Test("puts descriptors where they belong, in whatever order they come", arguments: [false, true])
    func descriptors(old: Bool) throws {
        let pipes = try (0..<4).map { _ in try makePipe() }
        // Numbers that cross: each target is a source of another.
        for pipe in pipes {
            try systemCall("write") { write(pipe.write.raw, "\(pipe.read.raw)\n", "\(pipe.read.raw)\n".utf8.count) }
        }
        var spawn = Self.shell("for n in 3 4 5 6; do eval \"read line <&$n\"; echo $line; done")
        spawn.descriptors += pipes.reversed().map { Optional($0.read) }
        spawn.avoidsNewCalls = old
        let run = try Self.run(spawn)
        #expect(run.lines == pipes.reversed().map { "\($0.read.raw)"[...] })
    }

    @Test("tries one path after the other, and remembers that one was not permitted")
    func candidates() throws {
        let directory = try TemporaryDirectory()
        let denied = try directory.write("denied", "#!/bin/sh\n")
        let script = try directory.writeProgram("script", "#!/bin/sh\necho \"$0\"\n")
        func outcome(_ candidates: [String]) throws -> Spawn.Outcome {
            try Self.run(Spawn(candidates: candidates, arguments: ["x"], environment: [])).outcome
        }
        #expect(try outcome(["/nowhere/a", "\(denied)/b", denied, script]) == .executed)
        #expect(try outcome(["/nowhere/a"]) == .failed(SpawnError(stage: .execute, code: ENOENT)))
        #expect(try outcome([denied, "/nowhere/a"]) == .failed(SpawnError(stage: .execute, code: EACCES)))
        let bare = try directory.writeProgram("bare", "no program\n")
        #expect(try outcome([bare, script]) == .failed(SpawnError(stage: .execute, code: ENOEXEC)))
        let orphaned = try directory.writeProgram("orphaned", "#!/nowhere/sh\n")
        #expect(try outcome([orphaned]) == .failed(SpawnError(stage: .execute, code: ENOENT)))
    }

    @Test("names the stage that failed", arguments: [false, true])
    func stages(old: Bool) throws {
        func outcome(_ change: (inout Spawn) -> Void) throws -> Spawn.Outcome {
            var spawn = Self.shell("true")
            spawn.avoidsNewCalls = old
            change(&spawn)
            let run = try Self.run(spawn)
            #expect(run.exit == .code(127))
            return run.outcome
        }
        #expect(try outcome { $0.directory = "/nowhere" } == .failed(SpawnError(stage: .directory, code: ENOENT)))
        #expect(try outcome { $0.directory = "/dev/null" } == .failed(SpawnError(stage: .directory, code: ENOTDIR)))
        #expect(
            try outcome {
                $0.limits = [.init(resource: 7, soft: 10, hard: 10), .init(resource: 0, soft: 2, hard: 1)]
            } == .failed(SpawnError(stage: .limit, code: EINVAL, limit: 0)))
        #expect(
            try outcome { $0.limits = [.init(resource: 99, soft: 1, hard: 1)] }
                == .failed(SpawnError(stage: .limit, code: EINVAL, limit: 99)))
        #expect(
            try outcome {
                $0.credentials = .init(user: 65534, group: 65534, supplementary: Array(repeating: 1, count: 70_000))
            } == .failed(SpawnError(stage: .groups, code: isRoot ? EINVAL : EPERM)))
        #expect(try outcome { $0.candidates = ["/"] } == .failed(SpawnError(stage: .execute, code: EACCES)))
    }

    @Test("refuses strings that cannot be passed on, and no candidate at all")
    func refusesStrings() throws {
        var spawn = Self.shell("true")
        spawn.environment = ["A=\0B"]
        #expect(throws: SpawnError(stage: .prepare, code: EINVAL)) { try spawn.start() }
        spawn = Self.shell("true")
        spawn.candidates = []
        #expect(throws: SpawnError(stage: .prepare, code: EINVAL)) { try spawn.start() }
    }

    @Test("sets directory, mask, limits, and no new privileges")
    func settings() throws {
        var spawn = Self.shell(
            "pwd; umask; ulimit -S -n; ulimit -H -n; ulimit -S -c; grep NoNewPrivs /proc/self/status")
        spawn.directory = "/usr"
        spawn.umask = 0o137
        spawn.limits = [.init(resource: 7, soft: 20, hard: 30), .init(resource: 4, soft: 0, hard: 0)]
        spawn.deniesNewPrivileges = true
        let run = try Self.run(spawn)
        #expect(run.lines == ["/usr", "0137", "20", "30", "0", "NoNewPrivs:\t1"])
    }

    @Test("becomes another user with its groups, before it looks at the directory", .enabled(if: isRoot, "needs root"))
    func credentials() throws {
        var spawn = Self.shell("id -u; id -g; id -G; grep CapEff /proc/self/status; cat /proc/self/oom_score_adj")
        spawn.credentials = .init(user: 65534, group: 65533, supplementary: [65533, 12345])
        spawn.resetsOOMScore = true
        spawn.diesWithParent = true
        let run = try Self.run(spawn)
        #expect(run.lines == ["65534", "65533", "65533 12345", "CapEff:\t0000000000000000", "0"])
        let directory = try TemporaryDirectory()
        chmod(directory.path, 0o700)
        spawn.directory = directory.path
        #expect(try Self.run(spawn).outcome == .failed(SpawnError(stage: .directory, code: EACCES)))
    }

    @Test("fails as the system call does, and leaves no descriptor", arguments: ["pipe2", "fcntl", "clone3"])
    func faults(call: String) throws {
        let spawn = Self.shell("true")
        let error = #expect(throws: SpawnError.self) {
            try FaultPlan.$current.withValue(FaultPlan { name, _ in name == call ? EAGAIN : nil }) {
                try spawn.start()
            }
        }
        #expect(error == SpawnError(stage: call == "clone3" ? .fork : .prepare, code: EAGAIN))
    }
}

@Suite("A process descriptor") struct ProcessDescriptorTests {
    @Test("signals, waits without reaping, and reaps")
    func waits() throws {
        let forked = try SpawnTests.shell("read line").startDetached()
        #expect(try forked.process.exit() == nil)
        try forked.process.signal(SIGSTOP)
        try forked.process.signal(SIGKILL)
        try SpawnTests.wait(forked.process.descriptor)
        #expect(try forked.process.exit(keepsZombie: true) == .signal(SIGKILL, coreDumped: false))
        try forked.process.signal(0)
        #expect(try forked.process.exit() == .signal(SIGKILL, coreDumped: false))
        #expect(throws: SystemError.self) { try forked.process.signal(0) }
        let error = #expect(throws: SystemError.self) { try forked.process.exit() }
        #expect(error?.code == ECHILD)
    }

    @Test(
        "reaches a group after its leader is gone", .enabled(if: ProcessDescriptor.supportsGroups(), "needs Linux 6.9"))
    func groups() throws {
        let pipe = try makePipe()
        var spawn = SpawnTests.shell("sleep 1000 & echo $!")
        spawn.descriptors[1] = pipe.write
        let forked = try spawn.start()
        var bytes = [UInt8](repeating: 0, count: 32)
        let count = try systemCall("read") { read(pipe.read.raw, &bytes, bytes.count) }
        let text = String(decoding: bytes.prefix(count), as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
        let member = try ProcessDescriptor(pid: try #require(Int32(text)))
        try SpawnTests.wait(forked.process.descriptor)
        #expect(try forked.process.exit() == .code(0))
        try forked.process.signalGroup(0)
        try forked.process.signalGroup(SIGKILL)
        try SpawnTests.wait(member.descriptor)
        // Whoever is its parent now reaps it in its own time.
        _ = try eventually("empty group") { () -> Bool? in
            do throws(SystemError) {
                try forked.process.signalGroup(0)
                return nil
            } catch { return error.code == ESRCH ? true : nil }
        }
    }

    @Test("refuses to signal a group that would be everybody", arguments: [Int32.min, -1, 0, 1])
    func refusesGroups(group: Int32) {
        #expect(throws: SystemError.self) { try signalProcessGroup(group, 0) }
    }
}

extension Spawn {
    /// Starts it with /dev/null for everything but a pipe on stdin that stays open as long as the process runs.
    fileprivate func startDetached() throws -> Forked {
        let pipe = try makePipe()
        var spawn = self
        spawn.descriptors = [pipe.read, nil, nil, pipe.write]
        return try spawn.start()
    }
}
