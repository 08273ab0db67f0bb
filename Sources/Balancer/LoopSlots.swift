import Synchronization

/// What one loop knows of one pool.
struct PoolSlot {
    /// What is shared with the other loops, kept alive by this slot; and its parts.
    var share: Unmanaged<PoolShare>
    private var parts: PoolShare.Parts
    /// The slots of the endpoints that take new connections, in the order of the table.
    var active: UnsafeMutablePointer<UInt32>
    var activeCount: UInt32 = 0
    /// What happens while none is active.
    var refuses = false
    /// The supervisor is to be told of the first one that waits.
    var announcesWaiting = false
    /// The table has it no more.
    var isGone = false
    var queueTimeout: Int64 = 0
    var holdUntil: Int64 = .min
    var connectTimeout: Int64 = 0
    /// What is said to endpoints first.
    var proxyProtocol: ProxyHeader.Version?
    /// Whether sessions are logged; the pipe they are logged to, -1 is none; and lines that it has not taken.
    var logsSessions = false
    var sessionLog: Int32 = -1
    var droppedLines: UInt64 = 0
    /// Connections of this loop.
    var current: UInt32 = 0
    /// Open connections that end by `idleTimeout`, and those by `finTimeout`.
    var idle = IdleWheel()
    var halfClosed = IdleWheel()
    var algorithm = Routing.Algorithm.roundrobin
    /// Round robin and nothing else: no limit, no slow start.
    var isPlain = true
    var slowStart: Int64 = 0
    /// When the first of the active endpoints became active; and when the last one is warm, unless all are as old.
    var oldest = Int64.min
    var allWarmAt = Int64.min
    /// The most connections of one endpoint; 0: no limit.
    var limit: UInt32 = 0
    /// The most that wait, in all loops.
    var maxQueue = Int.max
    /// With a limit: until then, after a connect has failed, only a timer tries again, and one at a time.
    var retriesAt = Int64.min
    /// Those of this loop that are counted in `line`.
    var places = 0
    /// The last one that tried an endpoint found a shortage of our own: those that wait, wait for that.
    var lacksMeans = false
    /// Whether it is in the list of those to serve, and the next one there, as number + 1.
    var isToServe = false
    var nextToServe: UInt32 = 0
    /// Those that wait for an endpoint, by the time of their accept.
    var waiting = ConnectionList()
    /// Those whose connect has begun, by its time.
    var connecting = ConnectionList()

    init(_ share: PoolShare, active: UnsafeMutablePointer<UInt32>) {
        self.share = Unmanaged.passRetained(share)
        parts = share.parts
        self.active = active
    }

    /// Takes another share, in place of the one that the caller has released.
    mutating func take(_ share: PoolShare) {
        self.share = Unmanaged.passRetained(share)
        parts = share.parts
    }

    var cursor: UnsafeMutablePointer<Atomic<UInt64>> { parts.ticket }
    var line: UnsafeMutablePointer<PoolShare.Line> { parts.line }
    var aside: UnsafeMutablePointer<Atomic<Int>> { parts.aside }
    var arrivals: UnsafeMutablePointer<Atomic<UInt64>> { parts.arrivals }
    var oldestWaiting: UnsafeMutablePointer<Atomic<UInt64>> { parts.oldest }

    /// When another connection may try an endpoint that is on trial, after the one before has not come back.
    static func trialTime(connectTimeout: Int64) -> Int64 { min(max(connectTimeout, 1_000_000_000), 60_000_000_000) }

    /// When the first one in the queue expires.
    func expiry(acceptedAt accepted: Int64) -> Int64 { max(saturatingSum(accepted, queueTimeout), holdUntil) }
}

/// What one loop knows of one endpoint.
struct EndpointSlot {
    var id: UInt64
    var port: UInt16
    /// Its port is one that the kernel gives to clients too: a connect to it may end at itself.
    var mayMeetItself: Bool
    var isActive = false
    /// The table has it no more.
    var isGone = false
    /// The last byte of the source address 127.0.0.x, and since when it is not 1.
    var source: UInt8 = 1
    var sourceSince: Int64 = 0
    /// Connections of this loop.
    var current: UInt32 = 0
    /// When draining began; max: it is not draining.
    var drainingSince = Int64.max
    /// When what is left of its connections is cut.
    var cutAt = Int64.max
    var counters: UnsafeMutablePointer<CounterBlock>
    /// The pool that it is active in, or `noPool`.
    var pool = EndpointSlot.noPool
    /// What is shared with the other loops, kept alive by this slot; and its parts.
    var share: Unmanaged<EndpointShare>
    var load: UnsafeMutablePointer<Atomic<Int>>
    var health: UnsafeMutablePointer<Atomic<UInt64>>
    /// Whether this loop's connections are counted in `load`.
    var isCounted = false
    var instanceHash: UInt64
    var activated: Int64

    static let noPool = UInt32.max

    init(_ endpoint: Routing.Endpoint, counters: UnsafeMutablePointer<CounterBlock>, mayMeetItself: Bool) {
        id = endpoint.id
        port = endpoint.port
        self.mayMeetItself = mayMeetItself
        self.counters = counters
        share = Unmanaged.passRetained(endpoint.share)
        load = endpoint.share.load
        health = endpoint.share.health
        instanceHash = endpoint.instanceHash
        activated = endpoint.activated
    }
}

/// What one loop knows of one listening socket.
struct ListenerSlot {
    var socket: Int32
    var pool: UInt32
    var isUnix: Bool
    var isWatched = false
    /// How many are accepted in a row, and the round in which it was last reported.
    var share: UInt8 = 1
    var lastRound: UInt32 = 0
    /// The most connections of its front; 0: no limit. And whether it is not watched because there are that many.
    var limit: UInt32 = 0
    var isFull = false
    var counters: UnsafeMutablePointer<CounterBlock>
    var rules: Rules = []
    /// The peers that may connect; nil: all.
    var allowed: AddressRanges?

    /// What its connections need before they are assigned.
    struct Rules: OptionSet, BitwiseCopyable {
        let rawValue: UInt8
        /// Something wants to know the client's address.
        static let address = Rules(rawValue: 1)
        /// Not every peer may connect.
        static let allow = Rules(rawValue: 2)
        /// The header of the PROXY protocol comes first.
        static let greeting = Rules(rawValue: 4)
        /// An address may have so many connections only.
        static let limit = Rules(rawValue: 8)
        /// A connection has `SessionDetails`.
        static let details = Rules(rawValue: 16)
        /// Those that can turn a connection away.
        static let admission: Rules = [.allow, .greeting, .limit]
    }
}

/// Numbered slots in raw memory that grow when a table comes, never in between.
struct SlotTable<Slot: BitwiseCopyable> {
    private var slots: UnsafeMutablePointer<Slot>
    private var used: UnsafeMutablePointer<Bool>
    private var capacity: Int
    private var free: [UInt32] = []
    /// Numbers at or above this were never given out.
    private(set) var end: UInt32 = 0

    init() {
        capacity = 8
        slots = .allocate(capacity: capacity)
        used = .allocate(capacity: capacity)
    }

    func destroy() {
        slots.deallocate()
        used.deallocate()
    }

    @inline(__always)
    subscript(_ number: UInt32) -> UnsafeMutablePointer<Slot> { slots + Int(number) }

    func isUsed(_ number: UInt32) -> Bool { number < end && used[Int(number)] }

    /// The numbers in use.
    var numbers: [UInt32] { (0..<end).filter { used[Int($0)] } }

    mutating func insert(_ slot: Slot) -> UInt32 {
        let number: UInt32
        if let recycled = free.popLast() {
            number = recycled
        } else {
            if Int(end) == capacity { grow() }
            number = end
            end += 1
        }
        slots[Int(number)] = slot
        used[Int(number)] = true
        return number
    }

    mutating func remove(_ number: UInt32) {
        used[Int(number)] = false
        free.append(number)
    }

    private mutating func grow() {
        let larger = UnsafeMutablePointer<Slot>.allocate(capacity: capacity * 2)
        let largerUsed = UnsafeMutablePointer<Bool>.allocate(capacity: capacity * 2)
        larger.moveInitialize(from: slots, count: capacity)
        largerUsed.moveInitialize(from: used, count: capacity)
        slots.deallocate()
        used.deallocate()
        (slots, used, capacity) = (larger, largerUsed, capacity * 2)
    }
}

/// A list of connections, linked through their heads.
struct ConnectionList {
    /// As index + 1; 0 is none.
    private(set) var first: UInt32 = 0
    private(set) var last: UInt32 = 0

    @inline(__always)
    mutating func append(_ connection: ConnectionReference, in slab: Slab) { insert(connection, after: last, in: slab) }

    /// Inserts after another one, given as index + 1; 0: at the front.
    mutating func insert(_ connection: ConnectionReference, after previous: UInt32, in slab: Slab) {
        let own = connection.index + 1
        let next: UInt32
        if previous > 0 {
            next = Self.head(previous, slab).pointee.next
            Self.head(previous, slab).pointee.next = own
        } else {
            next = first
            first = own
        }
        connection.head.pointee.previous = previous
        connection.head.pointee.next = next
        if next > 0 { Self.head(next, slab).pointee.previous = own } else { last = own }
    }

    @inline(__always)
    mutating func remove(_ connection: ConnectionReference, in slab: Slab) {
        let (previous, next) = (connection.head.pointee.previous, connection.head.pointee.next)
        if previous > 0 { Self.head(previous, slab).pointee.next = next } else { first = next }
        if next > 0 { Self.head(next, slab).pointee.previous = previous } else { last = previous }
    }

    @inline(__always)
    private static func head(_ number: UInt32, _ slab: Slab) -> UnsafeMutablePointer<ConnectionHead> {
        slab.address(number - 1).assumingMemoryBound(to: ConnectionHead.self)
    }
}
