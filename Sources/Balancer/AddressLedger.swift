import Platform
import Synchronization

/// How many connections each client address has at one front, over all loops: for `maxConnectionsPerAddress`.
///
/// It knows addresses with open connections alone, and so is as large as those are many. Addresses count as a whole,
/// IPv6 ones too: a network of 2^64 of them is one client to nobody but its provider, and `allow` takes networks.
/// Connections that were there before the limit was set are not counted.
final class AddressLedger: Sendable {
    private static let shardCount = 16
    /// The most connections of one address; 0: no limit.
    private let limit = Atomic<UInt32>(0)
    /// Loops that meet at one address wait for each other; others seldom do.
    private let shards: [Lock<[ClientAddress.Key: UInt32]>]

    init() { shards = (0..<Self.shardCount).map { _ in Lock([:]) } }

    /// Sets the limit for connections to come; nil: none.
    func set(limit: UInt32?) { self.limit.store(limit ?? 0, ordering: .relaxed) }

    /// Whether connections are counted at all.
    var isLimited: Bool { limit.load(ordering: .relaxed) > 0 }

    /// Takes one place for an address. Returns whether there was one.
    func enter(_ address: ClientAddress.Key) -> Bool {
        let limit = limit.load(ordering: .relaxed)
        return shard(address).withLock { counts in
            let count = counts[address] ?? 0
            // None any more, if the limit was lifted a moment ago.
            guard limit == 0 || count < limit else { return false }
            counts[address] = count + 1
            return true
        }
    }

    /// Gives a place back.
    func leave(_ address: ClientAddress.Key) {
        shard(address).withLock { counts in
            guard let count = counts[address] else { return }
            counts[address] = count > 1 ? count - 1 : nil
        }
    }

    /// How many addresses are known now.
    var addressCount: Int { shards.reduce(0) { sum, shard in sum + shard.withLock { $0.count } } }

    private func shard(_ address: ClientAddress.Key) -> Lock<[ClientAddress.Key: UInt32]> {
        shards[Int(truncatingIfNeeded: (address.high ^ address.low ^ address.low >> 32) & UInt64(Self.shardCount - 1))]
    }
}
