import Platform

/// Makes lines of a file from the bytes of a transaction. The result depends on nothing but what is in the journal, so that
/// the next process can make the same again.
struct BatchFormatter {
    /// The lines, all of them whole.
    let output = ByteBuffer()
    private var timestamps = TimestampWriter()
    private static let keptCapacity = 512 << 10

    /// What a transaction comes to, beside the output.
    struct Batch {
        /// How much of the output is the note about lines dropped before.
        var noteLength = 0
        /// How many lines have ended in it.
        var lines: UInt64 = 0
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
        appendNote(journal.dropped(transaction.slot), time)
        batch.noteLength = output.count

        let full = CRIFormat.prefix(time: time, stream: stream, tag: CRIFormat.full)
        let partial = CRIFormat.prefix(time: time, stream: stream, tag: CRIFormat.partial)
        let memory = journal.memory
        let buffer = journal.bufferRange(transaction.byteCount)
        var position = buffer.lowerBound
        var carry = journal.carry(transaction.slot)

        /// Appends a line that is not plain: begun in an earlier batch, longer than a piece, or not ended.
        /// `end` is where its text ends in the buffer.
        func appendLine(until end: Int, isEnded: Bool) {
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
            output.append(full)
            output.append(memory, carry)
            output.append(memory, position..<end)
            output.append(CRIFormat.newline)
            carry = carry.lowerBound..<carry.lowerBound
            position = end
        }

        while position < buffer.upperBound {
            if carry.isEmpty {
                position = output.appendLines(
                    of: memory, position..<buffer.upperBound, prefix: full, limit: CRIFormat.pieceLimit)
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
        return batch
    }

    private func appendNote(_ dropped: DroppedLines, _ time: [UInt8]) {
        guard !dropped.isEmpty else { return }
        output.append(CRIFormat.prefix(time: time, stream: .stderr, tag: CRIFormat.full))
        let reason = errorMessage(dropped.code)
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
