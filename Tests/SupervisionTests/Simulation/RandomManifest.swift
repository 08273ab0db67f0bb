import Manifest
import TestSupport

/// A small application with all that the core can be asked for.
func randomManifest(_ random: inout SeededRandom) -> Manifest {
    let names = ["a", "b", "c", "d", "e", "f"]
    let count = Int(random.pick(1...6))
    var services: [Service] = []
    for index in 0..<count {
        let isTask = random.oneIn(5)
        var dependencies: [Dependency] = []
        for earlier in services.indices where random.oneIn(3) {
            let conditions: [Dependency.Condition] =
                services[earlier].kind == .task
                ? [.completed, .completed, .ready, .started] : [.ready, .ready, .started]
            dependencies.append(Dependency(service: services[earlier].name, condition: random.pick(conditions)))
        }
        let policy: RestartSettings.Policy = random.pick([.always, .always, .always, .onFailure, .never])
        let restart = RestartSettings(
            policy: isTask && policy == .always ? .onFailure : policy,
            initialDelay: .milliseconds(random.pick([100, 500, 1000])), maxDelay: .seconds(random.pick([2, 5])),
            factor: random.pick([1, 2, 3]), jitter: 0.1, resetAfter: .seconds(random.pick([1, 10])),
            limit: random.oneIn(3)
                ? RestartSettings.Limit(starts: Int(random.pick(1...4)), within: .seconds(random.pick([5, 20]))) : nil)
        let hasFront = !isTask && random.oneIn(2)
        services.append(
            Service(
                name: names[index], kind: isTask ? .task : .service, command: [Template(literal: "x")],
                replicas: Int(random.pick([1, 1, 2, 3, random.oneIn(10) ? 0 : 1])),
                port: random.oneIn(4) ? UInt16(3000 + index * 10) : nil,
                listen: hasFront ? [ListenSettings(.loopback(port: UInt16(8000 + index)))] : [],
                balance: BalanceSettings(
                    queueTimeout: .seconds(random.pick([2, 10])), drainTimeout: .seconds(random.pick([0, 3, 30]))),
                ready: isTask || random.oneIn(3) ? .started : random.oneIn(3) ? .notify(.systemd) : .tcp,
                readyTimeout: .seconds(random.pick([2, 5])), watchdog: random.oneIn(4) ? .seconds(10) : nil,
                restart: restart,
                stop: StopSettings(
                    signal: random.pick(["TERM", "INT"]), timeout: .milliseconds(random.pick([0, 500, 3000]))),
                dependsOn: dependencies,
                health: random.oneIn(2)
                    ? HealthSettings(
                        check: .tcp, interval: .milliseconds(random.pick([300, 1000, 3000])),
                        failures: Int(random.pick(1...3)),
                        successes: Int(random.pick(1...2))) : nil,
                deploy: randomDeploy(&random)))
    }
    for index in services.indices where services[index].kind == .service && random.oneIn(4) {
        let least = max(1, services[index].replicas)
        services[index].replicas = least
        services[index].scaling = ScalingRule(min: least, max: least + 2, target: .connections(10))
    }
    let needed = Set(services.flatMap(\.dependsOn).map(\.service))
    for index in services.indices where services[index].isBalanced && !needed.contains(services[index].name) {
        if random.oneIn(2) { services[index].idleAfter = .seconds(60) }
    }
    // Few ports, so that they run out when strangers sit on some.
    let ports = PortRange(first: 20000, last: 20000 + UInt16(random.pick(8...24)))
    return Manifest(supd: DaemonSettings(portRange: ports), services: services)
}

/// How another version takes over.
func randomDeploy(_ random: inout SeededRandom) -> DeploySettings {
    // A valid manifest has no canary beside it.
    if random.oneIn(4) { return DeploySettings(failures: 2, strategy: .blueGreen) }
    let surge = Int(random.pick(0...2))
    var canary: CanarySettings?
    // Nor one where nothing may run beside the others.
    if surge > 0, random.oneIn(2) {
        canary = CanarySettings(
            replicas: Int(random.pick(1...2)), hold: .milliseconds(random.pick([100, 2000, 9000])))
    }
    return DeploySettings(
        surge: surge, maxUnavailable: Int(random.pick([0, 0, 1, 2])), failures: Int(random.pick(1...3)), canary: canary)
}
