/// The 64 bits that an epoll event carries: what it is about.
///
/// The generation tells a connection from a later one in the same slot: within one batch of events a connection may be
/// closed and its slot taken again, while events of the old one still follow.
struct EventWord {
    let bits: UInt64

    enum Kind: UInt64 {
        case connection = 0
        case listener = 1
        case command = 2
        case timer = 3
    }

    /// Generations are cut to this.
    static let generationMask: UInt32 = (1 << 29) - 1

    /// The generation after another one: after the last comes the first, which is 1, since 0 is a free slot.
    @inline(__always)
    static func generation(after generation: UInt32) -> UInt32 {
        let next = (generation &+ 1) & generationMask
        return next == 0 ? 1 : next
    }

    init(bits: UInt64) { self.bits = bits }

    init(kind: Kind, index: UInt32 = 0) {
        bits = kind.rawValue << 62 | UInt64(index)
    }

    init(connection index: UInt32, generation: UInt32, side: SideIndex) {
        bits = UInt64(generation) << 33 | UInt64(side.rawValue) << 32 | UInt64(index)
    }

    @inline(__always) var isConnection: Bool { bits >> 62 == 0 }
    @inline(__always) var kind: Kind { Kind(rawValue: bits >> 62) ?? .connection }
    @inline(__always) var index: UInt32 { UInt32(truncatingIfNeeded: bits) }
    @inline(__always) var side: SideIndex { bits & 1 << 32 == 0 ? .client : .endpoint }
    @inline(__always) var generation: UInt32 { UInt32(truncatingIfNeeded: bits >> 33) & Self.generationMask }
}
