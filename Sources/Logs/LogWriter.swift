package import Platform

/// Takes the output of all instances from their pipes to their files, one batch at a time. What a batch goes through, and
/// why no line is lost or doubled when the process is killed, is told in LogJournal.swift.
///
/// It blocks on nothing but the disk, and keeps no clock: whoever drives it decides when (see LogPump).
package final class LogWriter {
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
    private let transactions: LogTransactions
    private let notices: NoticeLimiter
    private let awaited: AwaitedLines
    private let readiness: ReadinessSet
    private let peekPipe: PeekPipe
    private var streams: [UInt64: Stream] = [:]
    private var files: [String: LogFile] = [:]
    /// The slots that a process before left, until its streams are attached again.
    private var inherited: [Int] = []
    /// By instance, the slot of streams that have ended while the files did not tell of their dropped lines yet, and that
    /// left no other stream of the instance which could. It keeps the file as a stream does.
    private var untold: [String: (slot: Int, file: LogFile)] = [:]
    private var lastToken: UInt64 = 0
    private var nonce: UInt64

    /// For tests: called at each step of a transaction.
    package var atStep: ((LogStep) -> Void)? {
        get { transactions.atStep }
        set { transactions.atStep = newValue }
    }
    /// The wall clock.
    package var clock: () -> Int64 = wallClockNanoseconds

    /// Resumes from the journal of a process before, or starts with an empty one, and first of all finishes what was
    /// under way. What is dropped is counted in `losses`, and all
    /// that is taken in `amounts`. `seen` is told of the first line of each generation in `awaiting`
    /// (and of what `awaitLine` adds) that contains its pattern, sometimes twice, also if it cannot be written. Throws only if there can be no journal or no epoll set at all.
    package init(
        directory: String, journal held: Descriptor?, losses: LogLosses = LogLosses(),
        amounts: LogAmounts = LogAmounts(), awaiting: [UInt64: LinePattern] = [:],
        seen: @escaping @Sendable (UInt64) -> Void = { _ in }, systemJournal: SystemJournal? = nil,
        report: @escaping @Sendable (LogNotice) -> Void
    ) throws(SystemError) {
        self.directory = directory
        notices = NoticeLimiter(report)
        readiness = try ReadinessSet()
        peekPipe = try PeekPipe()
        var random = SystemRandomNumberGenerator()
        nonce = random.next()
        var resumed: LogJournal?
        if let held {
            do throws(SystemError) {
                resumed = try LogJournal(resuming: held)
            } catch {
                notices.post(.journalUnusable(reason: error.description))
            }
        }
        journal = if let resumed { resumed } else { try LogJournal() }
        awaited = AwaitedLines(awaiting, seen: seen)
        transactions = LogTransactions(journal, notices, losses, amounts, awaited, systemJournal)
        if resumed != nil { resume() }
    }

    /// Finishes what the process before was doing when it ended.
    private func resume() {
        inherited = journal.scanSlots()
        transactions.resume { file(of: journal.instance($0), maxSize: journal.maxSize($0), keep: journal.keep($0)) }
        files = [:]
        // The transaction may have been a stream's last.
        inherited.removeAll { !journal.slotIsUsed($0) }
        if inherited.contains(where: { !journal.dropped($0).isEmpty }) { transactions.hasUnwrittenNotes = true }
    }

    /// The journal's memfd, to be held by a process that lives longer.
    package var journalDescriptor: Descriptor { journal.memory.descriptor }
    /// Readable while one of the pipes has something.
    package var readinessDescriptor: Descriptor { readiness.descriptor }
    /// Whether lines were dropped that the files do not tell of yet.
    package var hasUnwrittenNotes: Bool { transactions.hasUnwrittenNotes }
    /// How many streams are attached.
    package var streamCount: Int { streams.count }

    // MARK: Streams come and go

    /// Takes the output of a generation of an instance from now on. A generation that is attached already is left alone;
    /// one that a process before was reading goes on where that stopped.
    package func attach(
        generation: UInt64, instance: String, stdout: Descriptor?, stderr: Descriptor?, maxSize: UInt64, keep: Int,
        rate: UInt32 = 0, sendsToSystemJournal: Bool = false
    ) {
        let pipes: [(LogStream, Descriptor?)] = [(.stdout, stdout), (.stderr, stderr)]
        for case (let kind, let pipe?) in pipes
        where !streams.values.contains(where: {
            $0.generation == generation && $0.kind == kind && $0.file.instance == instance
        }) {
            attach(generation, instance, kind, pipe, Int(clamping: maxSize), keep, rate, sendsToSystemJournal)
        }
    }

    private func attach(
        _ generation: UInt64, _ instance: String, _ kind: LogStream, _ pipe: Descriptor, _ maxSize: Int, _ keep: Int,
        _ rate: UInt32, _ sendsToSystemJournal: Bool
    ) {
        guard let file = file(of: instance, maxSize: maxSize, keep: keep) else {
            notices.post(.refused(instance: instance, reason: "not the name of an instance"))
            return
        }
        guard
            let slot = takeInherited(generation, kind, of: instance)
                ?? journal.allocate(generation: generation, stream: kind, instance: instance)
        else {
            notices.post(.refused(instance: instance, reason: "more than \(LogJournal.slotCount) streams"))
            return
        }
        journal.set(
            slot, maxSize: file.maxSize, keep: file.keep, rate: rate, sendsToSystemJournal: sendsToSystemJournal)
        awaited.tookOver(slot, journal)
        if let untold = untold.removeValue(forKey: instance) {
            journal.move(untold.slot, into: slot)
            file.users -= 1
        }
        if !journal.dropped(slot).isEmpty { transactions.hasUnwrittenNotes = true }
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
    private func takeInherited(_ generation: UInt64, _ kind: LogStream, of instance: String) -> Int? {
        let index = inherited.firstIndex {
            journal.generation($0) == generation && journal.stream($0) == kind && journal.instance($0) == instance
        }
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

    /// Changes when the files of a generation's instance are rotated, how many are kept, how many lines a second, and whether
    /// systemd's journal gets them, too. `instance`: of it alone.
    package func updateSettings(
        generation: UInt64, of instance: String? = nil, maxSize: UInt64, keep: Int, rate: UInt32 = 0,
        sendsToSystemJournal: Bool = false
    ) {
        for stream in streams.values
        where stream.generation == generation && (instance == nil || stream.file.instance == instance) {
            _ = file(of: stream.file.instance, maxSize: Int(clamping: maxSize), keep: keep)
            journal.set(
                stream.slot, maxSize: stream.file.maxSize, keep: stream.file.keep, rate: rate,
                sendsToSystemJournal: sendsToSystemJournal)
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
        awaited.remove(generation)
    }

    /// Waits for a line of a generation that is not attached yet.
    package func awaitLine(_ pattern: LinePattern, of generation: UInt64) { awaited.insert(pattern, generation) }

    /// Nobody waits for a line of a generation any more.
    package func forgetLine(of generation: UInt64) { awaited.remove(generation) }

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

    /// Writes an unfinished line, and what there is to say of dropped ones, and frees the slot. What cannot be said now is
    /// left to another stream of the instance, which the next process of a service brings, or to `writeNotes`.
    private func endSlot(_ slot: Int, _ file: LogFile) {
        if journal.carryLength(slot) == 0, journal.dropped(slot).isEmpty { return journal.free(slot) }
        var transaction = LogTransaction(phase: .writing, slot: slot, isLast: true, timestamp: clock())
        transactions.complete(&transaction, file)
        guard !transaction.dropped.isEmpty else { return }
        if let other = streams.values.first(where: { $0.file === file })?.slot ?? untold[file.instance]?.slot {
            journal.move(slot, into: other)
        } else {
            untold[file.instance] = (slot, file)
            file.users += 1
        }
    }

    /// Tries to write the notes about dropped lines for streams that have nothing else to say.
    package func writeNotes() {
        transactions.hasUnwrittenNotes = false
        for stream in streams.values where !journal.dropped(stream.slot).isEmpty {
            var transaction = LogTransaction(phase: .writing, slot: stream.slot, timestamp: clock())
            transactions.complete(&transaction, stream.file)
        }
        for (instance, (slot, file)) in untold {
            untold[instance] = nil
            endSlot(slot, file)
            file.users -= 1
            forget(file)
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
                let bytes = try peekPipe.peek(stream.pipe, count: max(available, 1))
                guard let last = bytes.last else { return .end }
                lastByte = last
                transaction.byteCount = bytes.count
            }
            nonce = nonce &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            transaction.witness = journal.placeWitness(
                count: transaction.byteCount, random: nonce ^ (nonce >> 29), lastByte: lastByte)
            transaction.timestamp = clock()
            journal.commit(transaction)
            transactions.atStep?(.announced)
            let count = try journal.memory.read(from: stream.pipe, into: journal.bufferRange(transaction.byteCount))
            transactions.atStep?(.read)
            guard count > 0 else {
                journal.commit(LogTransaction())
                return .end
            }
            transaction.byteCount = count
            transactions.complete(&transaction, stream.file)
            enlarge(token, afterTaking: available)
            return .bytes(count)
        } catch {
            journal.commit(LogTransaction())
            if error.meansNothingThere { return .nothing }
            notices.post(.unreadable(instance: stream.file.instance, error: error))
            return .end
        }
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
}
