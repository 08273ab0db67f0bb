import Manifest
import Testing

private func health(_ text: String) throws -> HealthSettings? {
    try service("listen: 80, health: \(text)").health
}

private func warnings(_ fields: String, defaults: String = "{}") -> [String] {
    let result = load("{ defaults: \(defaults), services: { a: { command: ['a'], \(fields) } } }")
    #expect(result.manifest != nil, "\(result.errors)")
    return result.warnings.map { "\($0.path): \($0.message)" }
}

@Suite struct HealthFieldTests {
    @Test func theThreeChecksAndTheirSettings() throws {
        let path = Template(literal: "/healthz")
        #expect(try service("").health == nil)
        #expect(try health("{ tcp: true }") == HealthSettings(check: .tcp))
        #expect(try health("{ http: '/healthz' }") == HealthSettings(check: .http(HTTPCheck(path: path))))
        #expect(
            try health("{ command: ['x', '${PORT}'] }")
                == HealthSettings(
                    check: .command([Template(literal: "x"), Template(parts: [.variable(.port)])])))
        #expect(
            try health("{ tcp: true, interval: '1m', timeout: '2s', failures: 5, successes: 2 }")
                == HealthSettings(check: .tcp, interval: .seconds(60), timeout: .seconds(2), failures: 5, successes: 2))
        let check = HTTPCheck(
            path: path, lowestStatus: 200, highestStatus: 299, body: "ok then", host: "api.example.org:80")
        let text = "{ path: '/healthz', status: '200-299', body: 'ok then', host: 'api.example.org:80' }"
        #expect(try health("{ http: \(text) }") == HealthSettings(check: .http(check)))
        #expect(try service("ready: { http: \(text) }").ready == .http(check))
        for status in ["204", "'204'", "'204-204'"] {
            #expect(
                try health("{ http: { path: '/', status: \(status) } }")?.check
                    == .http(HTTPCheck(path: Template(literal: "/"), lowestStatus: 204, highestStatus: 204)))
        }
    }

    @Test(arguments: [
        ("true", "found true, expected \"none\", or a map"), ("'off'", "found \"off\", expected \"none\""),
        ("{ http: '/', tcp: true }", "found \"tcp\" beside \"http\""), ("{ http: 'healthz' }", "expected a path"),
        ("{ http: { status: 200 } }", "found no \"path\""),
        ("{ http: 5 }", "expected a path like \"/healthz\", or a map"),
        ("{ http: { path: '/', status: 99 } }", "expected a status from 200 to 999"),
        ("{ http: { path: '/', status: '2xx' } }", "expected a status"),
        ("{ http: { path: '/', status: '300-200' } }", "expected a status"),
        ("{ http: { path: '/', status: '200-1000' } }", "expected a status"),
        ("{ http: { path: '/', status: '200-' } }", "expected a status"),
        ("{ http: { path: '/', status: '200-300-400' } }", "expected a status"),
        ("{ http: { path: '/', status: true } }", "expected a status"),
        ("{ http: { path: '/', host: 'a b' } }", "expected the name of a host"),
        ("{ http: { path: '/', host: 'a\\r\\nX: y' } }", "expected the name of a host"),
        ("{ http: { path: '/', body: '' } }", "expected a text of at most 1024 bytes"),
        ("{ tcp: true, interval: '50ms' }", "from 100ms to"), ("{ tcp: true, timeout: '0s' }", "expected a duration"),
        ("{ tcp: true, failures: 0 }", "from 1 to 1000"), ("{ tcp: true, sucesses: 1 }", "did you mean \"successes\""),
    ])
    func whatIsWrongIsSaid(text: String, part: String) {
        let found = errors("{ services: { a: { command: ['a'], health: \(text) } } }")
        #expect(found.count == 1 && found.allSatisfy { $0.contains(part) }, "\(found)")
    }

    @Test func defaultsSayHowAndEachServiceSaysWhat() throws {
        func settings(_ health: String, defaults: String) throws -> HealthSettings? {
            let text =
                "{ defaults: { health: \(defaults) }, services: { a: { command: ['a'], listen: 80, \(health) } } }"
            return try manifest(text).services.first?.health
        }
        #expect(try settings("", defaults: "{ interval: '5s' }") == nil)
        #expect(
            try settings("health: { tcp: true }", defaults: "{ interval: '5s' }")
                == HealthSettings(check: .tcp, interval: .seconds(5)))
        #expect(try settings("", defaults: "{ tcp: true }") == HealthSettings(check: .tcp))
        #expect(try settings("health: 'none'", defaults: "{ tcp: true, failures: 9 }") == nil)
        #expect(
            try settings("health: { http: '/' }", defaults: "{ tcp: true, failures: 9 }")
                == HealthSettings(check: .http(HTTPCheck(path: Template(literal: "/"))), failures: 9))
    }

    @Test(arguments: [
        (
            "listen: 80, health: { tcp: true, timeout: '20s' }",
            "timeout: the timeout of 20s is longer than the interval of 10s"
        ),
        ("listen: 80, health: { tcp: true, interval: '500ms' }", "interval: the timeout of 1s is longer"),
        ("listen: 80, health: { interval: '5s' }", "health.interval: has no effect: nothing is probed"),
        ("kind: 'task', health: { command: ['x'] }", "has no effect: a task at work is not probed"),
        ("listen: 80, restart: 'never', health: { tcp: true }", "an unhealthy instance is not stopped"),
        ("health: { http: '/' }", "nothing says when an instance is ready"),
    ])
    func silliesAreWarnedOf(fields: String, part: String) {
        let found = warnings(fields)
        #expect(found.count == 1 && found.allSatisfy { $0.contains(part) }, "\(found)")
    }

    @Test(arguments: [
        "listen: 80, health: { tcp: true, interval: '1s' }", "port: 9000, health: { http: '/' }",
        "ready: { tcp: true }, health: { tcp: true }", "ready: 'started', health: { tcp: true }",
        "health: { command: ['x'] }", "health: 'none'",
    ])
    func whatIsFineIsNotWarnedOf(fields: String) { #expect(warnings(fields).isEmpty) }

    @Test func defaultsAreWarnedOfWhereTheyMatter() {
        #expect(warnings("kind: 'task'", defaults: "{ health: { tcp: true } }").isEmpty)
        #expect(warnings("listen: 80", defaults: "{ health: { interval: '1s' } }").isEmpty)
        #expect(
            warnings("listen: 80, health: { tcp: true }", defaults: "{ health: { timeout: '20s' } }").first?.hasPrefix(
                "defaults.health.timeout of services.a: the timeout of 20s") == true)
    }
}
