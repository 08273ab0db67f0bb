import Platform

/// The points of a transaction between which a test looks at what a killed process would leave.
package enum LogStep: Sendable, Hashable, CaseIterable {
    case announced, read, formatted, located, written, rotated, settling, settled, done
}

/// Takes transactions of the journal from their bytes in the buffer to their end: formats, writes, rotates, counts what
/// cannot be written, and finishes what a killed process left.
final class LogTransactions {
    private let journal: LogJournal
    private let notices: NoticeLimiter
    private let losses: LogLosses
    private let amounts: LogAmounts
    private let awaited: AwaitedLines
    private let systemJournal: SystemJournal?
    private var formatter = BatchFormatter()

    /// For tests: called at each step.
    var atStep: ((LogStep) -> Void)?
    /// Whether there may be lines dropped that the files do not tell of yet.
    var hasUnwrittenNotes = false

    init(
        _ journal: LogJournal, _ notices: NoticeLimiter, _ losses: LogLosses, _ amounts: LogAmounts,
        _ awaited: AwaitedLines, _ systemJournal: SystemJournal? = nil
    ) {
        self.journal = journal
        self.notices = notices
        self.losses = losses
        self.amounts = amounts
        self.awaited = awaited
        self.systemJournal = systemJournal
    }

    /// Takes a transaction whose bytes are in the buffer to its end.
    func complete(_ transaction: inout LogTransaction, _ file: LogFile) {
        let slot = transaction.slot
        let before = journal.dropped(slot)
        let batch = formatter.format(transaction, journal)
        awaited.look(at: formatter.output, from: batch.noteLength, of: slot, journal)
        awaited.look(at: batch.droppedParts, of: slot, journal)
        atStep?(.formatted)
        let failure = write(&transaction, file)
        let written = transaction.written
        if journal.sendsToSystemJournal(slot) {
            // Written to the file or not; a note comes once, with what was written of it.
            let start = written >= batch.noteLength ? 0 : batch.noteLength
            systemJournal?.add(formatter.output, from: start, of: file.instance)
        }
        var dropped = batch.holdsNote || written < batch.noteLength ? before : DroppedLines()
        var more = batch.overRate
        dropped.add(batch.overRate)
        if !batch.overRate.isEmpty { tellOfFlood(file, slot, at: transaction.timestamp) }
        if let failure {
            let (lines, bytes) = formatter.count(from: max(written, batch.noteLength))
            dropped.add(lines: lines, bytes: bytes, code: failure.code)
            more.add(lines: lines, bytes: bytes, code: failure.code)
            if !file.isInTrouble { notices.post(.dropping(instance: file.instance, error: failure)) }
            file.isInTrouble = true
        } else if batch.noteLength > 0 {
            if file.isInTrouble || before.code != LogLoss.overRate {
                notices.post(.recovered(instance: file.instance, lines: before.lines, bytes: before.bytes))
            }
            file.isInTrouble = false
        }
        if !dropped.isEmpty { hasUnwrittenNotes = true }
        transaction.phase = .settling
        transaction.window = batch.window
        transaction.dropped = dropped
        transaction.lost = journal.lost(slot)
        transaction.lost.add(more)
        transaction.carrySource = batch.carrySource
        transaction.carryTarget = batch.carryTarget
        transaction.carryCount = batch.carryCount
        // Once for each transaction, whoever finishes it: the next instruction ends the phase that would do it again. Killed
        // just between the two, it is counted twice, which is better than never.
        let instance = journal.instance(slot)
        amounts.add(lines: batch.lines, bytes: UInt64(clamping: transaction.byteCount), of: instance)
        losses.add(more, of: instance)
        journal.commit(transaction)
        atStep?(.settling)
        settle(transaction)
    }

    /// Says once that an instance writes too much, and again when it has kept to the rate for a minute in between.
    private func tellOfFlood(_ file: LogFile, _ slot: Int, at time: Int64) {
        if time &- file.lastFlood > 60_000_000_000 {
            notices.post(.flooding(instance: file.instance, rate: journal.rate(slot)))
        }
        file.lastFlood = time
    }

    private func settle(_ transaction: LogTransaction) {
        journal.settle(transaction)
        atStep?(.settled)
        journal.commit(LogTransaction())
        // Killed before this, the next process finds a slot without an unfinished line, and frees it.
        if transaction.isLast, transaction.dropped.isEmpty { journal.free(transaction.slot) }
        atStep?(.done)
    }

    /// Writes the formatted text from `transaction.written` on, in parts where the file becomes full. Returns why, if not
    /// all could be written.
    private func write(_ transaction: inout LogTransaction, _ file: LogFile) -> SystemError? {
        let output = formatter.output
        var deletions = 0
        var mayRotate = true
        while transaction.written < output.count {
            do throws(SystemError) {
                try file.open(now: transaction.timestamp)
            } catch {
                return error
            }
            transaction.phase = .writing
            transaction.device = file.status?.device ?? 0
            transaction.inode = file.status?.inode ?? 0
            transaction.fileOffset = file.size
            journal.commit(transaction)
            atStep?(.located)
            let end: Int
            switch nextPart(from: transaction.written, file, mayRotate: mayRotate) {
            case .success(let found): end = found
            case .failure(let error): return error
            }
            guard end > transaction.written else {
                mayRotate = rotate(file)
                atStep?(.rotated)
                continue
            }
            switch file.append(output, transaction.written..<end) {
            case .done:
                atStep?(.written)
                transaction.written = end
            case .deleted where deletions < 3:
                deletions += 1
            case .deleted:
                transaction.written = end
            case .failed(let kept, let error):
                transaction.written = kept
                return error
            }
        }
        return nil
    }

    /// Where the next part of the output ends: at a line's end, within the file's size if possible. `start` itself means
    /// that the file must be rotated first.
    private func nextPart(
        from start: Int, _ file: LogFile, mayRotate: Bool
    ) -> Result<Int, SystemError> {
        let output = formatter.output
        let room = file.maxSize - file.size
        if output.count - start <= room { return .success(output.count) }
        if room > 0, let newline = output.lastIndex(of: CRIFormat.newline, in: start..<start + room) {
            return .success(newline + 1)
        }
        if file.size > 0, mayRotate { return .success(start) }
        // Neither a single line that is longer than a file may be, nor a file that cannot be rotated, stops the rest;
        // but there is an end to how long such a file becomes.
        if file.size >= file.maxSize * 2 {
            return .failure(.noSpace("\(file.path), which is twice its maxSize and cannot be rotated"))
        }
        let newline = output.firstIndex(of: CRIFormat.newline, in: start..<output.count)
        return .success(newline.map { $0 + 1 } ?? output.count)
    }

    /// Rotates a file; false if that failed.
    private func rotate(_ file: LogFile) -> Bool {
        do throws(SystemError) {
            try file.rotate()
            file.rotationIsBroken = false
            return true
        } catch {
            if !file.rotationIsBroken { notices.post(.rotationFailed(instance: file.instance, error: error)) }
            file.rotationIsBroken = true
            return false
        }
    }

    // MARK: After a crash

    /// Finishes what the process before was doing when it ended. `file` gives the file of a slot.
    func resume(_ file: (_ slot: Int) -> LogFile?) {
        if journal.countAttempt() > 3 {
            notices.post(.journalUnusable(reason: "three processes have ended while finishing it"))
            journal.commit(LogTransaction())
        }
        if var transaction = journal.transaction() {
            finish(&transaction, file)
        } else {
            notices.post(.journalUnusable(reason: "damaged"))
            journal.commit(LogTransaction())
        }
        journal.resetAttempts()
    }

    private func finish(_ transaction: inout LogTransaction, _ file: (_ slot: Int) -> LogFile?) {
        switch transaction.phase {
        case .idle:
            return
        case .settling:
            return settle(transaction)
        case .reading where journal.witnessIsIntact(transaction):
            return journal.commit(LogTransaction())
        case .reading, .writing:
            guard let file = file(transaction.slot) else { return journal.commit(LogTransaction()) }
            if transaction.phase == .writing {
                do throws(SystemError) {
                    try file.cutBack(transaction)
                } catch {
                    // Writing it again may double some of it; leaving it would lose some.
                    notices.post(.dropping(instance: file.instance, error: error))
                }
            }
            complete(&transaction, file)
        }
    }
}
