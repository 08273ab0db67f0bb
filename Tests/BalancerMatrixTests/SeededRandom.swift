/// A repeatable source of choices: SplitMix64.
struct SeededRandom {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var bits = state
        bits = (bits ^ (bits >> 30)) &* 0xBF58_476D_1CE4_E5B9
        bits = (bits ^ (bits >> 27)) &* 0x94D0_49BB_1331_11EB
        return bits ^ (bits >> 31)
    }

    /// A number from 0 to below the limit.
    mutating func next(_ limit: Int) -> Int { limit > 0 ? Int(next() % UInt64(limit)) : 0 }

    /// Whether it is one of `outOf` equally likely cases.
    mutating func oneOf(_ outOf: Int) -> Bool { next(outOf) == 0 }

    mutating func pick<Element>(_ list: [Element]) -> Element { list[next(list.count)] }
}
