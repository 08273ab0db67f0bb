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
}

extension Atomic where Value == UInt64 {
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
    private let blocks: UnsafeMutablePointer<CounterBlock>
    private let loops: Int

    init(loops: Int) {
        self.loops = loops
        let memory = UnsafeMutableRawPointer.allocate(
            byteCount: MemoryLayout<CounterBlock>.stride * loops, alignment: 64)
        blocks = memory.bindMemory(to: CounterBlock.self, capacity: loops)
        for index in 0..<loops { (blocks + index).initialize(to: CounterBlock()) }
    }

    deinit {
        blocks.deinitialize(count: loops)
        UnsafeMutableRawPointer(blocks).deallocate()
    }

    /// The block that a loop writes.
    func block(loop: Int) -> UnsafeMutablePointer<CounterBlock> { blocks + loop }

    /// Whether any loop has a connection that will write to its block again.
    var isInUse: Bool { (0..<loops).contains { blocks[$0].current.load(ordering: .acquiring) > 0 } }

    /// The sum over all loops.
    var sum: BalancerCounters.Counts {
        var sum = BalancerCounters.Counts()
        for index in 0..<loops {
            let block = blocks + index
            sum.current &+= block.pointee.current.load(ordering: .relaxed)
            sum.total &+= block.pointee.total.load(ordering: .relaxed)
            sum.bytesIn &+= block.pointee.bytesIn.load(ordering: .relaxed)
            sum.bytesOut &+= block.pointee.bytesOut.load(ordering: .relaxed)
            sum.connectErrors &+= block.pointee.connectErrors.load(ordering: .relaxed)
            sum.retries &+= block.pointee.retries.load(ordering: .relaxed)
            sum.queued &+= block.pointee.queued.load(ordering: .relaxed)
            sum.turnedAway &+= block.pointee.turnedAway.load(ordering: .relaxed)
        }
        return sum
    }
}
