import Glibc

/// Starts a detached thread, by pthread_create(3). Unlike a Dispatch queue's worker it may block as long as it likes:
/// the number of those is limited, and one that waits is lost to the others.
package func startBlockingThread(
    stackBytes: Int = 256 << 10, _ body: @escaping @Sendable () -> Void
) throws(SystemError) {
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    defer { pthread_attr_destroy(&attributes) }
    pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
    pthread_attr_setstacksize(&attributes, max(stackBytes, 64 << 10))
    let work = Unmanaged.passRetained(ThreadBody(body))
    var thread = pthread_t()
    let code = pthread_create(
        &thread, &attributes,
        { argument in
            if let argument { Unmanaged<ThreadBody>.fromOpaque(argument).takeRetainedValue().body() }
            return nil
        }, work.toOpaque())
    if code != 0 {
        work.release()
        throw SystemError(call: "pthread_create", code: code)
    }
}

/// Blocks the calling thread for a time, by clock_nanosleep(2). Nothing for times of 0 and below.
package func pause(for time: Duration) {
    let end = monotonicNanoseconds() + time.clampedNanoseconds
    var deadline = timespec(tv_sec: Int(end / 1_000_000_000), tv_nsec: Int(end % 1_000_000_000))
    while clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &deadline, nil) == EINTR {}
}

extension Duration {
    /// Whole nanoseconds, from 0 to those of a hundred years.
    package var clampedNanoseconds: Int64 {
        let century = Duration.seconds(3_155_760_000)
        let (seconds, attoseconds) = min(max(self, .zero), century).components
        return seconds * 1_000_000_000 + attoseconds / 1_000_000_000
    }
}

private final class ThreadBody: Sendable {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
}
