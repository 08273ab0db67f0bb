import FoundationEssentials
import Glibc
import Platform

/// A program that a test runs: its output is collected by a thread, its end is waited for, and it is killed when the
/// test lets go of it.
package final class Program: Sendable {
    /// Its process id; meaningful until `wait` has returned.
    package let pid: Int32
    private let collected = Collected()
    private let status = Lock<Int32?>(nil)

    /// What a program left when it ended.
    package struct Result: Sendable {
        /// The exit code; 128 + the signal's number if a signal ended it.
        package var code: Int32
        /// All it wrote to stdout and stderr.
        package var output: String
    }

    /// Where a program writes.
    package enum Destination: Sendable {
        /// A pipe.
        case pipe
        /// A terminal of its own, which it is not controlled by; its lines end with a carriage return as well.
        case terminal
    }

    /// Starts a program with stdout and stderr in one pipe or terminal and stdin from /dev/null.
    package init(
        _ path: String, _ arguments: [String] = [], environment: [String: String]? = nil,
        to destination: Destination = .pipe
    ) throws {
        let (source, target) = destination == .pipe ? try makePipe() : try makeTerminal()
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, target.raw, 1)
        posix_spawn_file_actions_adddup2(&actions, target.raw, 2)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var mask = sigset_t()
        sigemptyset(&mask)
        posix_spawnattr_setsigmask(&attributes, &mask)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        let values = environment ?? ProcessInfo.processInfo.environment
        var argv: [UnsafeMutablePointer<CChar>?] = ([path] + arguments).map { strdup($0) } + [nil]
        var envp: [UnsafeMutablePointer<CChar>?] = values.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { (argv + envp).forEach { free($0) } }
        var child: pid_t = 0
        let code = posix_spawn(&child, path, &actions, &attributes, &argv, &envp)
        guard code == 0 else { throw SystemError(call: "posix_spawn", code: code, subject: path) }
        pid = child
        startThread { [collected] in collected.collect(source) }
    }

    deinit { kill() }

    /// What it has written so far.
    package var output: String { collected.text }

    /// Sends a signal, unless it was waited for already.
    package func send(_ signal: Int32) { status.withLock { if $0 == nil { _ = Glibc.kill(pid, signal) } } }

    /// Waits until its output contains a text.
    package func waitForOutput(_ text: String, within seconds: Double = 30) throws {
        do {
            try eventually("output with \(text)", within: seconds) {
                if output.contains(text) { return true }
                if ended(), collected.isAtEnd, !output.contains(text) {
                    throw TestFailure("the program ended without having written \(text)")
                }
                return nil
            }
        } catch {
            throw TestFailure("\(error); the output was:\n\(output)")
        }
    }

    /// Waits for its end and for the end of its output.
    @discardableResult
    package func wait(within seconds: Double = 60) throws -> Result {
        do {
            try eventually("end of process \(pid)", within: seconds) { ended() ? true : nil }
        } catch {
            throw TestFailure("\(error); the output was:\n\(output)")
        }
        // A process it left behind may keep the pipe open; what it wrote itself is there by then.
        _ = try? eventually("end of output", within: 2) { collected.isAtEnd ? true : nil }
        let status = self.status.withLock { $0 ?? 0 }
        let signal = status & 0x7f
        return Result(code: signal == 0 ? (status >> 8) & 0xff : 128 + signal, output: output)
    }

    /// Whether it has ended.
    package func ended() -> Bool {
        status.withLock { status in
            if status != nil { return true }
            var value: Int32 = 0
            guard waitpid(pid, &value, WNOHANG) == pid else { return false }
            status = value
            return true
        }
    }

    /// Kills it and waits for it.
    package func kill() {
        send(SIGKILL)
        _ = try? eventually("end of process \(pid)", within: 10) { ended() ? true : nil }
    }

    /// Runs a program to its end.
    package static func run(
        _ path: String, _ arguments: [String] = [], environment: [String: String]? = nil, within seconds: Double = 60
    ) throws -> Result {
        try Program(path, arguments, environment: environment).wait(within: seconds)
    }
}

/// Both ends of a new terminal: what is written to the second is read from the first.
private func makeTerminal() throws -> (read: Descriptor, write: Descriptor) {
    // posix_openpt(3) and its like are not in Swift's Glibc.
    let own = Descriptor(
        owning: try systemCall("open", "/dev/ptmx") { open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC) })
    let setLock: UInt = 0x4004_5431, getPeer: UInt = 0x5441  // TIOCSPTLCK, TIOCGPTPEER
    var locked: Int32 = 0
    try systemCall("ioctl", "TIOCSPTLCK") { ioctl(own.raw, setLock, &locked) }
    let other = try systemCall("ioctl", "TIOCGPTPEER") { ioctl(own.raw, getPeer, O_RDWR | O_NOCTTY | O_CLOEXEC) }
    return (own, Descriptor(owning: other))
}

/// What a program has written, collected by a thread.
private final class Collected: Sendable {
    private let state = Lock<(bytes: [UInt8], isAtEnd: Bool)>(([], false))

    var text: String { state.withLock { String(decoding: $0.bytes, as: UTF8.self) } }
    var isAtEnd: Bool { state.withLock { $0.isAtEnd } }

    func collect(_ source: Descriptor) {
        var buffer = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = read(source.raw, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            state.withLock { $0.bytes.append(contentsOf: buffer[..<count]) }
        }
        state.withLock { $0.isAtEnd = true }
    }
}

/// Runs a closure on a detached thread of its own (not one of the cooperative pool's, which must not block).
package func startThread(_ body: @escaping @Sendable () -> Void) {
    final class Box: Sendable {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
    var thread = pthread_t()
    let context = Unmanaged.passRetained(Box(body)).toOpaque()
    pthread_create(
        &thread, nil,
        { context in
            guard let context else { return nil }
            Unmanaged<Box>.fromOpaque(context).takeRetainedValue().body()
            return nil
        }, context)
    pthread_detach(thread)
}
