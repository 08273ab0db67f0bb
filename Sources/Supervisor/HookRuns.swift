import Events
import Manifest
import Supervision

/// Commands of hooks between their occasion and their end: few at a time, and not many that wait.
struct HookRuns {
    /// One command for one event.
    struct Run: Sendable, Equatable {
        var command: [Template]
        var occasion: Hook.Occasion
        var event: EventRecord
    }

    /// So many run at a time.
    static let mostRunning = 4
    /// So many wait.
    static let mostWaiting = 100
    /// So long one may take, in seconds.
    static let patience = 10

    /// Who is in trouble.
    var watch = HookWatch()
    private(set) var waiting: [Run] = []
    private(set) var running = 0
    /// Since it was said last.
    private var dropped = 0
    /// The number of the last one, for the name of what the keeper holds for it.
    private(set) var last: UInt64 = 0
    /// The time at which somebody will look who has recovered.
    var armed: Instant?

    /// Adds those hooks that an occasion is for. Returns whether some did not fit, the first time in a row.
    mutating func add(_ found: HookWatch.Found, of hooks: [Hook]) -> Bool {
        let before = dropped
        for hook in hooks where hook.occasions.contains(found.occasion) {
            if waiting.count < Self.mostWaiting {
                waiting.append(Run(command: hook.command, occasion: found.occasion, event: found.event))
            } else {
                dropped += 1
            }
        }
        return before == 0 && dropped > 0
    }

    /// The next one to begin; nil: none waits, or enough are running.
    mutating func next() -> Run? {
        guard running < Self.mostRunning, !waiting.isEmpty else { return nil }
        running += 1
        last += 1
        return waiting.removeFirst()
    }

    /// One has ended. Returns how many were dropped, once all that waited have begun.
    mutating func ended() -> Int {
        running -= 1
        guard waiting.isEmpty else { return 0 }
        defer { dropped = 0 }
        return dropped
    }
}
