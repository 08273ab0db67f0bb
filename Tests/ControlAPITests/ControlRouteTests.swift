import TestSupport
import Testing

@testable import ControlAPI

@Suite("What a request asks for")
struct ControlRouteTests {
    static let routes: [ControlRoute] = [
        .version,
        .status(names: [], limits: false),
        .status(names: ["api", "web/2", "a*", "w?b"], limits: true),
        .verb(.start, names: ["all"], options: .init(wait: false)),
        .verb(.stop, names: ["api/2"], options: .init(wait: true)),
        .verb(.restart, names: ["api", "b,c", "ü% &=+"], options: .init(wait: true, timeout: .milliseconds(1500))),
        .verb(.restart, names: ["api"], options: .init(wait: true, timeout: .milliseconds(1))),
        .verb(.restart, names: ["api"], options: .init(wait: true, timeout: .seconds(90))),
        .verb(.drain, names: ["api/2"], options: .init(wait: true, timeout: .seconds(30))),
        .verb(.undrain, names: ["api/2", "b"], options: .init(wait: false)),
        .balancer(names: []),
        .balancer(names: ["api", "web-*"]), .metrics,
        .signal(names: ["api"], signal: "RTMIN+3"),
        .limit(names: ["api/1"], limits: ["nofile": "4096", "core": "0:unlimited"]),
        .usage(names: [], series: nil), .usage(names: ["api", "web/1"], series: .day),
        .scale([ScaleWish(name: "api", replicas: 5)], options: .init(wait: false)),
        .scale(
            [ScaleWish(name: "a,b*", replicas: 0), ScaleWish(name: "web", replicas: 1000)],
            options: .init(wait: true, timeout: .seconds(9))),
        .shutdown(options: .init(wait: true)),
        .events(after: nil, follow: true), .events(after: 0, follow: false), .events(after: .max, follow: true),
        .events(after: 5, follow: false, instances: []),
        .events(after: nil, follow: true, instances: ["api/1", "db/20"]),
        .history, .rollback(number: nil, dryRun: true, options: .init(wait: true)),
        .decide(.promote, service: "api", options: .init(wait: false)),
        .decide(.rollback, service: "api", options: .init(wait: true, timeout: .seconds(3))),
        .rollback(number: 17, dryRun: false, options: .init(wait: false)),
        .apply(file: nil, dryRun: false, options: .init(wait: false)),
        .apply(file: "/etc/supd/a b&c.json5", dryRun: true, options: .init(wait: true, timeout: .seconds(3))),
        .shutdown(options: .init(wait: false)),
        .logs(names: ["api", "b/1"], lines: 0, follow: true, before: []),
        .logs(names: ["api/1"], lines: 5, follow: false, before: [], until: 1_769_854_830_123_456_789),
        .logs(
            names: ["api"], lines: 200, follow: false,
            before: [
                LogMark(instance: "api/1", file: .max, offset: 0, time: "2026-01-31T10:20:30.123456789Z"),
                LogMark(instance: "api/balancer", file: 7, offset: .max, time: "2026-01-31T10:20:30.123456789Z"),
            ]),
        .upgrade(path: nil, check: false),
        .upgrade(path: "/opt/supd 2/ü", check: true),
    ]

    @Test("What the client asks for is what the daemon understands", arguments: routes)
    func roundTrip(route: ControlRoute) throws {
        var parser = HTTPRequestParser()
        parser.append(route.request.serialized())
        guard case .request(let request) = try parser.next() else {
            Issue.record("not a complete request")
            return
        }
        #expect(try ControlRoute(request) == route)
    }

    @Test(
        "What a person types for curl is understood as well",
        arguments: [
            ("POST", "/v1/services/api/2/restart", .verb(.restart, names: ["api/2"], options: .init(wait: false))),
            (
                "POST", "/v1/services/api%2F2,web/stop?wait=1",
                .verb(.stop, names: ["api/2", "web"], options: .init(wait: true))
            ),
            ("POST", "/v1/services/a*/signal?signal=HUP", .signal(names: ["a*"], signal: "HUP")),
            (
                "POST", "/v1/services/api,web/scale?replicas=5,2",
                .scale(
                    [ScaleWish(name: "api", replicas: 5), ScaleWish(name: "web", replicas: 2)],
                    options: .init(wait: false))
            ),
            ("POST", "/v1/services/api/2/drain", .verb(.drain, names: ["api/2"], options: .init(wait: false))),
            ("GET", "/v1/balancer?name=api", .balancer(names: ["api"])),
            ("GET", "/v1/events?after=17&follow=0", .events(after: 17, follow: false)),
            (
                "GET", "/v1/events?instances=api/1,b%2F2",
                .events(after: nil, follow: true, instances: ["api/1", "b/2"])
            ),
            ("GET", "/v1/status?limits=0&name=api", .status(names: ["api"], limits: false)),
        ] as [(String, String, ControlRoute)])
    func byHand(method: String, target: String, route: ControlRoute) throws {
        #expect(try ControlRoute(HTTPRequest(method: method, target: target)) == route)
    }

    @Test("Limits may be text or whole numbers")
    func limitBody() throws {
        let body = Array("{\"nofile\": 4096, \"as\": \"1G\"}".utf8)
        let route = try ControlRoute(HTTPRequest(method: "POST", target: "/v1/services/api/limit", body: body))
        #expect(route == .limit(names: ["api"], limits: ["nofile": "4096", "as": "1G"]))
    }

    @Test(
        "What is not known is refused, not passed over",
        arguments: [
            ("GET", "/", 404), ("GET", "/v1", 404), ("GET", "/v2/status", 404), ("GET", "/v1/status/", 404),
            ("GET", "/v1/services/api", 404), ("POST", "/v1/services/api/explode", 404), ("GET", "/v1/metrics", 404),
            ("GET", "/metrics/", 404),
            ("POST", "/metrics", 405), ("GET", "/metrics?name=api", 400),
            ("POST", "/v1/applied", 404), ("GET", "/v1/apply", 405), ("POST", "/v1/apply?file=relative", 400),
            ("POST", "/v1/apply?dry-run=perhaps", 400), ("POST", "/v1/services/restart", 404),
            ("POST", "/v1/status", 405), ("HEAD", "/v1/status", 405), ("BREW", "/v1/version", 405),
            ("GET", "/v1/services/api/restart", 405), ("DELETE", "/v1/shutdown", 405),
            ("POST", "/v1/services/api/signal", 400), ("POST", "/v1/services/api/signal?signal=", 400),
            ("POST", "/v1/services//stop", 400), ("POST", "/v1/services/api,/stop", 400),
            ("POST", "/v1/services/%zz/stop", 400), ("POST", "/v1/services/%ff/stop", 400),
            ("POST", "/v1/services/a%00/stop", 400),
            ("POST", "/v1/services/api/stop?wait=maybe", 400), ("POST", "/v1/services/api/stop?force=1", 400),
            ("POST", "/v1/services/api/stop?wait=1&wait=1", 400),
            ("POST", "/v1/services/api/stop?timeout=0", 400), ("POST", "/v1/services/api/stop?timeout=-1", 400),
            ("POST", "/v1/services/api/stop?timeout=inf", 400), ("POST", "/v1/services/api/stop?timeout=nan", 400),
            ("POST", "/v1/services/api/stop?timeout=1e300", 400), ("GET", "/v1/status?name=", 400),
            ("POST", "/v1/events", 405), ("GET", "/v1/events?after=", 400), ("GET", "/v1/events?instances=,", 400),
            ("GET", "/v1/logs?until=-1", 400),
            ("GET", "/v1/logs?until=now", 400), ("GET", "/v1/logs?until=1&follow=true", 400),
            ("GET", "/v1/events?after=-1", 400),
            ("GET", "/v1/events?after=+1", 400), ("GET", "/v1/events?after=18446744073709551616", 400),
            ("GET", "/v1/events?after=x", 400), ("GET", "/v1/events?follow=perhaps", 400),
            ("POST", "/v1/balancer", 405), ("GET", "/v1/balancer?name=", 400), ("GET", "/v1/balancer?limits=1", 400),
            ("GET", "/v1/services/api/drain", 405), ("POST", "/v1/services/api/undrain?n=1", 400),
            ("POST", "/v1/services/api/limit", 400), ("GET", "/v1/upgrade", 405),
            ("GET", "/v1/services/api/scale?replicas=1", 405), ("POST", "/v1/services/api/scale", 400),
            ("POST", "/v1/services/api/scale?replicas=", 400), ("POST", "/v1/services/api/scale?replicas=-1", 400),
            ("POST", "/v1/services/api/scale?replicas=1,2", 400), ("POST", "/v1/services/a,b/scale?replicas=1", 400),
            ("POST", "/v1/services/api/scale?replicas=99999999999999999999", 400),
            ("POST", "/v1/services/api/scale?replicas=1&force=1", 400),
            ("GET", "/v1/logs?lines=10001", 400), ("GET", "/v1/logs?before=", 400),
            ("GET", "/v1/logs?before=api/1", 400), ("GET", "/v1/logs?before=api/1@7.8@now", 400),
            ("GET", "/v1/logs?before=api/1@7@2026-01-31T10:20:30Z", 400),
            ("GET", "/v1/logs?before=api/1@7.-1@2026-01-31T10:20:30Z", 400),
            ("GET", "/v1/logs?before=api/1@7.99999999999999999999@2026-01-31T10:20:30Z", 400),
            ("GET", "/v1/logs?follow=true&before=api/1@7.8@2026-01-31T10:20:30Z", 400),
            ("GET", "/v1/logs?before=a/1@7.8@2026-01-31T10:20:30Z,a/1@7.8@2026-01-31T10:20:30Z", 400),
            ("POST", "/v1/upgrade?path=supd", 400), ("POST", "/v1/upgrade?path=", 400),
            ("POST", "/v1/upgrade?path=/a%00b", 400), ("POST", "/v1/upgrade?force=1", 400),
        ])
    func refused(method: String, target: String, status: Int) {
        #expect(
            performing: { try ControlRoute(HTTPRequest(method: method, target: target)) },
            throws: { ($0 as? RouteFailure)?.status == status })
    }

    @Test(
        "A body that is no object of limits is refused",
        arguments: [
            "", "[]", "{}", "{\"nofile\": 1.5}", "{\"nofile\": null}", "{\"nofile\": {\"soft\": 1}}", "nofile=1",
        ])
    func badLimits(body: String) {
        #expect(throws: RouteFailure.self) {
            try ControlRoute(HTTPRequest(method: "POST", target: "/v1/services/api/limit", body: Array(body.utf8)))
        }
    }

    @Test("Random targets never do more than be refused", arguments: 0..<2)
    func randomTargets(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let pieces = [
            "/", "v1", "services", "api", "restart", "?", "&", "=", "wait", "timeout", "%2F", "%", ",", "9", "name",
            "status", "signal", "limit", "scale", "replicas",
        ]
        for _ in 0..<5000 {
            let target =
                "/"
                + (0..<Int.random(in: 0...12, using: &random)).map { _ in
                    pieces.randomElement(using: &random) ?? ""
                }.joined()
            _ = try? ControlRoute(HTTPRequest(method: "POST", target: target))
        }
    }
}
