import CPlatform
import Glibc

/// The id of this process: getpid(2).
package func ownProcessID() -> Int32 { getpid() }

/// Keeps others of the same user from tracing this process and reading its memory, by prctl(PR_SET_DUMPABLE).
package func forbidDumps() { _ = supd_forbid_dumps() }

/// Sends SIGKILL to a process group; kill(2). For a group that this process was told of by the one that held it, and
/// whose holder is gone.
package func killProcessGroup(_ group: Int32) {
    // 0 and 1 mean something else than a group of that number.
    if group > 1 { _ = kill(-group, SIGKILL) }
}

/// Sets the permission bits of a file: chmod(2).
package func changeMode(of path: String, to mode: UInt32) throws(SystemError) {
    try systemCall("chmod", path) { chmod(path, mode_t(mode)) }
}

/// A path made absolute against the working directory; getcwd(3). Nothing else about it is changed.
package func absolutePath(_ path: String) -> String {
    guard !path.hasPrefix("/"), let directory = getcwd(nil, 0) else { return path }
    defer { free(directory) }
    return String(cString: directory) + "/" + path
}
