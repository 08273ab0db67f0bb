import CPlatform
import Glibc

/// A growing run of bytes that is built once and written out: memory that is used again and again for batches.
/// Ranges outside it are cut to what there is.
package final class ByteBuffer {
    private var base: UnsafeMutableRawPointer
    private var capacity: Int
    /// How many bytes are in it.
    package private(set) var count = 0
    /// How many lines `appendLines` has put into it.
    package private(set) var lineCount: UInt64 = 0

    /// Creates an empty buffer.
    package init() {
        capacity = 4096
        base = .allocate(byteCount: capacity, alignment: 16)
    }

    deinit { base.deallocate() }

    /// Makes it empty, and gives back memory beyond `limit` bytes.
    package func removeAll(keepingAtMost limit: Int) {
        count = 0
        lineCount = 0
        guard capacity > limit, limit >= 4096 else { return }
        base.deallocate()
        capacity = limit
        base = .allocate(byteCount: capacity, alignment: 16)
    }

    /// Makes room for so many bytes more and returns where they go.
    @inline(__always)
    private func room(for more: Int) -> UnsafeMutableRawPointer {
        if capacity - count < more { grow(by: more) }
        return base + count
    }

    @inline(never)
    private func grow(by more: Int) {
        let wanted = max(capacity * 2, count + more)
        let larger = UnsafeMutableRawPointer.allocate(byteCount: wanted, alignment: 16)
        larger.copyMemory(from: base, byteCount: count)
        base.deallocate()
        base = larger
        capacity = wanted
    }

    /// Appends bytes.
    package func append(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { source in
            guard let from = source.baseAddress else { return }
            room(for: source.count).copyMemory(from: from, byteCount: source.count)
            count += source.count
        }
    }

    /// Appends one byte.
    package func append(_ byte: UInt8) {
        room(for: 1).storeBytes(of: byte, as: UInt8.self)
        count += 1
    }

    /// Appends bytes of a shared memory.
    package func append(_ memory: SharedMemory, _ range: Range<Int>) {
        memory.withBytes(in: range) { source in
            guard let from = source.baseAddress else { return }
            room(for: source.count).copyMemory(from: from, byteCount: source.count)
            count += source.count
        }
    }

    /// Appends every line that ends inside the range, each after `prefix`, and stops after `most` lines, and before what has
    /// no newline in the range or is longer than `limit` bytes without it. Returns the offset of the first byte not taken.
    package func appendLines(
        of memory: SharedMemory, _ range: Range<Int>, prefix: [UInt8], limit: Int, most: Int = .max
    ) -> Int {
        let taken: Int? = memory.withBytes(in: range) { source in
            prefix.withUnsafeBytes { prefix in
                guard let first = source.baseAddress, let head = prefix.baseAddress else { return 0 }
                var line = first
                let end = first + source.count
                var left = most
                while left > 0, line < end, let newline = memchr(line, 0x0a, end - line) {
                    let length = UnsafeRawPointer(newline) - line
                    guard length <= limit else { break }
                    let target = room(for: prefix.count + length + 1)
                    target.copyMemory(from: head, byteCount: prefix.count)
                    (target + prefix.count).copyMemory(from: line, byteCount: length + 1)
                    count += prefix.count + length + 1
                    lineCount += 1
                    left -= 1
                    line += length + 1
                }
                return line - first
            }
        }
        return range.lowerBound + (taken ?? 0)
    }

    /// A byte; 0 outside.
    package subscript(offset: Int) -> UInt8 {
        offset >= 0 && offset < count ? base.load(fromByteOffset: offset, as: UInt8.self) : 0
    }

    /// The bytes of a range.
    package func bytes(in range: Range<Int>) -> [UInt8] {
        let range = range.clamped(to: 0..<count)
        return [UInt8](UnsafeRawBufferPointer(start: base + range.lowerBound, count: range.count))
    }

    /// Where a byte comes first in a range.
    package func firstIndex(of byte: UInt8, in range: Range<Int>) -> Int? {
        let range = range.clamped(to: 0..<count)
        guard !range.isEmpty, let found = memchr(base + range.lowerBound, Int32(byte), range.count) else { return nil }
        return found - base
    }

    /// Where a byte comes last in a range.
    package func lastIndex(of byte: UInt8, in range: Range<Int>) -> Int? {
        let range = range.clamped(to: 0..<count)
        let found = supd_last_index(base + range.lowerBound, Int32(byte), range.count)
        return found < 0 ? nil : range.lowerBound + found
    }

    /// Writes a range to a descriptor by one write(2) and returns how many bytes were taken.
    package func write(_ range: Range<Int>, to target: Descriptor) throws(SystemError) -> Int {
        let range = range.clamped(to: 0..<count)
        return try systemCall("write") { Glibc.write(target.raw, base + range.lowerBound, range.count) }
    }
}
