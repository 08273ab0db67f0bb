import Glibc

/// Nanoseconds of CLOCK_MONOTONIC: the same in all processes of the machine, never set back, not running in suspend.
package func monotonicNanoseconds() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Int64(time.tv_sec) &* 1_000_000_000 &+ Int64(time.tv_nsec)
}

/// Nanoseconds of CLOCK_REALTIME since 1970: for display and log time stamps, never for deadlines.
package func wallClockNanoseconds() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return Int64(time.tv_sec) &* 1_000_000_000 &+ Int64(time.tv_nsec)
}
