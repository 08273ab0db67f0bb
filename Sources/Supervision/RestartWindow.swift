import Manifest

/// The starts of late, for `restart.limit`. It remembers no more of them than the limit allows, and at most 1,000.
struct RestartWindow: Sendable, Hashable, Codable {
    private var starts: [Instant] = []

    /// The most starts that are counted; a greater limit is taken as this one.
    private static let capacity = 1000

    /// Whether one more start at an instant would be within the limit.
    func allows(_ limit: RestartSettings.Limit?, at instant: Instant) -> Bool {
        guard let limit else { return true }
        let horizon = instant.adding(-limit.within.wholeNanoseconds)
        let recent = starts.count { $0 > horizon }
        return recent < min(max(limit.starts, 1), RestartWindow.capacity)
    }

    /// Counts a start.
    mutating func record(_ limit: RestartSettings.Limit?, at instant: Instant) {
        guard let limit else { return starts = [] }
        let horizon = instant.adding(-limit.within.wholeNanoseconds)
        starts.removeAll { $0 <= horizon }
        if starts.count >= RestartWindow.capacity { starts.removeFirst() }
        starts.append(instant)
    }

    /// Forgets all: a person has asked for a start.
    mutating func clear() { starts = [] }
}
