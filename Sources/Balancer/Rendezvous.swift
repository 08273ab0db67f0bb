/// Rendezvous hashing, "highest random weight" (Thaler and Ravishankar, 1998): every client ranks all instances by a
/// hash of both, and goes to the first one that can take it. An instance less moves only the clients that were its own;
/// one more takes its share evenly from all the others.
enum Rendezvous {
    /// The weight of an instance for a client; both hashes are well spread already.
    @inline(__always)
    static func weight(client: UInt64, instance: UInt64) -> UInt64 { mixed(client ^ instance) }

    /// The hash of an instance's name: FNV-1a, spread. The same in every run, so that clients find their instance again
    /// after a restart of the balancer.
    static func hash(instance name: String) -> UInt64 {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in name.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        return mixed(hash)
    }
}

/// Spreads a number over all its bits: the finalizer of splitmix64.
@inline(__always)
func mixed(_ number: UInt64) -> UInt64 {
    var z = number &+ 0x9e37_79b9_7f4a_7c15
    z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
    return z ^ z >> 31
}

/// Random numbers for choices: splitmix64. Good enough for shares, of no use for secrets.
struct ChoiceRandom {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    @inline(__always)
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        return mixed(state)
    }

    /// A number below `bound`, which is above 0.
    @inline(__always)
    mutating func next(below bound: UInt32) -> UInt32 {
        UInt32(truncatingIfNeeded: ((next() >> 32) &* UInt64(bound)) >> 32)
    }
}
