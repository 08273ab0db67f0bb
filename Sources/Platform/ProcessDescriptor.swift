import CPlatform
import Glibc

/// How a process ended, from waitid(2).
package enum ProcessExit: Sendable, Hashable {
    /// By exit(3) with this code, 0 to 255.
    case code(Int32)
    /// By a signal.
    case signal(Int32, coreDumped: Bool)

    fileprivate init?(_ raw: supd_exit) {
        if raw.pid == 0 { return nil }
        self = raw.signaled != 0 ? .signal(raw.value, coreDumped: raw.core_dumped != 0) : .code(raw.value)
    }
}

/// A process that cannot be mistaken for a later one with the same id: a pidfd. Readable once the process has ended.
package final class ProcessDescriptor: Sendable {
    /// The pidfd, to be polled.
    package let descriptor: Descriptor

    /// Takes over a pidfd.
    package init(owning descriptor: Descriptor) { self.descriptor = descriptor }

    /// Opens the process that has this id now, by pidfd_open(2); ESRCH if none has.
    package convenience init(pid: Int32) throws(SystemError) {
        self.init(owning: Descriptor(owning: try systemCall("pidfd_open", "\(pid)") { supd_pidfd_open(pid) }))
    }

    /// Sends it a signal (0: only checks), by pidfd_send_signal(2); ESRCH once it is reaped.
    package func signal(_ number: Int32) throws(SystemError) {
        try systemCall("pidfd_send_signal", "signal \(number)") { supd_pidfd_signal(descriptor.raw, number, 0) }
    }

    /// Sends a signal to the process group that this process leads, or led: works after it is reaped. ESRCH: the group
    /// is empty. EINVAL: see `supportsGroups`.
    package func signalGroup(_ number: Int32) throws(SystemError) {
        try systemCall("pidfd_send_signal", "group, signal \(number)") {
            supd_pidfd_signal(descriptor.raw, number, 1)
        }
    }

    /// Whether the kernel (6.9 and later) has PIDFD_SIGNAL_PROCESS_GROUP.
    package static func supportsGroups() -> Bool {
        do throws(SystemError) {
            try ProcessDescriptor(pid: getpid()).signalGroup(0)
            return true
        } catch {
            // This process may lead no group.
            return error.code == ESRCH
        }
    }

    /// How it ended; nil while it runs. Reaps it, unless `keepsZombie`. ECHILD: it is no child of ours, or was reaped.
    /// By waitid(2) with P_PIDFD.
    package func exit(keepsZombie: Bool = false) throws(SystemError) -> ProcessExit? {
        var raw = supd_exit()
        try systemCall("waitid") { supd_pidfd_wait(descriptor.raw, keepsZombie ? 1 : 0, &raw) }
        return ProcessExit(raw)
    }
}

/// Sends a signal to the process group with this id, by kill(2) with its negative; only safe while the group's leader is
/// known not to be reaped.
package func signalProcessGroup(_ group: Int32, _ number: Int32) throws(SystemError) {
    guard group > 1 else { throw SystemError(call: "kill", code: EINVAL, subject: "\(group)") }
    try systemCall("kill", "group \(group)") { kill(-group, number) }
}

/// Makes this process the parent of descendants whose own parents end, by prctl(PR_SET_CHILD_SUBREAPER).
package func becomeSubreaper() throws(SystemError) {
    try systemCall("prctl", "PR_SET_CHILD_SUBREAPER") { supd_become_subreaper() }
}
