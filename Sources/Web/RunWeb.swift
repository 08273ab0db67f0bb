import Dispatch
import Links
import Platform

/// Runs the web role's process: takes over the link to the keeper at descriptor 3 and the one to the supervisor at 4, says
/// hello to the keeper, and serves until the keeper is gone.
///
/// It exits with 0 when the keeper closes its link, and with 1 when one of the links is of no use; the keeper then starts
/// another one, which gets the listeners from the supervisor.
package func runWeb() -> Never {
    ignoreBrokenPipes()
    setProcessName("supd: web")
    forbidDumps()
    let role = WebRole(
        keeper: LinkConnection(Descriptor(owning: 3)), supervisor: LinkConnection(Descriptor(owning: 4))
    ) { code in
        exitProcess(code)
    }
    role.start()
    dispatchMain()
}
