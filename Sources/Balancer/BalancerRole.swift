import Dispatch
package import Links
import Platform

/// The engine between its two links.
package final class BalancerRole: Sendable {
    /// The engine, for tests.
    package let engine: BalancerEngine
    private let keeper: LinkChannel
    private let supervisor: LinkChannel
    private let control: DispatchQueue
    private let exit: @Sendable (Int32) -> Void

    /// Creates the role. `exit` ends the process: with 0 when the keeper has closed its link, or has told it to retire and no
    /// connection is left, with 1 when a link is of no
    /// use any more; then the keeper starts another balancer.
    package init(
        keeper: LinkConnection, supervisor: LinkConnection, engine: BalancerEngine.Configuration,
        exit: @escaping @Sendable (Int32) -> Void
    ) {
        let control = DispatchQueue(label: "supd.balancer.control")
        let channel = LinkChannel(supervisor, on: control)
        self.keeper = LinkChannel(keeper, on: control)
        self.supervisor = channel
        self.control = control
        self.exit = exit
        self.engine = BalancerEngine(engine) { notice in
            control.async { channel.send(notice) }
        }
    }

    /// Says hello to the keeper and begins to serve.
    package func start() {
        control.async { [self] in
            supervisor.start(BalancerRequest.self) { [self] request, descriptors in
                // What was meant for an earlier supervisor must not reach this one after the answer to its hello.
                if case .hello = request { supervisor.forgetUnsent() }
                engine.receive(request, descriptors)
            } ended: { [exit] isBroken in
                // The keeper holds the other end too, so it closes only when the keeper is going.
                if isBroken { exit(1) }
            }
            keeper.start(KeeperNotice.self) { [self, exit] notice, _ in
                // A loop that is stuck ends the balancer's life: without a pong the keeper replaces it.
                switch notice {
                case .ping: if !engine.isStuck() { keeper.send(KeeperRequest.pong) }
                case .retire: engine.retire { exit(0) }
                default: break
                }
            } ended: { [exit] isBroken in
                exit(isBroken ? 1 : 0)
            }
            keeper.send(KeeperRequest.hello(version: linkVersion))
        }
    }
}
