import Platform

// The journal: what the log writer is about to do, in memory that outlives it.
//
// The promise: SIGKILL of this process at any instruction loses and doubles no line. Its input survives in the pipes,
// whose read ends the keeper holds too; its output survives in the files. What lies between, the bytes that are out of a
// pipe and not yet in a file, lies in this memfd, which the keeper holds as well. There is one transaction at a time:
//
//   idle      Nothing is under way.
//   reading   "I am about to read N bytes of stream S into the buffer." Before that, a witness is put where the last of
//             the N bytes will go. If the next process finds the witness untouched, the read did not happen and the bytes
//             are still in the pipe. Otherwise all N are in the buffer, since a read of a pipe in which they wait
//             cannot end half-way: SIGKILL ends a process only where it returns to user mode or sleeps, and the
//             pages of the buffer are present, so that the copy meets no fault.
//   writing   The bytes are in the buffer. What they become in the file follows from the stream's unfinished line, the
//             buffer, the time stamp and the lines dropped before, all of them in here and unchanged until the next
//             phase. "W bytes of that are in files that are complete; the rest goes into file F (by inode) from offset
//             O." The next process cuts F back to O if it is longer, formats again, and writes from W on. If the path
//             names another file by then (rotated, or deleted by somebody), there is nothing to cut. Rotation is a
//             step in this phase too: it can be repeated from wherever it stopped (see LogFile.rotate).
//   settling  All is written, or given up and counted. The unfinished line at the end of the buffer moves to the
//             stream's slot, and the slot's counters are set: all as absolute values, so it can be done twice.
//
// The witness: 8 random bytes where the batch is that long; the chance that a service wrote just those is 2^-64. For
// fewer than 8 bytes, tee(2) tells the last byte before it is read, and the witness is its complement: certain.
//
// A change of phase is one store of one word, which says which of two records counts; the other one is filled in before.
// (A killed process has executed every instruction up to one, and none after: only the compiler's order matters.)
// Records carry a checksum. What has joined them since (the window of `log.rate`) stands behind it, with one of its own: a
// version that does not know it reads the rest, and one that does takes the slot's window where there is none. (A version
// that knows no rate and has to finish a batch of one that does, of which lines are dropped and a part is in a full file
// already, would write it wrongly: an upgrade that is taken back, and a kill at that moment.) A journal of another version or size, or a damaged one, is not used: it is replaced.
// A journal that has ended three processes in a row (a defect of ours, triggered by the bytes in it) gives up
// the transaction, not the supervisor.
//
// What is not covered, knowingly:
// - A service that gives its own stdout O_DIRECT (packet mode) makes reads shorter than what FIONREAD says. Alive, that is
//   handled; killed between the read and the next phase, that packet is lost.
// - Somebody renames a log file by hand in the very moment of the crash: the new file then gets a batch that the
//   renamed one may have too.
// - Loss of power: nothing is synced. After a boot a torn last line is ended with a newline.

/// What is under way.
struct LogTransaction: Equatable {
    /// The phases in their order.
    enum Phase: UInt64 {
        case idle, reading, writing, settling
    }

    var phase = Phase.idle
    /// The slot of the stream.
    var slot = 0
    /// How many bytes of the buffer belong to it.
    var byteCount = 0
    /// Nothing follows: an unfinished line is written as it is, and the slot becomes free, unless there is something left
    /// to tell of dropped lines.
    var isLast = false
    /// The bytes that stand at the end of the buffer until the read.
    var witness: UInt64 = 0
    /// The time that all its lines get, in nanoseconds since 1970.
    var timestamp: Int64 = 0
    /// How much of the formatted text is in files already, and never looked at again.
    var written = 0
    /// The file that gets the next part, and how long it is without that.
    var device: UInt64 = 0
    var inode: UInt64 = 0
    var fileOffset = 0
    /// The bytes of the buffer that become unfinished line, and where they go in it.
    var carrySource = 0
    var carryTarget = 0
    var carryCount = 0
    /// What the slot's counters become: of what the file does not tell yet, and of all.
    var dropped = DroppedLines()
    var lost = DroppedLines()
    /// How far the slot's second becomes used up.
    var window = RateWindow()
}

/// Lines that could not be written, or were more than `log.rate`.
struct DroppedLines: Equatable {
    var lines: UInt64 = 0
    var bytes: UInt64 = 0
    /// The errno of the last failure, or `LogLoss.overRate`.
    var code: Int32 = 0

    /// Even an empty line has a byte, its newline; a piece of a line has bytes and is no line.
    var isEmpty: Bool { bytes == 0 }

    /// Counts more of them.
    mutating func add(lines: UInt64, bytes: UInt64, code: Int32) {
        self.lines &+= lines
        self.bytes &+= bytes
        self.code = code
    }

    /// Counts those of another count, too.
    mutating func add(_ other: DroppedLines) {
        if !other.isEmpty { add(lines: other.lines, bytes: other.bytes, code: other.code) }
    }
}

/// The journal's memory, with typed access.
final class LogJournal {
    /// The most bytes of one transaction.
    static let bufferSize = 256 << 10
    /// The most streams at a time.
    static let slotCount = 8192
    private static let magic: UInt64 = 0x0002_676f_6c64_7075  // "updlog" and the version of this layout
    private static let carrySize = CRIFormat.pieceLimit
    private static let slotSize = 256
    private static let longestName = 128
    /// Words of a slot, three each; between them is the name.
    private static let droppedField = 5
    private static let lostField = 25
    private static let awaitedField = 28
    private static let windowField = 29
    private static let rateField = 31

    // The layout. Only pages that are used take memory.
    private static let stateOffset = 64
    private static let attemptsOffset = 72
    private static let slotLimitOffset = 80
    private static let recordOffset = 1024
    private static let recordSize = 256
    private static let slotsOffset = 4096
    private static let bufferOffset = slotsOffset + slotCount * slotSize
    private static let carriesOffset = bufferOffset + bufferSize
    private static let size = carriesOffset + slotCount * carrySize

    let memory: SharedMemory
    private var sequence: UInt64 = 0
    private var freeSlots: [Int] = []
    /// All slots from here on were never used. Kept in the memory too: even looking at a page makes it take memory.
    private var slotLimit = 0 {
        didSet { memory.publish(UInt64(slotLimit), at: Self.slotLimitOffset) }
    }

    /// Creates an empty journal.
    init() throws(SystemError) {
        memory = try SharedMemory(creating: "supd-logs", count: Self.size)
        memory.store(Self.magic, at: 0)
        lockBuffer()
    }

    /// Maps the journal of a process before. Throws EINVAL if it is none of this version.
    init(resuming descriptor: Descriptor) throws(SystemError) {
        memory = try SharedMemory(mapping: descriptor, count: Self.size)
        guard memory.load(at: 0) == Self.magic else {
            throw .unsuitable("mmap", "log journal of another version")
        }
        sequence = memory.loadPublished(at: Self.stateOffset)
        lockBuffer()
    }

    /// A page of the buffer that is present stays so. Best effort: where RLIMIT_MEMLOCK forbids it, pages can only go
    /// between touching them and reading into them.
    private func lockBuffer() {
        do { try memory.lockPagesInUse(buffer) } catch {}
    }

    /// Where the buffer is in the memory.
    var buffer: Range<Int> { Self.bufferOffset..<Self.bufferOffset + Self.bufferSize }

    /// The buffer's first bytes.
    func bufferRange(_ count: Int) -> Range<Int> { Self.bufferOffset..<Self.bufferOffset + count }

    // MARK: The transaction

    /// Makes this the state of things, in one instruction.
    func commit(_ transaction: LogTransaction) {
        sequence &+= 1
        let record = Self.recordOffset + Int(sequence & 1) * Self.recordSize
        var checksum: UInt64 = sequence
        var offset = record
        func put(_ value: UInt64) {
            memory.store(value, at: offset)
            checksum = (checksum ^ value) &* 0x0000_0100_0000_01b3
            offset += 8
        }
        put(transaction.phase.rawValue)
        put(UInt64(transaction.slot))
        put(UInt64(transaction.byteCount))
        put(transaction.isLast ? 1 : 0)
        put(transaction.witness)
        put(UInt64(bitPattern: transaction.timestamp))
        put(UInt64(transaction.written))
        put(transaction.device)
        put(transaction.inode)
        put(UInt64(transaction.fileOffset))
        put(UInt64(transaction.carrySource))
        put(UInt64(transaction.carryTarget))
        put(UInt64(transaction.carryCount))
        put(transaction.dropped.lines)
        put(transaction.dropped.bytes)
        put(UInt64(UInt32(bitPattern: transaction.dropped.code)))
        put(transaction.lost.lines)
        put(transaction.lost.bytes)
        put(UInt64(UInt32(bitPattern: transaction.lost.code)))
        memory.store(checksum, at: offset)
        // Behind what all versions read.
        offset += 8
        put(UInt64(bitPattern: transaction.window.second))
        put(Self.packed(transaction.window))
        memory.store(checksum, at: offset)
        memory.publish(sequence, at: Self.stateOffset)
    }

    /// The transaction that was under way; nil if the record is damaged or makes no sense.
    func transaction() -> LogTransaction? {
        if sequence == 0 { return LogTransaction() }
        let record = Self.recordOffset + Int(sequence & 1) * Self.recordSize
        var checksum: UInt64 = sequence
        var offset = record
        func get() -> UInt64 {
            let value = memory.load(at: offset)
            checksum = (checksum ^ value) &* 0x0000_0100_0000_01b3
            offset += 8
            return value
        }
        var result = LogTransaction()
        let phase = LogTransaction.Phase(rawValue: get())
        result.slot = Int(clamping: get())
        result.byteCount = Int(clamping: get())
        result.isLast = get() == 1
        result.witness = get()
        result.timestamp = Int64(bitPattern: get())
        result.written = Int(clamping: get())
        result.device = get()
        result.inode = get()
        result.fileOffset = Int(clamping: get())
        result.carrySource = Int(clamping: get())
        result.carryTarget = Int(clamping: get())
        result.carryCount = Int(clamping: get())
        result.dropped.lines = get()
        result.dropped.bytes = get()
        result.dropped.code = Int32(truncatingIfNeeded: get())
        result.lost.lines = get()
        result.lost.bytes = get()
        result.lost.code = Int32(truncatingIfNeeded: get())
        guard let phase, memory.load(at: offset) == checksum else { return nil }
        result.phase = phase
        guard phase != .idle else { return LogTransaction() }
        offset += 8
        let window = Self.window(second: get(), packed: get())
        result.window = memory.load(at: offset) == checksum ? window : self.window(result.slot)
        guard slotIsUsed(result.slot), result.byteCount <= Self.bufferSize,
            result.carryCount <= Self.carrySize, result.carryTarget <= Self.carrySize - result.carryCount,
            result.carrySource <= Self.bufferSize - result.carryCount
        else { return nil }
        return result
    }

    /// Counts a try to finish what the process before left, and returns how many there were.
    func countAttempt() -> UInt64 {
        let attempts = memory.load(at: Self.attemptsOffset) &+ 1
        memory.publish(attempts, at: Self.attemptsOffset)
        return attempts
    }

    /// The try succeeded.
    func resetAttempts() { memory.publish(0, at: Self.attemptsOffset) }

    // MARK: The witness

    /// Puts a witness where the last of `count` bytes will go, and returns it. `lastByte` is needed below 8 bytes.
    func placeWitness(count: Int, random: UInt64, lastByte: UInt8) -> UInt64 {
        memory.touchPages(bufferRange(count))
        if count >= 8 {
            memory.store(random, at: Self.bufferOffset + count - 8)
            return random
        }
        memory[Self.bufferOffset + count - 1] = ~lastByte
        return UInt64(~lastByte)
    }

    /// Whether the witness is as it was placed: nothing was read.
    func witnessIsIntact(_ transaction: LogTransaction) -> Bool {
        let count = transaction.byteCount
        return count >= 8
            ? memory.load(at: Self.bufferOffset + count - 8) == transaction.witness
            : UInt64(memory[Self.bufferOffset + count - 1]) == transaction.witness
    }

    // MARK: Slots

    private func field(_ slot: Int, _ index: Int) -> Int { Self.slotsOffset + slot * Self.slotSize + index * 8 }

    /// Whether a stream has this slot.
    func slotIsUsed(_ slot: Int) -> Bool {
        (0..<Self.slotCount).contains(slot) && stream(slot) != nil && LogPath.parts(of: instance(slot)) != nil
            && carryLength(slot) <= Self.carrySize
    }

    /// The stream of a slot; nil if it is free.
    func stream(_ slot: Int) -> LogStream? {
        LogStream(rawValue: UInt8(truncatingIfNeeded: memory.loadPublished(at: field(slot, 0))))
    }

    /// The generation whose stream it is.
    func generation(_ slot: Int) -> UInt64 { memory.load(at: field(slot, 1)) }
    /// The length of the unfinished line.
    func carryLength(_ slot: Int) -> Int { Int(clamping: memory.load(at: field(slot, 2))) }
    /// The size at which the file is rotated.
    func maxSize(_ slot: Int) -> Int { Int(clamping: memory.load(at: field(slot, 3))) }
    /// How many rotated files are kept.
    func keep(_ slot: Int) -> Int { Int(clamping: memory.load(at: field(slot, 4))) }

    /// What was dropped since the last note in the file.
    func dropped(_ slot: Int) -> DroppedLines { droppedLines(at: slot, Self.droppedField) }
    /// All that was dropped of the stream: for versions before the counts were kept by themselves, should one come back.
    func lost(_ slot: Int) -> DroppedLines { droppedLines(at: slot, Self.lostField) }

    private func droppedLines(at slot: Int, _ first: Int) -> DroppedLines {
        DroppedLines(
            lines: memory.load(at: field(slot, first)), bytes: memory.load(at: field(slot, first + 1)),
            code: Int32(truncatingIfNeeded: memory.load(at: field(slot, first + 2))))
    }

    /// The most lines a second that are kept of the stream; 0: all.
    func rate(_ slot: Int) -> UInt32 { UInt32(truncatingIfNeeded: memory.load(at: field(slot, Self.rateField))) }

    /// Whether the lines go to systemd's journal, too.
    func sendsToSystemJournal(_ slot: Int) -> Bool { memory.load(at: field(slot, Self.rateField)) >> 32 & 1 == 1 }

    /// How far the stream has used up its second.
    func window(_ slot: Int) -> RateWindow {
        Self.window(
            second: memory.load(at: field(slot, Self.windowField)),
            packed: memory.load(at: field(slot, Self.windowField + 1)))
    }

    private static func packed(_ window: RateWindow) -> UInt64 { UInt64(window.count) | window.line.rawValue << 32 }

    private static func window(second: UInt64, packed: UInt64) -> RateWindow {
        RateWindow(
            second: Int64(bitPattern: second), count: UInt32(truncatingIfNeeded: packed),
            line: RateWindow.Line(rawValue: packed >> 32) ?? .undecided)
    }

    private func set(_ slot: Int, _ first: Int, to dropped: DroppedLines) {
        memory.store(dropped.lines, at: field(slot, first))
        memory.store(dropped.bytes, at: field(slot, first + 1))
        memory.store(UInt64(UInt32(bitPattern: dropped.code)), at: field(slot, first + 2))
    }

    /// The instance's name.
    func instance(_ slot: Int) -> String {
        let length = min(Int(clamping: memory.load(at: field(slot, 8))), Self.longestName)
        return String(decoding: memory.bytes(in: field(slot, 9)..<field(slot, 9) + length), as: UTF8.self)
    }

    /// Where the unfinished line is in the memory.
    func carry(_ slot: Int) -> Range<Int> {
        let start = Self.carriesOffset + slot * Self.carrySize
        return start..<start + min(carryLength(slot), Self.carrySize)
    }

    /// Looks through all slots, once after mapping, and returns those in use; damaged ones count as free.
    func scanSlots() -> [Int] {
        slotLimit = min(Int(clamping: memory.loadPublished(at: Self.slotLimitOffset)), Self.slotCount)
        let used = (0..<slotLimit).filter(slotIsUsed)
        freeSlots = (0..<slotLimit).filter { !slotIsUsed($0) }.reversed()
        return used
    }

    /// Lets a slot tell of what another one's file does not tell yet, and frees that one. Killed in the midst of this, both
    /// would tell of it: of a count, that is better than none.
    func move(_ slot: Int, into other: Int) {
        for first in [Self.lostField, Self.droppedField] {
            let more = droppedLines(at: slot, first)
            guard !more.isEmpty else { continue }
            var sum = droppedLines(at: other, first)
            sum.add(more)
            set(other, first, to: sum)
        }
        free(slot)
    }

    /// Gives a stream a slot; nil if there is none left.
    func allocate(generation: UInt64, stream: LogStream, instance: String) -> Int? {
        let name = Array(instance.utf8)
        guard name.count <= Self.longestName else { return nil }
        guard let slot = freeSlots.popLast() ?? (slotLimit < Self.slotCount ? slotLimit : nil) else { return nil }
        if slot == slotLimit { slotLimit += 1 }
        memory.store(generation, at: field(slot, 1))
        for index in 2...7 { memory.store(0, at: field(slot, index)) }
        set(slot, Self.lostField, to: DroppedLines())
        for index in Self.awaitedField...Self.rateField { memory.store(0, at: field(slot, index)) }
        memory.store(UInt64(name.count), at: field(slot, 8))
        memory.copy(name, to: field(slot, 9))
        memory.publish(UInt64(stream.rawValue), at: field(slot, 0))
        return slot
    }

    /// Notes the rotation settings of a stream's file, how many lines a second are kept, and whether systemd's journal gets
    /// them, too.
    func set(_ slot: Int, maxSize: Int, keep: Int, rate: UInt32, sendsToSystemJournal: Bool = false) {
        memory.store(UInt64(max(maxSize, 0)), at: field(slot, 3))
        memory.store(UInt64(max(keep, 0)), at: field(slot, 4))
        memory.store(UInt64(rate) | (sendsToSystemJournal ? 1 << 32 : 0), at: field(slot, Self.rateField))
    }

    /// Whether the line that somebody waits for was seen in the stream.
    func sawAwaitedLine(_ slot: Int) -> Bool { memory.load(at: field(slot, Self.awaitedField)) == 1 }

    /// Notes that it was.
    func noteAwaitedLine(_ slot: Int) { memory.store(1, at: field(slot, Self.awaitedField)) }

    /// Makes a slot free, and gives its memory back.
    func free(_ slot: Int) {
        memory.publish(0, at: field(slot, 0))
        freeSlots.append(slot)
        let start = Self.carriesOffset + slot * Self.carrySize
        do { try memory.discard(start..<start + Self.carrySize) } catch {}
    }

    /// Does what a settling transaction says; doing it again changes nothing.
    func settle(_ transaction: LogTransaction) {
        let slot = transaction.slot
        let source = Self.bufferOffset + transaction.carrySource
        let target = Self.carriesOffset + slot * Self.carrySize + transaction.carryTarget
        memory.copy(source..<source + transaction.carryCount, to: target)
        memory.store(UInt64(transaction.carryTarget + transaction.carryCount), at: field(slot, 2))
        set(slot, Self.droppedField, to: transaction.dropped)
        set(slot, Self.lostField, to: transaction.lost)
        memory.store(UInt64(bitPattern: transaction.window.second), at: field(slot, Self.windowField))
        memory.store(Self.packed(transaction.window), at: field(slot, Self.windowField + 1))
    }
}
