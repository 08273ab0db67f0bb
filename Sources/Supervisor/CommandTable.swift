import ControlAPI
import Supervision

/// Users' commands under way, and who waits for them.
struct CommandTable {
    private var waiting: [CommandID: ControlResponder] = [:]
    private var last: UInt64 = 0

    /// The number of a new command.
    mutating func begin() -> CommandID {
        last += 1
        return CommandID(last)
    }

    /// Somebody waits for a command.
    mutating func await(_ id: CommandID, _ responder: ControlResponder) { waiting[id] = responder }

    /// Nobody waits any more.
    mutating func forget(_ id: CommandID) { waiting[id] = nil }

    /// Tells what the command waits for.
    func progress(_ id: CommandID, _ text: String) {
        waiting[id]?.send(ProgressLine(waiting: text))
    }

    /// Tells the outcome.
    mutating func finish(_ id: CommandID, _ outcome: Application.CommandOutcome) {
        guard let responder = waiting.removeValue(forKey: id) else { return }
        switch outcome {
        case .done: responder.send(ProgressLine(result: "done"))
        case .failed(let reason): responder.send(ProgressLine(result: "failed", message: reason))
        }
        responder.finish()
    }

    /// The time that a command may take is over.
    mutating func timeOut(_ id: CommandID, after time: Duration) {
        guard let responder = waiting.removeValue(forKey: id) else { return }
        responder.send(ProgressLine(result: "timeout", message: "not done within \(time); supd goes on with it"))
        responder.finish()
    }

    /// The same outcome for all.
    mutating func finishAll(_ outcome: Application.CommandOutcome) {
        for id in waiting.keys { finish(id, outcome) }
    }
}
