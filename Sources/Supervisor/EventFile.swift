import Events
import FoundationEssentials
import Platform

/// The events on disk: `STATE/events`, a line of JSON each, and `STATE/events.old`, the ones before. What is full is
/// renamed; so there are between one and two times `segmentSize` bytes of the latest. Between events stand checkpoints, what
/// all events before come to: whoever begins reads from the last one on, and not everything.
///
/// The latest are in memory as well, for readers, and for as long as they cannot be written: a full disk is told once, and
/// stops nothing. To be used on one queue.
final class EventFile {
    /// Where it is told what is wrong; and that it is so no more.
    typealias Note = @Sendable (DaemonLog.Level, String) -> Void

    /// How much there may be.
    struct Limits: Sendable {
        /// Bytes of events in a file before it is renamed.
        var segment = 1 << 20
        /// Bytes of events between two checkpoints at least.
        var checkpoint = 64 << 10
        /// Lines in memory.
        var lines = 1024
        /// Bytes of a file that is read at the start.
        var reading = 64 << 20
    }

    private struct Line {
        var number: UInt64
        var text: [UInt8]
    }

    private let path: String
    private let limits: Limits
    private let note: Note
    /// What the keeper holds of the last number, for when it could not be written.
    private let counter: MemoryFile?

    private var file: Descriptor?
    /// Bytes of the file that are as they should be.
    private var size = 0
    /// Bytes of checkpoints in it, and of events after the last one.
    private var checkpointBytes = 0
    private var sinceCheckpoint = 0
    private var lastCheckpoint = 0
    /// Part of a line is at its end and could not be cut off.
    private var isTorn = false
    private var isInTrouble = false
    private var isTakenOver = false
    /// The latest lines; those after `written` are only here.
    private var recent: [Line] = []
    private var written: UInt64 = 0

    /// Whether this keeper has told an event before.
    private(set) var isContinued = false
    /// The number of the last event.
    private(set) var last: UInt64 = 0
    /// What all of them come to.
    private(set) var ledger = EventLedger()

    /// Reads what is there, and goes on after it. What is wrong is noted; it never fails.
    init(stateDirectory: String, counter: MemoryFile?, limits: Limits = Limits(), note: @escaping Note) {
        path = "\(stateDirectory)/events"
        self.counter = counter
        self.limits = limits
        self.note = note
        do throws(SystemError) {
            try FileIO.createDirectories(stateDirectory)
            try open()
        } catch {
            trouble(error)
        }
        // What could not be written had numbers all the same.
        let counted = countedLast
        isContinued = counted != nil
        last = max(last, counted ?? 0)
        written = last
    }

    private var oldPath: String { "\(path).old" }

    // MARK: Reading what is there

    /// Opens the file, and takes over what it says, unless an earlier opening has.
    private func open() throws(SystemError) {
        let opened = try FileIO.openForAppending(path: path, mode: 0o600)
        guard try FileIO.status(opened).isRegular else {
            throw SystemError.unsuitable("open", "\(path), which is no regular file")
        }
        var bytes = try contents(path)
        if let end = bytes.lastIndex(of: Self.newline).map({ $0 + 1 }) ?? (bytes.isEmpty ? nil : 0), end < bytes.count {
            note(.notice, "\(path): the last line is not whole, and dropped")
            try FileIO.truncate(opened, to: end)
            bytes.removeLast(bytes.count - end)
        }
        if !isTakenOver { takeOver(bytes) }
        size = bytes.count
        checkpointBytes = 0
        sinceCheckpoint = size
        isTorn = false
        file = opened
    }

    private func contents(_ path: String) throws(SystemError) -> [UInt8] {
        do throws(SystemError) {
            return try Files.read(path, limit: limits.reading)
        } catch {
            if error.meansMissing { return [] }
            throw error
        }
    }

    /// From the last checkpoint on; without one, which a file that was cut in the renaming has not, from those before.
    private func takeOver(_ bytes: [UInt8]) {
        isTakenOver = true
        let (given, told) = (last, ledger)
        last = 0
        defer {
            // Those that were told while the file could not even be read are not in it, and their numbers may be.
            if given > 0 { (written, last, ledger) = (last, max(last, given), told) }
        }
        var broken = 0
        let lines = bytes.split(separator: Self.newline)
        if let index = lines.lastIndex(where: Self.isCheckpoint), let found = Self.checkpoint(lines[index]) {
            ledger = found
            replay(lines[(index + 1)...], &broken)
            last = max(last, lines.last(where: { EventLine.number(of: $0) != nil }).flatMap(EventLine.number) ?? 0)
            if last == 0 { last = lastNumber(of: oldPath) }
        } else {
            let before = ((try? contents(oldPath)) ?? []).split(separator: Self.newline)
            let index = before.lastIndex(where: Self.isCheckpoint)
            ledger = index.flatMap { Self.checkpoint(before[$0]) } ?? EventLedger()
            replay(before[(index.map { $0 + 1 } ?? 0)...], &broken)
            replay(lines[...], &broken)
        }
        if broken > 0 { note(.warning, "\(path): \(Amount.text(broken, "line")) cannot be read, and left out") }
    }

    private func replay(_ lines: ArraySlice<ArraySlice<UInt8>>, _ broken: inout Int) {
        for line in lines where !Self.isCheckpoint(line) {
            guard let event = EventLine.event(line) else {
                broken += 1
                continue
            }
            ledger.take(event.kind, service: event.service, instance: event.instance)
            last = max(last, event.number)
        }
    }

    private func lastNumber(of path: String) -> UInt64 {
        let lines = ((try? contents(path)) ?? []).split(separator: Self.newline)
        return lines.last(where: { EventLine.number(of: $0) != nil }).flatMap(EventLine.number) ?? 0
    }

    private var countedLast: UInt64? {
        guard let bytes = try? counter?.read(limit: 64) else { return nil }
        return UInt64(String(decoding: bytes, as: UTF8.self))
    }

    // MARK: Adding

    /// Numbers events and writes them down with one call. When it returns they may be told: they are kept, or cannot be.
    /// Answers them with their numbers.
    @discardableResult
    func append(_ events: [EventRecord]) -> [EventRecord] {
        var dropped = 0
        var numbered: [EventRecord] = []
        for var event in events {
            // At the end of the numbers there is none to give.
            guard last < UInt64(Int64.max) else { return numbered }
            event.number = last + 1
            guard let text = EventLine.text(event) else {
                dropped += 1
                continue
            }
            last += 1
            ledger.take(event.kind, service: event.service, instance: event.instance)
            recent.append(Line(number: last, text: text))
            numbered.append(event)
        }
        if dropped > 0 { note(.error, "\(Amount.text(dropped, "event")) too long to be kept; this is a bug in supd") }
        forgetOldest()
        count()
        do throws(SystemError) {
            try write()
            if isInTrouble { note(.notice, "events are written to \(path) again") }
            isInTrouble = false
        } catch {
            trouble(error)
        }
        return numbered
    }

    /// Keeps the latest lines in memory, and no more bytes of them than of a file.
    private func forgetOldest() {
        var bytes = recent.reduce(0) { $0 + $1.text.count }
        guard recent.count > 2 * limits.lines || bytes > 2 * limits.segment else { return }
        var oldest = 0
        while oldest + 1 < recent.count, recent.count - oldest > limits.lines || bytes > limits.segment {
            bytes -= recent[oldest].text.count
            oldest += 1
        }
        recent.removeFirst(oldest)
    }

    /// Has the keeper know the last number, before anybody is told of it.
    private func count() {
        let digits = String(last)
        // Always twenty: none of an earlier number is left behind.
        let padded = String(repeating: "0", count: max(0, 20 - digits.count)) + digits
        do throws(SystemError) { try counter?.write(Array(padded.utf8), at: 0) } catch {
            note(.error, "cannot keep the number of the last event: \(error)")
        }
    }

    /// Writes what is not written yet.
    private func write() throws(SystemError) {
        guard written < last else { return }
        if let file, try FileIO.status(file).links == 0 {
            note(.warning, "\(path) was removed: the events in it are lost, the next ones go to a new file")
            self.file = nil
        }
        if file == nil { try open() }
        // Opened for the first time, it may have numbers of its own.
        var text: [UInt8] = []
        for line in recent where line.number > written { text += line.text }
        if size - checkpointBytes + text.count > limits.segment, size > checkpointBytes {
            try rotate(beginningWith: text)
            written = last
        } else {
            try put(text)
            sinceCheckpoint += text.count
            written = last
        }
        // After a time in which not all could be written the file does not tell everything.
        if isInTrouble || sinceCheckpoint > max(limits.checkpoint, 8 * lastCheckpoint) { try putCheckpoint() }
    }

    /// Adds bytes, or nothing.
    private func put(_ bytes: [UInt8]) throws(SystemError) {
        guard let file else { throw SystemError.notOpen(path) }
        let text = isTorn ? [Self.newline] + bytes : bytes
        do throws(SystemError) {
            try FileIO.append(text, to: file)
            size += text.count
            isTorn = false
        } catch {
            do throws(SystemError) { try FileIO.truncate(file, to: size) } catch { isTorn = true }
            throw error
        }
    }

    private func putCheckpoint() throws(SystemError) {
        let text = checkpointText
        try put(text)
        checkpointBytes += text.count
        lastCheckpoint = text.count
        sinceCheckpoint = 0
    }

    private var checkpointText: [UInt8] {
        let data = (try? JSONEncoder().encode(Checkpoint(checkpoint: ledger))) ?? Data()
        return data.isEmpty ? [] : Array(data) + [Self.newline]
    }

    /// The file becomes the old one, and another begins, with a checkpoint and these lines. (That the checkpoint knows them
    /// already does no harm: once more they come to the same.) At every point in between all that is there is whole.
    private func rotate(beginningWith lines: [UInt8]) throws(SystemError) {
        let aside = "\(path).new"
        do throws(SystemError) { try FileIO.remove(aside) } catch { if !error.meansMissing { throw error } }
        let next = try FileIO.openForAppending(path: aside, mode: 0o600)
        let checkpoint = checkpointText
        try FileIO.append(checkpoint + lines, to: next)
        try FileIO.rename(path, to: oldPath)
        file = nil
        try FileIO.rename(aside, to: path)
        file = next
        size = checkpoint.count + lines.count
        checkpointBytes = checkpoint.count
        lastCheckpoint = checkpoint.count
        sinceCheckpoint = lines.count
        isTorn = false
    }

    private func trouble(_ error: SystemError) {
        if !isInTrouble {
            note(
                .error,
                "EVENTS ARE NOT KEPT: cannot write \(path): \(error); the last \(limits.lines) are in memory until it can be "
                    + "written again")
        }
        isInTrouble = true
    }

    // MARK: Telling

    /// Lines after a number, some `limit` bytes of them, and the number of the last one; none: there are no more. After a
    /// number that was never given all that is kept follows.
    func read(after number: UInt64, limit: Int, _ filter: EventFilter? = nil) -> (text: [UInt8], last: UInt64) {
        let after = number > last ? 0 : number
        guard after < last else { return ([], after) }
        var found = Found(after: after, limit: limit, filter: filter)
        if let first = recent.first, after + 1 >= first.number {
            for line in recent { found.take(line.text[...], line.number) }
            return (found.text, found.after)
        }
        for path in [oldPath, path] where !found.isFull {
            if let bytes = try? contents(path) { Self.take(bytes, &found) }
        }
        // What is not on disk either is lost.
        if found.text.isEmpty { for line in recent { found.take(line.text[...], line.number) } }
        return (found.text, found.text.isEmpty ? last : found.after)
    }

    private struct Found {
        var after: UInt64
        let limit: Int
        let filter: EventFilter?
        var text: [UInt8] = []

        init(after: UInt64, limit: Int, filter: EventFilter?) {
            (self.after, self.limit, self.filter) = (after, limit, filter)
        }

        var isFull: Bool { text.count >= limit }

        mutating func take(_ line: ArraySlice<UInt8>, _ number: UInt64) {
            guard number > after, !isFull else { return }
            after = number
            if filter?.accepts(line) != false { text += line }
        }
    }

    /// Lines from the first one that is asked for, which is found by halves: numbers only grow.
    private static func take(_ bytes: [UInt8], _ found: inout Found) {
        var (low, high) = (0, bytes.count)
        while low < high {
            let middle = (low + high) / 2
            guard let line = numberedLine(bytes, from: middle), line.range.lowerBound < high else {
                high = middle
                continue
            }
            if line.number > found.after { high = middle } else { low = line.range.upperBound }
        }
        var next = low
        while !found.isFull, let line = numberedLine(bytes, from: next) {
            found.take(bytes[line.range], line.number)
            next = line.range.upperBound
        }
    }

    /// The first event's line that begins at an offset or after it, with its end.
    private static func numberedLine(_ bytes: [UInt8], from offset: Int) -> (range: Range<Int>, number: UInt64)? {
        var start = offset
        if offset > 0, bytes[offset - 1] != newline {
            guard let end = bytes[offset...].firstIndex(of: newline) else { return nil }
            start = end + 1
        }
        while start < bytes.count {
            guard let end = bytes[start...].firstIndex(of: newline) else { return nil }
            if let number = EventLine.number(of: bytes[start..<end]) { return (start..<end + 1, number) }
            start = end + 1
        }
        return nil
    }

    // MARK: Checkpoints

    private struct Checkpoint: Codable {
        var checkpoint: EventLedger
    }

    private static let newline = UInt8(ascii: "\n")
    private static let checkpointPrefix = Array("{\"checkpoint\":".utf8)

    private static func isCheckpoint(_ line: ArraySlice<UInt8>) -> Bool { line.starts(with: checkpointPrefix) }

    private static func checkpoint(_ line: ArraySlice<UInt8>) -> EventLedger? {
        (try? JSONDecoder().decode(Checkpoint.self, from: Data(line)))?.checkpoint
    }
}
