import Supervision

/// How long to pause between tries: 5 ms at first (a command: 50 ms), then twice as long each time up to 250 ms (a
/// command: 1 s); from ten seconds after the beginning on, 1 s.
struct ProbePacing {
    /// When probing began, in nanoseconds of CLOCK_MONOTONIC.
    var startedAt: Int64
    /// Whether each try starts a process.
    var isCommand: Bool

    /// The pause in nanoseconds after this try, counted from 1.
    func pause(afterTry number: Int, now: Int64) -> Int64 {
        if now - startedAt > 10_000_000_000 { return 1_000_000_000 }
        let (first, longest): (Int64, Int64) = isCommand ? (50_000_000, 1_000_000_000) : (5_000_000, 250_000_000)
        return min(longest, first << min(max(0, number - 1), 20))
    }
}

/// When a health probe is due: once in every interval, at a place in it that follows from the number of the process. So
/// the probes of many services are spread over it, evenly for numbers that follow each other (the golden ratio leaves no
/// two close together), and yet few at a time share a wake-up: there are only so many places.
struct ProbeRhythm: Hashable {
    /// In nanoseconds, from 1.
    let interval: Int64
    /// From 0 up to the interval, in nanoseconds.
    let phase: Int64

    /// The most places in an interval.
    private static let places: UInt64 = 40

    /// The rhythm of a process.
    init(interval: Duration, number: UInt64) {
        self.interval = max(1, interval.wholeNanoseconds)
        // The upper bits of number × 2⁶⁴/φ are the fraction of number/φ.
        let fraction = (number &* 0x9E37_79B9_7F4A_7C15) >> 32
        let place = Int64((fraction * Self.places) >> 32)
        phase = (self.interval / Int64(Self.places)) * place
    }

    /// The first time after another.
    func next(after time: Int64) -> Int64 {
        let (passed, overflow) = time.subtractingReportingOverflow(phase)
        guard !overflow else { return .max }
        let (next, isLate) = time.addingReportingOverflow(interval - ((passed % interval) + interval) % interval)
        return isLate ? .max : next
    }
}
