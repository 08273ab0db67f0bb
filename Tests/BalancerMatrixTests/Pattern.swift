import Glibc

/// A stream of bytes that depend on their place in it: one block again and again, of a prime length, so that no shift by a
/// buffer's size goes unseen. Making and comparing them is left to memcpy(3) and memcmp(3): loops over bytes are slow where
/// nothing is optimised.
struct Pattern {
    private static let period = 65_521
    /// The most bytes of one window.
    static let window = 256 << 10
    /// Windows at every place of the period. Written once, never freed.
    nonisolated(unsafe) private static let block: UnsafeRawPointer = {
        let bytes = UnsafeMutableRawPointer.allocate(byteCount: period + window, alignment: 4096)
        var state: UInt64 = 1
        for index in 0..<period {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            bytes.storeBytes(of: UInt8(truncatingIfNeeded: state >> 33), toByteOffset: index, as: UInt8.self)
        }
        for start in stride(from: period, to: period + window, by: period) {
            memcpy(bytes + start, bytes, min(period, period + window - start))
        }
        return UnsafeRawPointer(bytes)
    }()

    private let start: Int
    /// How many bytes were taken or compared so far.
    private(set) var position = 0

    /// The seed says where in the block the stream begins.
    init(_ seed: UInt64) { start = Int(seed &* 7919 % UInt64(Self.period)) }

    /// The next bytes, at most so many; `advance` takes them.
    func next(_ count: Int) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(
            start: Self.block + (start + position) % Self.period, count: max(0, min(count, Self.window)))
    }

    mutating func advance(_ count: Int) { position += count }

    /// Whether these bytes, a window's at most, come next; takes them.
    mutating func takes(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard let base = bytes.baseAddress, !bytes.isEmpty else { return true }
        defer { position += bytes.count }
        return memcmp(base, Self.block + (start + position) % Self.period, bytes.count) == 0
    }
}
