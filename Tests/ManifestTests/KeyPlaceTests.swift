import Manifest
import Testing

/// Keys that are right, but stand in the wrong section.
@Suite struct KeyPlaceTests {
    @Test(arguments: [
        ("algorithm: 'source'", "algorithm", "in \"balance\""),
        ("maxQueue: 5", "maxQueue", "in \"balance\""),
        ("allow: ['::1']", "allow", "in \"listen\" or \"balance\""),
        ("balance: { listen: 80 }, listen: 81", "balance.listen", "directly in the service"),
        ("listen: { address: 80, queueTimeout: '1s' }", "listen.queueTimeout", "in \"balance\""),
        ("listen: [80, { address: 81, idleTimeout: '1s' }]", "listen[1].idleTimeout", "in \"balance\""),
        ("nofile: 100", "nofile", "in \"limits\""),
        ("fd: 3", "fd", "in \"ready.notify\""),
        ("timeout: '5s'", "timeout", "in \"ready\", \"health\" or \"stop\""),
        ("stop: { restart: 'never' }", "stop.restart", "directly in the service"),
        ("restart: { replicas: 2 }", "restart.replicas", "directly in the service or in \"deploy.canary\""),
        ("notify: true", "notify", "in \"ready\""),
        ("web: {}", "web", "in \"supd\""), ("hooks: {}", "hooks", "at the top of the manifest"),
    ])
    func inAServiceTheSectionIsTold(fields: String, key: String, place: String) {
        let found = loadService(fields).errors
        #expect(found.map(\.path) == ["services.a.\(key)"])
        let name = key.split(separator: ".").last ?? ""
        #expect(found.map(\.message) == ["found \"\(name)\", expected it elsewhere: it belongs \(place)"])
    }

    @Test(arguments: [
        ("defaults: { algorithm: 'source' }", "in \"balance\""),
        ("defaults: { stop: { user: 'x' } }", "directly in \"defaults\""),
        ("defaults: { balance: { listen: 80 } }", "in each service"),
        ("defaults: { portRange: '1-2' }", "in \"supd\""),
        ("replicas: 2", "in a service"), ("command: ['x']", "in a service or in \"hooks\""),
        ("listen: 80", "in a service or in \"supd.web\""), ("user: 'me'", "in a service or in \"supd.balancer\""),
        ("supd: { command: ['x'] }", "in a service or in \"hooks\""),
        ("maxQueue: 2", "in \"balance\" of a service"),
        ("loops: 2", "in \"supd.balancer\""), ("supd: { web: { listen: 9300, portRange: '1-2' } }", "in \"supd\""),
        ("supd: { hooks: [] }", "at the top of the manifest"),
    ])
    func elsewhereToo(text: String, place: String) {
        let found = load("{ \(text), services: { b: { command: ['b'] } } }").errors
        #expect(
            found.count == 1 && found[0].message.hasSuffix(", expected it elsewhere: it belongs \(place)"), "\(found)")
    }

    @Test(
        "A service at the top of the manifest is told where it belongs, and nothing else is taken for one",
        arguments: [
            ("api: { command: ['x'] }", "found \"api\", expected it elsewhere: a service belongs in \"services\""),
            (
                "api: { comand: ['x'] }",
                "found the unknown key \"api\", expected one of supd, hooks, defaults, services"
            ),
            (
                "health: { command: ['x'] }", "found \"health\", expected it elsewhere: it belongs in a service"
            ),
            (
                "hook: { command: ['x'] }",
                "found the unknown key \"hook\", expected a known one; did you mean \"hooks\"?"
            ),
        ])
    func aServiceAtTheTop(text: String, message: String) {
        #expect(load("{ \(text), services: { b: { command: ['b'] } } }").errors.map(\.message) == [message])
    }

    @Test(
        "The end or the beginning of known names is told with all of them, before what it is elsewhere",
        arguments: [
            (
                "listen: 80, balance: { timeout: '1s' }", "timeout",
                ["queueTimeout", "connectTimeout", "idleTimeout", "finTimeout", "drainTimeout"],
                " One of this very name belongs in \"ready\", \"health\" or \"stop\"."
            ),
            (
                "listen: { address: 80, timeout: '1s' }", "timeout", ["userTimeout"],
                " One of this very name belongs in \"ready\", \"health\" or \"stop\"."
            ),
            ("log: { size: '1M' }", "size", ["maxSize"], ""),
            ("listen: 80, balance: { maxconn: 5 }", "maxconn", ["maxConnections"], ""),
            ("listen: { address: 80, maxconn: 5 }", "maxconn", ["maxConnections", "maxConnectionsPerAddress"], ""),
        ])
    func theEndOfAName(fields: String, key: String, names: [String], place: String) {
        let found = loadService(fields).errors.map(\.message)
        let meant = names.count == 1 ? "" : names.dropLast().map { "\"\($0)\"" }.joined(separator: ", ") + " or "
        let last = names.last ?? ""
        #expect(
            found == [
                "found the unknown key \"\(key)\", expected a known one; did you mean \(meant)\"\(last)\"?\(place)"
            ])
    }

    /// A key that is a letter away from one of the section may be either.
    @Test(arguments: [
        (
            "restart: { limits: { starts: 1, within: '1s' } }",
            "found \"limits\", expected it elsewhere: it belongs directly in the service; did you mean \"limit\"?"
        ),
        (
            "ready: { http: { path: '/', hosts: 'x' } }",
            "found the unknown key \"hosts\", expected a known one; did you mean \"host\"?"
        ),
    ])
    func aLetterAwayItMayBeMisspelt(fields: String, message: String) {
        #expect(loadService(fields).errors.map(\.message) == [message])
    }
}
