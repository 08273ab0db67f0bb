// How many lines a second of a stream are kept (`log.rate`).
//
// Whether a line is kept must come out the same when a transaction is repeated after a crash. So it follows from what is in
// the journal alone: the limit, the time stamp that the transaction gives to all its lines, and how far the stream has used
// up its second, which changes where the transaction is settled. A line is kept or dropped as a whole. One of more than a
// piece is decided when its first piece is, and what comes of it in later batches follows that.

/// How far a stream has used up a second.
struct RateWindow: Equatable {
    /// What was decided of the line under way.
    enum Line: UInt64 { case undecided, kept, dropped }

    /// The second since 1970.
    var second: Int64 = 0
    /// The lines kept in it.
    var count: UInt32 = 0
    /// The line that has not ended.
    var line = Line.undecided
}

/// Decides which lines of a transaction are kept.
struct RateGate {
    /// The most lines a second; 0: all are kept.
    let limit: UInt32
    /// How far the second is used up by now.
    private(set) var window: RateWindow
    /// The second is the one of an earlier transaction.
    let goesOn: Bool

    init(limit: UInt32, window: RateWindow, timestamp: Int64) {
        self.limit = limit
        self.window = window
        let second = timestamp / 1_000_000_000
        goesOn = limit > 0 && window.second == second
        if !goesOn {
            self.window.second = second
            self.window.count = 0
        }
    }

    /// How many more lines of this second are kept.
    var left: Int { limit == 0 ? .max : Int(limit) - Int(min(window.count, limit)) }

    /// So many whole lines were kept, no more than were left.
    mutating func kept(_ lines: Int) {
        guard limit > 0 else { return }
        window.count = UInt32(clamping: Int(window.count) + lines)
    }

    /// Decides what becomes of the line under way, if that is still open. Returns true if it is dropped from now on.
    mutating func decide() -> Bool {
        guard window.line == .undecided else { return false }
        guard left > 0 else {
            window.line = .dropped
            return true
        }
        kept(1)
        window.line = .kept
        return false
    }

    /// The line under way has ended.
    mutating func lineEnded() { window.line = .undecided }
}
