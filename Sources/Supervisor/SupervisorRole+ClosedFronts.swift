import Dispatch
import Supervision

/// An apply that has closed fronts is done when the balancer has closed them, too, so that their addresses are free for the next
/// apply. (The keeper was told to close its copies before the balancer was, and says nothing of it.)
extension SupervisorRole {
    /// So long a balancer is waited for that does not answer.
    private static let closingTime = DispatchTimeInterval.seconds(2)

    /// Fronts were closed here, with which the next table goes to the balancer.
    func closedFronts() {
        guard balancer.isReady else { return }
        balancer.mayHoldClosedFronts = true
    }

    /// A command is done but for that; tells who waits when there is nothing to wait for any more, or it has waited long enough.
    func holdUntilFrontsAreClosed(_ command: CommandID) {
        heldForFronts.append(command)
        queue.asyncAfter(deadline: .now() + Self.closingTime) { [weak self] in
            self?.assumeIsolated { role in
                guard let place = role.heldForFronts.firstIndex(of: command) else { return }
                role.heldForFronts.remove(at: place)
                role.commands.finish(command, .done, at: role.now)
            }
        }
    }

    /// The balancer has the last table, or is gone.
    func frontsAreClosed() {
        balancer.mayHoldClosedFronts = false
        let held = heldForFronts
        heldForFronts = []
        for command in held { commands.finish(command, .done, at: now) }
    }
}
