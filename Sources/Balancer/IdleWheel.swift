/// Open connections by the time at which their silence is long enough to end them.
///
/// A wheel of lists, one for each sixteenth to eighth of the timeout. A connection that moves bytes only changes its own
/// stamp and stays where it is; when the time of its list comes it is ended, or put where its stamp says it belongs. So
/// a connection is looked at about once in a timeout, ends at most an eighth late, and a silent one costs one wake-up.
struct IdleWheel: BitwiseCopyable {
    /// Lists; a power of two.
    static let lanes: Int64 = 32

    private var lists = InlineArray<32, ConnectionList>(repeating: ConnectionList())
    /// After how much silence; max: never, and then nobody is here.
    private(set) var timeout = Int64.max
    /// A tick is two to the power of this in nanoseconds.
    private var shift: Int64 = 0
    /// All lists up to this tick were emptied.
    private var done: Int64 = 0
    /// While a list is emptied: the last one that was in it, as index + 1. Who is put back may come behind it.
    private var lastOfList: UInt32 = 0
    /// How many connections there are.
    private(set) var count = 0

    /// Sets the timeout; nobody may be here.
    mutating func set(timeout: Int64) {
        self.timeout = timeout
        shift = 0
        // Ticks in use are those of one timeout and two more.
        while timeout >> shift >= Self.lanes / 2 { shift += 1 }
    }

    /// Puts a connection in that has been silent since an instant, and that is not due yet. Returns its list's number, and
    /// when it is looked at.
    @inline(__always)
    mutating func insert(
        _ connection: ConnectionReference, since: Int64, now: Int64, in slab: Slab
    ) -> (lane: UInt8, due: Int64) {
        if count == 0 {
            done = now >> shift
            lastOfList = 0
        }
        count += 1
        let tick = max(saturatingSum(since, timeout) >> shift, done) + 1
        let lane = Int(tick & (Self.lanes - 1))
        lists[lane].append(connection, in: slab)
        return (UInt8(lane), saturatingShift(tick))
    }

    /// Takes a connection out of its list.
    @inline(__always)
    mutating func remove(_ connection: ConnectionReference, lane: UInt8, in slab: Slab) {
        lists[Int(lane)].remove(connection, in: slab)
        count -= 1
    }

    /// Takes out a connection whose list's time has come; nil if there is none. It may not be due itself.
    mutating func next(at now: Int64, in slab: Slab) -> UInt32? {
        let current = now >> shift
        if current - done > Self.lanes { done = current - Self.lanes }
        while count > 0, done < current {
            let lane = Int((done + 1) & (Self.lanes - 1))
            let first = lists[lane].first
            if lastOfList == 0 { lastOfList = lists[lane].last }
            if first == lastOfList || first == 0 {
                lastOfList = 0
                done += 1
            }
            guard first > 0 else { continue }
            lists[lane].remove(ConnectionReference(index: first - 1, memory: slab.address(first - 1)), in: slab)
            count -= 1
            return first - 1
        }
        return nil
    }

    /// When the next list's time comes; max if all are empty.
    var nextDue: Int64 {
        guard count > 0 else { return .max }
        for step in 1...Self.lanes where lists[Int((done + step) & (Self.lanes - 1))].first > 0 {
            return saturatingShift(done + step)
        }
        return .max
    }

    @inline(__always)
    private func saturatingShift(_ tick: Int64) -> Int64 {
        tick > Int64.max >> shift ? .max : tick << shift
    }
}
