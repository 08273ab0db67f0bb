/// A process that no instance owns: the snapshot did not know it, or its instance has another one. It gets SIGKILL
/// until nothing of its group is left; its instance starts nothing before.
struct Leftover: Sendable, Hashable, Codable {
    /// Its generation.
    let generation: Generation
    /// The instance it was of; the manifest may not have it any more.
    let instance: InstanceID
    /// Its port, which nobody else gets.
    let port: UInt16
    /// The leader's exit was seen.
    var leaderEnded = false
    /// The next SIGKILL and outcome.
    var check: Instance.Check
}

extension Application {
    /// Sends SIGKILL to a leftover's group and looks whether anything is left.
    func end(_ leftover: Leftover, _ turn: inout Turn) -> Leftover {
        var leftover = leftover
        leftover.check = leftover.check.asked(at: turn.now)
        turn.effects.append(.signal(leftover.generation, "KILL"))
        turn.effects.append(.checkGroup(leftover.generation))
        return leftover
    }

    mutating func leftoverDeadlinesReached(_ turn: inout Turn) {
        for position in leftovers.indices where leftovers[position].check.at <= turn.now {
            leftovers[position] = end(leftovers[position], &turn)
        }
    }

    /// Gives an event to the leftover of this generation, if there is one.
    mutating func passToLeftover(_ event: Instance.Event, of generation: Generation, _ turn: inout Turn) {
        guard let position = leftovers.firstIndex(where: { $0.generation == generation }) else { return }
        switch event {
        case .spawned:
            leftovers[position] = end(leftovers[position], &turn)
        case .spawnFailed, .portTaken, .vanished:
            leftoverEnded(position, &turn)
        case .exited(_, let groupEmpty):
            leftovers[position].leaderEnded = true
            if groupEmpty {
                leftoverEnded(position, &turn)
            } else {
                leftovers[position] = end(leftovers[position], &turn)
            }
        case .groupChecked(let empty):
            // Requests are answered in order: what the keeper does not know any more has ended, or was never started.
            if empty {
                leftoverEnded(position, &turn)
            } else {
                leftovers[position].check = leftovers[position].check.notYet(at: turn.now)
            }
        case .reconsidered, .deadlineReached, .startAsked, .restartAsked, .probed, .notified, .healthProbed,
            .healthRestartDue, .drained:
            break
        }
    }

    private mutating func leftoverEnded(_ position: Int, _ turn: inout Turn) {
        let leftover = leftovers.remove(at: position)
        turn.effects.append(.release(leftover.generation))
        noteUnseenEnd(of: leftover, &turn)
        assignPorts()
        if let place = layout.places[leftover.instance] { apply(.reconsidered, to: place, &turn) }
    }
}
