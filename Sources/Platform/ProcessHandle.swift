import CPlatform
import Glibc

/// A hold on one process that need not be a child: its pid may be given to another process, the handle never means that
/// one (pidfd_open(2)).
package struct ProcessHandle: Sendable {
    /// The process id that it was opened by.
    package let pid: Int32
    private let descriptor: Descriptor

    /// Takes hold of the process that has this id now. Throws ESRCH if there is none.
    package init(pid: Int32) throws(SystemError) {
        descriptor = Descriptor(owning: try systemCall("pidfd_open", "\(pid)") { cplatform_process_open(pid) })
        self.pid = pid
    }

    /// Sends a signal, by pidfd_send_signal(2). Throws ESRCH if the process is gone.
    package func signal(_ number: Int32) throws(SystemError) {
        try systemCall("pidfd_send_signal", "\(pid)") { cplatform_process_signal(descriptor.raw, number) }
    }

    /// Waits until the process has ended (it may still be a zombie) or the time is over, by poll(2).
    package func waitForEnd(milliseconds: Int32) {
        var state = pollfd(fd: descriptor.raw, events: Int16(POLLIN), revents: 0)
        _ = try? systemCall("poll", "\(pid)") { poll(&state, 1, max(0, milliseconds)) }
    }

    /// Sends a signal to the process of this id if `isMeant` still says so once it is held: so a process that took the
    /// id over in between is never hit. Returns whether the signal was sent.
    @discardableResult
    package static func signal(_ number: Int32, to pid: Int32, ifStill isMeant: (Int32) -> Bool) throws(SystemError)
        -> Bool
    {
        do {
            let process = try ProcessHandle(pid: pid)
            guard isMeant(pid) else { return false }
            try process.signal(number)
            return true
        } catch  where error.code == ESRCH {
            return false
        }
    }
}
