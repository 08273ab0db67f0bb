import Dispatch
import Supervision

/// What puts another manifest into force is done when a balancer that is there has its fronts and their rules: who may not connect
/// any more does not, and fronts that were closed are closed there, too, so that their addresses are free for the next apply. (The
/// keeper was told to close its copies before the balancer was, and says nothing of it.) What becomes of single instances the
/// balancer is told as it happens, and nobody waits for that.
extension SupervisorRole {
    /// So long a balancer is waited for that does not answer.
    private static let longestWait = DispatchTimeInterval.seconds(2)

    /// The next table that goes to the balancer may have other fronts, or other rules for them. One that has not said hello yet
    /// may go by a former supervisor's.
    func tableIsOwed() {
        guard balancer.link != nil else { return }
        balancer.mayBeBehind = true
    }

    /// A command is done but for that; tells who waits when there is nothing to wait for any more, or it has waited long enough.
    func holdUntilTableIsInForce(_ command: CommandID) {
        heldForTable.append(command)
        queue.asyncAfter(deadline: .now() + Self.longestWait) { [weak self] in
            self?.assumeIsolated { role in
                guard let place = role.heldForTable.firstIndex(of: command) else { return }
                role.heldForTable.remove(at: place)
                // What comes next does not wait again for a balancer that does not answer.
                role.balancer.mayBeBehind = false
                role.commands.finish(command, .done, at: role.now)
            }
        }
    }

    /// The balancer has the last table, or is gone.
    func tableIsInForce() {
        balancer.mayBeBehind = false
        let held = heldForTable
        heldForTable = []
        for command in held { commands.finish(command, .done, at: now) }
    }
}
