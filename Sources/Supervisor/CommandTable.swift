import ControlAPI
import Dispatch
import Supervision

/// Users' commands under way, and who waits for them. An object, because telling a client that has gone comes back here
/// through its cancellation.
///
/// One timer for all who wait: of a command that is over nothing is left, however long its client would have waited.
final class CommandTable {
    private struct Waiting {
        var responder: ControlResponder
        var summary: String?
        /// What to show below a failure.
        var details: [String]?
        /// How long the client waits, and until when; nil: for ever.
        var limit: (time: Duration, end: Instant)?
    }

    private var waiting: [CommandID: Waiting] = [:]
    private var last: UInt64 = 0
    /// What is said of commands that are over, while it is held back; nil while it is not.
    private var heldBack: [() -> Void]?
    /// For tests: called when somebody is told an outcome.
    var onTold: ((Application.CommandOutcome) -> Void)?
    private let timer: any DispatchSourceTimer
    /// What the timer is set to; nil while nobody's time is limited.
    private(set) var nextDeadline: Instant?

    /// Creates a table whose timer fires on a queue.
    init(queue: DispatchQueue) { timer = DispatchSource.makeTimerSource(queue: queue) }

    deinit { timer.cancel() }

    /// Sets what to do when somebody has waited long enough, and begins. The handler must call `timeOut`.
    func onOverdue(_ handler: @escaping @Sendable () -> Void) {
        timer.setEventHandler(handler: handler)
        timer.activate()
    }

    /// The number of a new command.
    func begin() -> CommandID {
        last += 1
        return CommandID(last)
    }

    /// Somebody waits for a command, from now on and for `limit` at most; `summary` is what to say when it is done:
    /// `restarted 3 instances`.
    func await(
        _ id: CommandID, _ responder: ControlResponder, summary: String?, for limit: Duration? = nil, at now: Instant
    ) {
        waiting[id] = Waiting(responder: responder, summary: summary, limit: limit.map { ($0, now + $0) })
        setTimer(at: now)
    }

    /// Whether somebody waits for a command.
    func isAwaited(_ id: CommandID) -> Bool { waiting[id] != nil }

    /// What to show below a failure.
    func explain(_ id: CommandID, _ details: [String]) { waiting[id]?.details = details }

    /// Nobody waits any more.
    func forget(_ id: CommandID, at now: Instant) { remove(id, at: now) }

    /// Tells what the command waits for.
    func progress(_ id: CommandID, _ text: String) {
        waiting[id]?.responder.send(ProgressLine(waiting: text))
    }

    /// Tells the outcome.
    func finish(_ id: CommandID, _ outcome: Application.CommandOutcome, at now: Instant) {
        guard let command = remove(id, at: now) else { return }
        if heldBack == nil { tell(command, outcome) } else { heldBack?.append { [self] in tell(command, outcome) } }
    }

    /// Does something, and tells the outcomes that it brings about only when `keep` is over as well: nobody is told of
    /// what would be forgotten with this process.
    func tellingAfterwards(_ action: () -> Void, keep: () -> Void) {
        heldBack = []
        action()
        keep()
        let answers = heldBack ?? []
        heldBack = nil
        for answer in answers { answer() }
    }

    private func tell(_ command: Waiting, _ outcome: Application.CommandOutcome) {
        onTold?(outcome)
        switch outcome {
        case .done: command.responder.send(ProgressLine(result: "done", message: command.summary))
        case .failed(let reason), .rolledBack(let reason, _):
            command.responder.send(ProgressLine(result: "failed", message: reason, details: command.details))
        case .sentBack(let reason, let who):
            command.responder.send(ProgressLine(result: "failed", message: reason, rolledBackBy: who))
        }
        command.responder.finish()
    }

    /// Tells those whose time is over, and returns their commands, which go on.
    func timeOut(at now: Instant) -> [CommandID] {
        let overdue = waiting.filter { $0.value.limit.map { $0.end <= now } ?? false }.keys
            .sorted { $0.number < $1.number }
        for id in overdue {
            guard let command = waiting.removeValue(forKey: id), let time = command.limit?.time else { continue }
            command.responder.send(
                ProgressLine(result: "timeout", message: "not done within \(time); supd goes on with it"))
            command.responder.finish()
        }
        // The timer may have come a little early: it is set again in any case.
        nextDeadline = nil
        setTimer(at: now)
        return overdue
    }

    /// The same outcome for all.
    func finishAll(_ outcome: Application.CommandOutcome, at now: Instant) {
        for id in waiting.keys { finish(id, outcome, at: now) }
    }

    @discardableResult
    private func remove(_ id: CommandID, at now: Instant) -> Waiting? {
        guard let command = waiting.removeValue(forKey: id) else { return nil }
        setTimer(at: now)
        return command
    }

    /// Sets the timer to the earliest end.
    private func setTimer(at now: Instant) {
        let next = waiting.values.compactMap(\.limit?.end).min()
        guard next != nextDeadline else { return }
        nextDeadline = next
        if let next {
            let delay = Int(max(0, next.nanoseconds - now.nanoseconds))
            timer.schedule(deadline: .now() + .nanoseconds(delay), leeway: .milliseconds(1))
        } else {
            timer.schedule(deadline: .distantFuture)
        }
    }
}
