import Links
import Manifest
import Platform
import Supervision

/// Probes for readiness and for health.
extension SupervisorRole {
    /// Probes an instance until it passes, or `endProbing` comes.
    func beginProbing(_ generation: Generation, _ instance: InstanceID, port: UInt16) {
        guard let prober, let service = application?.settings(of: instance) else { return }
        let check: HealthSettings.Check
        switch service.ready {
        case .started: return
        // Its socket, or its output, is read from its start to its end.
        case .notify(.systemd), .log: return
        case .notify(.descriptor(let number)): return readyPipes?.begin(generation, number: number) ?? ()
        case .tcp: check = .tcp
        case .http(let http): check = .http(http)
        case .command(let command): check = .command(command)
        }
        do throws(StartFailure) {
            if let target = try probeTarget(generation, instance, service, port: port, check, .readiness) {
                prober.begin(target)
            }
        } catch {
            take(.probed(generation, passed: false, detail: error.text))
        }
    }

    /// Probes a ready instance again and again, until `endHealthProbing` comes.
    func beginHealthProbing(_ generation: Generation, _ instance: InstanceID, port: UInt16) {
        guard let healthProber, let service = application?.settings(of: instance),
            let health = service.health
        else { return }
        do throws(StartFailure) {
            let purpose = Prober.Target.Purpose.health(interval: health.interval, timeout: health.timeout)
            if let target = try probeTarget(generation, instance, service, port: port, health.check, purpose) {
                healthProber.begin(target)
            }
        } catch {
            // It is no fault of the instance: it goes on without being probed.
            log.write(.warning, "\(instance): its health is not probed: \(error.text)")
        }
    }

    /// A health probe has ended; that all is as it was nobody needs to hear.
    func healthProbed(_ generation: Generation, _ outcome: Application.ProbeOutcome) {
        guard application?.isNews(outcome, of: generation) == true else { return }
        take(.healthProbed(generation, outcome))
    }

    private func probeTarget(
        _ generation: Generation, _ instance: InstanceID, _ service: Service, port: UInt16,
        _ check: HealthSettings.Check, _ purpose: Prober.Target.Purpose
    ) throws(StartFailure) -> Prober.Target? {
        guard let application, let planner, let pid = application.pid(of: generation) else { return nil }
        let how: Prober.Target.Check
        switch check {
        case .tcp: how = .tcp
        case .http(let http):
            how = .http(http, templateValues(service: service.name, instance: instance.number, port: port))
        case .command(let command):
            how = .command(
                try planner.probePlan(
                    command, of: service, instance: instance.number, port: port, generation: generation,
                    manifest: application.manifest, child: 0))
        }
        return Prober.Target(
            instance: InstanceProcesses.Instance(generation: generation, id: instance, leader: pid, scope: scope),
            port: port, check: how, purpose: purpose, proxyProtocol: service.balance.proxyProtocol)
    }

    /// Makes both probers.
    func makeProbers() {
        prober = makeProber(
            report: {
                $0.take(.probed($1, passed: $2.passed, detail: $2.reason, nobodyListens: $2.nobodyListens))
            },
            note: { [log] in log.write(.notice, $0) })
        healthProber = makeProber(report: { $0.healthProbed($1, $2) }, note: { _ in })
        prober?.tally = ProbeTally(.readiness, in: counts)
        healthProber?.tally = ProbeTally(.health, in: counts)
    }

    private func makeProber(
        report: @escaping (isolated SupervisorRole, Generation, Application.ProbeOutcome) -> Void,
        note: @escaping (String) -> Void
    ) -> Prober {
        let report = QueueConfined(report)
        return Prober(
            queue: queue, keeper: configuration.keeper,
            runCommand: { [weak self] plan, completion in
                let completion = QueueConfined(completion)
                let id = self?.assumeIsolated { $0.runProbeCommand(plan, completion.value) }
                return { [weak self] in
                    if let id { self?.assumeIsolated { $0.endProbeCommand(id) } }
                }
            },
            report: { [weak self] generation, outcome in
                self?.assumeIsolated { report.value($0, generation, outcome) }
            },
            note: note)
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
