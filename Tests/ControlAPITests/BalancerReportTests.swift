import Foundation
import Testing

@testable import ControlAPI

@Suite("The balancer's report")
struct BalancerReportTests {
    static let counterKeys: Set<String> = [
        "connections", "connectionsMax", "connectionsTotal", "rate", "rateMax", "queued", "queuedMax", "bytesIn",
        "bytesOut", "turnedAway", "denied", "limited", "connectErrors", "retries", "redispatches", "setAside",
        "connects", "connectSecondsAverage", "connectSecondsMax", "ends",
    ]

    static func report(_ counters: SessionCounters, setAside: Double? = nil) -> BalancerReport {
        BalancerReport(
            services: [
                BalancedService(
                    name: "api", algorithm: "source",
                    fronts: [BalancedFront(address: "127.0.0.1:8080", counters: counters)],
                    instances: [
                        BalancedInstance(
                            id: "api/1", state: "running", drained: true, setAsideSeconds: setAside,
                            failedSecondsAgo: setAside.map { $0 + 1 }, counters: counters)
                    ])
            ], acceptPauses: 3)
    }

    @Test("Counters stand beside the names, what is absent is null, and no key is left out")
    func keys() throws {
        let text = try #require(ControlJSON.encode(Self.report(SessionCounters())))
        let object = try #require(try JSONSerialization.jsonObject(with: Data(text)) as? [String: Any])
        #expect(Set(object.keys) == ["services", "acceptPauses"])
        let service = try #require((object["services"] as? [[String: Any]])?.first)
        #expect(Set(service.keys) == ["name", "algorithm", "fronts", "instances"])
        let front = try #require((service["fronts"] as? [[String: Any]])?.first)
        #expect(Set(front.keys) == Self.counterKeys.union(["address"]))
        let instance = try #require((service["instances"] as? [[String: Any]])?.first)
        #expect(
            Set(instance.keys)
                == Self.counterKeys.union(["id", "state", "drained", "setAsideSeconds", "failedSecondsAgo"]))
        for key in ["connectSecondsAverage", "connectSecondsMax", "setAsideSeconds", "failedSecondsAgo"] {
            #expect(instance[key] is NSNull, "\(key)")
        }
        for key in Self.counterKeys.subtracting(["connectSecondsAverage", "connectSecondsMax", "ends"]) {
            #expect(instance[key] as? Int == 0, "\(key)")
        }
        #expect((instance["ends"] as? [String: Any])?.isEmpty == true)
    }

    @Test("A report with everything in it reads back as it was written, each number under its own name")
    func roundTrip() throws {
        var counters = SessionCounters()
        counters.connections = 1
        counters.connectionsMax = 2
        counters.connectionsTotal = .max
        counters.rate = 4
        counters.rateMax = 5
        counters.queued = 6
        counters.queuedMax = 7
        counters.bytesIn = 8
        counters.bytesOut = 9
        counters.turnedAway = 10
        counters.denied = 11
        counters.limited = 12
        counters.connectErrors = 13
        counters.retries = 14
        counters.redispatches = 15
        counters.setAside = 16
        counters.connects = 17
        counters.connectSecondsAverage = 0.000_25
        counters.connectSecondsMax = 1.5
        counters.ends = ["--": 20, "CD": 21]
        let report = Self.report(counters, setAside: 2.5)
        let text = try #require(ControlJSON.encode(report))
        #expect(ControlJSON.decode(BalancerReport.self, from: text) == report)
        let json = String(decoding: text, as: UTF8.self)
        for piece in [
            "\"setAsideSeconds\":2.5", "\"failedSecondsAgo\":3.5", "\"ends\":{\"--\":20,\"CD\":21}", "\"queuedMax\":7",
        ] {
            #expect(json.contains(piece), "\(piece)")
        }
    }
}
