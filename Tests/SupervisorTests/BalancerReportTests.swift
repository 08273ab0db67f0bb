import ControlAPI
import Links
import Manifest
@testable import Supervision
import Testing

@testable import Supervisor

@Suite("What the API says of the balancer's counters")
struct BalancerReportTests {
    /// Another number in every field, from `first` on.
    private static func counts(from first: UInt64) -> BalancerCounters.Counts {
        var counts = BalancerCounters.Counts()
        let fields: [WritableKeyPath<BalancerCounters.Counts, UInt64>] = [
            \.current, \.maximum, \.total, \.rate, \.maximumRate, \.queued, \.maximumQueued, \.bytesIn, \.bytesOut,
            \.turnedAway, \.denied, \.limited, \.connectErrors, \.retries, \.redispatches, \.setAside,
        ]
        for (number, field) in fields.enumerated() { counts[keyPath: field] = first + UInt64(number) }
        counts.connects = 4
        counts.connectTime = first * 1_000_000_000
        counts.maximumConnectTime = (first + 50) * 1_000_000_000
        counts.ends = ["CD": first + 20, "--": first + 21]
        return counts
    }

    /// What these must become, each field by its name.
    private static func counters(from first: UInt64) -> SessionCounters {
        var counters = SessionCounters()
        counters.connections = first
        counters.connectionsMax = first + 1
        counters.connectionsTotal = first + 2
        counters.rate = first + 3
        counters.rateMax = first + 4
        counters.queued = first + 5
        counters.queuedMax = first + 6
        counters.bytesIn = first + 7
        counters.bytesOut = first + 8
        counters.turnedAway = first + 9
        counters.denied = first + 10
        counters.limited = first + 11
        counters.connectErrors = first + 12
        counters.retries = first + 13
        counters.redispatches = first + 14
        counters.setAside = first + 15
        counters.connects = 4
        counters.connectSecondsAverage = Double(first) / 4
        counters.connectSecondsMax = Double(first + 50)
        counters.ends = ["CD": first + 20, "--": first + 21]
        return counters
    }

    @Test("every counter has its own field, times are in seconds, and averages those of one connect")
    func counters() {
        #expect(SessionCounters(Self.counts(from: 100)) == Self.counters(from: 100))
        // There is no average of nothing.
        #expect(SessionCounters(BalancerCounters.Counts()) == SessionCounters())
        #expect(SessionCounters(BalancerCounters.Counts()).connectSecondsMax == nil)
    }

    private static func view(_ service: String, _ instances: Int) -> Application.ServiceView {
        Application.ServiceView(
            name: service, state: "running", goal: .up, ready: instances,
            instances: (0..<instances).map { number in
                Application.InstanceView(
                    id: InstanceID(service: service, number: number + 1), state: ["running", "starting"][number % 2],
                    port: 1, isReady: true, isDrained: number % 2 == 1, restarts: 0)
            })
    }

    private static func service(_ name: String, listens: Bool = true) -> Service {
        var balance = BalanceSettings()
        balance.algorithm = name == "web" ? .leastconn : .source
        return Service(
            name: name, command: [], listen: listens ? [ListenSettings(.loopback(port: 1))] : [], balance: balance)
    }

    @Test("fronts and instances get what was counted of them, of whatever order it is")
    func report() {
        let counted = BalancerCounters(
            fronts: [
                .init(service: "web", address: "b", counts: Self.counts(from: 300)),
                .init(service: "api", address: "a", counts: Self.counts(from: 100)),
                .init(service: "web", address: "c", counts: Self.counts(from: 400)),
            ],
            endpoints: [
                .init(instance: "web/1", counts: Self.counts(from: 500)),
                .init(instance: "api/2", counts: Self.counts(from: 200)),
            ], acceptPauses: 7)
        var aside = counted
        aside.endpoints[1].setAsideFor = 2_500_000_000
        aside.endpoints[0].failedAgo = 1_500_000_000
        let services = [
            (view: Self.view("api", 3), service: Self.service("api")),
            (view: Self.view("job", 1), service: Self.service("job", listens: false)),
            (view: Self.view("web", 1), service: Self.service("web")),
            (view: Self.view("none", 0), service: Self.service("none")),
            (view: Self.view("other", 0), service: Self.service("other")),
        ]
        let report = BalancerReport(
            aside, services, selected: ["api/1", "api/2", "job/1", "web/1"], without: ["none"])
        func instance(
            _ id: String, _ state: String, drained: Bool, aside: Double? = nil, failed: Double? = nil,
            _ counters: SessionCounters
        ) -> BalancedInstance {
            BalancedInstance(
                id: id, state: state, drained: drained, setAsideSeconds: aside, failedSecondsAgo: failed,
                counters: counters)
        }
        let api = BalancedService(
            name: "api", algorithm: "source",
            fronts: [BalancedFront(address: "a", counters: Self.counters(from: 100))],
            instances: [
                instance("api/1", "running", drained: false, SessionCounters()),
                instance("api/2", "starting", drained: true, aside: 2.5, Self.counters(from: 200)),
            ])
        let web = BalancedService(
            name: "web", algorithm: "leastconn",
            fronts: [
                BalancedFront(address: "b", counters: Self.counters(from: 300)),
                BalancedFront(address: "c", counters: Self.counters(from: 400)),
            ], instances: [instance("web/1", "running", drained: false, failed: 1.5, Self.counters(from: 500))])
        let none = BalancedService(name: "none", algorithm: "source", fronts: [], instances: [])
        #expect(report == BalancerReport(services: [api, web, none], acceptPauses: 7))
    }
}
