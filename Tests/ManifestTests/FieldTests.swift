import FoundationEssentials
import Manifest
import Testing

/// The texts of a command's arguments.
private func words(_ command: [Template]) -> [String] { command.map { $0.expanded { "<\($0.rawValue)>" } } }

@Suite struct FieldTests {
    @Test(
        arguments: [
            ("['a', 'b c', '']", ["a", "b c", ""]), ("'a  b\\tc'", ["a", "b", "c"]),
            ("'a \"b c\" d\\\\ e'", ["a", "b c", "d e"]),
            ("\"a 'b\\\\\\\\c' x'y'z\"", ["a", "b\\\\c", "xyz"]),
            ("\"sh -c 'echo $$HOME; ls | wc'\"", ["sh", "-c", "echo $HOME; ls | wc"]),
            ("'a \"\"'", ["a", ""]), ("'a \"x\\\\\"y\\\\\\\\z\\\\w\"'", ["a", "x\"y\\z\\w"]),
            ("'a \"${PORT} x\" ${SERVICE}'", ["a", "<PORT> x", "<SERVICE>"]),
        ] as [(String, [String])])
    func commandsAreListsOrShellWords(text: String, expected: [String]) throws {
        let manifest = try manifest("{ services: { a: { command: \(text) } } }")
        #expect(manifest.services.map { words($0.command) } == [expected])
    }

    @Test(arguments: [
        ("[]", "found a list of 0, expected 1 to 4096 elements"),
        ("''", "found an empty command, expected a program first"),
        ("['']", "found an empty command, expected a program first"),
        ("'   '", "found an empty command, expected a program first"),
        ("\"a 'b\"", "found a quote without an end, expected the same quote once more"),
        ("'a \\\\'", "found a backslash at the end, expected a character after it"),
        ("7", "found 7, expected a list of arguments, or one text that is split like shell words"),
        (
            "null",
            "found null, expected a list of arguments, or one text that is split like shell words; leave the key out for its default"
        ),
        ("['a\\0b']", "found a text with a NUL character, expected none: no program could be given it"),
        (
            "'a ${PROT}'",
            "found the unknown variable \"${PROT}\", expected ${PORT}, ${HOST}, ${INSTANCE}, ${SERVICE}, ${env:NAME}, and $$ for a dollar; did you mean \"PORT\"?"
        ),
        (
            "'a $HOME'",
            "found a lone \"$\", expected ${PORT}, ${HOST}, ${INSTANCE}, ${SERVICE}, ${env:NAME}, and $$ for a dollar"
        ),
        (
            "'a ${PORT'",
            "found \"${\" without \"}\", expected ${PORT}, ${HOST}, ${INSTANCE}, ${SERVICE}, ${env:NAME}, and $$ for a dollar"
        ),
        (
            "'a ${env:NONE}'",
            "found ${env:NONE}, which is not set in supd's own environment, expected a variable that is"
        ),
    ])
    func badCommandsAreExplained(text: String, message: String) {
        let found = load("{ services: { a: { command: \(text) } } }").errors
        #expect(found.map(\.message) == [message])
        #expect(found.allSatisfy { $0.path.hasPrefix("services.a.command") })
    }

    @Test func argumentsHaveALimit() {
        let many = "[" + String(repeating: "'x',", count: 4097) + "]"
        #expect(
            load("{ services: { a: { command: \(many) } } }").errors.map(\.message) == [
                "found a list of 4097, expected 1 to 4096 elements"
            ])
        let long =
            "['a', '" + String(repeating: "x", count: 70_000) + "', '" + String(repeating: "y", count: 70_000) + "']"
        #expect(
            load("{ services: { a: { command: \(long) } } }").errors.map(\.message) == [
                "found arguments of 140004 bytes, expected at most 131072"
            ])
    }

    @Test func variablesOfSupdItselfAreResolvedAndNotReadAgain() {
        let result = load(
            "{ services: { a: { command: ['${env:X}-$${PORT}'], environment: { A: '${env:X}' }, directory: '${env:D}/x' } } }",
            environment: ["X": "$$${PORT}", "D": "/data"])
        let service = result.manifest?.services.first
        // What came from there is marked, so that nobody shows it.
        #expect(service?.command.map(\.literal) == ["$$${PORT}-${PORT}"])
        #expect(service?.directory.literal == "/data/x")
        #expect(service?.command.map(\.holdsEnvironment) == [true])
        #expect(service?.directory.holdsEnvironment == true)
        let plain = load("{ services: { a: { command: ['a', '${PORT}', '$$'] } } }").manifest?.services.first
        #expect(plain?.command.map(\.holdsEnvironment) == [false, false, false])
    }

    @Test func expandingIsBounded() {
        let big = String(repeating: "x", count: 100_000)
        let result = load(
            "{ services: { a: { command: ['a', '\(String(repeating: "${env:X}", count: 1000))'] } } }",
            environment: ["X": big])
        #expect(result.errors.map(\.message) == ["found a text of more than 131072 bytes, expected at most that"])
    }

    @Test(arguments: [
        ("'/abs'", "/abs"), ("'sub/dir'", "/srv/sub/dir"), ("'./sub'", "/srv/sub"), ("'.'", "/srv"),
        ("'..'", "/srv/.."),
        ("'${SERVICE}/x'", "/srv/<SERVICE>/x"), ("'./${SERVICE}'", "/srv/<SERVICE>"),
        ("'d-${INSTANCE}'", "/srv/d-<INSTANCE>"), ("'${env:HOME}/a'", "/root/a"),
    ])
    func directoriesAreMadeAbsolute(text: String, expected: String) throws {
        #expect(words([try service("directory: \(text)").directory]) == [expected])
    }

    @Test func directoryDefaultsToTheManifestsOwn() throws {
        #expect(try service("").directory == Template(literal: "/srv"))
        #expect(try service("environmentFiles: ['x.env', '/y.env']").environmentFiles == ["/srv/x.env", "/y.env"])
    }

    @Test(
        arguments: [
            ("8080", .loopback(port: 8080)), ("'0.0.0.0:80'", .ipv4(address: "0.0.0.0", port: 80)),
            ("'[::]:80'", .ipv6(address: "::", port: 80)),
            ("'[2001:DB8:0:0:0:0:0:1]:443'", .ipv6(address: "2001:db8::1", port: 443)),
            ("'unix:/run/a.sock'", .unix(path: "/run/a.sock")),
            ("'unix:a.sock'", .unix(path: "/srv/a.sock")), ("'[::1.2.3.4]:1'", .ipv6(address: "::102:304", port: 1)),
        ] as [(String, ListenAddress)])
    func listenAddresses(text: String, expected: ListenAddress) throws {
        #expect(try service("listen: \(text)").listen == [ListenSettings(expected)])
        #expect(try service("listen: [\(text)]").listen == [ListenSettings(expected)])
        #expect(try service("listen: { address: \(text) }").listen == [ListenSettings(expected)])
    }

    @Test(arguments: [
        "0", "65536", "-1", "8080.5", "'8080'", "':8080'", "'localhost:8080'", "'1.2.3:80'", "'1.2.3.04:80'",
        "'1.2.3.4:0'", "'1.2.3.4:99999'",
        "'::1:80'", "'[::1]'", "'[::g]:80'", "'[fe80::1%eth0]:80'", "'[::ffff:1.2.3.4]:80'", "'[1::2::3]:80'",
        "'unix:'", "'unix:~/a'", "'unix:/${SERVICE}'", "true", "null", "{}", "[[80]]",
        "'tcp://a'", "'unix:/" + String(repeating: "x", count: 107) + "'",
    ])
    func badListenAddressesAreErrors(text: String) {
        let found = loadService("listen: \(text)").errors
        #expect(found.count == 1, "\(found)")
        #expect(found.allSatisfy { $0.path.hasPrefix("services.a.listen") && $0.message.contains("expected") })
    }

    @Test func aPortInQuotesIsToldHowToBeWritten() {
        #expect(
            loadService("listen: '8080'").errors.map(\.message) == [
                "found \"8080\", expected 8080 for loopback only, or \"0.0.0.0:8080\" for every IPv4 address"
            ])
    }

    @Test func listenHasALimit() {
        let ports = (1...17).map { "\($0 + 3000)" }.joined(separator: ",")
        #expect(
            loadService("listen: [\(ports)]").errors.map(\.message) == ["found a list of 17, expected 0 to 16 elements"]
        )
    }

    @Test(
        arguments: [
            ("", .started), ("listen: 8080", .tcp), ("port: 8080", .tcp), ("ready: { timeout: '5s' }", .started),
            ("listen: 8080, ready: { timeout: '5s' }", .tcp),
            ("listen: 8080, ready: 'started'", .started), ("ready: { tcp: true }", .tcp),
            ("ready: { http: '/h?x=1' }", .http(HTTPCheck(path: Template(literal: "/h?x=1")))),
            ("ready: { notify: 'systemd' }", .notify(.systemd)),
            ("ready: { notify: { fd: 3 } }", .notify(.descriptor(3))),
            ("ready: { notify: { fd: 255 } }", .notify(.descriptor(255))),
            (
                "ready: { log: 'up on * ${PORT}' }",
                .log(pattern: Template(parts: [.literal("up on * "), .variable(.port)]))
            ),
            ("ready: { command: 'a b' }", .command([Template(literal: "a"), Template(literal: "b")])),
        ] as [(String, ReadyCheck)])
    func readiness(text: String, expected: ReadyCheck) throws {
        #expect(try service(text).ready == expected)
    }

    @Test func readinessHasATimeoutOfItsOwn() throws {
        #expect(try service("ready: { http: '/', timeout: '5s' }").readyTimeout == .seconds(5))
        #expect(try service("ready: { http: '/' }").readyTimeout == .seconds(60))
    }

    @Test func aWatchdogIsADurationOrOff() throws {
        #expect(try service("watchdog: '30s'").watchdog == .seconds(30))
        #expect(try service("watchdog: false").watchdog == nil)
        #expect(try service("").watchdog == nil)
        for text in ["30", "true", "'10ms'", "'0s'", "''", "null"] {
            let found = loadService("watchdog: \(text)").errors
            #expect(found.count == 1 && found.allSatisfy { $0.path == "services.a.watchdog" }, "\(found)")
        }
        #expect(try service("watchdog: '30s'").hasNotifySocket && !service("ready: { tcp: true }").hasNotifySocket)
        #expect(try service("ready: { notify: 'systemd' }").hasNotifySocket)
    }

    @Test(arguments: [
        "'tcp'", "true", "{ tcp: false }", "{ tcp: true, http: '/' }", "{ http: 'healthz' }", "{ http: '/a b' }",
        "{ http: '' }", "{ http: '/ä' }", "{ command: [] }", "{ notify: 'systemd', tcp: true }", "{ log: '' }",
        "{ log: '**' }", "{ log: 'a\\nb' }", "{ log: true }", "{ log: 'x', tcp: true }",
        "{ notify: true }",
        "{ notify: {} }", "{ notify: { fd: 2 } }", "{ notify: { fd: 256 } }", "{ notify: { fd: '3' } }",
        "{ notify: { FD: 3, fd: 3 } }",
        "{ notify: 's6' }",
        "{ timeout: 5 }", "{ timeout: '0s' }", "null",
    ])
    func badReadinessIsAnError(text: String) {
        let found = loadService("ready: \(text)").errors
        #expect(found.count == 1, "\(found)")
        #expect(found.allSatisfy { $0.path.hasPrefix("services.a.ready") })
    }

    @Test func restartIsAWordOrAMap() throws {
        #expect(try service("restart: 'never'").restart == RestartSettings(policy: .never))
        #expect(try service("kind: 'task'").restart.policy == .onFailure)
        #expect(
            try service("kind: 'task', restart: { factor: 3 }").restart
                == RestartSettings(policy: .onFailure, factor: 3))
        let full = try service(
            "restart: { policy: 'on-failure', successExitCodes: [0, 3], initialDelay: '1s', maxDelay: '1m', factor: 1.5, jitter: 0, resetAfter: '1h', limit: { starts: 3, within: '10s' } }"
        )
        #expect(
            full.restart
                == RestartSettings(
                    policy: .onFailure, successExitCodes: [0, 3], initialDelay: .seconds(1), maxDelay: .seconds(60),
                    factor: 1.5, jitter: 0,
                    resetAfter: .seconds(3600), limit: .init(starts: 3, within: .seconds(10))))
    }

    @Test(arguments: [
        "'sometimes'", "{ policy: 1 }", "{ successExitCodes: [256] }", "{ successExitCodes: 0 }", "{ factor: 0.5 }",
        "{ factor: NaN }", "{ jitter: 1.1 }", "{ limit: { starts: 3 } }",
        "{ limit: { starts: 0, within: '1s' } }", "{ initialDelay: '1m' }", "{ maxDelay: '100ms' }", "5",
        "{ maxDelay: Infinity }",
    ])
    func badRestartIsAnError(text: String) {
        let found = loadService("restart: \(text)").errors
        #expect(found.count == 1, "\(found)")
        #expect(found.allSatisfy { $0.path.hasPrefix("services.a.restart") })
    }

    @Test(
        arguments: [
            ("nofile: 100", .nofile, 100, 100), ("nofile: '100'", .nofile, 100, 100),
            ("nofile: '10:20'", .nofile, 10, 20), ("nofile: { soft: 1, hard: 'unlimited' }", .nofile, 1, nil),
            ("as: '512M'", .as, 512 << 20, 512 << 20), ("as: 'unlimited'", .as, nil, nil),
            ("as: '1G:unlimited'", .as, 1 << 30, nil), ("cpu: 5", .cpu, 5, 6), ("cpu: '1m'", .cpu, 60, 61),
            ("cpu: '5:5'", .cpu, 5, 5), ("cpu: 'unlimited'", .cpu, nil, nil),
            ("cpu: { soft: '1s', hard: 9 }", .cpu, 1, 9),
            ("cpu: 18446744073709551614", .cpu, UInt64.max - 1, UInt64.max - 1),
            ("core: 0", .core, 0, 0), ("data: 1e3", .data, 1000, 1000), ("fsize: '1T'", .fsize, 1 << 40, 1 << 40),
            ("locks: 1", .locks, 1, 1), ("memlock: '64K'", .memlock, 65536, 65536),
            ("msgqueue: 1", .msgqueue, 1, 1), ("nice: 40", .nice, 40, 40), ("nproc: 9", .nproc, 9, 9),
            ("rss: 1", .rss, 1, 1), ("rtprio: '0:99'", .rtprio, 0, 99), ("rttime: '50ms'", .rttime, 50_000, 50_000),
            ("rttime: 7", .rttime, 7, 7), ("sigpending: 0x10", .sigpending, 16, 16),
            ("stack: '8M:64M'", .stack, 8 << 20, 64 << 20),
        ] as [(String, ResourceLimit.Resource, UInt64?, UInt64?)])
    func limits(text: String, resource: ResourceLimit.Resource, soft: UInt64?, hard: UInt64?) throws {
        #expect(
            try service("limits: { \(text) }").limits == [ResourceLimit(resource: resource, soft: soft, hard: hard)])
    }

    @Test(arguments: [
        "nofile: 'many'", "nofile: '1K'", "nofile: -1", "nofile: 1.5", "nofile: 18446744073709551615",
        "nofile: '20:10'", "nofile: 'unlimited:10'", "nofile: '1:2:3'", "nofile: ':'", "nofile: ''",
        "nofile: { soft: 1 }", "nofile: { soft: 2, hard: 1 }", "nofile: { soft: 1, hard: 2, firm: 3 }", "nofile: null",
        "nofile: []", "as: '512m'", "as: '99999999T'", "cpu: '500ms'", "nice: 41", "rtprio: 100",
        "files: 1", "nofile: NaN",
    ])
    func badLimitsAreErrors(text: String) {
        let found = loadService("limits: { \(text) }").errors
        #expect(found.count == 1, "\(found)")
        #expect(found.allSatisfy { $0.path.hasPrefix("services.a.limits.") })
    }

    @Test func limitMessagesSayWhatIsMeant() {
        #expect(
            errors("{\n  services: { api: { command: 'a',\n    limits: { nofile: 'many' } } } }")
                == [
                    "3:23: services.api.limits.nofile: found \"many\", expected a count, \"unlimited\", \"soft:hard\" or { soft, hard }"
                ])
        #expect(
            loadService("limits: { as: '512mb' }").errors.map(\.message)
                == [
                    "found \"512mb\", expected a size like 65536 or \"512M\", \"unlimited\", \"soft:hard\" or { soft, hard }; did you mean \"512M\"?"
                ])
    }

    @Test(
        arguments: [
            ("umask: '022'", nil), ("umask: '0777'", nil),
            ("umask: 22", "found 22, expected three or four octal digits in quotes, like \"022\""),
            ("umask: '1777'", "found \"1777\", expected three or four octal digits in quotes, like \"022\""),
            ("umask: '08'", "found \"08\", expected three or four octal digits in quotes, like \"022\""),
            ("stop: { timeout: 5 }", "found 5, expected a unit with it, as in \"5s\" or \"5ms\""),
            (
                "stop: { timeout: '1.5s' }",
                "found \"1.5s\", expected a duration like \"500ms\", \"10s\", \"5m\" or \"1h\", from 0s to 24h"
            ),
            (
                "stop: { timeout: '25h' }",
                "found \"25h\", expected a duration like \"500ms\", \"10s\", \"5m\" or \"1h\", from 0s to 24h"
            ),
            (
                "stop: { timeout: '99999999999999999999h' }",
                "found \"99999999999999999999h\", expected a duration like \"500ms\", \"10s\", \"5m\" or \"1h\", from 0s to 24h"
            ),
            (
                "stop: { signal: 'SIGTERM' }",
                "found \"SIGTERM\", expected the name of a signal that can end a process, like \"TERM\", \"INT\" or \"RTMIN+3\"; did you mean \"TERM\"?"
            ),
            (
                "stop: { signal: 'STOP' }",
                "found \"STOP\", expected the name of a signal that can end a process, like \"TERM\", \"INT\" or \"RTMIN+3\""
            ), ("stop: { signal: 'RTMIN+3' }", nil),
            ("kind: 'job'", "found \"job\", expected \"service\" or \"task\""),
            ("kind: 'tusk'", "found \"tusk\", expected \"service\" or \"task\"; did you mean \"task\"?"),
            ("replicas: 1001", "found 1001, expected a count from 0 to 1000"),
            ("replicas: '3'", "found \"3\", expected a count from 0 to 1000"), ("replicas: 0", nil),
            ("listen: 80, replicas: { min: 1, max: 4, target: { connections: 50 } }", nil),
            ("replicas: { max: 4, target: { cpu: '70%' } }", nil),
            ("replicas: { max: 4 }", "found no \"target\", expected { connections: 50 } or { cpu: \"70%\" } there"),
            (
                "replicas: { max: 4, target: {} }",
                "found no \"target\", expected { connections: 50 } or { cpu: \"70%\" } there"
            ),
            ("replicas: { target: { cpu: '70%' } }", "found no \"max\", expected it: a count from 1 to 1000"),
            (
                "replicas: { min: 5, max: 4, target: { cpu: '70%' } }",
                "found a min of 5 above the max of 4, expected it below"
            ),
            ("replicas: { min: 0, max: 4, target: { cpu: '70%' } }", "found 0, expected a count from 1 to 1000"),
            (
                "replicas: { max: 4, target: { cpu: 70 } }",
                "found 70, expected a share of one core like \"70%\", from \"1%\" to \"6400%\""
            ),
            (
                "replicas: { max: 4, target: { cpu: '6401%' } }",
                "found \"6401%\", expected a share of one core like \"70%\", from \"1%\" to \"6400%\""
            ),
            (
                "listen: 80, replicas: { max: 4, target: { cpu: '70%', connections: 5 } }",
                "found \"connections\" beside \"cpu\", expected only one of them"
            ),
            (
                "replicas: { max: 4, target: { connections: 5 } }",
                "found a target of connections for a service without a front (\"listen\") of the balancer, which could "
                    + "count them, expected a target of cpu"
            ),
            (
                "kind: 'task', replicas: { max: 4, target: { cpu: '70%' } }",
                "found a map for a task, expected a count: a task runs to its end, and is not scaled"
            ),
            (
                "port: 65534, replicas: { max: 4, target: { cpu: '70%' } }",
                "found port 65534 for 4 replicas, expected at most 65532: the last port would be 65537"
            ),
            ("user: 'a b'", "found \"a b\", expected the name of a user, or its number"),
            ("user: 1000, group: 'www-data'", nil), ("user: -1", "found -1, expected a number from 0 to 4294967294"),
            ("user: 4294967295", "found 4294967295, expected a number from 0 to 4294967294"),
            ("user: '${SERVICE}'", "found \"${SERVICE}\", expected the name of a user, or its number"),
            (
                "directory: '~/x'",
                "found \"~/x\", expected a full path: ~ is not replaced by a home directory (./~ means a file of that name)"
            ),
            ("environmentFiles: 'a'", "found \"a\", expected a list of paths"),
            (
                "environmentFiles: ['${SERVICE}.env']",
                "found \"${SERVICE}.env\", expected the path of a file of NAME=value lines; variables have no meaning here"
            ),
            ("inheritEnvironment: ['A=B']", "found \"A=B\", expected the name of a variable"),
            ("inheritEnvironment: []", nil),
            (
                "log: { maxSize: 100 }",
                "found 100, expected a size in bytes like 4096, \"512K\", \"10M\" or \"1G\", from 4K to 1T"
            ), ("log: { maxSize: '1G', keep: 0 }", nil),
            ("log: { format: 'json', rate: 1 }", nil),
            ("log: { rate: 0 }", "found 0, expected a number of lines a second from 1 to 1000000"),
            ("log: { format: 'jsn' }", "found \"jsn\", expected \"text\" or \"json\"; did you mean \"json\"?"),
            ("listen: 80, balance: { queueTimeout: '0s', connectTimeout: '1ms', drainTimeout: '24h' }", nil),
            ("port: 0", "found 0, expected a port from 1 to 65535"), ("log: []", "found a list, expected a map"),
            ("limits: 'none'", "found \"none\", expected a map"),
            ("listen: 80, idle: { stopAfter: '10m' }", nil),
            (
                "listen: 80, idle: {}",
                "found no \"stopAfter\", expected it: a duration like \"500ms\", \"10s\", \"5m\" or \"1h\", from 1s to 24h"
            ),
            (
                "idle: { stopAfter: '10m' }",
                "found \"idle\" for a service without \"listen\", expected an address to listen on: its connections tell "
                    + "whether it is used, and wake it"
            ),
            (
                "listen: 80, balance: { maxQueue: 0 }, idle: { stopAfter: '10m' }",
                "found \"idle\" for a service with a balance.maxQueue of 0, expected more there: the connection that wakes it "
                    + "waits until it is ready"
            ),
            (
                "listen: 80, balance: { queueTimeout: '0s' }, idle: { stopAfter: '10m' }",
                "found \"idle\" for a service with a balance.queueTimeout of 0, expected more there: the connection that wakes "
                    + "it waits until it is ready"
            ),
            (
                "kind: 'task', idle: { stopAfter: '10m' }",
                "found \"idle\" for a task, expected no such key: a task serves no connections"
            ),
            (
                "listen: { address: 80, pass: true }, idle: { stopAfter: '10m' }",
                "found \"idle\" for a service with \"pass\", expected no such key: the balancer sees none of the connections "
                    + "that the service accepts itself"
            ),
        ] as [(String, String?)])
    func fields(text: String, message: String?) {
        #expect(loadService(text).errors.map(\.message) == (message.map { [$0] } ?? []))
    }

    @Test func logSettingsOfAnOlderVersionAreRead() throws {
        let older = try JSONDecoder().decode(LogSettings.self, from: Data("{\"maxSize\":4096,\"keep\":1}".utf8))
        #expect(older == LogSettings(maxSize: 4096, keep: 1))
    }

    @Test func whatOthersDependOnDoesNotSleep() throws {
        let sleeper = "a: { command: ['a'], listen: 80, idle: { stopAfter: '10m' } }"
        #expect(try manifest("{ services: { \(sleeper) } }").services.first?.idleAfter == .seconds(600))
        let found = load("{ services: { \(sleeper), b: { command: ['b'], dependsOn: ['a'] } } }").errors
        #expect(
            found.map(\.message) == [
                "found \"a\", which has \"idle\", expected a service that does not sleep: take \"idle\" away there, or this "
                    + "dependency"
            ])
    }

    @Test(arguments: ["queue: 5", "socket: '/x'", "listen: 80, balance: { weight: 2 }"])
    func whatIsNotBuiltIsUnknown(text: String) {
        let found = loadService(text).errors
        #expect(found.count == 1 && found.allSatisfy { $0.message.contains("unknown key") }, "\(found)")
    }

    @Test func unknownKeysAreMetWithTheNearestOne() {
        #expect(
            loadService("replcias: 2").errors.map(\.message) == [
                "found the unknown key \"replcias\", expected a known one; did you mean \"replicas\"?"
            ])
        #expect(
            loadService("stop: { colour: 2 }").errors.map(\.message) == [
                "found the unknown key \"colour\", expected one of signal, timeout"
            ])
    }
}
