import CPlatform

/// Composes bytes in memory that somebody else owns, without allocating. What does not fit is left out.
struct TextWriter {
    private let start: UnsafeMutableRawPointer
    private let capacity: Int
    /// Bytes so far.
    private(set) var count = 0

    init(_ start: UnsafeMutableRawPointer, capacity: Int) {
        self.start = start
        self.capacity = capacity
    }

    mutating func append(byte: UInt8) {
        guard count < capacity else { return }
        start.storeBytes(of: byte, toByteOffset: count, as: UInt8.self)
        count += 1
    }

    mutating func append(_ bytes: UnsafeRawBufferPointer) {
        guard let source = bytes.baseAddress, bytes.count <= capacity - count else { return }
        (start + count).copyMemory(from: source, byteCount: bytes.count)
        count += bytes.count
    }

    mutating func append(_ text: StaticString) {
        append(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    /// A decimal number, with zeros before it up to so many digits.
    mutating func append(_ number: UInt64, digits: Int = 1) {
        var divisor: UInt64 = 1
        var length = 1
        while number / divisor >= 10 || length < digits {
            divisor *= 10
            length += 1
        }
        while divisor > 0 {
            append(byte: UInt8(ascii: "0") + UInt8(number / divisor % 10))
            divisor /= 10
        }
    }

    /// The last bytes of a number, the highest first.
    mutating func append(bigEndian number: UInt64, bytes: Int) {
        for index in stride(from: bytes - 1, through: 0, by: -1) {
            append(byte: UInt8(truncatingIfNeeded: number >> UInt64(8 * index)))
        }
    }

    /// The 4 or 16 bytes of an address.
    mutating func append(bytesOf address: ClientAddress, asIPv6: Bool) {
        if asIPv6 { append(bigEndian: address.high, bytes: 8) }
        append(bigEndian: address.low, bytes: asIPv6 ? 8 : 4)
    }

    /// An address as text, without its port; `asIPv6`: also an IPv4 one.
    mutating func append(_ address: ClientAddress, asIPv6: Bool) {
        var raw = address.raw(asIPv6: asIPv6)
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 46) { text in
            let length = supd_format_address(&raw, text.baseAddress)
            append(UnsafeRawBufferPointer(start: text.baseAddress, count: Int(length)))
        }
    }

    /// Nanoseconds as seconds with three decimals.
    mutating func append(seconds nanoseconds: Int64) {
        let milliseconds = UInt64(max(0, nanoseconds)) / 1_000_000
        append(milliseconds / 1000)
        append(".")
        append(milliseconds % 1000, digits: 3)
    }
}
