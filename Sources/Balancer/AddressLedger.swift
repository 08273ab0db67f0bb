import Platform
import Synchronization

/// How many connections each client address has at one front, over all loops: for `maxConnectionsPerAddress`.
///
/// It knows addresses with open connections alone, and so is as large as those are many. Addresses count as a whole,
/// IPv6 ones too: a network of 2^64 of them is one client to nobody but its provider, and `allow` takes networks.
/// Connections that were there before the limit was set are not counted.
final class AddressLedger: @unchecked Sendable {
    private static let shardCount = 16
    /// The most connections of one address; 0: no limit.
    private let limit = Atomic<UInt32>(0)
    /// Loops that meet at one address wait for each other; others seldom do.
    /// Not an array: every look at one would count references, to it and to the lock.
    private let shards: UnsafeMutablePointer<Unmanaged<Lock<[ClientAddress.Key: UInt32]>>>

    init() {
        shards = .allocate(capacity: Self.shardCount)
        for number in 0..<Self.shardCount { (shards + number).initialize(to: .passRetained(Lock([:]))) }
    }

    deinit {
        for number in 0..<Self.shardCount { shards[number].release() }
        shards.deallocate()
    }

    /// Sets the limit for connections to come; nil: none.
    func set(limit: UInt32?) { self.limit.store(limit ?? 0, ordering: .relaxed) }

    /// Whether connections are counted at all.
    var isLimited: Bool { limit.load(ordering: .relaxed) > 0 }

    /// Takes one place for an address. Returns whether there was one.
    func enter(_ address: ClientAddress.Key) -> Bool {
        let limit = limit.load(ordering: .relaxed)
        return withCounts(of: address) { counts in
            let count = counts[address] ?? 0
            // None any more, if the limit was lifted a moment ago.
            guard limit == 0 || count < limit else { return false }
            counts[address] = count + 1
            return true
        }
    }

    /// Gives a place back.
    func leave(_ address: ClientAddress.Key) {
        withCounts(of: address) { counts in
            guard let count = counts[address] else { return }
            counts[address] = count > 1 ? count - 1 : nil
        }
    }

    /// How many addresses are known now.
    var addressCount: Int {
        (0..<Self.shardCount).reduce(0) { sum, number in
            sum + shards[number]._withUnsafeGuaranteedRef { shard in shard.withLock { $0.count } }
        }
    }

    @inline(__always)
    private func withCounts<Result: Sendable>(
        of address: ClientAddress.Key, _ body: (inout [ClientAddress.Key: UInt32]) -> Result
    ) -> Result {
        let number = (address.high ^ address.low ^ address.low >> 32) & UInt64(Self.shardCount - 1)
        return shards[Int(truncatingIfNeeded: number)]._withUnsafeGuaranteedRef { shard in
            shard.withLock { counts in body(&counts) }
        }
    }
}
