import Glibc

/// The id of this process: getpid(2).
package func ownProcessID() -> Int32 { getpid() }

/// Ends this process at once, without running exit handlers: _exit(2).
package func exitProcessNow(_ code: Int32) -> Never { _exit(code) }

/// Sends SIGKILL to a process group; kill(2). For a group that this process was told of by the one that held it, and
/// whose holder is gone.
package func killProcessGroup(_ group: Int32) {
    // 0 and 1 mean something else than a group of that number.
    if group > 1 { _ = kill(-group, SIGKILL) }
}

/// Raises the soft limit on open descriptors to the hard one: setrlimit(2). What fails here shows where it is missed.
package func raiseOpenFileLimit() {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
    limit.rlim_cur = limit.rlim_max
    _ = setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
}

/// Sets the permission bits of a file: chmod(2).
package func changeMode(of path: String, to mode: UInt32) throws(SystemError) {
    try systemCall("chmod", path) { chmod(path, mode_t(mode)) }
}
