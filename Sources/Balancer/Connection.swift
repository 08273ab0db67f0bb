/// One connection: a client's socket, an endpoint's socket, and what is on its way between them.
///
/// A connection is a slot of a slab (see `Slab`): plain bytes, reached by index, that hold no reference to any object.
/// The memory is laid out as the head, two sides and two flows, so that side and flow are found by 0 or 1 without
/// branching. Its life:
///
///     accepted ─┬─► greeting ─┐   the front wants a header of the PROXY protocol
///               │◄────────────┘
///               ├─► waiting ──► connecting ──► open ─┬─────────────► closed
///               └───────────────►┘  ▲ │              ├─► resetting ─►┘   a reset follows the last bytes
///                     next endpoint └─┘              └─► discarding ─►┘   the client is heard out
struct ConnectionHead {
    /// 0 while the slot is free; else a number that this loop gave to no other of its present connections.
    var generation: UInt32 = 0
    var phase = Phase.assigning
    var isUnixFront = false
    /// Whether the client's socket is in the epoll set.
    var isWatched = false
    /// Whether it is in the list of those that have used up their share of a round and must go on.
    var isAgain = false
    /// The next one of that list, as index + 1.
    var nextAgain: UInt32 = 0
    /// Neighbours in the one list that the phase belongs to, as index + 1.
    var next: UInt32 = 0
    var previous: UInt32 = 0
    /// The pool's slot, which stays as long as the connection.
    var pool: UInt32 = 0
    /// The endpoint's slot + 1; 0 is none.
    var endpoint: UInt32 = 0
    /// The choice of an endpoint, see `LoopChoosing`: how far it is; the position of the first one in the table, or by
    /// address the last one's; where the walk over the others began and how far it is; the table that those positions
    /// belong to, and when it began.
    var choice = ChoiceStage.begins
    /// Whether it is counted among those that wait in all loops.
    var isQueued = false
    var firstChoice: UInt16 = 0
    var walkStart: UInt16 = 0
    var walked: UInt16 = 0
    var choiceEpoch: UInt32 = 0
    var choiceBegan: Int64 = 0
    /// Bytes of the client that were read and thrown away.
    var discarded: UInt32 = 0
    /// While open: bytes that the kernel had not delivered when the silence was looked at last.
    var owed: UInt32 = 0
    /// When the phase began, while open when bytes moved last, and when the client was accepted, on the coarse monotonic
    /// clock.
    var since: Int64 = 0
    var accepted: Int64 = 0
    /// Grows with every accept for its service, in whichever loop: the order of the queue.
    var arrival: UInt64 = 0
    /// The front's counters.
    var front: UnsafeMutablePointer<CounterBlock>
    /// Who the client is: the peer, or what a header of the PROXY protocol has said. None for a Unix front, and where no
    /// feature asks for it.
    var client = ClientAddress.none
    /// The list of an idle wheel that it is in; `SilenceLane`.
    var lane = SilenceLane.none
    /// The index of its end state + 1, when that is decided before it is closed; 0: it is not.
    var end: UInt8 = 0
    /// Whether it has a place in the front's ledger of addresses.
    var isInLedger = false
    /// Whether it was counted among those that wait before: it never loses that place to a younger one.
    var hasWaited = false
    /// What only some features need: slot + 1; 0 is none.
    var details: UInt32 = 0

    /// How far the choice of an endpoint is.
    enum ChoiceStage: UInt8 {
        /// None was tried.
        case begins
        /// One was tried.
        case first
        /// The others are tried, each once.
        case others
    }

    /// What a connection is doing.
    enum Phase: UInt8 {
        /// The header of the PROXY protocol is waited for.
        case greeting
        /// An endpoint is being chosen. No connection is left in this phase when the loop waits.
        case assigning
        /// No endpoint takes it yet. Nothing is read from the client.
        case waiting
        /// connect(2) to an endpoint has begun.
        case connecting
        /// Both sides are there.
        case open
        /// One side was reset: what the other one is still owed leaves, then it is reset too.
        case resetting
        /// The endpoint is gone and all it said was passed on: the client's bytes are read and thrown away until it
        /// ends, since closing on unread bytes would send a reset that overtakes the answer.
        case discarding
    }
}

/// One socket of a connection.
struct Side {
    /// The descriptor; -1 is none.
    var socket: Int32 = -1
    var flags: Flags = []

    struct Flags: OptionSet {
        let rawValue: UInt8
        /// There may be something to read: set by an event, cleared by EAGAIN or a short read.
        static let readable = Flags(rawValue: 1)
        /// There may be room to write: cleared by EAGAIN or a short write, set by an event.
        static let writable = Flags(rawValue: 2)
        /// EPOLLRDHUP was seen: all that will ever come is in the receive queue.
        static let peerEnded = Flags(rawValue: 4)
        /// EPOLLERR or EPOLLHUP was seen: no event will come any more, so read to 0 or to an error.
        static let mustReadOut = Flags(rawValue: 8)
        /// A send has taken the socket's error, which was a reset: a later 0 from recv is no orderly end.
        static let wasReset = Flags(rawValue: 16)
        /// A short read does not mean that the queue is empty (urgent data, Unix sockets).
        static let shortReadsMeanNothing = Flags(rawValue: 32)
        /// TCP_NODELAY is on, or there is no need of it.
        static let sendsPromptly = Flags(rawValue: 64)
        /// SO_OOBINLINE is on: an urgent byte is read in its place in the stream.
        static let keepsUrgent = Flags(rawValue: 128)
    }
}

/// What goes from one side to the other. At most one of `buffer` and the pipe holds bytes.
struct Flow {
    /// Bytes that the sink did not take: buffer slot + 1; 0 is none.
    var buffer: UInt32 = 0
    var start: UInt16 = 0
    var end: UInt16 = 0
    /// The pipe that bulk data moves through; -1 is none.
    var pipeOut: Int32 = -1
    var pipeIn: Int32 = -1
    /// Bytes in the pipe.
    var piped: UInt32 = 0
    var flags: Flags = []
    /// Full reads in a row; small splices in a row while `bulk`.
    var streak: UInt8 = 0

    struct Flags: OptionSet {
        let rawValue: UInt8
        /// The source's end of input was read.
        static let ended = Flags(rawValue: 1)
        /// And was passed on to the sink.
        static let passed = Flags(rawValue: 2)
        /// The sink takes no more: a send to it has failed.
        static let broken = Flags(rawValue: 4)
        /// Moves by splice(2).
        static let bulk = Flags(rawValue: 8)
        /// Something was sent before.
        static let hasSent = Flags(rawValue: 16)
        /// The sink's congestion control was chosen for bulk.
        static let paceChosen = Flags(rawValue: 32)
    }

    /// Whether bytes were read that are not sent yet.
    @inline(__always) var holdsBytes: Bool { buffer > 0 || piped > 0 }
}

/// Which side of a connection, or the flow whose source it is.
enum SideIndex: Int {
    case client = 0
    case endpoint = 1

    @inline(__always) var other: SideIndex { self == .client ? .endpoint : .client }

    /// Who has ended a connection when this side has.
    var cause: EndState.Cause { self == .client ? .client : .endpoint }
}

/// A connection's place in memory. Valid until the connection is closed.
struct ConnectionReference {
    let index: UInt32
    let memory: UnsafeMutableRawPointer

    private static var sidesOffset: Int { MemoryLayout<ConnectionHead>.stride }
    private static var flowsOffset: Int { sidesOffset + 2 * MemoryLayout<Side>.stride }
    /// Bytes of a slot: what the parts take, four for the slab, rounded up to 16.
    static var slotSize: Int { (flowsOffset + 2 * MemoryLayout<Flow>.stride + 4 + 15) & ~15 }

    @inline(__always) var head: UnsafeMutablePointer<ConnectionHead> {
        memory.assumingMemoryBound(to: ConnectionHead.self)
    }

    @inline(__always) func side(_ index: SideIndex) -> UnsafeMutablePointer<Side> {
        (memory + Self.sidesOffset).assumingMemoryBound(to: Side.self) + index.rawValue
    }

    /// The flow whose source is this side.
    @inline(__always) func flow(from index: SideIndex) -> UnsafeMutablePointer<Flow> {
        (memory + Self.flowsOffset).assumingMemoryBound(to: Flow.self) + index.rawValue
    }

    /// Writes a fresh connection into the slot.
    func initialize(_ fresh: ConnectionHead) {
        head.initialize(to: fresh)
        side(.client).initialize(to: Side())
        side(.endpoint).initialize(to: Side())
        flow(from: .client).initialize(to: Flow())
        flow(from: .endpoint).initialize(to: Flow())
    }
}
