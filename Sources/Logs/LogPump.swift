import Dispatch
package import Platform

/// Runs the log writer: a serial queue of its own, and one Dispatch source on an epoll set over the pipes of all
/// instances. However much the services write, the queue on which the supervisor decides never waits for it; and a
/// service that floods gets a batch when its turn comes, like any other.
///
/// All calls return at once and take effect in their order.
package final class LogPump: Sendable {
    /// The memfd that keeps lines safe while they are under way. Let the keeper hold it, and give it to the next
    /// supervisor's pump.
    package let journal: Descriptor
    /// What was dropped so far; looking at it waits for nothing.
    package let losses: LogLosses
    /// What was taken so far; looking at it waits for nothing either.
    package let amounts: LogAmounts
    /// What systemd's journal has not got so far, of services that send it there.
    package let journalLosses: LogLosses

    private let queue = DispatchQueue(label: "supd.logs")
    private let systemJournal: SystemJournal
    private let state: Lock<State>
    private let source = Lock<(any DispatchSourceRead)?>(nil)

    private struct State {
        var writer: LogWriter
        var retryIsScheduled = false
        var pace = Pace()
    }

    /// Wakes the queue out of a pause when there is a command.
    private let hurry = MonotonicSemaphore()

    /// The bytes after which commands get their turn; some ten milliseconds.
    private static let turnBudget = 4 << 20
    private static let retrySeconds = 5

    /// Starts a pump that writes to `DIRECTORY/NAME/N.log`. `journal` is the one that the keeper held, or nil; it is
    /// finished before this returns, so that no later line overtakes it; what is taken and dropped is counted in `counts`. `report` may be called on any queue. `seen` is called on
    /// the pump's queue, with each generation of which a line has come that somebody waits for: one of `awaiting`, which a pump before
    /// was reading, or of `awaitLine`. It may be called twice for one.
    /// Throws only if the kernel gives no memory or descriptors at all.
    package init(
        directory: String, journal: Descriptor?, counts: KeptCounts = KeptCounts(),
        awaiting: [UInt64: LinePattern] = [:],
        seen: @escaping @Sendable (_ generation: UInt64) -> Void = { _ in },
        systemJournal path: String = SystemJournal.standardPath,
        report: @escaping @Sendable (LogNotice) -> Void
    ) throws(SystemError) {
        losses = LogLosses(counts)
        amounts = LogAmounts(counts)
        let journalLosses = LogLosses(counts, of: .systemJournal)
        self.journalLosses = journalLosses
        systemJournal = SystemJournal(path: path, losses: journalLosses, report: report)
        let writer = try LogWriter(
            directory: directory, journal: journal, losses: losses, amounts: amounts, awaiting: awaiting, seen: seen,
            systemJournal: systemJournal, report: report)
        self.journal = writer.journalDescriptor
        let readiness = writer.readinessDescriptor
        state = Lock(State(writer: writer))
        source.withLock { [queue] kept in
            let source = DispatchSource.makeReadSource(fileDescriptor: readiness.raw, queue: queue)
            source.setEventHandler { [weak self] in self?.takeTurn() }
            source.setCancelHandler { withExtendedLifetime(readiness) {} }
            source.activate()
            kept = source
        }
    }

    deinit { source.withLock { $0?.cancel() } }

    /// Takes the output of a generation of an instance (`api/2`) from now on: from the read ends of its two pipes, or of
    /// those that were captured. `maxSize` is in bytes, at least 4096; `keep` is a count from 0 to 1000; `rate` is how many
    /// lines a second of each stream are kept, 0 for all; systemd's journal gets them, too, if the last one says so. A generation that the pump of a supervisor before was reading goes
    /// on where that stopped.
    package func attach(
        generation: UInt64, instance: String, stdout: Descriptor?, stderr: Descriptor?, maxSize: UInt64, keep: Int,
        rate: UInt32 = 0, sendsToSystemJournal: Bool = false
    ) {
        perform {
            $0.attach(
                generation: generation, instance: instance, stdout: stdout, stderr: stderr, maxSize: maxSize,
                keep: keep, rate: rate, sendsToSystemJournal: sendsToSystemJournal)
        }
    }

    /// Waits for the first line of a generation, attached afterwards, that contains a pattern. A line of more than 16 KiB is
    /// looked at in the pieces in which it is written.
    package func awaitLine(_ pattern: LinePattern, of generation: UInt64) {
        perform { $0.awaitLine(pattern, of: generation) }
    }

    /// Nobody waits for it any more.
    package func forgetLine(of generation: UInt64) {
        perform { $0.forgetLine(of: generation) }
    }

    /// Takes the lines that the balancer writes about a service's sessions, from the read end of their pipe. Like a
    /// generation, it goes on where the pump of a supervisor before has stopped.
    package func attachSessions(of service: String, pipe: Descriptor, maxSize: UInt64, keep: Int) {
        attach(
            generation: Self.sessionsGeneration, instance: LogPath.sessions(of: service), stdout: pipe, stderr: nil,
            maxSize: maxSize, keep: keep)
    }

    /// The generation that all session logs are kept under; processes' are counted from 1.
    private static let sessionsGeneration = UInt64.max

    /// Every generation that lives or is not released yet is attached: what a pump before left of others is written out.
    /// To be called once after a start.
    package func attachmentsComplete() {
        perform { $0.finishUnattached() }
    }

    /// The process is gone: takes what its pipes hold now, ends an unfinished line, lets go of the pipes, and calls
    /// `completion` on the pump's queue. Then the keeper may close them. Does not wait for the pipes' end, since a
    /// grandchild may hold them.
    package func finish(generation: UInt64, completion: @escaping @Sendable () -> Void) {
        perform {
            $0.finish(generation: generation)
        } then: {
            completion()
        }
    }

    /// Changes the settings of a generation's instance.
    package func updateSettings(
        generation: UInt64, maxSize: UInt64, keep: Int, rate: UInt32, sendsToSystemJournal: Bool
    ) {
        perform {
            $0.updateSettings(
                generation: generation, maxSize: maxSize, keep: keep, rate: rate,
                sendsToSystemJournal: sendsToSystemJournal)
        }
    }

    /// Changes the rotation of the lines about a service's sessions.
    package func updateSessions(of service: String, maxSize: UInt64, keep: Int) {
        perform {
            $0.updateSettings(
                generation: Self.sessionsGeneration, of: LogPath.sessions(of: service), maxSize: maxSize, keep: keep)
        }
    }

    /// Calls `completion`, on a queue of the pump's, after all that waits in the pipes now was taken, or after a few turns if
    /// there comes ever more, and systemd's journal has what it gets of it.
    package func flush(completion: @escaping @Sendable () -> Void) {
        perform {
            $0.takeTurn(budget: Self.turnBudget)
        } then: { [systemJournal] in
            systemJournal.flush(completion: completion)
        }
    }

    private func perform(
        _ command: @escaping @Sendable (LogWriter) -> Void, then: @escaping @Sendable () -> Void = {}
    ) {
        hurry.signal()
        queue.async { [self] in
            state.withLock { command($0.writer) }
            scheduleRetry()
            then()
        }
    }

    private func takeTurn() {
        let isTooSoon = state.withLock { $0.pace.isTooSoon(at: monotonicNanoseconds()) }
        if isTooSoon { hurry.wait(atMost: .milliseconds(1)) }
        state.withLock { state in
            let taken = state.writer.takeTurn(budget: Self.turnBudget)
            state.pace.lastTurnWasSmall = taken < Pace.smallTurn
        }
        scheduleRetry()
    }

    /// While there are notes of dropped lines to write, tries now and then, for services that say nothing more.
    private func scheduleRetry() {
        let isNeeded = state.withLock { state in
            guard !state.retryIsScheduled, state.writer.hasUnwrittenNotes else { return false }
            state.retryIsScheduled = true
            return true
        }
        guard isNeeded else { return }
        queue.asyncAfter(deadline: .now() + .seconds(Self.retrySeconds)) { [weak self] in self?.retry() }
    }

    private func retry() {
        state.withLock { state in
            state.retryIsScheduled = false
            state.writer.writeNotes()
        }
        scheduleRetry()
    }
}

/// Holds back turns that come too fast for the little they find: a service that writes every line by itself would cost
/// a wake-up a line. A millisecond's pause finds a hundred of them.
private struct Pace {
    static let smallTurn = 32 << 10
    private static let burst: Int64 = 10
    private static let turnNanoseconds: Int64 = 1_000_000

    var lastTurnWasSmall = false
    /// When the turns so far would have been due at one a millisecond.
    private var due: Int64 = 0

    /// Whether to pause before a turn, because more than ten came ahead of one a millisecond.
    mutating func isTooSoon(at now: Int64) -> Bool {
        due = max(due, now - Self.burst * Self.turnNanoseconds) + Self.turnNanoseconds
        guard due > now, lastTurnWasSmall else { return false }
        due = now
        return true
    }
}
