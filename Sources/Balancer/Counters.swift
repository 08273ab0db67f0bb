import Links
import Synchronization

/// The counters that one loop keeps of one front or one instance: cache lines that only this loop writes.
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
    let denied = Atomic<UInt64>(0)
    let limited = Atomic<UInt64>(0)
    let maximum = Atomic<UInt64>(0)
    let maximumQueued = Atomic<UInt64>(0)
    /// The end of the second that is counted now, in nanoseconds of the monotonic clock; and how many came in it, in the
    /// second before it, and at most in one.
    let secondEnd = Atomic<UInt64>(0)
    let thisSecond = Atomic<UInt64>(0)
    let lastSecond = Atomic<UInt64>(0)
    let maximumRate = Atomic<UInt64>(0)
    let redispatches = Atomic<UInt64>(0)
    let setAside = Atomic<UInt64>(0)
    let connects = Atomic<UInt64>(0)
    let connectTime = Atomic<UInt64>(0)
    let maximumConnectTime = Atomic<UInt64>(0)
    /// Connections that have left the endpoint and will still be logged with its name.
    let held = Atomic<UInt64>(0)
    /// By the index of `EndState`.
    let ends: UnsafeMutablePointer<Atomic<UInt64>>
    /// The front's address or the instance's name: printable ASCII, at most `CounterSet.labelLimit` bytes.
    let label: UnsafeRawBufferPointer
    /// The connections of every client address, of a front.
    let addresses: Unmanaged<AddressLedger>
    /// Of a front with a limit: where this loop's `current` is counted together with the others'.
    var gate: UnsafeMutablePointer<FrontGate>?
    /// And the most that they may be together.
    var gateLimit = 0

    static let second: UInt64 = 1_000_000_000

    /// One more is open.
    @inline(__always)
    func countOpened() {
        current.add()
        maximum.raise(to: current.load(ordering: .relaxed))
    }

    /// One more waits.
    @inline(__always)
    func countQueued() {
        queued.add()
        maximumQueued.raise(to: queued.load(ordering: .relaxed))
    }

    /// One more has come.
    @inline(__always)
    func countArrived(at now: Int64) {
        total.add()
        if UInt64(bitPattern: now) >= secondEnd.load(ordering: .relaxed) { beginSecond(UInt64(bitPattern: now)) }
        thisSecond.add()
    }

    private func beginSecond(_ now: UInt64) {
        let end = secondEnd.load(ordering: .relaxed)
        let count = thisSecond.load(ordering: .relaxed)
        maximumRate.raise(to: count)
        lastSecond.store(now - end < Self.second ? count : 0, ordering: .relaxed)
        thisSecond.store(0, ordering: .relaxed)
        secondEnd.store((now / Self.second + 1) * Self.second, ordering: .relaxed)
    }

    /// How many came in the last whole second.
    func rate(at now: UInt64) -> UInt64 {
        let end = (now / Self.second + 1) * Self.second
        let counted = secondEnd.load(ordering: .relaxed)
        if counted == end { return lastSecond.load(ordering: .relaxed) }
        return counted == end - Self.second ? thisSecond.load(ordering: .relaxed) : 0
    }

    /// One has ended.
    @inline(__always)
    func countEnd(_ end: EndState) { ends[end.index].add() }

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
    static let labelLimit = 112

    /// Bytes of a block, in whole cache lines.
    private static let stride = (MemoryLayout<CounterBlock>.stride + 63) & ~63

    private let memory: UnsafeMutableRawPointer
    private let ends: UnsafeMutablePointer<Atomic<UInt64>>
    private let label: UnsafeMutableRawBufferPointer
    private let loops: Int
    /// What the loops share, if it is a front and has a limit; in a cache line of its own.
    let gate: UnsafeMutablePointer<FrontGate>
    /// For a front.
    let addresses = AddressLedger()

    /// End states of one loop, in whole cache lines.
    private static var endStride: Int { (EndState.count + 7) & ~7 }

    /// `label`: the front's address or the instance's name.
    init(loops: Int, label name: String) {
        self.loops = loops
        // It is written into lines of fields: what would break them is replaced.
        let bytes = name.utf8.prefix(Self.labelLimit).map { (0x21...0x7e).contains($0) ? $0 : UInt8(ascii: "?") }
        label = .allocate(byteCount: max(1, bytes.count), alignment: 1)
        label.copyBytes(from: bytes)
        let endCount = Self.endStride * loops
        ends = UnsafeMutableRawPointer.allocate(
            byteCount: MemoryLayout<Atomic<UInt64>>.stride * endCount, alignment: 64
        ).bindMemory(to: Atomic<UInt64>.self, capacity: endCount)
        for index in 0..<endCount { (ends + index).initialize(to: Atomic(0)) }
        memory = .allocate(byteCount: Self.stride * loops + 64, alignment: 64)
        gate = (memory + Self.stride * loops).bindMemory(to: FrontGate.self, capacity: 1)
        gate.initialize(to: FrontGate())
        for index in 0..<loops {
            (memory + Self.stride * index).bindMemory(to: CounterBlock.self, capacity: 1).initialize(
                to: CounterBlock(
                    ends: ends + index * Self.endStride,
                    label: UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(label)[..<bytes.count]),
                    addresses: .passUnretained(addresses)))
        }
    }

    deinit {
        ends.deinitialize(count: Self.endStride * loops)
        UnsafeMutableRawPointer(ends).deallocate()
        label.deallocate()
        for index in 0..<loops { block(loop: index).deinitialize(count: 1) }
        gate.deinitialize(count: 1)
        memory.deallocate()
    }

    /// The block that a loop writes.
    func block(loop: Int) -> UnsafeMutablePointer<CounterBlock> {
        (memory + Self.stride * loop).assumingMemoryBound(to: CounterBlock.self)
    }

    /// Whether any loop has a connection that will write to its block again.
    var isInUse: Bool {
        (0..<loops).contains {
            block(loop: $0).pointee.held.load(ordering: .acquiring) > 0
                || block(loop: $0).pointee.current.load(ordering: .acquiring) > 0
        }
    }

    /// The sum over all loops, at an instant of the monotonic clock.
    func sum(at now: Int64) -> BalancerCounters.Counts {
        let now = UInt64(max(0, now))
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
            sum.denied &+= block.pointee.denied.load(ordering: .relaxed)
            sum.limited &+= block.pointee.limited.load(ordering: .relaxed)
            sum.maximum &+= block.pointee.maximum.load(ordering: .relaxed)
            sum.maximumQueued &+= block.pointee.maximumQueued.load(ordering: .relaxed)
            sum.rate &+= block.pointee.rate(at: now)
            sum.maximumRate &+= max(
                block.pointee.maximumRate.load(ordering: .relaxed), block.pointee.thisSecond.load(ordering: .relaxed))
            for index in 0..<EndState.count {
                let count = block.pointee.ends[index].load(ordering: .relaxed)
                guard count > 0, let end = EndState(index: index) else { continue }
                sum.ends[end.text, default: 0] &+= count
            }
            sum.redispatches &+= block.pointee.redispatches.load(ordering: .relaxed)
            sum.setAside &+= block.pointee.setAside.load(ordering: .relaxed)
            sum.connects &+= block.pointee.connects.load(ordering: .relaxed)
            sum.connectTime &+= block.pointee.connectTime.load(ordering: .relaxed)
            sum.maximumConnectTime = max(
                sum.maximumConnectTime, block.pointee.maximumConnectTime.load(ordering: .relaxed))
        }
        return sum
    }
}
