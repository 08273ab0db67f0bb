import ControlAPI
import Supervision

/// Users' commands under way, and who waits for them. An object, because telling a client that has gone comes back here
/// through its cancellation.
final class CommandTable {
    private var waiting: [CommandID: (responder: ControlResponder, summary: String?)] = [:]
    private var last: UInt64 = 0

    /// The number of a new command.
    func begin() -> CommandID {
        last += 1
        return CommandID(last)
    }

    /// Somebody waits for a command; `summary` is what to say when it is done: `restarted 3 instances`.
    func await(_ id: CommandID, _ responder: ControlResponder, summary: String?) { waiting[id] = (responder, summary) }

    /// Whether somebody waits for a command.
    func isAwaited(_ id: CommandID) -> Bool { waiting[id] != nil }

    /// Nobody waits any more.
    func forget(_ id: CommandID) { waiting[id] = nil }

    /// Tells what the command waits for.
    func progress(_ id: CommandID, _ text: String) {
        waiting[id]?.responder.send(ProgressLine(waiting: text))
    }

    /// Tells the outcome.
    func finish(_ id: CommandID, _ outcome: Application.CommandOutcome) {
        guard let (responder, summary) = waiting.removeValue(forKey: id) else { return }
        switch outcome {
        case .done: responder.send(ProgressLine(result: "done", message: summary))
        case .failed(let reason): responder.send(ProgressLine(result: "failed", message: reason))
        }
        responder.finish()
    }

    /// The time that a command may take is over.
    func timeOut(_ id: CommandID, after time: Duration) {
        guard let responder = waiting.removeValue(forKey: id)?.responder else { return }
        responder.send(ProgressLine(result: "timeout", message: "not done within \(time); supd goes on with it"))
        responder.finish()
    }

    /// The same outcome for all.
    func finishAll(_ outcome: Application.CommandOutcome) {
        for id in waiting.keys { finish(id, outcome) }
    }
}
