import Links

/// The peers that may connect: sorted ranges, compiled once a table, searched without allocating.
///
/// The memory belongs to an `AddressList`, which the table in force keeps.
struct AddressRanges: BitwiseCopyable {
    /// Addresses from one to another, both included, in the form of `ClientAddress`. No two of them overlap.
    struct Range: BitwiseCopyable {
        var first: UInt128
        var last: UInt128
    }

    fileprivate let ranges: UnsafePointer<Range>
    fileprivate let count: Int

    /// Whether an address is in one of the ranges.
    func contains(_ address: ClientAddress) -> Bool {
        let number = UInt128(address.high) << 64 | UInt128(address.low)
        // The last range that does not begin after it.
        var low = 0
        var high = count
        while low < high {
            let middle = (low + high) / 2
            if ranges[middle].first <= number { low = middle + 1 } else { high = middle }
        }
        return low > 0 && number <= ranges[low - 1].last
    }
}

/// Owns the memory of `AddressRanges`.
final class AddressList: @unchecked Sendable {
    /// The ranges, valid as long as this object lives.
    let ranges: AddressRanges
    private let memory: UnsafeMutablePointer<AddressRanges.Range>

    /// Compiles a list; an entry that makes no sense takes no one.
    init(_ list: [RoutingTable.AddressRange]) {
        let merged = Self.merged(list.flatMap(Self.compiled))
        memory = .allocate(capacity: max(1, merged.count))
        memory.initialize(from: merged, count: merged.count)
        ranges = AddressRanges(ranges: memory, count: merged.count)
    }

    deinit { memory.deallocate() }

    /// All IPv4 addresses, as IPv6 has them.
    private static let ipv4 = AddressRanges.Range(
        first: 0xffff_0000_0000, last: 0xffff_ffff_ffff)

    private static func compiled(_ range: RoutingTable.AddressRange) -> [AddressRanges.Range] {
        let prefix = Int(range.prefix) + (range.bytes.count == 4 ? 96 : 0)
        guard range.bytes.count == 4 || range.bytes.count == 16, prefix <= 128 else { return [] }
        var number = range.bytes.reduce(UInt128(0)) { $0 << 8 | UInt128($1) }
        if range.bytes.count == 4 { number |= ipv4.first }
        let rest = prefix == 0 ? UInt128.max : prefix == 128 ? 0 : UInt128.max >> UInt128(prefix)
        let whole = AddressRanges.Range(first: number & ~rest, last: number | rest)
        // A wide range of IPv6 means IPv6: `::/0` does not take the IPv4 clients, who are kept within it.
        guard whole.first < ipv4.first, whole.last >= ipv4.last else { return [whole] }
        let below = AddressRanges.Range(first: whole.first, last: ipv4.first - 1)
        guard whole.last > ipv4.last else { return [below] }
        return [below, AddressRanges.Range(first: ipv4.last + 1, last: whole.last)]
    }

    private static func merged(_ ranges: [AddressRanges.Range]) -> [AddressRanges.Range] {
        var result: [AddressRanges.Range] = []
        for range in ranges.sorted(by: { $0.first < $1.first }) {
            if let last = result.last, range.first <= last.last {
                result[result.count - 1].last = max(last.last, range.last)
            } else {
                result.append(range)
            }
        }
        return result
    }
}
