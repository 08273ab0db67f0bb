/// The share of an endpoint that is new: it grows evenly from a tenth to all of what a warm one gets.
///
/// Only beside an older one: when all are new, after a start, nothing is gained by sending less to any of them. So what
/// counts is its part of the share that the oldest one has, which may be on its way up too.
enum SlowStart {
    /// What a warm endpoint gets; shares are parts of this.
    static let full: UInt32 = 1024
    /// The least: a tenth, rounded up.
    static let least: UInt32 = 103

    /// The share of an endpoint that became active at `activated`, in parts of `full`. Nanoseconds.
    @inline(__always)
    static func share(activated: Int64, duration: Int64, now: Int64) -> UInt32 {
        guard duration > 0 else { return full }
        let (elapsed, overflow) = now.subtractingReportingOverflow(activated)
        guard !overflow, elapsed < duration else { return full }
        guard elapsed > 0 else { return least }
        // No sum below overflows: 2^53 ns are a hundred days.
        let part = duration < 1 << 53 ? elapsed &* Int64(full) / duration : elapsed / (duration / Int64(full))
        return max(least, min(full, UInt32(truncatingIfNeeded: part)))
    }

    /// The same as a part of what the oldest gets, which became active at `oldest`.
    @inline(__always)
    static func share(activated: Int64, oldest: Int64, duration: Int64, now: Int64) -> UInt32 {
        let own = share(activated: activated, duration: duration, now: now)
        // At most 2^20, and never by 0.
        return min(full, own &* full / share(activated: oldest, duration: duration, now: now))
    }

    /// Whether an endpoint with this share takes part in a choice.
    @inline(__always)
    static func takesPart(share: UInt32, random: inout ChoiceRandom) -> Bool {
        share >= full || random.next(below: full) < share
    }
}
