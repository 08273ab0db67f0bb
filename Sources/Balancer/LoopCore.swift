import CPlatform
import Platform
import Synchronization

/// All that one loop knows: the data plane's state, touched by the loop's queue alone.
///
/// It lives at a fixed address for the loop's life and is reached by pointer, so that handling an event needs no
/// reference counting and no exclusivity check. Its work is spread over extensions, one subject a file: accepting,
/// choosing, connecting, waiting, pumping, splicing, ending, timers, and taking a new table.
///
/// What is called for connections is `mutating`, also where it changes nothing, or inlined: for a call of another function
/// the whole core, 850 bytes, would be copied. `scripts/interop` has callgrind look for that.
struct LoopCore {
    /// Events taken from the kernel at once.
    static let batch: Int32 = 256
    /// How long a loop waits for more before it returns to Dispatch, in milliseconds. Coming back costs more than this
    /// wait, in which the thread sleeps.
    static let linger: Int32 = 5
    /// Batches until Dispatch gets its thread back, busy or not.
    static let roundsPerTurn = 10_000

    let number: Int
    let report: @Sendable (LoopReport) -> Void
    let mailbox: LoopMailbox
    /// Those of all loops; and the same, to call them without counting references.
    let mailboxes: [LoopMailbox]
    let others: [Unmanaged<LoopMailbox>]
    let limits: LoopLimits
    let set: EpollSet
    let timer: Descriptor
    let events: UnsafeMutablePointer<supd_epoll_event>
    /// The one buffer that all reads go to; what is in it is sent or kept before the next read.
    let scratch: UnsafeMutableRawPointer
    let ephemeralPorts: ClosedRange<Int>

    /// The table in force. It keeps listeners, cursors and counters alive while this loop points to them.
    var routing = Routing(revision: 0, number: 0, pools: [])
    var pools = SlotTable<PoolSlot>()
    var endpoints = SlotTable<EndpointSlot>()
    var listeners = SlotTable<ListenerSlot>()
    var poolNumbers: [String: UInt32] = [:]
    var endpointNumbers: [UInt64: UInt32] = [:]
    /// Counts tables: a choice that was begun under an older one begins anew.
    var epoch: UInt32 = 0

    var connections: Slab
    var details: Slab
    var buffers: Slab
    var generation: UInt32 = 0
    /// Counts waits; a look before a sleep belongs to the wait after it.
    var round: UInt32 = 1
    /// Whether events gather before they are taken.
    var coalescing: WakeCoalescing
    var pipes = PipeStock()
    /// Connections that go on in the next round, as index + 1.
    var againFirst: UInt32 = 0
    var againLast: UInt32 = 0
    var againCount = 0
    var greeting = ConnectionList()
    var resetting = ConnectionList()
    var discarding = ConnectionList()
    var connectingCount = 0
    var waitingCount = 0
    /// Endpoints with a drain deadline.
    var drainingCount = 0
    /// Connections in idle wheels, and when the first list of one is due, at the earliest.
    var silentCount = 0
    var silenceDue = Int64.max
    /// The pipes for session lines, by service, and the lines on their way.
    var sessionLogs: [String: Descriptor] = [:]
    var lines = SessionLines()
    /// For choices that need chance.
    var random: ChoiceRandom
    /// Pools that limit the connections of an endpoint.
    var limitedPools: [UInt32] = []
    /// Pools whose queue is to be served at the end of this batch, as number + 1.
    var poolsToServe: UInt32 = 0
    /// Listeners that are not watched because their front is full.
    var fullListeners = 0
    /// A place that this loop had found taken is free.
    var wasCalled = false

    /// The instant of the present wake-up: CLOCK_MONOTONIC in nanoseconds, up to a tick old.
    var now: Int64 = 0
    /// No timer is due before this.
    var nextTimer = Int64.max
    /// What the timer descriptor is armed for; max when it is not.
    var armedTimer = Int64.max
    /// When queues that could not be served are tried again.
    var retryAt = Int64.max
    /// When the send queues of resetting connections are looked at again, and how long the pause before was.
    var resetCheckAt = Int64.max
    var resetCheckPause: Int64 = 0
    /// Accepting is paused for want of descriptors or slots, until a connection closes or this instant.
    var acceptsAgainAt = Int64.max
    var isAcceptPaused = false
    /// Another loop has fewer connections, and takes who comes.
    var isResting = false
    /// When the count of its rests began, and the count.
    var restsSince: Int64 = 0
    var rests: UInt8 = 0
    /// Another process has taken over: no listener is watched again.
    var isRetired = false
    /// Descriptors were short when a connection needed one for its endpoint.
    var isShort = false
    var isStopped = false
    /// No shortage is reported before this.
    var quietUntil = Int64.min
    /// For tests: that many accepts fail with this errno.
    var forcedAcceptFailures = 0
    var forcedAcceptError: Int32 = 0
    /// For tests: that many clients cannot be watched.
    var forcedWatchFailures = 0
    /// For tests: that many connects find no descriptor.
    var forcedConnectFailures = 0

    init(
        number: Int, limits: LoopLimits, ephemeralPorts: ClosedRange<Int>, mailboxes: [LoopMailbox],
        report: @escaping @Sendable (LoopReport) -> Void
    ) throws(SystemError) {
        self.number = number
        self.limits = limits
        coalescing = WakeCoalescing(longest: limits.sleep)
        let mailbox = mailboxes[number]
        self.mailbox = mailbox
        self.mailboxes = mailboxes
        others = mailboxes.map { .passUnretained($0) }
        random = ChoiceRandom(seed: UInt64(bitPattern: monotonicNanoseconds()) &+ UInt64(number))
        self.report = report
        self.ephemeralPorts = ephemeralPorts
        set = try EpollSet()
        let rawTimer = supd_timerfd_create()
        guard rawTimer >= 0 else { throw SystemError(call: "timerfd_create", code: -rawTimer) }
        timer = Descriptor(owning: rawTimer)
        guard
            let connections = Slab(
                slotSize: ConnectionReference.slotSize, capacity: limits.connections, slotsPerChunk: 256,
                spareChunks: 1),
            let details = Slab(
                slotSize: SessionDetails.slotSize, capacity: limits.connections, slotsPerChunk: 256, spareChunks: 1),
            let buffers = Slab(
                slotSize: LoopLimits.bufferSize, capacity: limits.buffers, slotsPerChunk: 1, spareChunks: 8)
        else {
            throw SystemError(call: "mmap", code: 12, subject: "memory for \(limits.connections) connections")
        }
        self.connections = connections
        self.details = details
        self.buffers = buffers
        events = .allocate(capacity: Int(Self.batch))
        scratch = .allocate(byteCount: LoopLimits.bufferSize, alignment: 4096)
        for (raw, kind) in [(mailbox.wakeup.raw, EventWord.Kind.command), (timer.raw, .timer)] {
            let result = set.add(raw, .input, word: EventWord(kind: kind).bits)
            guard result == 0 else { throw SystemError(call: "epoll_ctl", code: -result) }
        }
    }

    /// Gives back memory that is no object's. The core must not be used afterwards.
    mutating func destroy() {
        connections.destroy()
        details.destroy()
        buffers.destroy()
        pipes.closeAll()
        for number in pools.numbers { pools[number].pointee.share.release() }
        for number in endpoints.numbers { endpoints[number].pointee.share.release() }
        pools.destroy()
        endpoints.destroy()
        listeners.destroy()
        events.deallocate()
        scratch.deallocate()
        lines.memory.deallocate()
    }

    // MARK: A turn

    /// The handler of the loop's one Dispatch source: handles events until none has come for a while.
    mutating func run() {
        var patience: Int32 = 0
        var rounds = 0
        while !isStopped {
            let count = takeEvents(patience)
            // A timer's event may have set it by the precise clock, which is ahead.
            now = max(now, supd_coarse_clock())
            round &+= 1
            coalescing.note(events: count, connections: connections.count, at: now)
            mailbox.wakeUps.add()
            if count > 0 {
                for position in 0..<Int(count) { handle(events + position) }
            }
            if againFirst > 0 { continueAgain() }
            if now >= nextTimer { fireTimers() }
            if isStopped { return }
            if wasCalled || poolsToServe > 0 { answerCalls() }
            if lines.count > 0 { writeSessionLines() }
            shareClients()
            rounds += 1
            if againFirst > 0 || wasCalled || poolsToServe > 0 {
                patience = 0
            } else if count <= 0 && now < nextTimer || rounds >= Self.roundsPerTurn {
                break
            } else {
                patience = millisecondsToNextTimer(atMost: Self.linger)
            }
        }
        armTimer()
    }

    /// Takes what the kernel has, or waits for at most so many milliseconds; under a load of new connections not without
    /// letting some gather first.
    @inline(__always)
    private mutating func takeEvents(_ patience: Int32) -> Int32 {
        guard patience > 0, coalescing.delay > 0 else {
            return set.wait(events, capacity: Self.batch, milliseconds: patience)
        }
        let count = set.wait(events, capacity: Self.batch, milliseconds: 0)
        guard count == 0 else { return count }
        mailbox.sleeps.add()
        supd_sleep(coalescing.delay)
        let gathered = set.wait(events, capacity: Self.batch, milliseconds: patience)
        coalescing.noteSleep(brought: gathered, at: now)
        return gathered
    }

    @inline(__always)
    private mutating func handle(_ event: UnsafeMutablePointer<supd_epoll_event>) {
        let word = EventWord(bits: supd_epoll_word(event))
        let seen = EpollSet.Interest(rawValue: supd_epoll_seen(event))
        if word.isConnection {
            let connection = reference(word.index)
            guard connection.head.pointee.generation == word.generation else { return }
            handle(seen, connection, word.side)
        } else {
            handleOther(word)
        }
    }

    private mutating func handleOther(_ word: EventWord) {
        switch word.kind {
        case .listener: acceptConnections(listener: word.index)
        case .command: takeCommands()
        case .timer:
            // The coarse clock may lag behind the timer: without the precise one this would come back at once.
            var expirations: UInt64 = 0
            _ = supd_read_counter(timer.raw, &expirations)
            armedTimer = .max
            now = max(now, monotonicNanoseconds())
        case .connection: break
        }
    }

    /// An event of a connection's socket.
    @inline(__always)
    private mutating func handle(_ seen: EpollSet.Interest, _ connection: ConnectionReference, _ side: SideIndex) {
        let state = connection.side(side)
        if !seen.isDisjoint(with: .unusual) { note(seen, state) }
        if !seen.isDisjoint(with: .input) { state.pointee.flags.insert(.readable) }
        if !seen.isDisjoint(with: .output) { state.pointee.flags.insert(.writable) }
        switch connection.head.pointee.phase {
        case .open:
            if state.pointee.flags.contains(.readable) {
                guard pump(connection, from: side) else { return }
            }
            if !seen.isDisjoint(with: .output),
                connection.flow(from: side.other).pointee.holdsBytes
                    || connection.side(side.other).pointee.flags.contains(.readable)
            {
                _ = pump(connection, from: side.other)
            }
        case .greeting: greetingEvent(connection)
        case .connecting: connectingEvent(seen, connection, side)
        case .waiting: waitingEvent(seen, connection)
        case .resetting: resettingEvent(seen, connection, side)
        case .discarding: discardingEvent(connection)
        case .assigning: break
        }
    }

    /// What is not the plain coming and going of bytes.
    private mutating func note(_ seen: EpollSet.Interest, _ side: UnsafeMutablePointer<Side>) {
        if seen.contains(.peerShutdown) { side.pointee.flags.formUnion([.peerEnded, .readable]) }
        if !seen.isDisjoint(with: [.error, .hangUp]) { side.pointee.flags.formUnion([.mustReadOut, .readable]) }
        if seen.contains(.urgent) {
            // An urgent byte with nothing behind it is no input to epoll(7) until it belongs to the stream.
            side.pointee.flags.formUnion([.shortReadsMeanNothing, .readable])
            keepUrgentInStream(side)
        }
    }

    @inline(__always)
    func reference(_ index: UInt32) -> ConnectionReference {
        ConnectionReference(index: index, memory: connections.address(index))
    }

    // MARK: Going on

    /// Notes that a connection has used up its share of this round.
    mutating func again(_ connection: ConnectionReference) {
        guard !connection.head.pointee.isAgain else { return }
        connection.head.pointee.isAgain = true
        connection.head.pointee.nextAgain = 0
        if againLast > 0 {
            reference(againLast - 1).head.pointee.nextAgain = connection.index + 1
        } else {
            againFirst = connection.index + 1
        }
        againLast = connection.index + 1
        againCount += 1
    }

    /// Gives each of those another share; who comes again meanwhile waits for the next round.
    private mutating func continueAgain() {
        var share = againCount
        while share > 0, againFirst > 0 {
            share -= 1
            let connection = reference(againFirst - 1)
            forgetAgain(connection)
            switch connection.head.pointee.phase {
            case .open:
                if pump(connection, from: .client) { _ = pump(connection, from: .endpoint) }
            case .discarding: discardingEvent(connection)
            case .greeting, .assigning, .waiting, .connecting, .resetting: break
            }
        }
    }

    /// Takes a connection off the list. It is mostly the first; elsewhere it is only when a connection of that list ends.
    mutating func forgetAgain(_ connection: ConnectionReference) {
        var previous: UInt32 = 0
        var current = againFirst
        while current > 0, current != connection.index + 1 {
            previous = current
            current = reference(current - 1).head.pointee.nextAgain
        }
        guard current > 0 else { return }
        let next = connection.head.pointee.nextAgain
        if previous > 0 { reference(previous - 1).head.pointee.nextAgain = next } else { againFirst = next }
        if next == 0 { againLast = previous }
        connection.head.pointee.isAgain = false
        againCount -= 1
    }
}

extension EpollSet.Interest {
    /// What a connection's socket is watched for, by edge.
    static let connection: EpollSet.Interest = [.input, .output, .peerShutdown, .urgent]
    fileprivate static let unusual: EpollSet.Interest = [.peerShutdown, .urgent, .error, .hangUp]
}
