import Glibc
package import Platform

/// A process that a test has started; its output is kept. Killed when the test lets go of it.
package final class ChildProcess {
    /// Its number.
    package let pid: Int32
    private let process: ProcessDescriptor
    private let outputPath: String
    private let directory: TemporaryDirectory
    private var hasEnded = false

    /// Starts a program with stdout and stderr going to a file, and the descriptors as 3, 4, …. `diesWithThread`: the kernel
    /// kills it when the thread that has started it ends; else it must end by itself when this process does.
    package init(
        _ path: String, _ arguments: [String], environment: [String], descriptors: [Descriptor], limit: Int? = nil,
        diesWithThread: Bool = true
    ) throws {
        directory = try TemporaryDirectory()
        outputPath = try directory.write("output", "")
        let outputPath = outputPath
        let output = Descriptor(
            owning: try systemCall("open") { open(outputPath, O_WRONLY | O_APPEND | O_CLOEXEC) })
        var spawn = Spawn(candidates: [path], arguments: arguments, environment: environment)
        spawn.descriptors = [nil, output, output] + descriptors
        spawn.diesWithParent = diesWithThread
        if let limit {
            spawn.limits = [
                Spawn.Limit(resource: Int32(RLIMIT_NOFILE.rawValue), soft: UInt64(limit), hard: UInt64(limit))
            ]
        }
        let forked = try spawn.start()
        pid = forked.pid
        process = forked.process
        try eventually("\(path) is executed") { () -> Bool? in
            switch Spawn.outcome(of: forked.status) {
            case .pending: return nil
            case .executed: return true
            case .failed(let error): throw TestFailure("cannot start \(path): \(error)")
            }
        }
    }

    deinit {
        guard !hasEnded else { return }
        signal(SIGKILL)
        _ = try? waitForEnd()
    }

    /// What it has written.
    package var output: String { String(decoding: (try? Files.read(outputPath, limit: 1 << 20)) ?? [], as: UTF8.self) }

    /// Sends it a signal.
    package func signal(_ number: Int32) { try? process.signal(number) }

    /// Waits for its end.
    @discardableResult
    package func waitForEnd() throws -> ProcessExit {
        let exit = try eventually("process \(pid) ends") { try process.exit() }
        hasEnded = true
        return exit
    }

    /// How it ended, if it has.
    package func exit() throws -> ProcessExit? { try process.exit(keepsZombie: true) }
}
