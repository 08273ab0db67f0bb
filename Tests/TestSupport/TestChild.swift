import Glibc
package import Platform

/// Held from the making of a pipe to the end of a spawn: a child of another test must not inherit its ends meanwhile.
private let spawning = Lock(())

/// A real process of a test's own, in a session of its own; killed with its descendants when the last reference is gone.
package final class TestChild: @unchecked Sendable {
    /// Its process id, which stays its own until this object is gone: only `deinit` waits for it.
    package let pid: Int32
    private let output: Descriptor

    /// Starts a program by its path, with nothing but the given environment, by posix_spawn(3). Throws the errno of
    /// execve(2). `descriptors` are given to it as 3, 4, ….
    package init(
        _ arguments: [String], environment: [String] = ["PATH=/usr/bin:/bin"], descriptors: [Descriptor] = []
    ) throws {
        (pid, output) = try spawning.withLock { _ in try Self.spawn(arguments, environment, descriptors) }
    }

    private static func spawn(
        _ arguments: [String], _ environment: [String], _ descriptors: [Descriptor]
    ) throws -> (Int32, Descriptor) {
        let (output, input) = try makePipe()

        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, input.raw, 1)
        // Above all that the child gets, so that no dup2 takes the place of one still to come.
        let copies = try descriptors.map { descriptor in
            Descriptor(owning: try systemCall("fcntl") { fcntl(descriptor.raw, F_DUPFD_CLOEXEC, 100) })
        }
        for (index, copy) in copies.enumerated() {
            posix_spawn_file_actions_adddup2(&actions, copy.raw, Int32(3 + index))
        }
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        let newSession: Int16 = 0x80  // POSIX_SPAWN_SETSID
        posix_spawnattr_setflags(&attributes, newSession)

        var argv: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        var envp: [UnsafeMutablePointer<CChar>?] = environment.map { strdup($0) } + [nil]
        defer { for text in argv + envp { free(text) } }
        var pid: pid_t = 0
        // ETXTBSY: a program that this test has just written is still open in a child that another test forked meanwhile.
        let code = try eventually("\(arguments[0]) to be closed") {
            let code = posix_spawn(&pid, arguments[0], &actions, &attributes, &argv, &envp)
            return code == ETXTBSY ? nil : code
        }
        guard code == 0 else { throw SystemError(call: "execve", code: code, subject: arguments[0]) }
        // posix_spawn returns when execve lets go of our memory; name and environment come a little later.
        if !environment.isEmpty {
            _ = try eventually("\(arguments[0]) to be executed") {
                let environ = try? Files.readPrefix("/proc/\(pid)/environ", count: 1)
                return environ?.isEmpty == false || ProcessTable.entry(of: pid)?.hasEnded != false ? true : nil
            }
        }
        return (pid, output)
    }

    deinit {
        // Descendants that left the session too.
        var found = [pid]
        var next = 0
        while next < found.count {
            found += ProcessTable.children(of: found[next]) ?? []
            next += 1
        }
        kill(-pid, SIGKILL)
        for process in found { kill(process, SIGKILL) }
        waitpid(pid, nil, 0)
    }

    /// Waits for the next line of its output, without the line feed.
    package func line() throws -> String {
        var line: [UInt8] = []
        var byte: UInt8 = 0
        while try systemCall("read", "", { read(output.raw, &byte, 1) }) == 1 {
            if byte == UInt8(ascii: "\n") { return String(decoding: line, as: UTF8.self) }
            line.append(byte)
        }
        throw TestFailure("the process's output ended after '\(String(decoding: line, as: UTF8.self))'")
    }

    /// Sends it a signal.
    package func signal(_ number: Int32) { kill(pid, number) }

    /// Waits until it has ended; it stays a zombie.
    package func waitForEnd() throws {
        var information = siginfo_t()
        try systemCall("waitid") { waitid(P_PID, id_t(pid), &information, WEXITED | WNOWAIT) }
    }
}
