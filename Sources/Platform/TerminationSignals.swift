import CPlatform
import Glibc

/// SIGTERM and SIGINT as a descriptor that becomes readable, for small programs of blocking threads: they can wait for
/// them beside their sockets, and no code ever runs inside a signal handler.
package final class TerminationSignals: Sendable {
    /// Becomes readable when a signal has come, and stays so.
    package let descriptor: Descriptor
    private let notices: Descriptor

    /// Both signals do nothing, and the descriptor never becomes readable. (Ignoring them is not enough where they are waited
    /// for: the kernel keeps a signal that is blocked, ignored or not, and sigwait(3) takes it.)
    package static func ignored() throws(SystemError) -> TerminationSignals {
        ignoreTerminationSignals()
        return try TerminationSignals(waits: false)
    }

    /// Blocks both signals in the calling thread and those it starts later, and takes them by sigwait(3) on a thread of
    /// their own; call it before any other thread is started.
    package convenience init() throws(SystemError) { try self.init(waits: true) }

    private init(waits: Bool) throws(SystemError) {
        var signals = sigset_t()
        sigemptyset(&signals)
        sigaddset(&signals, SIGTERM)
        sigaddset(&signals, SIGINT)
        if waits { pthread_sigmask(SIG_BLOCK, &signals, nil) }
        var ends: [Int32] = [-1, -1]
        try systemCall("pipe") { pipe(&ends) }
        descriptor = Descriptor(owning: ends[0])
        notices = Descriptor(owning: ends[1])
        for end in [descriptor, notices] {
            try systemCall("fcntl") { fcntl(end.raw, F_SETFD, FD_CLOEXEC) }
            try systemCall("fcntl") { fcntl(end.raw, F_SETFL, O_NONBLOCK) }
        }
        guard waits else { return }
        let (awaited, notices) = (signals, notices)
        try startBlockingThread { () in
            var signals = awaited
            while true {
                var number: Int32 = 0
                guard sigwait(&signals, &number) == 0 else { continue }
                // A full pipe is as readable as one with a byte more.
                _ = withUnsafeBytes(of: UInt8(truncatingIfNeeded: number)) { write(notices.raw, $0.baseAddress, 1) }
            }
        }
    }
}

/// Ignores SIGTERM and SIGINT in this process and in those it starts: only SIGKILL ends it.
package func ignoreTerminationSignals() {
    signal(SIGTERM, SIG_IGN)
    signal(SIGINT, SIG_IGN)
}

/// Waits until one of the descriptors is readable or at its end, by poll(2); returns for each whether it is. All are
/// false when the time is over; nil waits for ever.
package func waitReadable(_ descriptors: [Descriptor], timeoutMilliseconds: Int32? = nil) throws(SystemError) -> [Bool]
{
    var entries = descriptors.map { pollfd(fd: $0.raw, events: Int16(POLLIN), revents: 0) }
    try systemCall("poll") { poll(&entries, nfds_t(entries.count), timeoutMilliseconds ?? -1) }
    return entries.map { $0.revents != 0 }
}
