import CPlatform
import Glibc

/// A semaphore whose waits end by CLOCK_MONOTONIC, see sem_clockwait(3).
///
/// In place of `DispatchSemaphore`, which on Linux waits by sem_timedwait(3) for an instant of the wall clock: when that
/// is set back by an hour, a wait of a millisecond takes an hour.
package final class MonotonicSemaphore: @unchecked Sendable {
    private let semaphore: UnsafeMutablePointer<sem_t>

    /// Creates a semaphore without a signal, by sem_init(3).
    package init() {
        semaphore = .allocate(capacity: 1)
        semaphore.initialize(to: sem_t())
        sem_init(semaphore, 0, 0)
    }

    deinit {
        sem_destroy(semaphore)
        semaphore.deallocate()
    }

    /// Ends one wait, of now or later, by sem_post(3).
    package func signal() { sem_post(semaphore) }

    /// Waits for a signal; false if the time is over before there is one.
    @discardableResult
    package func wait(atMost time: Duration) -> Bool {
        let end = monotonicNanoseconds() + time.clampedNanoseconds
        while supd_sem_wait_until(semaphore, end) != 0 {
            guard errno == EINTR else { return false }
        }
        return true
    }
}
