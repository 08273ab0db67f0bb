extension Duration {
    /// Whole nanoseconds from 0 to Int64.max; what is beyond either end is clamped (292 years are "for ever").
    package var wholeNanoseconds: Int64 {
        guard self > .zero else { return 0 }
        guard self < .seconds(9_000_000_000) else { return .max }
        let (seconds, attoseconds) = components
        return seconds * 1_000_000_000 + attoseconds / 1_000_000_000
    }
}

extension Instant {
    /// The end of monotonic time: what never comes.
    static let never = Instant(nanoseconds: .max)

    /// An instant later by so many nanoseconds; beyond the end of time it is `never`.
    func adding(_ nanoseconds: Int64) -> Instant {
        let (sum, overflow) = self.nanoseconds.addingReportingOverflow(nanoseconds)
        return Instant(nanoseconds: overflow ? (nanoseconds < 0 ? .min : .max) : sum)
    }

    /// An instant later by a duration; beyond the end of time it is the last one.
    package static func + (instant: Instant, duration: Duration) -> Instant {
        instant.adding(duration.wholeNanoseconds)
    }

    /// How many nanoseconds have passed since an earlier instant; 0 if it is later.
    func elapsed(since earlier: Instant) -> Int64 {
        guard earlier < self else { return 0 }
        let (difference, overflow) = nanoseconds.subtractingReportingOverflow(earlier.nanoseconds)
        return overflow ? .max : difference
    }
}
