import Glibc

/// Signals to processes that are no children and are known by their pid alone.
extension ProcessDescriptor {
    /// Sends a signal to the process of this id if `isMeant` still says so once it is held: so a process that took the
    /// id over in between is never hit. Returns whether the signal was sent; false too if nobody has the id.
    @discardableResult
    package static func signal(
        _ number: Int32, to pid: Int32, ifStill isMeant: (Int32) -> Bool
    ) throws(SystemError) -> Bool {
        do throws(SystemError) {
            let process = try ProcessDescriptor(pid: pid)
            guard isMeant(pid) else { return false }
            try process.signal(number)
            return true
        } catch  where error.code == ESRCH {
            return false
        }
    }

    /// Waits until the process has ended (it may still be a zombie) or the time is over, by poll(2).
    package func waitForEnd(milliseconds: Int32) {
        var state = pollfd(fd: descriptor.raw, events: Int16(POLLIN), revents: 0)
        _ = try? systemCall("poll") { poll(&state, 1, max(0, milliseconds)) }
    }
}
