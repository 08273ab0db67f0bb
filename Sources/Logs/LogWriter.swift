package import Platform

/// Takes the output of all instances from their pipes to their files, one batch at a time. What a batch goes through, and
/// why no line is lost or doubled when the process is killed, is told in LogJournal.swift.
///
/// It blocks on nothing but the disk, and keeps no clock: whoever drives it decides when (see LogPump).
package final class LogWriter {
    /// The points of a transaction between which a test looks at what a killed process would leave.
    package enum Step: Sendable, Hashable, CaseIterable {
        case announced, read, formatted, located, written, rotated, settling, settled, done
    }

    /// What a call of `takeBatch` found.
    enum Taken: Equatable {
        /// So many bytes were taken.
        case bytes(Int)
        /// Nothing waits.
        case nothing
        /// The pipe has ended or cannot be read.
        case end
    }

    private struct Stream {
        var generation: UInt64
        var kind: LogStream
        var pipe: Descriptor
        var slot: Int
        var file: LogFile
        var capacity: Int
        var fullBatches = 0
    }

    private let directory: String
    private let journal: LogJournal
    private let readiness: ReadinessSet
    private var peekPipe: PeekPipe?
    private var notices: NoticeLimiter
    private var streams: [UInt64: Stream] = [:]
    private var files: [String: LogFile] = [:]
    /// The slots that a process before left, until its streams are attached again.
    private var inherited: [Int] = []
    private var lastToken: UInt64 = 0
    private var random = SystemRandomNumberGenerator()
    private var nonce: UInt64
    private var formatter = BatchFormatter()

    /// For tests: called at each step.
    package var atStep: ((Step) -> Void)?
    /// The wall clock.
    package var clock: () -> Int64 = wallClockNanoseconds

    /// Resumes from the journal of a process before, or starts with an empty one, and first of all finishes what was
    /// under way. Throws only if there can be no journal or no epoll set at all.
    package init(
        directory: String, journal held: Descriptor?, report: @escaping @Sendable (LogNotice) -> Void
    ) throws(SystemError) {
        self.directory = directory
        notices = NoticeLimiter(report)
        readiness = try ReadinessSet()
        nonce = random.next()
        var resumed: LogJournal?
        if let held {
            do throws(SystemError) {
                resumed = try LogJournal(resuming: held)
            } catch {
                notices.post(.journalUnusable(reason: error.description))
            }
        }
        if let resumed {
            journal = resumed
            resume()
        } else {
            journal = try LogJournal()
        }
    }

    /// The journal's memfd, to be held by a process that lives longer.
    package var journalDescriptor: Descriptor { journal.memory.descriptor }
    /// Readable while one of the pipes has something.
    package var readinessDescriptor: Descriptor { readiness.descriptor }
    /// Whether lines were dropped that the files do not tell of yet.
    package private(set) var hasUnwrittenNotes = false
    /// How many streams are attached.
    package var streamCount: Int { streams.count }

    // MARK: Streams come and go

    /// Takes the output of a generation of an instance from now on. A generation that is attached already is left alone;
    /// one that a process before was reading goes on where that stopped.
    package func attach(
        generation: UInt64, instance: String, stdout: Descriptor?, stderr: Descriptor?, maxSize: UInt64, keep: Int
    ) {
        let pipes: [(LogStream, Descriptor?)] = [(.stdout, stdout), (.stderr, stderr)]
        for case (let kind, let pipe?) in pipes
        where !streams.values.contains(where: { $0.generation == generation && $0.kind == kind }) {
            attach(generation, instance, kind, pipe, Int(clamping: maxSize), keep)
        }
    }

    private func attach(
        _ generation: UInt64, _ instance: String, _ kind: LogStream, _ pipe: Descriptor, _ maxSize: Int, _ keep: Int
    ) {
        guard let file = file(of: instance, maxSize: maxSize, keep: keep) else {
            notices.post(.refused(instance: instance, reason: "not the name of an instance"))
            return
        }
        guard
            let slot = takeInherited(generation, kind)
                ?? journal.allocate(generation: generation, stream: kind, instance: instance)
        else {
            notices.post(.refused(instance: instance, reason: "more than \(LogJournal.slotCount) streams"))
            return
        }
        journal.set(slot, maxSize: file.maxSize, keep: file.keep)
        lastToken += 1
        do throws(SystemError) {
            try PipeIO.setNonBlocking(pipe)
            try readiness.add(pipe, token: lastToken)
            let capacity = try PipeIO.capacity(pipe)
            streams[lastToken] = Stream(
                generation: generation, kind: kind, pipe: pipe, slot: slot, file: file, capacity: capacity)
            file.users += 1
        } catch {
            notices.post(.unreadable(instance: instance, error: error))
            endSlot(slot, file)
        }
    }

    /// The slot that this stream had before the crash.
    private func takeInherited(_ generation: UInt64, _ kind: LogStream) -> Int? {
        let index = inherited.firstIndex { journal.generation($0) == generation && journal.stream($0) == kind }
        return index.map { inherited.remove(at: $0) }
    }

    /// The file of an instance, shared by its streams.
    private func file(of instance: String, maxSize: Int, keep: Int) -> LogFile? {
        let file: LogFile
        if let known = files[instance] {
            file = known
        } else {
            guard let path = LogPath.current(instance, in: directory) else { return nil }
            file = LogFile(instance: instance, path: path, maxSize: 0, keep: 0)
            files[instance] = file
        }
        file.maxSize = min(max(maxSize, 4096), 1 << 50)
        file.keep = min(max(keep, 0), 1000)
        return file
    }

    /// Changes when the files of a generation's instance are rotated, and how many are kept.
    package func updateSettings(generation: UInt64, maxSize: UInt64, keep: Int) {
        for stream in streams.values where stream.generation == generation {
            _ = file(of: stream.file.instance, maxSize: Int(clamping: maxSize), keep: keep)
            journal.set(stream.slot, maxSize: stream.file.maxSize, keep: stream.file.keep)
        }
    }

    /// The process is gone: takes what its pipes hold now, ends an unfinished line, and lets go of the pipes, of which
    /// some other process may still hold the other end.
    package func finish(generation: UInt64) {
        for (token, stream) in streams where stream.generation == generation {
            var rest = waiting(stream)
            while rest > 0, case .bytes(let count) = takeBatch(token) { rest -= count }
            detach(token)
        }
    }

    /// All generations that live are attached: what a process before left of others is written out.
    package func finishUnattached() {
        defer { inherited = [] }
        for slot in inherited {
            let instance = journal.instance(slot)
            guard let file = file(of: instance, maxSize: journal.maxSize(slot), keep: journal.keep(slot)) else {
                continue
            }
            endSlot(slot, file)
            forget(file)
        }
    }

    private func detach(_ token: UInt64) {
        guard let stream = streams.removeValue(forKey: token) else { return }
        do { try readiness.remove(stream.pipe) } catch {}
        endSlot(stream.slot, stream.file)
        stream.file.users -= 1
        forget(stream.file)
    }

    private func forget(_ file: LogFile) {
        if file.users == 0 { files[file.instance] = nil }
    }

    /// Writes an unfinished line, and what there is to say of dropped ones, and frees the slot.
    private func endSlot(_ slot: Int, _ file: LogFile) {
        if journal.carryLength(slot) == 0, journal.dropped(slot).isEmpty { return journal.free(slot) }
        var transaction = LogTransaction(phase: .writing, slot: slot, isLast: true, timestamp: clock())
        complete(&transaction, file)
    }

    /// Tries to write the notes about dropped lines for streams that have nothing else to say.
    package func writeNotes() {
        hasUnwrittenNotes = false
        for stream in streams.values where !journal.dropped(stream.slot).isEmpty {
            var transaction = LogTransaction(phase: .writing, slot: stream.slot, timestamp: clock())
            complete(&transaction, stream.file)
        }
    }

    // MARK: Batches

    /// Takes what waits in the pipes, a batch of each in turn, until nothing waits or about `budget` bytes were taken.
    /// Returns how many bytes it took.
    @discardableResult
    package func takeTurn(budget: Int) -> Int {
        var taken = 0
        // The rounds are counted too: a pipe that is always ready and never gives anything must not hold the queue.
        for _ in 0..<64 where taken < budget {
            let ready: [UInt64]
            do { ready = try readiness.wait(milliseconds: 0) } catch { return taken }
            if ready.isEmpty { return taken }
            for token in ready {
                switch takeBatch(token) {
                case .bytes(let count): taken += count
                case .nothing: break
                case .end: detach(token)
                }
            }
        }
        return taken
    }

    private func waiting(_ stream: Stream) -> Int {
        do { return try PipeIO.bytesAvailable(stream.pipe) } catch { return 0 }
    }

    /// One transaction: up to a buffer full of a stream.
    func takeBatch(_ token: UInt64) -> Taken {
        guard let stream = streams[token] else { return .nothing }
        var transaction = LogTransaction(phase: .reading, slot: stream.slot)
        do throws(SystemError) {
            let available = try PipeIO.bytesAvailable(stream.pipe)
            transaction.byteCount = min(available, LogJournal.bufferSize)
            var lastByte: UInt8 = 0
            if available < 8 {
                // Also when nothing waits: only this tells the end from "nothing yet" without taking anything.
                let bytes = try peek(stream.pipe, count: max(available, 1))
                guard let last = bytes.last else { return .end }
                lastByte = last
                transaction.byteCount = bytes.count
            }
            nonce = nonce &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            transaction.witness = journal.placeWitness(
                count: transaction.byteCount, random: nonce ^ (nonce >> 29), lastByte: lastByte)
            transaction.timestamp = clock()
            journal.commit(transaction)
            atStep?(.announced)
            let count = try journal.memory.read(from: stream.pipe, into: journal.bufferRange(transaction.byteCount))
            atStep?(.read)
            guard count > 0 else {
                journal.commit(LogTransaction())
                return .end
            }
            transaction.byteCount = count
            complete(&transaction, stream.file)
            enlarge(token, afterTaking: available)
            return .bytes(count)
        } catch {
            journal.commit(LogTransaction())
            if error.meansNothingThere { return .nothing }
            notices.post(.unreadable(instance: stream.file.instance, error: error))
            return .end
        }
    }

    private func peek(_ pipe: Descriptor, count: Int) throws(SystemError) -> [UInt8] {
        if let peekPipe { return try peekPipe.peek(pipe, count: count) }
        let created = try PeekPipe()
        peekPipe = created
        return try created.peek(pipe, count: count)
    }

    /// A pipe that is found nearly full three times running gets a larger one, so that a service that writes faster than
    /// the disk for a moment is not stopped. Pipes take memory only for what is in them.
    private func enlarge(_ token: UInt64, afterTaking count: Int) {
        guard var stream = streams[token], stream.capacity < 1 << 20 else { return }
        stream.fullBatches = count >= stream.capacity / 4 * 3 ? stream.fullBatches + 1 : 0
        if stream.fullBatches >= 3 {
            stream.fullBatches = 0
            do throws(SystemError) {
                try PipeIO.setCapacity(stream.pipe, bytes: stream.capacity * 4)
                stream.capacity = try PipeIO.capacity(stream.pipe)
            } catch {
                stream.capacity = .max  // Not allowed: don't ask again.
            }
        }
        streams[token] = stream
    }

    // MARK: Transactions

    /// Takes a transaction whose bytes are in the buffer to its end.
    private func complete(_ transaction: inout LogTransaction, _ file: LogFile) {
        let slot = transaction.slot
        let before = journal.dropped(slot)
        let batch = formatter.format(transaction, journal)
        atStep?(.formatted)
        let failure = write(&transaction, file)
        let written = transaction.written
        var dropped = written >= batch.noteLength ? DroppedLines() : before
        if let failure {
            let lost = formatter.count(from: max(written, batch.noteLength))
            dropped.lines &+= lost.lines
            dropped.bytes &+= lost.bytes
            dropped.code = failure.code
            hasUnwrittenNotes = true
            if !file.isInTrouble { notices.post(.dropping(instance: file.instance, error: failure)) }
            file.isInTrouble = true
        } else if batch.noteLength > 0 {
            notices.post(.recovered(instance: file.instance, lines: before.lines, bytes: before.bytes))
            file.isInTrouble = false
        }
        transaction.phase = .settling
        transaction.dropped = dropped
        transaction.carrySource = batch.carrySource
        transaction.carryTarget = batch.carryTarget
        transaction.carryCount = batch.carryCount
        journal.commit(transaction)
        atStep?(.settling)
        settle(transaction)
    }

    private func settle(_ transaction: LogTransaction) {
        journal.settle(transaction)
        atStep?(.settled)
        journal.commit(LogTransaction())
        // Killed before this, the next process finds a slot without an unfinished line, and frees it.
        if transaction.isLast { journal.free(transaction.slot) }
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

    /// Finishes what the process before was doing when it ended.
    private func resume() {
        if journal.countAttempt() > 3 {
            notices.post(.journalUnusable(reason: "three processes have ended while finishing it"))
            journal.commit(LogTransaction())
        }
        inherited = journal.scanSlots()
        if var transaction = journal.transaction() {
            finish(&transaction)
        } else {
            notices.post(.journalUnusable(reason: "damaged"))
            journal.commit(LogTransaction())
        }
        // The transaction may have been a stream's last, or its slot one that was about to be freed.
        inherited.removeAll { !journal.slotIsUsed($0) }
        hasUnwrittenNotes = inherited.contains { !journal.dropped($0).isEmpty }
        journal.resetAttempts()
    }

    private func finish(_ transaction: inout LogTransaction) {
        switch transaction.phase {
        case .idle:
            return
        case .settling:
            return settle(transaction)
        case .reading where journal.witnessIsIntact(transaction):
            return journal.commit(LogTransaction())
        case .reading, .writing:
            let slot = transaction.slot
            guard
                let file = file(
                    of: journal.instance(slot), maxSize: journal.maxSize(slot), keep: journal.keep(slot))
            else { return journal.commit(LogTransaction()) }
            if transaction.phase == .writing {
                do throws(SystemError) {
                    try file.cutBack(transaction)
                } catch {
                    // Writing it again may double some of it; leaving it would lose some.
                    notices.post(.dropping(instance: file.instance, error: error))
                }
            }
            complete(&transaction, file)
            forget(file)
        }
    }
}
