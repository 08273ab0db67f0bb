import Dispatch
import Supervision

/// An apply that has closed fronts is done when the balancer has closed them, too: then their addresses are free, for others or
/// for the next apply.
extension SupervisorRole {
    /// So long a balancer is waited for that does not answer.
    private static let closingTime = DispatchTimeInterval.seconds(2)

    /// Fronts were closed here, with which the next table goes to the balancer.
    func closedFronts() {
        guard balancer.isReady else { return }
        balancer.mayHoldClosedFronts = true
    }

    /// A command is done but for that; tells who waits when there is nothing to wait for any more.
    func holdUntilFrontsAreClosed(_ command: CommandID) {
        heldForFronts.append(command)
        queue.asyncAfter(deadline: .now() + Self.closingTime) { [weak self] in
            self?.assumeIsolated { role in
                if role.heldForFronts.contains(command) { role.frontsAreClosed() }
            }
        }
    }

    /// The balancer has the last table, or is gone, or does not answer.
    func frontsAreClosed() {
        balancer.mayHoldClosedFronts = false
        let held = heldForFronts
        heldForFronts = []
        for command in held { commands.finish(command, .done, at: now) }
    }
}
