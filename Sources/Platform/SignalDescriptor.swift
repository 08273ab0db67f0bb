import CPlatform
import Glibc

/// Signals as a readable descriptor, by signalfd(2).
package final class SignalDescriptor: Sendable {
    /// The descriptor, to be polled; nonblocking and close-on-exec.
    package let descriptor: Descriptor

    /// Blocks these signals in the calling thread (and so in threads that it starts later) and receives them here.
    package init(_ signals: [Int32]) throws(SystemError) {
        var set = sigset_t()
        sigemptyset(&set)
        for signal in signals { sigaddset(&set, signal) }
        pthread_sigmask(SIG_BLOCK, &set, nil)
        descriptor = Descriptor(
            owning: try systemCall("signalfd") {
                signalfd(-1, &set, Int32(SFD_CLOEXEC) | Int32(SFD_NONBLOCK))
            })
    }

    /// The signals that have come, each once however often it was sent; never waits.
    package func take() -> [Int32] {
        var signals: [Int32] = []
        var info = signalfd_siginfo()
        while read(descriptor.raw, &info, MemoryLayout<signalfd_siginfo>.size) == MemoryLayout<signalfd_siginfo>.size {
            signals.append(Int32(bitPattern: info.ssi_signo))
        }
        return signals
    }
}

/// Ignores SIGPIPE in this process: writing to a closed pipe fails with EPIPE instead. Children that `Spawn` starts have
/// it back.
package func ignoreBrokenPipes() { signal(SIGPIPE, SIG_IGN) }
