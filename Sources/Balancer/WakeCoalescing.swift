/// Whether a loop that has nothing to do sleeps for a fixed short time before it waits for events, and for how long.
///
/// It is what network cards do with interrupts under load. A loop that is faster than clients and servers finds nothing
/// to do after every few events, and sleeps; each of them then pays for waking it, which on a virtual machine costs more
/// than the rest of a send. While it sleeps by the clock instead, nobody wakes it, and what comes meanwhile is one batch.
/// With connections that are new for each request that is worth a tenth of the machine. With connections that stay it is
/// worth nothing, so it is done only where many are opened; and never where few events come, since each may wait for
/// as long as the sleep is.
struct WakeCoalescing: Sendable {
    /// A sleep lasts until about so many events have come.
    static let batch: Int64 = 16
    /// The longest sleep, in nanoseconds: where a batch takes longer than this to come, there is none.
    static let longest: Int64 = 300_000
    /// Of so many events one at least must be the arrival of a connection; a short one is six or seven.
    static let eventsOfConnection: Int64 = 8
    /// With fewer connections than this, all of which may wait for us, nothing more would come.
    static let leastConnections = 12
    /// A sleep after which there are fewer events than this was not worth it.
    static let worthwhile: Int32 = 4
    /// How long there are no sleeps after too many that were not worth it, in nanoseconds.
    static let pause: Int64 = 20_000_000

    private let limit: Int64
    /// How long to sleep before the next wait, in nanoseconds; 0: not at all.
    private(set) var delay: Int64 = 0
    /// What has been seen since the clock's last tick.
    private var since: Int64 = 0
    private var events: Int64 = 0
    private var opened: Int64 = 0
    /// How well sleeps have done, 0…8, and when they may begin again.
    private var credit = 0
    private var notBefore = Int64.min

    /// `longest`: another limit than the usual one.
    init(longest: Int64 = Self.longest) { limit = longest }

    /// A connection has been accepted.
    @inline(__always)
    mutating func noteOpened() { opened &+= 1 }

    /// A wait is over, at this instant of the loop's coarse clock, and has brought so many events; `connections`: how many
    /// there are.
    @inline(__always)
    mutating func note(events count: Int32, connections: Int, at now: Int64) {
        if now != since { decide(connections, now) }
        events &+= Int64(max(count, 0))
    }

    /// The clock has moved: what came since its last tick is what will come.
    private mutating func decide(_ connections: Int, _ now: Int64) {
        // No product below overflows: a second at most, and as many events as fit in it.
        let elapsed = max(1, min(now &- since, 1_000_000_000))
        delay = 0
        if events >= Self.batch, opened &* Self.eventsOfConnection >= events, connections >= Self.leastConnections,
            now >= notBefore
        {
            let time = elapsed &* Self.batch / events
            if time <= limit { delay = time }
        }
        since = now
        events = 0
        opened = 0
    }

    /// A sleep is over, and so many events have come meanwhile.
    mutating func noteSleep(brought count: Int32, at now: Int64) {
        if count >= Self.worthwhile {
            credit = min(credit + 1, 8)
        } else {
            credit -= 2
            guard credit < 0 else { return }
            credit = 0
            delay = 0
            notBefore = saturatingSum(now, Self.pause)
        }
    }
}
