import ControlAPI
import Testing
import Why

@testable import supctl

/// What only the balancer knows of an instance that runs and counts as ready.
@Suite("Why of an instance whose connects fail")
struct WhyConnectsTests {
    /// A balancer with one instance, whose connects have failed.
    static func balancer(_ id: String, aside: Double? = nil, failed: Double? = nil) -> BalancerReport {
        var counters = SessionCounters()
        counters.connectErrors = 12
        let instance = BalancedInstance(
            id: id, state: "running", drained: false, setAsideSeconds: aside, failedSecondsAgo: failed,
            counters: counters)
        return BalancerReport(
            services: [BalancedService(name: "api", algorithm: "roundrobin", fronts: [], instances: [instance])],
            acceptPauses: 0)
    }

    private static func answer(
        _ balancer: BalancerReport?, onlyTrouble: Bool = false, _ change: (inout InstanceStatus) -> Void = { _ in }
    ) -> WhyAnswer? {
        var instance = InstanceStatus(id: "api/1", state: "running", port: 20001, ready: true, restarts: 0)
        change(&instance)
        let service = ServiceStatus(
            name: "api", kind: "service", state: "running", goal: "up", ready: 1, replicas: 1, listen: ["x"],
            fronts: [],
            instances: [instance])
        let report = Example.report([service])
        return WhyReport(
            about: report, among: report, events: [], usage: nil, balancer: balancer, memoryKills: nil, now: 0,
            onlyTrouble: onlyTrouble
        ) { _, _, _ in [] }.answers.first
    }

    private static let why =
        "the balancer has set it aside: connects to port 20001 fail, refused or without an answer in time; "

    @Test(
        "The first line says what, and until when; nothing is known once that is over",
        arguments: [
            (3.5, "\(why)it is tried again within 3.5s", false),
            (
                0,
                "the balancer set it aside after connects to port 20001 had failed, and has had no connection to try it with "
                    + "since", true
            ),
        ] as [(Double, String, Bool)])
    func firstLine(aside: Double, line: String, isFine: Bool) {
        let answer = Self.answer(Self.balancer("api/1", aside: aside))
        #expect(answer?.summary == line)
        #expect(answer?.isFine == isFine)
        #expect(answer?.help.isEmpty == isFine)
    }

    @Test(
        "Of one that cannot be set aside the first line says what, and when; what was long ago is no trouble",
        arguments: [
            (
                3,
                "connects to port 20001 fail, refused or without an answer in time: the last one 3.0s ago; the balancer goes "
                    + "on with it for want of others", false
            ),
            (300, "the balancer's last connect to port 20001 failed 5m00s ago, and none has succeeded since", true),
        ] as [(Double, String, Bool)])
    func inService(failed: Double, line: String, isFine: Bool) {
        let balancer = Self.balancer("api/1", failed: failed)
        let answer = Self.answer(balancer)
        #expect(answer?.summary == line)
        #expect(answer?.isFine == isFine)
        #expect(answer?.help.isEmpty == isFine)
        #expect((Self.answer(balancer, onlyTrouble: true) == nil) == isFine)
        // What was long ago hides nothing else.
        let busy = Self.answer(balancer) { $0.detail = "what depends on it" }
        #expect(busy?.summary == (isFine ? "\(line); waits for what depends on it" : line))
    }

    @Test("It says what to do, and without a name it is among the troubles")
    func help() {
        let help = [
            "its process has to accept connections on port 20001 of 127.0.0.1; \"supctl logs -n 50 api/1\" may show why it does "
                + "not", "\"supctl restart api/1\" starts it anew",
        ]
        let aside = Self.balancer("api/1", aside: 1)
        let unprobed = [help[0], help[1] + "; with health in the manifest supd does so by itself"]
        #expect(Self.answer(aside, onlyTrouble: true)?.help == unprobed)
        #expect(Self.answer(aside) { $0.health = HealthStatus(state: "healthy", failures: 0) }?.help == help)
        let sick = Self.answer(aside) {
            $0.health = HealthStatus(
                state: "healthy", failures: 1, lastFailure: FailedProbe(reason: "connection refused", at: "2026"))
        }
        #expect(
            sick?.summary
                == "\(Self.why)it is tried again within 1.0s; the last health probe has failed: connection refused")
    }

    @Test("Nothing is said of it when it is not so, or the balancer has not answered, or a user has taken it out")
    func notAside() {
        for balancer in [nil, Self.balancer("api/1", aside: nil), Self.balancer("api/2", aside: 1)] {
            #expect(Self.answer(balancer)?.summary == "nothing is wrong with it")
            #expect(Self.answer(balancer)?.isFine == true)
            #expect(Self.answer(balancer, onlyTrouble: true) == nil)
        }
        let drained = Self.answer(Self.balancer("api/1", aside: 1)) { $0.drained = true }
        #expect(drained?.summary.contains("aside") == false)
        let starting = Self.answer(Self.balancer("api/1", aside: 1)) {
            $0.state = "starting"
            $0.ready = false
        }
        #expect(starting?.summary == "waits to be ready" && starting?.help.contains { $0.contains("anew") } == false)
    }
}
