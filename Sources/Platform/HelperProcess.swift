import Glibc

/// Starts this program again with other arguments, by posix_spawn(3): for programs that want children of their own
/// (DemoService). The daemon starts services in another way. The child has standard descriptors as this process has
/// them and a clean signal mask. Returns its process id.
package func startItself(arguments: [String]) throws(SystemError) -> Int32 {
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var none = sigset_t()
    sigemptyset(&none)
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setflags(&attributes, Int16(truncatingIfNeeded: Int32(POSIX_SPAWN_SETSIGMASK)))
    let words = [CommandLine.arguments.first ?? "itself"] + arguments
    var vector: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
    defer { vector.forEach { free($0) } }
    var child = pid_t()
    let code = posix_spawn(&child, "/proc/self/exe", nil, &attributes, &vector, environ)
    guard code == 0 else { throw SystemError(call: "posix_spawn", code: code, subject: "/proc/self/exe") }
    return child
}

/// Ends a child of this process with SIGKILL.
package func endChild(_ child: Int32) { if child > 0 { kill(child, SIGKILL) } }

/// Waits for a child of this process to end, by waitpid(2), and forgets it.
package func awaitChild(_ child: Int32) { _ = try? systemCall("waitpid") { waitpid(child, nil, 0) } }

/// Leaves process group and session for new ones, by setsid(2); does nothing in a process that leads a group.
package func leaveSession() { _ = setsid() }
