import CPlatform
import Glibc

/// A program's file that is kept open: what is executed later is what was tried before, whatever its path names by then.
package struct ProgramImage: Sendable {
    /// What it was opened as, absolute.
    package let path: String
    /// Opened with O_PATH: enough to execute it, and nothing else.
    package let descriptor: Descriptor

    /// Opens a file, by open(2) with O_PATH. Throws EACCES for what is no regular file.
    package init(_ path: String) throws(SystemError) {
        self.path = path
        descriptor = Descriptor(
            owning: try systemCall("open", path) { open(path, Self.pathOnly | O_CLOEXEC | O_NOCTTY) })
        var status = stat()
        try systemCall("fstat", path) { fstat(descriptor.raw, &status) }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw SystemError(call: "execve", code: status.st_mode & S_IFMT == S_IFDIR ? EISDIR : EACCES, subject: path)
        }
    }

    /// O_PATH, which needs _GNU_SOURCE.
    private static let pathOnly: Int32 = 0o10000000

    /// The path by which a process reaches it that has it open under this number.
    package static func path(ofDescriptor number: Int32) -> String { "/proc/self/fd/\(number)" }

    /// The absolute path by which this process was started: the first argument, looked for in PATH if it has no slash. What
    /// /proc says is taken where that names another file: it has links resolved, and so would not follow one that an
    /// installer sets anew.
    package static func ownPath(firstArgument: String, searchPath: String?) -> String {
        var own = stat()
        let hasOwn = stat("/proc/self/exe", &own) == 0
        let names: [String] =
            firstArgument.contains("/")
            ? [absolutePath(firstArgument)]
            : (searchPath ?? "").split(separator: ":").map { "\(absolutePath(String($0)))/\(firstArgument)" }
        let found = names.first { name in
            var status = stat()
            return hasOwn && stat(name, &status) == 0 && status.st_dev == own.st_dev && status.st_ino == own.st_ino
        }
        return found ?? (try? Files.readLink("/proc/self/exe")) ?? firstArgument
    }

    /// The program that this process runs: its path, and when its file was last changed, in nanoseconds of
    /// CLOCK_REALTIME; what cannot be told is empty or nil.
    package static func running() -> (path: String, modified: Int64?) {
        var status = stat()
        let modified =
            stat("/proc/self/exe", &status) == 0
            ? Int64(status.st_mtim.tv_sec) &* 1_000_000_000 &+ Int64(status.st_mtim.tv_nsec) : nil
        let path = (try? Files.readLink("/proc/self/exe")) ?? ""
        let mark = " (deleted)"
        return (path.hasSuffix(mark) ? String(path.dropLast(mark.count)) : path, modified)
    }
}

/// Becomes another program, by execveat(2): the process, its children and its signal mask stay, its memory goes. It gets the
/// descriptors of these numbers, and 0, 1 and 2; all others must be close-on-exec. Returns only if that failed; then these
/// numbers are close-on-exec again. To be called where there is no other thread. The image is no script (ENOENT), as long as
/// its own descriptor is close-on-exec.
package func replaceProgram(
    by image: Int32, arguments: [String], environment: [String], keeping numbers: [Int32]
) -> SystemError {
    for number in numbers { _ = fcntl(number, F_SETFD, 0) }
    defer { for number in numbers { _ = fcntl(number, F_SETFD, FD_CLOEXEC) } }
    var argv = arguments.map { strdup($0) } + [nil]
    var envp = environment.map { strdup($0) } + [nil]
    defer { for case let text? in argv + envp { free(text) } }
    do throws(SystemError) {
        try systemCall("execveat") { supd_execute(image, &argv, &envp) }
        return SystemError(call: "execveat", code: ENOEXEC)
    } catch {
        return error
    }
}

/// Descriptors that the program before this one has left open for it, by their numbers; open until they are let go of here
/// and by whoever took them.
package final class InheritedDescriptors: Sendable {
    private let owned: Lock<[Int32: Descriptor]>

    /// Takes them over, close-on-exec from now on. Throws EBADF, and takes none, unless all are open, above 2 and named
    /// once.
    package init(_ numbers: [Int32]) throws(SystemError) {
        var seen: Set<Int32> = []
        for number in numbers {
            guard number > 2, seen.insert(number).inserted else {
                throw SystemError(call: "fcntl", code: EBADF, subject: "\(number)")
            }
            try systemCall("fcntl", "F_GETFD \(number)") { fcntl(number, F_GETFD) }
        }
        for number in numbers {
            try systemCall("fcntl", "F_SETFD \(number)") { fcntl(number, F_SETFD, FD_CLOEXEC) }
        }
        owned = Lock(
            Dictionary(numbers.map { ($0, Descriptor(owning: $0)) }, uniquingKeysWith: { first, _ in first }))
    }

    /// One of them; EBADF if it was not among the numbers.
    package func descriptor(_ number: Int32) throws(SystemError) -> Descriptor {
        guard let descriptor = owned.withLock({ $0[number] }) else {
            throw SystemError(call: "fcntl", code: EBADF, subject: "\(number)")
        }
        return descriptor
    }

    /// Lets go of all.
    package func forget() { owned.withLock { $0 = [:] } }
}

extension MemoryFile {
    /// Opens a file in memory once more, so that whoever gets the descriptor can only read it.
    package static func forReading(_ descriptor: Descriptor) throws(SystemError) -> Descriptor {
        let path = ProgramImage.path(ofDescriptor: descriptor.raw)
        return Descriptor(owning: try systemCall("open", path) { open(path, O_RDONLY | O_CLOEXEC) })
    }

    /// Reads the file in memory that has this number, which stays open and whoever's it is. Throws unless it is one.
    package static func contents(ofDescriptor number: Int32, limit: Int) throws(SystemError) -> [UInt8] {
        let copy = Descriptor(
            owning: try systemCall("fcntl", "F_DUPFD_CLOEXEC \(number)") { fcntl(number, F_DUPFD_CLOEXEC, 3) })
        return try MemoryFile(received: copy).read(limit: limit)
    }
}
