import Links
import Platform
import Supervision

/// Commands that probe an instance, run by the keeper like everything else. Their ids lie apart from generations.
/// An object, because what is done with an outcome may come back here.
final class ProbeCommands {
    private struct Running {
        var plan: SpawnPlan?
        var completion: ((Prober.CommandResult) -> Void)?
        var output: [Descriptor] = []
    }

    private static let firstID: UInt64 = 1 << 52
    private static let outputLimit = 4096
    private var next = firstID
    private var running: [UInt64: Running] = [:]

    /// A new id, with who waits for its outcome.
    func begin(_ plan: SpawnPlan, _ completion: @escaping (Prober.CommandResult) -> Void) -> UInt64 {
        next += 1
        // A supervisor before this one may have given out the same number, but its commands were adopted, and ended.
        while running[next] != nil { next += 1 }
        running[next] = Running(plan: plan, completion: completion)
        return next
    }

    /// A command of a supervisor before this one.
    func adopt(_ id: UInt64) {
        running[id] = Running()
        next = max(next, id)
    }

    /// It was started; false if the id is none of ours.
    func spawned(_ id: UInt64, output: [Descriptor]) -> Bool {
        guard running[id] != nil else { return false }
        running[id]?.output = output
        return true
    }

    /// It was not started; false if the id is none of ours.
    func failed(_ id: UInt64, _ failure: SpawnFailure) -> Bool {
        guard let command = running.removeValue(forKey: id) else { return false }
        let text = command.plan.map { StartFailureText.text(for: failure, of: $0) } ?? failure.stage.rawValue
        command.completion?(.notStarted(text))
        return true
    }

    /// It ended; false if the id is none of ours.
    func exited(_ id: UInt64, _ exit: ChildExit) -> Bool {
        guard let command = running.removeValue(forKey: id) else { return false }
        var output = ""
        for descriptor in command.output {
            output += String(decoding: PipeIO.readAvailable(descriptor, limit: Self.outputLimit), as: UTF8.self)
        }
        command.completion?(.exited(ExitStatus(exit), output: output))
        return true
    }

    /// Beyond what generation a new one must begin: the keeper's highest id may be that of a command.
    static func highestGeneration(_ highestID: UInt64, _ children: [UInt64]) -> UInt64 {
        if highestID < firstID { return highestID }
        // Far more than were started in the tenth of a second by which the snapshot may be late.
        return (children.max() ?? 0) + 100_000
    }
}
