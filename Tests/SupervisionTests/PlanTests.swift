import Manifest
import Testing

@testable import Supervision

/// What another manifest changes, and what it costs.
struct PlanTests {
    private func plan(_ old: Service, _ new: Service) -> Plan {
        Plan(from: Manifest(services: [old]), to: Manifest(services: [new]))
    }

    @Test func `every field of a service is compared`() {
        let properties = Set(Mirror(reflecting: service("a")).children.compactMap(\.label)).subtracting(["name"])
        #expect(Set(ServiceComparison.fields.map(\.property)) == properties)
    }

    @Test func `every field of balance and listen is compared`() {
        // A field that is left out would be changed in silence, or not at all.
        #expect(Mirror(reflecting: BalanceSettings()).children.count == 12)
        #expect(Mirror(reflecting: ListenSettings(.loopback(port: 1))).children.count == 10)
        #expect(Mirror(reflecting: RestartSettings()).children.count == 8)
        #expect(Mirror(reflecting: HealthSettings(check: .tcp)).children.count == 5)
        #expect(Mirror(reflecting: DeploySettings()).children.count == 5)
        #expect(Mirror(reflecting: LogSettings()).children.count == 5)
        #expect(Mirror(reflecting: DaemonSettings()).children.count == 3)
        #expect(Mirror(reflecting: WebSettings(listen: .loopback(port: 1))).children.count == 3)
    }

    @Test func `every field of the page is compared, and is live`() {
        let none = Manifest()
        var page = none
        page.supd.web = WebSettings(listen: .loopback(port: 1))
        var other = none
        other.supd.web = WebSettings(listen: .loopback(port: 2), hosts: ["a"], actions: "/t")
        func fields(_ old: Manifest, _ new: Manifest) -> [String] {
            let changes = Plan(from: old, to: new).changes
            #expect(changes.allSatisfy { $0.cost == .live })
            return changes.flatMap(\.fields).map { "\($0.field): \($0.old ?? "-") → \($0.new ?? "-")" }
        }
        #expect(fields(page, page) == [])
        #expect(fields(none, page) == ["web.listen: - → 127.0.0.1:1"])
        #expect(fields(page, none) == ["web.listen: 127.0.0.1:1 → -"])
        #expect(
            fields(page, other) == [
                "web.listen: 127.0.0.1:1 → 127.0.0.1:2", "web.hosts: - → a", "web.actions: - → /t",
            ])
    }

    @Test func `long values that differ late are shown where they differ`() {
        let long = String(repeating: "x", count: 400)
        let (old, new) = (service("a"), service("a"))
        func changed(_ first: String, _ second: String) -> Plan.FieldChange? {
            var (old, new) = (old, new)
            old.command = [Template(literal: first)]
            new.command = [Template(literal: second)]
            return plan(old, new).changes.first?.fields.first
        }
        let late = changed("\(long)1\(long)", "\(long)2")
        func x(_ count: Int) -> String { String(repeating: "x", count: count) }
        #expect(late?.old == "…\(x(30))1\(x(89))…")
        #expect(late?.new == "…\(x(30))2")
        let early = changed("1\(long)", "2")
        #expect(early?.old == "1\(x(119))…")
        #expect(early?.new == "2")
        // A piece that is all of the other one.
        let longer = changed(long, "\(long)y")
        #expect(longer?.old == "…\(x(30))")
        #expect(longer?.new == "…\(x(30))y")
    }

    @Test func `of hooks it is shown which, and from what to what`() {
        func manifest(_ hooks: [Hook]?) -> Manifest {
            var manifest = Manifest()
            manifest.hooks = hooks
            return manifest
        }
        func fields(_ old: [Hook]?, _ new: [Hook]?) -> [String] {
            let changes = Plan(from: manifest(old), to: manifest(new)).changes
            #expect(changes.allSatisfy { $0.cost == .live && $0.service == "supd" })
            return changes.flatMap(\.fields).map { "\($0.field): \($0.old ?? "-") → \($0.new ?? "-")" }
        }
        let mail = Hook(
            occasions: [.failed, .recovered], command: [Template(literal: "mail"), Template(literal: "me")])
        let push = Hook(occasions: [.failed], command: [Template(literal: "push")])
        #expect(fields([mail], [mail]) == [])
        #expect(fields(nil, []) == [])
        #expect(fields([mail], [push]) == ["hooks[0]: failed, recovered: mail me → failed: push"])
        #expect(fields([mail], [mail, push]) == ["hooks[1]: - → failed: push"])
        #expect(
            fields([mail, push], nil) == ["hooks[0]: failed, recovered: mail me → -", "hooks[1]: failed: push → -"])
    }

    @Test func `nothing changes nothing`() {
        let one = service("a", replicas: 3, front: 80)
        #expect(plan(one, one).changes.isEmpty)
    }

    /// A change of one field.
    private struct Case {
        var cost: Plan.Cost
        var field: String
        var change: (inout Service) -> Void

        init(_ cost: Plan.Cost, _ field: String, _ change: @escaping (inout Service) -> Void) {
            self.cost = cost
            self.field = field
            self.change = change
        }
    }

    @Test func `a field has its cost`() {
        let cases = [
            Case(.live, "balance.algorithm") { $0.balance.algorithm = .leastconn },
            Case(.rolling, "limits.cpu") { $0.limits = [ResourceLimit(resource: .cpu, soft: 9, hard: 9)] },
            Case(.live, "limits.nofile") { $0.limits = [ResourceLimit(resource: .nofile, soft: 9, hard: 9)] },
            Case(.live, "stop.timeout") { $0.stop.timeout = .seconds(3) },
            Case(.live, "health") { $0.health?.check = .http(HTTPCheck(path: Template(literal: "/h"))) },
            Case(.live, "health.interval") { $0.health?.interval = .seconds(3) },
            Case(.live, "log.keep") { $0.log.keep = 1 },
            Case(.live, "log.format") { $0.log.format = .json },
            Case(.live, "log.rate") { $0.log.rate = 10 },
            Case(.live, "log.journal") { $0.log.journal = true },
            Case(.live, "restart.policy") { $0.restart.policy = .never },
            Case(.live, "deploy.failures") { $0.deploy.failures = 1 },
            Case(.live, "idle.stopAfter") { $0.idleAfter = .seconds(60) },
            Case(.live, "deploy.canary") { $0.deploy.canary = CanarySettings(hold: .seconds(60)) },
            Case(.live, "ready.timeout") { $0.readyTimeout = .seconds(1) },
            Case(.live, "listen") { $0.listen = [ListenSettings(.loopback(port: 81))] },
            Case(.scale, "replicas") { $0.replicas = 4 },
            Case(.rolling, "command") { $0.command = [Template(literal: "y")] },
            Case(.rolling, "environment.KEY") {
                $0.environment = [EnvironmentVariable(name: "KEY", value: Template(literal: "v"))]
            },
            Case(.rolling, "directory") { $0.directory = Template(literal: "/srv") },
            Case(.rolling, "umask") { $0.umask = 0o077 },
            Case(.rolling, "ready") { $0.ready = .started },
            Case(.restart, "balance.proxyProtocol") { $0.balance.proxyProtocol = .v1 },
            Case(.restart, "port") { $0.port = 7000 },
        ]
        for one in cases {
            var old = service("a", replicas: 3, front: 80, ready: .tcp)
            old.health = HealthSettings(check: .tcp)
            var new = old
            one.change(&new)
            let changes = plan(old, new).changes
            #expect(changes.map(\.cost) == [one.cost], "\(one.field)")
            #expect(changes.first?.fields.map(\.field) == [one.field])
        }
    }

    @Test func `how new instances take over is said where it is not one after the other`() {
        func manner(_ old: Service, _ deploy: DeploySettings) -> String? {
            var new = old
            new.command = [Template(literal: "y")]
            new.deploy = deploy
            return plan(old, new).changes.first?.manner
        }
        let api = service("a", replicas: 3, front: 80, ready: .tcp)
        let canary = DeploySettings(canary: CanarySettings(replicas: 2, hold: .seconds(120)))
        #expect(manner(api, DeploySettings()) == nil)
        #expect(manner(api, canary) == "after a canary of 2 for 2 min")
        #expect(manner(service("a", front: 80, ready: .tcp), canary) == "after a canary of 1 for 2 min")
        let blueGreen = DeploySettings(strategy: .blueGreen)
        #expect(manner(api, blueGreen) == "all of which take over at once when they are ready")
        // Where nothing can stand beside the others there is neither.
        for old in [service("a", port: 7000, front: 80, ready: .tcp), service("a", replicas: 2)] {
            #expect(manner(old, canary) == nil && manner(old, blueGreen) == nil)
        }
        // What replaces no process has no trial.
        var live = api
        live.deploy = canary
        #expect(plan(api, live).changes.map(\.manner) == [nil])
    }

    @Test func `without a front or on a fixed port it is a restart`() {
        for old in [service("a", replicas: 2), service("a", port: 7000, front: 80)] {
            var new = old
            new.command = [Template(literal: "y")]
            #expect(plan(old, new).changes.map(\.cost) == [.restart])
        }
    }

    @Test func `a limit that is taken away needs a new process`() {
        var old = service("a", front: 80)
        old.limits = [ResourceLimit(resource: .core, soft: 0, hard: 0)]
        #expect(plan(old, service("a", front: 80)).changes.map(\.cost) == [.rolling])
    }

    @Test func `values of the environment are never shown`() throws {
        var old = service("a", front: 80)
        var new = old
        old.environment = [EnvironmentVariable(name: "TOKEN", value: Template(literal: "hunter2"))]
        new.environment = [EnvironmentVariable(name: "TOKEN", value: Template(literal: "hunter3"))]
        old.command = [Template(literal: "x"), Template(parts: [.literal("hunter2")], holdsEnvironment: true)]
        new.command = [Template(literal: "x"), Template(literal: "y")]
        let change = try #require(plan(old, new).changes.first)
        #expect(!"\(change)".contains("hunter"))
        #expect(change.fields.map(\.field) == ["command", "environment.TOKEN"])
    }

    @Test func `what is shown alike and differs is no less a change`() {
        let secret = { (text: String) in Template(parts: [.literal(text)], holdsEnvironment: true) }
        let cases: [(Plan.Cost, String, (inout Service, String) -> Void)] = [
            (.rolling, "directory", { $0.directory = secret("/srv/\($1)") }),
            (.rolling, "ready", { $0.ready = .log(pattern: secret($1)) }),
            (.rolling, "ready", { $0.ready = .command([secret($1)]) }),
            (.live, "health", { $0.health = HealthSettings(check: .command([secret($1)])) }),
            (.rolling, "watchdog", { $0.watchdog = $1 == "a" ? .seconds(610) : .seconds(620) }),
            (.live, "stop.timeout", { $0.stop.timeout = $1 == "a" ? .seconds(610) : .seconds(620) }),
        ]
        for (cost, field, change) in cases {
            var (old, new) = (service("a", front: 80, ready: .tcp), service("a", front: 80, ready: .tcp))
            change(&old, "a")
            change(&new, "hunter2")
            let changes = plan(old, new).changes
            #expect(changes.map(\.cost) == [cost], "\(field)")
            #expect(changes.first?.fields.map(\.field) == [field])
            #expect(!"\(changes.map(\.fields))".contains("hunter2"))
        }
    }

    @Test func `services that come and go`() {
        let plan = Plan(
            from: Manifest(services: [service("a"), service("b", replicas: 2)]),
            to: Manifest(services: [service("c"), service("a")]))
        #expect(plan.changes.map(\.service) == ["c", "b"])
        #expect(plan.changes.map(\.cost) == [.start, .stop])
    }
}
