import CPlatform
import Glibc

/// SIGTERM and SIGINT, and where it is asked for the terminal's other signals, as a descriptor that becomes readable, for
/// small programs of blocking threads: they can wait for them beside their sockets, and no code ever runs inside a signal
/// handler.
package final class TerminationSignals: Sendable {
    /// What a program is to do for the signals that have come.
    package enum Notice: Sendable, Equatable {
        /// Put the terminal right and end: SIGTERM, SIGINT, SIGHUP (the terminal is gone), SIGQUIT (Ctrl-\).
        case end
        /// Put the terminal right and stop: SIGTSTP (Ctrl-Z).
        case stop
        /// Take the terminal again: SIGCONT.
        case resumed
    }

    /// Becomes readable when a signal has come, and stays so until `take`.
    package let descriptor: Descriptor
    private let notices: Descriptor

    /// SIGTERM and SIGINT do nothing, and the descriptor never becomes readable. (Ignoring them is not enough where they are
    /// waited for: the kernel keeps a signal that is blocked, ignored or not, and sigwait(3) takes it.)
    package static func ignored() throws(SystemError) -> TerminationSignals {
        ignoreTerminationSignals()
        return try TerminationSignals(awaiting: [])
    }

    /// For programs that change the terminal: all signals by which one is ended, stopped and continued, but those that are
    /// ignored, as nohup(1) has SIGHUP ignored.
    package static func ofTerminal() throws(SystemError) -> TerminationSignals {
        try TerminationSignals(
            awaiting: [SIGTERM, SIGINT] + [SIGHUP, SIGQUIT, SIGTSTP].filter { !isIgnored($0) } + [SIGCONT])
    }

    /// Blocks SIGTERM and SIGINT in the calling thread and those it starts later, and takes them by sigwait(3) on a thread
    /// of their own; call it before any other thread is started.
    package convenience init() throws(SystemError) { try self.init(awaiting: [SIGTERM, SIGINT]) }

    private init(awaiting numbers: [Int32]) throws(SystemError) {
        var signals = sigset_t()
        sigemptyset(&signals)
        for number in numbers { sigaddset(&signals, number) }
        pthread_sigmask(SIG_BLOCK, &signals, nil)
        var ends: [Int32] = [-1, -1]
        try systemCall("pipe") { pipe(&ends) }
        descriptor = Descriptor(owning: ends[0])
        notices = Descriptor(owning: ends[1])
        for end in [descriptor, notices] {
            try systemCall("fcntl") { fcntl(end.raw, F_SETFD, FD_CLOEXEC) }
            try systemCall("fcntl") { fcntl(end.raw, F_SETFL, O_NONBLOCK) }
        }
        guard !numbers.isEmpty else { return }
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

    /// What the signals since the last call come to; nil: none has come.
    package func take() -> Notice? {
        let numbers = PipeIO.readAvailable(descriptor, limit: 1 << 16).map { Int32($0) }
        guard let last = numbers.last else { return nil }
        if numbers.contains(where: { $0 != SIGTSTP && $0 != SIGCONT }) { return .end }
        return last == SIGTSTP ? .stop : .resumed
    }

    private static func isIgnored(_ signal: Int32) -> Bool {
        var action = sigaction()
        guard sigaction(signal, nil, &action) == 0 else { return false }
        return unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self)
            == unsafeBitCast(SIG_IGN, to: Int.self)
    }
}

/// Stops this process as SIGTSTP does where nobody waits for it, and returns when it is continued; at once where the kernel
/// stops nobody by it: no shell is there that could continue it (an orphaned process group), or it is ignored.
package func stopUntilContinued() {
    var signals = sigset_t()
    sigemptyset(&signals)
    sigaddset(&signals, SIGTSTP)
    var before = sigset_t()
    // Raised in this thread, it is this thread's: sigwait(3) in another one does not get it.
    pthread_sigmask(SIG_UNBLOCK, &signals, &before)
    raise(SIGTSTP)
    pthread_sigmask(SIG_SETMASK, &before, nil)
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
