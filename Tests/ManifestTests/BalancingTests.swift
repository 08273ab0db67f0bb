import Manifest
import Testing

/// The settings of fronts and of balancing.
@Suite struct BalancingTests {
    /// All settings of a front away from their defaults.
    @Test func aFrontMayBeAMapWithSettingsOfItsOwn() throws {
        var expected = ListenSettings(.ipv4(address: "0.0.0.0", port: 80))
        expected.maxConnections = 10
        expected.maxConnectionsPerAddress = 2
        expected.allow = [
            AddressRange(bytes: [10, 0, 0, 0], prefix: 8), AddressRange(bytes: [10, 1, 2, 3], prefix: 32),
        ]
        expected.acceptProxyProtocol = true
        expected.keepAlive = nil
        expected.userTimeout = .milliseconds(1500)
        expected.backlog = 7
        expected.deferAccept = .seconds(3)
        let text = """
            { address: '0.0.0.0:80', maxConnections: 10, maxConnectionsPerAddress: 2, allow: ['10.0.0.0/8', '10.1.2.3'],
              acceptProxyProtocol: true, keepAlive: false, userTimeout: '1500ms', backlog: 7, deferAccept: '3s' }
            """
        #expect(try service("listen: \(text)").listen == [expected])
        #expect(try service("listen: [8080, \(text)]").listen == [ListenSettings(.loopback(port: 8080)), expected])
        #expect(try service("listen: { address: 80, keepAlive: '5m' }").listen.first?.keepAlive == .seconds(300))
    }

    @Test func aFrontMayBePassedToTheInstances() throws {
        let passed = try service("listen: { address: 8080, pass: true, backlog: 7 }")
        #expect(passed.listen.first?.passes == true && !passed.isBalanced)
        // Nobody knows whether it listens on PORT.
        #expect(passed.ready == .started)
        #expect(try service("listen: { address: 8080, pass: true }, port: 9000").ready == .tcp)
        let mixed = try service("listen: [80, { address: 8080, pass: true }], balance: { maxConnections: 3 }")
        #expect(mixed.isBalanced && mixed.ready == .tcp)
        #expect(try service("listen: { address: 8080, pass: false, maxConnections: 3 }").isBalanced)
        #expect(try !service("").isBalanced)
    }

    @Test(arguments: [
        ("listen: { address: 80, pass: true, maxConnections: 3 }", "listen.maxConnections"),
        ("listen: { address: 80, pass: true, maxConnectionsPerAddress: 3 }", "listen.maxConnectionsPerAddress"),
        ("listen: { address: 80, pass: true, allow: ['::1'] }", "listen.allow"),
        ("listen: { address: 80, acceptProxyProtocol: true, pass: true }", "listen.acceptProxyProtocol"),
        ("listen: { address: 80, pass: true, keepAlive: '5s' }", "listen.keepAlive"),
        ("listen: { address: 80, pass: true, userTimeout: '5s' }", "listen.userTimeout"),
        ("listen: { address: 80, pass: true, deferAccept: '5s' }", "listen.deferAccept"),
        ("listen: { address: 80, pass: true }, balance: { proxyProtocol: 'v2' }", "balance"),
        ("listen: { address: 80, pass: true }, ready: { notify: { fd: 4 } }", "ready.notify"),
        ("listen: { address: 80, pass: 'yes' }", "listen.pass"),
    ])
    func whatDoesNotGoTogetherWithPassIsAnError(text: String, path: String) {
        let found = loadService(text).errors
        #expect(found.count == 1 && found[0].path == "services.a.\(path)", "\(found)")
    }

    @Test func defaultsOfBalancingDoNotHinderAPassedFront() throws {
        let text = """
            { defaults: { balance: { maxConnections: 3 } },
              services: { a: { command: ['x'], listen: { address: 80, pass: true }, ready: { notify: { fd: 5 } } } } }
            """
        let result = ManifestLoader.load(
            text: Array(text.utf8), file: "f", directory: "/", environment: [:], facts: testFacts)
        #expect(result.errors == [])
    }

    /// All settings of balancing away from their defaults.
    @Test func allSettingsOfBalancingAreRead() throws {
        var expected = BalanceSettings(
            queueTimeout: .seconds(1), connectTimeout: .seconds(3), drainTimeout: .seconds(4))
        expected.algorithm = .random2
        expected.slowStart = .seconds(5)
        expected.maxConnections = 6
        expected.maxQueue = 0
        expected.idleTimeout = .seconds(7)
        expected.finTimeout = .seconds(8)
        expected.proxyProtocol = .v1
        expected.allow = [AddressRange(bytes: [UInt8](repeating: 0, count: 15) + [1], prefix: 128)]
        expected.log = true
        let fields = """
            algorithm: 'random2', slowStart: '5s', maxConnections: 6, maxQueue: 0, queueTimeout: '1s', connectTimeout: '3s',
            idleTimeout: '7s', finTimeout: '8s', drainTimeout: '4s', proxyProtocol: 'v1', allow: ['::1'], log: true
            """
        #expect(try service("listen: 80, balance: { \(fields) }").balance == expected)
        let merged = try manifest(
            "{ defaults: { balance: { \(fields) } }, services: { a: { command: ['a'], listen: 80, balance: { log: false } } } }"
        )
        expected.log = false
        #expect(merged.services.first?.balance == expected)
    }

    @Test func aServiceTakesBackWhatDefaultsSay() throws {
        let merged = try manifest(
            """
            { defaults: { balance: { maxConnections: 6, maxQueue: 0, idleTimeout: '7s', proxyProtocol: 'v1' } },
              services: {
                a: { command: ['a'], listen: 80,
                     balance: { maxConnections: false, maxQueue: false, idleTimeout: false, proxyProtocol: false } },
                b: { command: ['b'], listen: 81, balance: { maxConnections: false } },
              } }
            """)
        #expect(merged.services.first?.balance == BalanceSettings())
        let other = merged.services.last?.balance
        #expect(other?.maxConnections == nil && other?.maxQueue == 0 && other?.proxyProtocol == .v1)
    }

    @Test(
        arguments: [
            ("0.0.0.0/0", [0, 0, 0, 0], 0), ("192.168.0.0/16", [192, 168, 0, 0], 16), ("10.1.2.3", [10, 1, 2, 3], 32),
            ("10.1.2.3/32", [10, 1, 2, 3], 32), ("10.1.2.2/31", [10, 1, 2, 2], 31), ("128.0.0.0/1", [128, 0, 0, 0], 1),
            ("::/0", [UInt8](repeating: 0, count: 16), 0),
            ("fd00::/8", [0xFD] + [UInt8](repeating: 0, count: 15), 8),
            ("::1", [UInt8](repeating: 0, count: 15) + [1], 128),
            ("2001:DB8::/33", [0x20, 0x01, 0x0D, 0xB8] + [UInt8](repeating: 0, count: 12), 33),
            ("::1.2.3.0/120", [UInt8](repeating: 0, count: 12) + [1, 2, 3, 0], 120),
        ] as [(String, [UInt8], Int)])
    func rangesOfAddresses(text: String, bytes: [UInt8], prefix: Int) throws {
        let range = AddressRange(bytes: bytes, prefix: prefix)
        #expect(try service("listen: 80, balance: { allow: ['\(text)'] }").balance.allow == [range])
        // What it is shown as is read as the same.
        #expect(try service("listen: 80, balance: { allow: ['\(range)'] }").balance.allow == [range])
    }

    @Test(arguments: [
        "''", "'/8'", "'10.0.0.0/'", "'10.0.0.0/33'", "'10.0.0.0/-1'", "'10.0.0.0/08'", "'10.0.0.0/8/8'", "'10.0.0/8'",
        "'10.0.0.00/8'", "'::/129'", "'[::1]'", "'::1%lo'", "'fd00::/8 '", "'localhost'", "'all'", "'*'", "10", "true",
        "'0x0a.0.0.0/8'", "'10.0.0.0/1e1'", "'10.0.0.0\\u0000'", "'::1:2:3:4:5:6:7:8'",
    ])
    func whatIsNoRangeIsAnError(text: String) {
        let found = loadService("listen: 80, balance: { allow: [\(text)] }").errors
        #expect(found.count == 1)
        #expect(found.first?.path == "services.a.balance.allow[0]")
        #expect(
            found.first?.message.contains(
                "expected an address or a range like \"192.168.0.0/16\", \"10.1.2.3\", \"fd00::/8\" or \"::1\"") == true
        )
    }

    @Test(arguments: [
        ("192.168.1.5/16", "\"192.168.0.0/16\""), ("10.0.0.1/0", "\"0.0.0.0/0\""), ("10.1.2.3/31", "\"10.1.2.2/31\""),
        ("fd12::1/8", "\"fd00::/8\""), ("2001:db8:ffff::/33", "\"2001:db8:8000::/33\""),
    ])
    func bitsBeyondThePrefixAreAnErrorThatSaysTheRange(text: String, proposal: String) {
        #expect(
            loadService("listen: 80, balance: { allow: ['\(text)'] }").errors.map(\.message) == [
                "found \"\(text)\", expected no bits beyond the prefix: \(proposal) for the range, or the address alone"
            ])
    }

    @Test(arguments: [
        (
            "::ffff:10.0.0.0/104",
            "found \"::ffff:10.0.0.0/104\", expected \"10.0.0.0/8\", which takes IPv4 clients of every front"
        ),
        (
            "::ffff:0:0/80",
            "found \"::ffff:0:0/80\", expected IPv4 addresses in their own form, like \"0.0.0.0/0\""
        ),
    ])
    func anIPv4RangeInIPv6FormIsAnErrorThatSaysItsOwn(text: String, message: String) {
        #expect(loadService("listen: 80, balance: { allow: ['\(text)'] }").errors.map(\.message) == [message])
    }

    @Test(arguments: [
        (
            "listen: 80, balance: { maxConnections: 0 }",
            "maxConnections: found 0, expected a count from 1 to 1000000, or false"
        ),
        (
            "listen: 80, balance: { maxQueue: null }",
            "maxQueue: found null, expected a count from 0 to 1000000, or false; leave the key out for its default"
        ),
        (
            "listen: 80, balance: { maxConnections: true }",
            "maxConnections: found true, expected a count from 1 to 1000000, or false"
        ),
        (
            "listen: 80, balance: { algorithm: 'roundrobbin' }",
            "algorithm: found \"roundrobbin\", expected \"roundrobin\", \"leastconn\", \"random2\" or \"source\"; "
                + "did you mean \"roundrobin\"?"
        ),
        (
            "listen: 80, balance: { proxyProtocol: true }",
            "proxyProtocol: found true, expected \"v1\" or \"v2\", or false"
        ),
        (
            "listen: 80, balance: { proxyProtocol: 'v22' }",
            "proxyProtocol: found \"v22\", expected \"v1\" or \"v2\", or false; did you mean \"v2\"?"
        ),
        ("listen: 80, balance: { log: 'yes' }", "log: found \"yes\", expected true or false"),
        ("listen: 80, balance: { allow: [] }", "allow: found a list of 0, expected 1 to 256 elements"),
        (
            "listen: 80, balance: { idleTimeout: true }",
            "idleTimeout: found true, expected a duration like \"500ms\", \"10s\", \"5m\" or \"1h\", from 1ms to 24h, "
                + "or false"
        ),
        (
            "listen: 80, balance: { finTimeout: 30 }",
            "finTimeout: found 30, expected a unit with it, as in \"30s\" or \"30ms\""
        ),
        (
            "listen: { address: 80, keepAlive: '10h' }",
            "keepAlive: found \"10h\", expected a duration like \"500ms\", \"10s\", \"5m\" or \"1h\", from 1s to 9h, "
                + "or false"
        ),
        ("listen: { address: 80, backlog: 0 }", "backlog: found 0, expected a count from 1 to 65535"),
        (
            "listen: { address: 80, backlogg: 1 }",
            "backlogg: found the unknown key \"backlogg\", expected a known one; did you mean \"backlog\"?"
        ),
    ])
    func wrongSettingsAreTold(fields: String, message: String) {
        let found = loadService(fields).errors.map { error in
            "\(error.path.split(separator: ".").last ?? ""): \(error.message)"
        }
        #expect(found == [message])
    }

    @Test func aFrontWithoutAnAddressIsAnError() {
        let found = loadService("listen: [80, { backlog: 5 }]").errors
        #expect(found.map(\.path) == ["services.a.listen[1]"])
        #expect(found.first?.message.hasPrefix("found no \"address\", expected it: a port like 8080") == true)
    }

    @Test(arguments: [
        ("port: 8080", "; the port of the instances belongs directly in the service"), ("host: '0.0.0.0'", ""),
    ])
    func aPartOfTheAddressIsToldToGoThere(field: String, more: String) {
        let name = field.prefix { $0 != ":" }
        let found = loadService("listen: { address: 80, \(field) }").errors.map(\.message)
        #expect(
            found == [
                "found \"\(name)\", expected it elsewhere: it is a part of \"address\", as in \"0.0.0.0:8080\"\(more)"
            ])
    }

    @Test func aFrontWrittenAsAMapIsCheckedLikeAnyOther() {
        #expect(
            loadService("listen: [{ address: 20005 }]").errors.first?.message.hasPrefix(
                "found port 20005, expected one outside supd.portRange") == true)
        #expect(
            loadService("listen: [8080, { address: '127.0.0.1:8080' }]").errors.map(\.path) == [
                "services.a.listen[1].address"
            ])
    }

    // MARK: The PROXY protocol

    @Test(arguments: ["'0.0.0.0:80'", "'192.168.1.1:80'", "'[::]:80'"])
    func clientsFromElsewhereMayNotWriteTheirOwnAddress(address: String) throws {
        let fields = "listen: { address: \(address), acceptProxyProtocol: true"
        let found = loadService("\(fields) }").errors
        #expect(found.map(\.path) == ["services.a.listen.acceptProxyProtocol"])
        #expect(found.first?.message.hasPrefix("found true without \"allow\" on ") == true)
        #expect(found.first?.message.contains("could forge the header") == true)
        #expect(try service("\(fields), allow: ['192.168.0.0/16'] }").listen.first?.acceptProxyProtocol == true)
        #expect(
            try service("\(fields) }, balance: { allow: ['192.168.0.0/16'] }").listen.first?.acceptProxyProtocol == true
        )
        #expect(try service("listen: { address: \(address), acceptProxyProtocol: false }").listen.count == 1)
    }

    @Test(arguments: ["8080", "'127.0.0.1:80'", "'127.3.2.1:80'", "'[::1]:80'", "'unix:/x'"])
    func onThisMachineTheyMay(address: String) throws {
        let service = try service("listen: { address: \(address), acceptProxyProtocol: true }")
        #expect(service.listen.first?.acceptProxyProtocol == true)
    }

    // MARK: Unix sockets

    @Test(arguments: [
        "maxConnectionsPerAddress: 1", "allow: ['10.0.0.0/8']", "keepAlive: '60s'", "keepAlive: false",
        "userTimeout: '1s'", "deferAccept: '1s'",
    ])
    func whatAUnixSocketHasNotIsAnError(field: String) {
        let key = field.prefix { $0 != ":" }
        let found = loadService("listen: { address: 'unix:/run/x', \(field) }").errors
        #expect(found.map(\.path) == ["services.a.listen.\(key)"])
        #expect(found.first?.message.hasPrefix("found \"\(key)\" with \"unix:/run/x\", expected no such key") == true)
    }

    @Test func whatAUnixSocketHasIsNone() throws {
        let listen = try service("listen: { address: 'unix:/run/x', maxConnections: 5, backlog: 9 }").listen
        #expect(listen.first?.maxConnections == 5)
        #expect(listen.first?.backlog == 9)
    }

    @Test func aListOfClientsForUnixSocketsAloneIsWarnedOf() {
        let balance = "balance: { allow: ['10.0.0.0/8'] }"
        let warned = loadService("listen: ['unix:/x'], \(balance)")
        #expect(warned.warnings.map(\.path) == ["services.a.balance.allow"])
        #expect(warned.errors.isEmpty)
        #expect(loadService("listen: ['unix:/x', 8080], \(balance)").warnings.isEmpty)
        #expect(
            load("{ defaults: { \(balance) }, services: { a: { command: ['a'], listen: 'unix:/x' } } }").warnings
                .isEmpty)
    }

    // MARK: What does nothing

    private static let withoutFront =
        " for a service without \"listen\", expected an address to listen on, or no such key: the balancer takes no "
        + "connections for it"

    @Test(
        arguments: [
            (
                "listen: 80, balance: { algorithm: 'source', slowStart: '5s' }", "slowStart",
                "found \"slowStart\" with the algorithm \"source\", expected no such key, or another algorithm: \"source\" "
                    + "chooses by the client's address alone, so that no share can ramp up"
            ),
            ("balance: { queueTimeout: '5s' }", "", "found \"balance\"\(withoutFront)"),
            ("port: 9000, balance: {}", "", "found \"balance\"\(withoutFront)"),
            ("listen: [], balance: { log: true }", "", "found \"balance\"\(withoutFront)"),
            ("balance: { algorithm: 'source', slowStart: '5s' }", "", "found \"balance\"\(withoutFront)"),
            // Only probes by HTTP heed it.
            ("ready: { tcp: true }, balance: { proxyProtocol: 'v2' }", "", "found \"balance\"\(withoutFront)"),
            ("ready: { http: '/' }, balance: { log: true }", "", "found \"balance\"\(withoutFront)"),
            (
                "ready: { http: '/' }, balance: { proxyProtocol: 'v2', log: true }", "log",
                "found \"log\"\(withoutFront), and probes by HTTP heed proxyProtocol alone"
            ),
        ] as [(String, String, String)])
    func whatDoesNothingIsAnError(fields: String, key: String, message: String) {
        let found = loadService(fields).errors
        #expect(found.map(\.path) == ["services.a.balance" + (key.isEmpty ? "" : ".\(key)")])
        #expect(found.map(\.message) == [message])
    }

    @Test(arguments: [
        "listen: 80, balance: { algorithm: 'source', slowStart: '0s' }",
        "listen: 80, balance: { algorithm: 'leastconn', slowStart: '5s' }",
        "ready: { http: '/' }, balance: { proxyProtocol: 'v2' }",
        "port: 80, health: { http: '/' }, balance: { proxyProtocol: 'v1' }",
        "port: 81, listen: { address: 80, pass: true }, ready: { http: '/' }, balance: { proxyProtocol: false }",
    ])
    func whatDoesSomethingIsNone(fields: String) { #expect(loadService(fields).errors == []) }

    /// They are for those that can use them; what the service says itself must do something all the same.
    @Test(
        arguments: [
            ("slowStart: '5s'", "", nil),
            ("algorithm: 'source', slowStart: '5s'", "listen: 80", nil),
            ("slowStart: '5s'", "listen: 80, balance: { algorithm: 'source' }", nil),
            ("algorithm: 'source', slowStart: '5s'", "listen: 80, balance: { algorithm: 'leastconn' }", nil),
            ("algorithm: 'source'", "listen: 80, balance: { slowStart: '5s' }", "services.a.balance.slowStart"),
            ("algorithm: 'source'", "balance: { log: true }", "services.a.balance"),
            ("log: true", "ready: { http: '/' }, balance: { proxyProtocol: 'v2' }", nil),
            ("proxyProtocol: 'v2'", "ready: { http: '/' }, balance: { log: true }", "services.a.balance"),
        ] as [(String, String, String?)])
    func defaultsThatDoNothingAreNone(defaults: String, fields: String, path: String?) {
        let found = load(
            "{ defaults: { balance: { \(defaults) } }, services: { a: { command: ['a'], \(fields) } } }"
        ).errors
        #expect(found.map(\.path) == (path.map { [$0] } ?? []))
    }

    @Test(
        "What defaults say of balancing is not heeded where the balancer serves nobody",
        arguments: [
            ("port: 81, ready: { http: '/' }", nil), ("port: 81, listen: { address: 80, pass: true }", nil),
            ("ready: { http: '/' }, balance: { proxyProtocol: 'v1' }", .v1), ("listen: 80", .v2),
            ("listen: [80, { address: 82, pass: true }]", .v2), ("listen: 80, balance: { proxyProtocol: false }", nil),
        ] as [(String, BalanceSettings.ProxyProtocol?)])
    func defaultsOfOthers(fields: String, proxyProtocol: BalanceSettings.ProxyProtocol?) throws {
        let loaded = load(
            "{ defaults: { balance: { proxyProtocol: 'v2', log: true } }, services: { a: { command: ['a'], \(fields) } } }"
        )
        #expect(loaded.errors == [])
        let balance = try #require(loaded.manifest?.services.first?.balance)
        #expect(balance.proxyProtocol == proxyProtocol)
        let isServed = fields.hasPrefix("listen: 80") || fields.hasPrefix("listen: [80")
        #expect(balance.log == isServed)
    }

    @Test(
        "An algorithm or a time that is wrong is told once",
        arguments: [
            ("algorithm: 'source'", "algorithm: 'leastcon', slowStart: '5s'", "algorithm"),
            ("slowStart: '5s'", "algorithm: 'source', slowStart: 'bad'", "slowStart"),
        ])
    func whatIsWrongIsToldOnce(defaults: String, fields: String, key: String) {
        let found = load(
            "{ defaults: { balance: { \(defaults) } }, services: { a: { command: ['a'], listen: 80, balance: { \(fields) } } } }"
        ).errors
        #expect(found.map(\.path) == ["services.a.balance.\(key)"])
    }

    @Test(arguments: [
        "balance: { log: true }", "idle: { stopAfter: '5s' }", "deploy: { strategy: 'blue-green' }",
        "replicas: { min: 1, max: 3, target: { connections: 10 } }",
    ])
    func aWrongListenIsNotTakenForNone(fields: String) {
        #expect(loadService("listen: '8080', \(fields)").errors.map(\.path) == ["services.a.listen"])
    }
}
