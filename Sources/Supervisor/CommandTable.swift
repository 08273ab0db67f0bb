import ControlAPI
import Supervision

/// Users' commands under way, and who waits for them.
struct CommandTable {
    private var waiting: [CommandID: ControlResponder] = [:]
    private var last: UInt64 = 0

    /// A new command; its progress goes to `responder`, if anybody waits.
    mutating func begin(_ responder: ControlResponder?) -> CommandID {
        last += 1
        let id = CommandID(last)
        if let responder { waiting[id] = responder }
        return id
    }

    /// Whether somebody still waits.
    func isWaiting(_ id: CommandID) -> Bool { waiting[id] != nil }

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
    mutating func timeOut(_ id: CommandID, after seconds: Double) {
        guard let responder = waiting.removeValue(forKey: id) else { return }
        responder.send(ProgressLine(result: "timeout", message: "not within \(seconds) s; supd goes on with it"))
        responder.finish()
    }

    /// The same outcome for all.
    mutating func finishAll(_ outcome: Application.CommandOutcome) {
        for id in waiting.keys { finish(id, outcome) }
    }
}
