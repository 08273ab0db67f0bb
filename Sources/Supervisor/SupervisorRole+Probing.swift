import Links
import Manifest
import Platform
import Supervision

/// Readiness probes.
extension SupervisorRole {
    /// Probes an instance until it passes, or `endProbing` comes.
    func beginProbing(_ generation: Generation, _ instance: InstanceID, port: UInt16) {
        guard let application, let prober, let planner, let service = application.service(named: instance.service),
            let pid = application.pid(of: generation)
        else { return }
        let check: Prober.Target.Check
        switch service.ready {
        case .started: return
        // Its socket, or its output, is read from its start to its end.
        case .notify(.systemd), .log: return
        case .notify(.descriptor(let number)): return readyPipes?.begin(generation, number: number) ?? ()
        case .tcp: check = .tcp
        case .http(let path):
            let value = templateValues(service: service.name, instance: instance.number, port: port)
            check = .http(path: path.expanded(value))
        case .command(let command):
            do throws(StartFailure) {
                check = .command(
                    try planner.probePlan(
                        command, of: service, instance: instance.number, port: port, generation: generation,
                        manifest: application.manifest, child: 0))
            } catch {
                return take(.probed(generation, passed: false, detail: error.text))
            }
        }
        let target = InstanceProcesses.Instance(generation: generation, id: instance, leader: pid, scope: scope)
        prober.begin(
            Prober.Target(instance: target, port: port, check: check, proxyProtocol: service.balance.proxyProtocol))
    }

    /// Runs a probe's command by the keeper; answers its id.
    func runProbeCommand(_ plan: SpawnPlan, _ completion: @escaping (Prober.CommandResult) -> Void) -> UInt64 {
        var plan = plan
        plan.id = probeCommands.begin(plan, completion)
        keeper?.send(.spawn(plan))
        return plan.id
    }

    /// Ends a probe's command early.
    func endProbeCommand(_ id: UInt64) {
        keeper?.send(.signal(id: id, number: Signals.killNumber, group: true))
    }
}
