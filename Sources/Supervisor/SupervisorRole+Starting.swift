import Dispatch
import Platform
import Supervision

/// A start that is done, but for a moment in which its processes may end.
struct HeldStart {
    /// The instances that nothing but a moment's life shows to have started.
    var instances: [InstanceID]
    /// When the start was asked for.
    var began: Instant
    /// All that was asked for is up: the answer waits for the moment alone.
    var isDone = false
}

/// "Started" is not said of a program that ends at once.
extension SupervisorRole {
    /// How long a program without a readiness check must run to be called started. Enough for one that finds its
    /// configuration wrong; an operator hardly notices it.
    static let startMoment = DispatchTimeInterval.milliseconds(500)

    /// A start was asked for, and somebody waits for it.
    func holdStart(_ command: CommandID, _ targets: [InstanceID], _ application: Application) {
        let unproven = application.unproven(among: targets)
        if !unproven.isEmpty { heldStarts[command] = HeldStart(instances: unproven, began: now) }
    }

    /// A command is over: tells who waits, now or in a moment.
    func finished(_ command: CommandID, _ outcome: Application.CommandOutcome) {
        if case .rolledBack(let text, let culprits) = outcome { return tellRolledBack(command, text, culprits) }
        guard outcome == .done, heldStarts[command] != nil, commands.isAwaited(command) else {
            let isHeld = outcome == .done && balancer.mayBeBehind && commands.isAwaited(command)
            if isHeld { return holdUntilTableIsInForce(command) }
            heldStarts[command] = nil
            return commands.finish(command, outcome, at: now)
        }
        heldStarts[command]?.isDone = true
        queue.asyncAfter(deadline: .now() + Self.startMoment) { [weak self] in
            self?.assumeIsolated { role in
                guard role.heldStarts.removeValue(forKey: command) != nil else { return }
                role.commands.finish(command, outcome, at: role.now)
            }
        }
    }

    /// Tells those whose processes have ended meanwhile.
    func lookAtHeldStarts() {
        guard !heldStarts.isEmpty, let application else { return }
        for (command, start) in heldStarts where start.isDone {
            guard let text = application.endedAndNotUp(start.instances, since: start.began) else { continue }
            heldStarts[command] = nil
            commands.finish(command, .failed(text), at: now)
        }
    }
}
