import Links
import Synchronization

/// The counters that one loop keeps of one front or one instance: a cache line that only this loop writes.
///
/// Atomics with relaxed plain loads and stores: as cheap as integers, and others may read at any time.
struct CounterBlock: ~Copyable {
    let current = Atomic<UInt64>(0)
    let total = Atomic<UInt64>(0)
    let bytesIn = Atomic<UInt64>(0)
    let bytesOut = Atomic<UInt64>(0)
    let connectErrors = Atomic<UInt64>(0)
    let retries = Atomic<UInt64>(0)
    let queued = Atomic<UInt64>(0)
    let turnedAway = Atomic<UInt64>(0)
    let redispatches = Atomic<UInt64>(0)
    let limited = Atomic<UInt64>(0)
    let setAside = Atomic<UInt64>(0)
    let connects = Atomic<UInt64>(0)
    let connectTime = Atomic<UInt64>(0)
    let maximumConnectTime = Atomic<UInt64>(0)
    /// Of a front with a limit: where this loop's `current` is counted together with the others'.
    var gate: UnsafeMutablePointer<FrontGate>?

    /// A connect has succeeded, after so many nanoseconds.
    @inline(__always)
    func noteConnect(_ time: UInt64) {
        connects.add()
        connectTime.add(time)
        maximumConnectTime.raise(to: time)
    }
}

extension Atomic where Value == UInt64 {
    /// Keeps the larger one, by the one thread that writes.
    @inline(__always)
    func raise(to value: UInt64) { if value > load(ordering: .relaxed) { store(value, ordering: .relaxed) } }

    /// Adds, by the one thread that writes.
    @inline(__always)
    func add(_ amount: UInt64 = 1) { store(load(ordering: .relaxed) &+ amount, ordering: .relaxed) }

    /// Takes one off, by the one thread that writes.
    @inline(__always)
    func drop() { store(load(ordering: .relaxed) &- 1, ordering: .releasing) }
}

/// The counters of one front or one instance, a block a loop.
///
/// Loops hold plain pointers to the blocks. Whoever owns this object keeps it while a table names it in any loop and
/// while `isInUse`.
final class CounterSet: @unchecked Sendable {
    /// Bytes of a block, in whole cache lines.
    private static let stride = (MemoryLayout<CounterBlock>.stride + 63) & ~63

    private let memory: UnsafeMutableRawPointer
    private let loops: Int
    /// What the loops share, if it is a front and has a limit; in a cache line of its own.
    let gate: UnsafeMutablePointer<FrontGate>

    init(loops: Int) {
        self.loops = loops
        memory = .allocate(byteCount: Self.stride * loops + 64, alignment: 64)
        gate = (memory + Self.stride * loops).bindMemory(to: FrontGate.self, capacity: 1)
        gate.initialize(to: FrontGate())
        for index in 0..<loops {
            (memory + Self.stride * index).bindMemory(to: CounterBlock.self, capacity: 1).initialize(to: CounterBlock())
        }
    }

    deinit {
        for index in 0..<loops { block(loop: index).deinitialize(count: 1) }
        gate.deinitialize(count: 1)
        memory.deallocate()
    }

    /// The block that a loop writes.
    func block(loop: Int) -> UnsafeMutablePointer<CounterBlock> {
        (memory + Self.stride * loop).assumingMemoryBound(to: CounterBlock.self)
    }

    /// Whether any loop has a connection that will write to its block again.
    var isInUse: Bool { (0..<loops).contains { block(loop: $0).pointee.current.load(ordering: .acquiring) > 0 } }

    /// The sum over all loops.
    var sum: BalancerCounters.Counts {
        var sum = BalancerCounters.Counts()
        for index in 0..<loops {
            let block = block(loop: index)
            sum.current &+= block.pointee.current.load(ordering: .relaxed)
            sum.total &+= block.pointee.total.load(ordering: .relaxed)
            sum.bytesIn &+= block.pointee.bytesIn.load(ordering: .relaxed)
            sum.bytesOut &+= block.pointee.bytesOut.load(ordering: .relaxed)
            sum.connectErrors &+= block.pointee.connectErrors.load(ordering: .relaxed)
            sum.retries &+= block.pointee.retries.load(ordering: .relaxed)
            sum.queued &+= block.pointee.queued.load(ordering: .relaxed)
            sum.turnedAway &+= block.pointee.turnedAway.load(ordering: .relaxed)
            sum.redispatches &+= block.pointee.redispatches.load(ordering: .relaxed)
            sum.limited &+= block.pointee.limited.load(ordering: .relaxed)
            sum.setAside &+= block.pointee.setAside.load(ordering: .relaxed)
            sum.connects &+= block.pointee.connects.load(ordering: .relaxed)
            sum.connectTime &+= block.pointee.connectTime.load(ordering: .relaxed)
            sum.maximumConnectTime = max(
                sum.maximumConnectTime, block.pointee.maximumConnectTime.load(ordering: .relaxed))
        }
        return sum
    }
}
