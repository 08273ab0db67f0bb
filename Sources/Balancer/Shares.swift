import Platform
import Synchronization

// What the loops know together, outside all tables: memory that outlives them, reached by plain pointers. What one loop
// writes and others read often lies in a cache line of its own.

/// All that loops share of one service.
final class PoolShare: @unchecked Sendable {
    /// The queue as all loops see it. See `LoopPlaces` for the order in which these are written and read.
    struct Line: ~Copyable {
        /// Connections that wait for an endpoint, in all loops.
        let queued = Atomic<Int>(0)
        /// The loops that have some of them, a bit each.
        let loops = Atomic<UInt64>(0)
        /// The loops that are to serve theirs now, because a place is free.
        let calls = Atomic<UInt64>(0)
        /// The loop that was called last.
        let turn = Atomic<Int>(0)
    }

    /// Where all of it is.
    struct Parts {
        /// Whose turn it is: one number for all loops and all tables, which makes round robin exact. Every loop writes here.
        let ticket: UnsafeMutablePointer<Atomic<UInt64>>
        /// How many connections were accepted for this service: each one's number says where in the queue it belongs. It lies
        /// beside `ticket`, since who writes one writes the other.
        let arrivals: UnsafeMutablePointer<Atomic<UInt64>>
        /// For each loop the number of the first one in its queue; max: nobody waits there. Written by that loop alone.
        let oldest: UnsafeMutablePointer<Atomic<UInt64>>
        /// How many of the active endpoints are not in service. A hint: it is counted anew at every change, but a loop with
        /// an older table may count others.
        let aside: UnsafeMutablePointer<Atomic<Int>>
        let line: UnsafeMutablePointer<Line>
    }

    let parts: Parts
    /// The most loops that share a service: a bit each in `Line`.
    static let mostLoops = 64
    /// Held while an endpoint is set aside or put back: never more than half are aside at once.
    let healthChange = Lock<Void>(())

    init() {
        let memory = UnsafeMutableRawPointer.allocate(
            byteCount: 3 * 128 + Self.mostLoops * MemoryLayout<Atomic<UInt64>>.stride, alignment: 128)
        parts = Parts(
            ticket: memory.bindMemory(to: Atomic<UInt64>.self, capacity: 2),
            arrivals: memory.assumingMemoryBound(to: Atomic<UInt64>.self) + 1,
            oldest: (memory + 384).bindMemory(to: Atomic<UInt64>.self, capacity: Self.mostLoops),
            aside: (memory + 256).bindMemory(to: Atomic<Int>.self, capacity: 1),
            line: (memory + 128).bindMemory(to: Line.self, capacity: 1))
        parts.ticket.initialize(to: Atomic(0))
        parts.arrivals.initialize(to: Atomic(0))
        for loop in 0..<Self.mostLoops { (parts.oldest + loop).initialize(to: Atomic(.max)) }
        parts.line.initialize(to: Line())
        parts.aside.initialize(to: Atomic(0))
    }

    deinit {
        parts.ticket.deinitialize(count: 2)
        parts.oldest.deinitialize(count: Self.mostLoops)
        parts.line.deinitialize(count: 1)
        parts.aside.deinitialize(count: 1)
        UnsafeMutableRawPointer(parts.ticket).deallocate()
    }
}

/// All that loops share of one generation of an instance; a new one begins clean. Each loop that has connections there
/// keeps it.
final class EndpointShare: @unchecked Sendable {
    /// Its connections and connects in all loops that count them: only while the pool needs it.
    let load: UnsafeMutablePointer<Atomic<Int>>
    /// An `EndpointHealth`; 0 is in service, and its last connect was done.
    let health: UnsafeMutablePointer<Atomic<UInt64>>

    init() {
        let memory = UnsafeMutableRawPointer.allocate(byteCount: 2 * 64, alignment: 64)
        load = memory.bindMemory(to: Atomic<Int>.self, capacity: 1)
        load.initialize(to: Atomic(0))
        health = (memory + 64).bindMemory(to: Atomic<UInt64>.self, capacity: 1)
        health.initialize(to: Atomic(0))
    }

    deinit {
        load.deinitialize(count: 1)
        health.deinitialize(count: 1)
        UnsafeMutableRawPointer(load).deallocate()
    }
}

/// All that loops share of one front that has a limit.
struct FrontGate: ~Copyable {
    /// Its connections in all loops that count them.
    let open = Atomic<Int>(0)
    /// The loops that do not watch its listeners because it is full, a bit each.
    let full = Atomic<UInt64>(0)
    /// The loop that was called last.
    let turn = Atomic<Int>(0)
}

/// The loop whose turn it is after another one, of a set of loops with a bit each; nil if the set is empty.
func nextLoop(after last: Int, of loops: UInt64) -> Int? {
    guard loops != 0 else { return nil }
    let later = last >= 63 ? 0 : loops & UInt64.max << UInt64(max(0, last + 1))
    return (later != 0 ? later : loops).trailingZeroBitCount
}

extension Atomic where Value == Int {
    /// Adds one unless that exceeds a limit. Returns whether it did. Exact, whoever else adds at the same time.
    func addOne(limit: Int) -> Bool {
        var value = load(ordering: .sequentiallyConsistent)
        while value < limit {
            let (exchanged, original) = compareExchange(
                expected: value, desired: value + 1, ordering: .sequentiallyConsistent)
            if exchanged { return true }
            value = original
        }
        return false
    }
}

extension Atomic where Value == UInt64 {
    /// Changes an endpoint's health as the value itself says. Returns what `change` returned at last.
    func updateHealth(_ change: (inout EndpointHealth) -> Bool) -> Bool {
        var bits = load(ordering: .relaxed)
        while true {
            var health = EndpointHealth(bits: bits)
            let result = change(&health)
            let (exchanged, original) = compareExchange(
                expected: bits, desired: health.bits, ordering: .sequentiallyConsistent)
            if exchanged { return result }
            bits = original
        }
    }
}
