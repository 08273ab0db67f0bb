import ControlAPI
import Events

/// The events between what happens and the store, and who follows them. A follower is fed from the store whenever its
/// connection has room: what it has not taken waits on disk, not here.
struct EventBook {
    /// One who reads events.
    struct Follower {
        var responder: ControlResponder
        /// The last that it was given.
        var after: UInt64
        /// Which it wants; nil: all.
        var filter: EventFilter?
        /// It wants those that come, too.
        var follows: Bool
        /// The store reads for it.
        var isReading = false
    }

    /// So many read at a time; the control socket is for others as well.
    static let mostFollowers = 32
    /// So many bytes are read for one at a time.
    static let chunk = 64 << 10
    /// So many events wait for the store; it is a disk that hangs if there are more.
    static let mostWaiting = 10_000

    /// nil before the beginning.
    var store: EventStore?
    /// What has happened since the last turn.
    var pending: [EventRecord] = []
    /// Handed to the store, and not kept yet.
    var waiting = 0
    /// Neither kept nor waiting.
    var dropped = 0
    /// The last that may be told.
    var kept: UInt64 = 0
    /// Who reads.
    var followers: [UInt64: Follower] = [:]
    /// The balancer's process that was told of last.
    var balancer: Int32?
    private var lastFollower: UInt64 = 0

    /// A text from elsewhere, cut to what a line can bear.
    static func bounded(_ text: String) -> String { text.count > 1000 ? "\(text.prefix(1000))…" : text }

    /// Notes one.
    mutating func add(_ event: EventRecord) {
        guard pending.count + waiting < Self.mostWaiting else { return dropped += 1 }
        pending.append(event)
    }

    /// What is to be handed to the store.
    mutating func takePending(at time: String) -> [EventRecord] {
        var events = pending
        pending = []
        if dropped > 0, !events.isEmpty {
            let lost = EventKind.lost(.init(count: dropped))
            events.insert(EventRecord(number: 0, at: time, service: nil, instance: nil, kind: lost), at: 0)
            dropped = 0
        }
        waiting += events.count
        return events
    }

    /// One more who reads; nil: there are too many.
    mutating func addFollower(_ follower: Follower) -> UInt64? {
        // Who stays keeps nobody from a look at what is kept: that is what one needs when things are bad.
        guard followers.values.count(where: { $0.follows == follower.follows }) < Self.mostFollowers else { return nil }
        lastFollower += 1
        followers[lastFollower] = follower
        return lastFollower
    }
}
