import CPlatform

/// Slots of one size in one reserved range of memory, handed out by index.
///
/// A reservation takes no room until it is touched. Slots come in chunks; a chunk whose slots are all free again is given
/// back to the kernel, but for a few that are kept at hand. Nothing here allocates after `init`.
struct Slab {
    /// The bookkeeping of one chunk. Lists of chunks are linked by number + 1, so that zero is no chunk.
    private struct Chunk {
        /// The chunk's first free slot that was in use before, as number in the chunk + 1.
        var free: UInt32 = 0
        /// Slots handed out now.
        var used: UInt32 = 0
        /// Slots from here on were not touched since the chunk was given back.
        var fresh: UInt32 = 0
        var next: UInt32 = 0
        var previous: UInt32 = 0
    }

    /// How many slots there are at most.
    let capacity: Int
    private let slotSize: Int
    private let slotsPerChunk: Int
    private let chunkCount: Int
    /// Empty chunks kept at hand.
    private let spareLimit: Int
    private let base: UnsafeMutableRawPointer
    private let chunks: UnsafeMutablePointer<Chunk>
    /// The list of chunks with free slots, some of which may be empty.
    private var open: UInt32 = 0
    /// The list of chunks that were given back.
    private var returned: UInt32 = 0
    /// Chunks from here on were never used.
    private var untouched = 0
    private var spares = 0
    /// Slots handed out now.
    private(set) var count = 0

    /// Reserves room for `capacity` slots; nil if the kernel does not give that much address space.
    ///
    /// `slotSize` is a multiple of 16, and a chunk a multiple of the page size. The last four bytes of a free slot are the
    /// slab's own.
    init?(slotSize: Int, capacity: Int, slotsPerChunk: Int, spareChunks: Int) {
        let chunkCount = (capacity + slotsPerChunk - 1) / slotsPerChunk
        guard let base = supd_reserve(chunkCount * slotsPerChunk * slotSize) else { return nil }
        // A chunk that was never used is all zeros, so this takes no room either.
        let bookkeeping = chunkCount * MemoryLayout<Chunk>.stride
        let chunks = supd_reserve(bookkeeping)
        guard let chunks, supd_make_usable(chunks, bookkeeping) == 0 else {
            if let chunks { supd_unreserve(chunks, bookkeeping) }
            supd_unreserve(base, chunkCount * slotsPerChunk * slotSize)
            return nil
        }
        self.slotSize = slotSize
        self.slotsPerChunk = slotsPerChunk
        self.chunkCount = chunkCount
        self.capacity = capacity
        self.base = base
        spareLimit = spareChunks
        self.chunks = chunks.bindMemory(to: Chunk.self, capacity: chunkCount)
    }

    /// Gives all memory back; the slab must not be used afterwards.
    func destroy() {
        supd_unreserve(base, chunkCount * slotSize * slotsPerChunk)
        supd_unreserve(chunks, chunkCount * MemoryLayout<Chunk>.stride)
    }

    /// The memory of a slot.
    @inline(__always)
    func address(_ index: UInt32) -> UnsafeMutableRawPointer { base + Int(index) &* slotSize }

    /// Indices at or above this were never handed out.
    var highWater: UInt32 { UInt32(untouched * slotsPerChunk) }

    /// Hands out a slot, whose bytes are undefined; nil when all are in use.
    mutating func allocate() -> UInt32? {
        guard count < capacity, let number = chunkWithRoom() else { return nil }
        let chunk = chunks + number
        if chunk.pointee.used == 0, chunk.pointee.fresh > 0 { spares -= 1 }
        let slot: UInt32
        if chunk.pointee.free > 0 {
            slot = chunk.pointee.free - 1
            chunk.pointee.free = link(number, slot).pointee
        } else {
            slot = chunk.pointee.fresh
            chunk.pointee.fresh += 1
        }
        chunk.pointee.used += 1
        if chunk.pointee.used == slotsPerChunk { unlink(number) }
        count += 1
        return UInt32(number * slotsPerChunk) + slot
    }

    /// Takes a slot back.
    mutating func free(_ index: UInt32) {
        let number = Int(index) / slotsPerChunk
        let slot = index % UInt32(slotsPerChunk)
        let chunk = chunks + number
        link(number, slot).pointee = chunk.pointee.free
        chunk.pointee.free = slot + 1
        if chunk.pointee.used == slotsPerChunk { insert(number) }
        chunk.pointee.used -= 1
        count -= 1
        guard chunk.pointee.used == 0 else { return }
        if spares < spareLimit {
            spares += 1
        } else {
            giveBack(number)
        }
    }

    private mutating func chunkWithRoom() -> Int? {
        if open > 0 { return Int(open) - 1 }
        let number: Int
        if returned > 0 {
            number = Int(returned) - 1
            returned = chunks[number].next
        } else if untouched < chunkCount {
            number = untouched
            let size = slotSize * slotsPerChunk
            guard supd_make_usable(base + number * size, size) == 0 else { return nil }
            untouched += 1
        } else {
            return nil
        }
        insert(number)
        return number
    }

    private mutating func giveBack(_ number: Int) {
        unlink(number)
        let size = slotSize * slotsPerChunk
        supd_discard(base + number * size, size)
        chunks[number] = Chunk()
        chunks[number].next = returned
        returned = UInt32(number) + 1
    }

    private mutating func insert(_ number: Int) {
        chunks[number].previous = 0
        chunks[number].next = open
        if open > 0 { chunks[Int(open) - 1].previous = UInt32(number) + 1 }
        open = UInt32(number) + 1
    }

    private mutating func unlink(_ number: Int) {
        let (previous, next) = (chunks[number].previous, chunks[number].next)
        if previous > 0 { chunks[Int(previous) - 1].next = next } else { open = next }
        if next > 0 { chunks[Int(next) - 1].previous = previous }
    }

    @inline(__always)
    private func link(_ number: Int, _ slot: UInt32) -> UnsafeMutablePointer<UInt32> {
        let end = base + (number * slotsPerChunk + Int(slot) + 1) * slotSize
        return (end - MemoryLayout<UInt32>.size).assumingMemoryBound(to: UInt32.self)
    }
}
