import CPlatform
import Glibc
package import Platform

// A program that another test has just forked has copies of all descriptors of this process until it executes. So close(2)
// alone does not end a connection, free a port, nor end a pipe at once: what a test goes on to demand is brought about by
// other means, or waited for.

/// Ends a connected stream socket as close(2) does, at once, and closes it: by a FIN, or by a RST if something is unread.
package func closeConnection(_ socket: Int32) {
    if supd_bytes_available(socket) > 0 { disconnect(socket) } else { _ = shutdown(socket, Int32(SHUT_RDWR)) }
    _ = close(socket)
}

/// Ends a TCP connection as close(2) does with SO_LINGER and no time to linger, at once, and closes it: by a RST.
package func resetConnection(_ socket: Int32) {
    supd_reset_on_close(socket)
    disconnect(socket)
    _ = close(socket)
}

/// Resets a TCP connection, by connect(2) to AF_UNSPEC.
private func disconnect(_ socket: Int32) {
    var nowhere = sockaddr()
    nowhere.sa_family = sa_family_t(AF_UNSPEC)
    _ = connect(socket, &nowhere, socklen_t(MemoryLayout<sockaddr>.size))
}

/// Has a listening socket refuse from now on, and reset what was not accepted: by shutdown(2). A TCP socket whose port the
/// kernel has chosen gives it up, too.
package func endListening(_ listener: Descriptor) { _ = shutdown(listener.raw, Int32(SHUT_RDWR)) }

/// Waits by poll(2) until nobody has the other end of a pipe or Unix socket open any more.
package func waitForHangUp(_ descriptor: Descriptor, within seconds: Int32 = 30) throws {
    // Of POLLHUP poll(2) tells unasked.
    var entry = pollfd(fd: descriptor.raw, events: 0, revents: 0)
    var count: Int32
    repeat { count = poll(&entry, 1, seconds * 1000) } while count < 0 && errno == EINTR
    guard count == 1, entry.revents & Int16(POLLHUP) != 0 else {
        throw TestFailure("the other end is still open after \(seconds) s")
    }
}
