import Dispatch
import FoundationEssentials
import Platform

/// Runs the supervisor's role in this process: the keeper's link is descriptor 3. Never returns; ends the process when
/// the keeper is gone.
package func runSupervisor(_ configuration: SupervisorConfiguration, environment: [String: String]) -> Never {
    // Whoever reads our messages may go away.
    ignoreBrokenPipes()
    setProcessName("supd: supervisor")
    _ = raiseOpenFileLimit()
    let executor = QueueExecutor(label: "supd.supervisor")
    let role = SupervisorRole(configuration, environment: environment, executor: executor)
    executor.queue.async { role.assumeIsolated { $0.begin() } }
    dispatchMain()
}
