import Platform

/// Makes lines of a file from the bytes of a transaction. The result depends on nothing but what is in the journal, so that
/// the next process can make the same again.
struct BatchFormatter {
    /// The lines, all of them whole.
    let output = ByteBuffer()
    private var timestamps = TimestampWriter()
    private static let keptCapacity = 512 << 10

    /// Lines that are dropped: the first one's beginning from an earlier batch, and the rest.
    struct DroppedPart {
        var carry: Range<Int>
        var bytes: Range<Int>
    }

    /// What a transaction comes to, beside the output.
    struct Batch {
        /// How much of the output is the note about lines dropped before.
        var noteLength = 0
        /// There is something to tell of lines dropped before, but not yet: a flood would be one of notes, too.
        var holdsNote = false
        /// How many lines have ended in it, dropped ones included.
        var lines: UInt64 = 0
        /// The lines that are more than `log.rate`, and where they are in the memory, without their last newline.
        var overRate = DroppedLines()
        var droppedParts: [DroppedPart] = []
        /// How far the second is used up then.
        var window = RateWindow()
        /// What becomes the unfinished line: bytes of the buffer, and where in the line they go.
        var carrySource = 0
        var carryTarget = 0
        var carryCount = 0
    }

    /// Fills `output`.
    mutating func format(_ transaction: LogTransaction, _ journal: LogJournal) -> Batch {
        output.removeAll(keepingAtMost: Self.keptCapacity)
        guard let stream = journal.stream(transaction.slot) else { return Batch() }
        let time = timestamps.text(of: transaction.timestamp)
        var batch = Batch()
        var gate = RateGate(
            limit: journal.rate(transaction.slot), window: journal.window(transaction.slot),
            timestamp: transaction.timestamp)
        let dropped = journal.dropped(transaction.slot)
        // At a stream's end there is no later.
        batch.holdsNote = dropped.code == LogLoss.overRate && gate.goesOn && !transaction.isLast
        if !batch.holdsNote { appendNote(dropped, time, gate.limit) }
        batch.noteLength = output.count

        let full = CRIFormat.prefix(time: time, stream: stream, tag: CRIFormat.full)
        let partial = CRIFormat.prefix(time: time, stream: stream, tag: CRIFormat.partial)
        let memory = journal.memory
        let buffer = journal.bufferRange(transaction.byteCount)
        var position = buffer.lowerBound
        var carry = journal.carry(transaction.slot)

        /// Leaves out what there is of a line that is more than the rate.
        func dropLine(until end: Int, isEnded: Bool) {
            batch.overRate.add(
                lines: 0, bytes: UInt64(carry.count + (end - position) + (isEnded ? 1 : 0)), code: LogLoss.overRate)
            if carry.isEmpty, let last = batch.droppedParts.indices.last,
                batch.droppedParts[last].bytes.upperBound == position - 1
            {
                batch.droppedParts[last].bytes = batch.droppedParts[last].bytes.lowerBound..<end
            } else {
                batch.droppedParts.append(DroppedPart(carry: carry, bytes: position..<end))
            }
            carry = carry.lowerBound..<carry.lowerBound
            position = end
            guard isEnded else { return }
            batch.lines += 1
            gate.lineEnded()
        }

        /// Appends a line that is not plain: begun in an earlier batch, longer than a piece, or not ended; or one that is
        /// more than the rate, which it drops. `end` is where its text ends in the buffer.
        func appendLine(until end: Int, isEnded: Bool) {
            if isEnded || carry.count + (end - position) > CRIFormat.pieceLimit, gate.decide() {
                batch.overRate.lines += 1
            }
            if gate.window.line == .dropped { return dropLine(until: end, isEnded: isEnded) }
            while carry.count + (end - position) > CRIFormat.pieceLimit {
                output.append(partial)
                let taken = CRIFormat.pieceLimit - carry.count
                output.append(memory, carry)
                output.append(memory, position..<position + taken)
                output.append(CRIFormat.newline)
                carry = carry.lowerBound..<carry.lowerBound
                position += taken
            }
            guard isEnded else { return }
            batch.lines += 1
            gate.lineEnded()
            output.append(full)
            output.append(memory, carry)
            output.append(memory, position..<end)
            output.append(CRIFormat.newline)
            carry = carry.lowerBound..<carry.lowerBound
            position = end
        }

        while position < buffer.upperBound {
            if carry.isEmpty, gate.window.line == .undecided {
                let before = output.lineCount
                position = output.appendLines(
                    of: memory, position..<buffer.upperBound, prefix: full, limit: CRIFormat.pieceLimit, most: gate.left
                )
                gate.kept(Int(clamping: output.lineCount - before))
            }
            guard let newline = memory.firstIndex(of: CRIFormat.newline, in: position..<buffer.upperBound) else {
                break
            }
            appendLine(until: newline, isEnded: true)
            position = newline + 1
        }
        if transaction.isLast {
            if !carry.isEmpty || position < buffer.upperBound { appendLine(until: buffer.upperBound, isEnded: true) }
        } else {
            appendLine(until: buffer.upperBound, isEnded: false)
        }
        batch.lines += output.lineCount
        batch.carryTarget = carry.count
        batch.carrySource = position - buffer.lowerBound
        batch.carryCount = buffer.upperBound - position
        batch.window = gate.window
        return batch
    }

    private func appendNote(_ dropped: DroppedLines, _ time: [UInt8], _ rate: UInt32) {
        guard !dropped.isEmpty else { return }
        output.append(CRIFormat.prefix(time: time, stream: .stderr, tag: CRIFormat.full))
        let isOverRate = dropped.code == LogLoss.overRate && rate > 0
        let reason =
            isOverRate
            ? "more than \(rate) a second (log.rate)"
            : LogLoss(lines: dropped.lines, bytes: dropped.bytes, code: dropped.code).reason
        output.append(Array("[supd] dropped \(dropped.lines) lines (\(dropped.bytes) bytes): \(reason)\n".utf8))
    }

    /// How many lines, and bytes of text with their newlines, are in the output from an offset on, which is a line's start.
    func count(from start: Int) -> (lines: UInt64, bytes: UInt64) {
        var lines: UInt64 = 0
        var bytes: UInt64 = 0
        var position = start
        while let newline = output.firstIndex(of: CRIFormat.newline, in: position..<max(position, output.count)) {
            let isFull = output[position + CRIFormat.tagOffset] == CRIFormat.full
            lines += isFull ? 1 : 0
            // A piece has no newline of its own in what the service wrote.
            bytes += UInt64(max(0, newline - position - CRIFormat.prefixLength)) + (isFull ? 1 : 0)
            position = newline + 1
        }
        return (lines, bytes)
    }
}
