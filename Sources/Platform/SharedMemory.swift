import CPlatform
import Glibc
import Synchronization

/// A memfd mapped for reading and writing: memory that outlives the process when another one holds the descriptor too.
///
/// Every access is checked against the size. An access outside it does nothing (a load gives 0): what is in such memory
/// may come from a process that crashed, and must not be able to end this one as well. The memfd is sealed against
/// shrinking, so that no access can raise SIGBUS.
package final class SharedMemory {
    /// The memfd.
    package let descriptor: Descriptor
    /// The size in bytes.
    package let count: Int
    private let base: UnsafeMutableRawPointer

    /// Creates a memfd of zeros by memfd_create(2) and maps it. Pages take memory when they are first written.
    package convenience init(creating name: String, count: Int) throws(SystemError) {
        let raw = try systemCall("memfd_create", name) { supd_memfd_create(name, off_t(count)) }
        try self.init(mapping: Descriptor(owning: raw), count: count)
    }

    /// Maps a memfd that `init(creating:count:)` of some process made, by mmap(2).
    /// Throws EINVAL if it has another size or could shrink.
    package init(mapping descriptor: Descriptor, count: Int) throws(SystemError) {
        var status = stat()
        try systemCall("fstat", "shared memory") { fstat(descriptor.raw, &status) }
        guard count > 0, status.st_size == count, supd_memfd_is_sealed(descriptor.raw) == 1 else {
            throw SystemError(call: "mmap", code: EINVAL, subject: "shared memory of another kind")
        }
        var mapped: UnsafeMutableRawPointer?
        try systemCall("mmap", "shared memory") {
            mapped = mmap(nil, count, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor.raw, 0)
            return mapped == MAP_FAILED ? -1 : 0
        }
        guard let mapped else { throw SystemError(call: "mmap", code: EINVAL, subject: "shared memory") }
        self.descriptor = descriptor
        self.count = count
        base = mapped
    }

    deinit { munmap(base, count) }

    /// The address of a range, if it lies inside.
    private func address(_ range: Range<Int>) -> UnsafeMutableRawPointer? {
        range.lowerBound >= 0 && range.upperBound <= count ? base + range.lowerBound : nil
    }

    private func address(_ offset: Int, _ length: Int) -> UnsafeMutableRawPointer? {
        offset >= 0 && length >= 0 && offset <= count - length ? base + offset : nil
    }

    /// A byte.
    package subscript(offset: Int) -> UInt8 {
        get { address(offset, 1)?.load(as: UInt8.self) ?? 0 }
        set { address(offset, 1)?.storeBytes(of: newValue, as: UInt8.self) }
    }

    /// A word, at any alignment.
    package func load(at offset: Int) -> UInt64 { address(offset, 8)?.loadUnaligned(as: UInt64.self) ?? 0 }

    /// Sets a word, at any alignment.
    package func store(_ value: UInt64, at offset: Int) { address(offset, 8)?.storeBytes(of: value, as: UInt64.self) }

    /// The word that `publish` last set at this offset, which is a multiple of 8.
    package func loadPublished(at offset: Int) -> UInt64 {
        guard offset % 8 == 0, let address = address(offset, 8) else { return 0 }
        return address.assumingMemoryBound(to: Atomic<UInt64>.self).pointee.load(ordering: .acquiring)
    }

    /// Sets a word at an offset that is a multiple of 8, after everything that was written before. Should the process be
    /// killed at any instruction, whoever finds the new value finds all earlier writes too.
    package func publish(_ value: UInt64, at offset: Int) {
        guard offset % 8 == 0, let address = address(offset, 8) else { return }
        address.assumingMemoryBound(to: Atomic<UInt64>.self).pointee.store(value, ordering: .sequentiallyConsistent)
    }

    /// Copies bytes inside the memory; the two ranges may overlap. memmove(3).
    package func copy(_ source: Range<Int>, to target: Int) {
        guard let from = address(source), let to = address(target, source.count) else { return }
        to.copyMemory(from: from, byteCount: source.count)
    }

    /// Copies bytes into the memory.
    package func copy(_ bytes: [UInt8], to target: Int) {
        guard let to = address(target, bytes.count) else { return }
        bytes.withUnsafeBytes { source in
            guard let from = source.baseAddress else { return }
            to.copyMemory(from: from, byteCount: source.count)
        }
    }

    /// The bytes of a range.
    package func bytes(in range: Range<Int>) -> [UInt8] {
        guard let from = address(range) else { return [] }
        return [UInt8](UnsafeRawBufferPointer(start: from, count: range.count))
    }

    /// Where a byte comes first in a range: memchr(3).
    package func firstIndex(of byte: UInt8, in range: Range<Int>) -> Int? {
        guard !range.isEmpty, let first = address(range), let found = memchr(first, Int32(byte), range.count) else {
            return nil
        }
        return found - base
    }

    /// Hands the bytes of a range to code of this target.
    func withBytes<Result>(in range: Range<Int>, _ body: (UnsafeRawBufferPointer) -> Result) -> Result? {
        address(range).map { body(UnsafeRawBufferPointer(start: $0, count: range.count)) }
    }

    /// Keeps the pages of a range in memory from their first use on, by mlock2(2) with MLOCK_ONFAULT.
    package func lockPagesInUse(_ range: Range<Int>) throws(SystemError) {
        guard let address = address(range) else { return }
        try systemCall("mlock2", "shared memory") { supd_lock_on_fault(address, range.count) }
    }

    /// Makes every page of a range present and writable, so that a system call that fills it meets no page fault.
    package func touchPages(_ range: Range<Int>) {
        guard let first = address(range) else { return }
        var offset = 0
        while offset < range.count {
            first.storeBytes(of: 0, toByteOffset: offset, as: UInt8.self)
            offset += 4096
        }
        if !range.isEmpty { first.storeBytes(of: 0, toByteOffset: range.count - 1, as: UInt8.self) }
    }

    /// Gives the memory of a range back; it reads as zeros from now on. The range is one of whole pages. fallocate(2).
    package func discard(_ range: Range<Int>) throws(SystemError) {
        guard address(range) != nil else { return }
        try systemCall("fallocate", "shared memory") {
            supd_punch_hole(descriptor.raw, off_t(range.lowerBound), off_t(range.count))
        }
    }

    /// Fills a range from a descriptor by one read(2) and returns how many bytes came: 0 at the end of the file.
    package func read(from source: Descriptor, into range: Range<Int>) throws(SystemError) -> Int {
        guard let target = address(range) else {
            throw SystemError(call: "read", code: EFAULT, subject: "shared memory")
        }
        return try systemCall("read") { Glibc.read(source.raw, target, range.count) }
    }
}
