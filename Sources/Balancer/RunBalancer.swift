import CPlatform
import Dispatch
import Glibc
import Links
import Platform

/// How the balancer's process is started.
package struct BalancerConfiguration: Sendable {
    /// The descriptor of the link to the keeper.
    package var keeperLink: Int32 = 3
    /// The descriptor of the link to the supervisor.
    package var supervisorLink: Int32 = 4
    /// Whether others of the same user may trace it and read its memory; tests and profilers want it.
    package var isDumpable = false
    /// The data plane's limits.
    package var engine = BalancerEngine.Configuration()

    /// Creates the usual configuration.
    package init() {}
}

/// Runs the balancer's process: takes over the two links, says hello to the keeper, and serves until the keeper is gone.
///
/// It exits with 0 when the keeper closes its link, and with 1 when one of the links is of no use; the keeper then
/// starts another one, which takes the listeners over from the supervisor.
package func runBalancer(_ configuration: BalancerConfiguration = BalancerConfiguration()) -> Never {
    setProcessName("supd: balancer")
    if !configuration.isDumpable { _ = supd_forbid_dumps() }
    let role = BalancerRole(
        keeper: LinkConnection(Descriptor(owning: configuration.keeperLink)),
        supervisor: LinkConnection(Descriptor(owning: configuration.supervisorLink)),
        engine: configuration.engine
    ) { code in
        _exit(code)
    }
    role.start()
    dispatchMain()
}
