import Manifest
import Testing

@Suite struct ManifestLoaderTests {
    @Test func demoOfTheDesignLoads() throws {
        let text = """
            {
              supd: { portRange: "21000-21999", balancer: { loops: 2, user: "nobody" } },
              defaults: { stop: { timeout: "5s" } },
              services: {
                api: {
                  command: ["./api", "--port", "${PORT}"],
                  replicas: 3,
                  listen: 8080,
                  limits: { nofile: 4096, as: "1G", core: 0 },
                },
              },
            }
            """
        let expected = Manifest(
            supd: DaemonSettings(
                portRange: PortRange(first: 21000, last: 21999), balancer: BalancerSettings(loops: 2, user: "nobody")),
            services: [
                Service(
                    name: "api",
                    command: [
                        Template(literal: "./api"), Template(literal: "--port"), Template(parts: [.variable(.port)]),
                    ],
                    directory: Template(literal: "/srv"), replicas: 3,
                    listen: [ListenSettings(.loopback(port: 8080))],
                    stop: StopSettings(timeout: .seconds(5)),
                    limits: [
                        ResourceLimit(resource: .nofile, soft: 4096, hard: 4096),
                        ResourceLimit(resource: .as, soft: 1 << 30, hard: 1 << 30),
                        ResourceLimit(resource: .core, soft: 0, hard: 0),
                    ])
            ])
        #expect(try manifest(text) == expected)
        #expect(checkReport(load(text)) == "t.json5: 1 service, 3 instances: OK\n")
    }

    // MARK: Defaults

    @Test func defaultsMergeDeeplyWhereverTheyStand() throws {
        let loaded = try manifest(
            """
            { services: {
                a: { command: 'a', environment: { B: '2', C: '3' }, limits: { nofile: 9 }, stop: { signal: 'INT' }, restart: 'never', inheritEnvironment: ['X'] },
                b: { command: 'b' } },
              defaults: { environment: { A: '1', B: '1' }, limits: { nofile: 1, core: 0 }, stop: { timeout: '5s' },
                restart: { factor: 3, limit: { starts: 2, within: '1s' } }, inheritEnvironment: ['Y', 'Z'], replicas: 2, user: 'u',
                ready: { http: '/h', timeout: '7s' } } }
            """)
        let (a, b) = (try #require(loaded.services.first), try #require(loaded.services.last))
        #expect(a.environment.map(\.name) == ["A", "B", "C"])
        #expect(a.environment.map(\.value.literal) == ["1", "2", "3"])
        #expect(
            a.limits == [
                ResourceLimit(resource: .nofile, soft: 9, hard: 9), ResourceLimit(resource: .core, soft: 0, hard: 0),
            ])
        #expect(a.stop == StopSettings(signal: "INT", timeout: .seconds(5)))
        #expect(a.restart == RestartSettings(policy: .never, factor: 3, limit: .init(starts: 2, within: .seconds(1))))
        #expect(a.inheritEnvironment == ["X"])
        #expect(b.inheritEnvironment == ["Y", "Z"])
        #expect(b.environment.map(\.name) == ["A", "B"])
        #expect(b.replicas == 2 && b.user == "u" && b.readyTimeout == .seconds(7))
        #expect(b.ready == .http(HTTPCheck(path: Template(literal: "/h"))))
    }

    @Test func aServicesOwnReadyCheckTakesThePlaceOfTheDefault() throws {
        let loaded = try manifest(
            """
            { defaults: { ready: { http: '/h', timeout: '7s' } }, services: {
                a: { command: 'a', ready: { tcp: true } }, b: { command: 'b', ready: 'started' } } }
            """)
        #expect(loaded.services.map(\.ready) == [.tcp, .started])
        #expect(loaded.services.map(\.readyTimeout) == [.seconds(7), .seconds(7)])
    }

    @Test(arguments: ["command: 'a'", "port: 1", "listen: 1", "dependsOn: ['a']"])
    func someFieldsHaveNoDefault(text: String) {
        let found = errors("{ defaults: { \(text) }, services: { a: { command: 'a' } } }")
        #expect(
            found.count == 1 && found.allSatisfy { $0.contains("expected it elsewhere: in each service") }, "\(found)")
    }

    @Test func anErrorInDefaultsIsReportedOnce() {
        let found = errors("{ defaults: { replicas: -1 }, services: { a: { command: 'a' }, b: { command: 'b' } } }")
        #expect(found == ["1:25: defaults.replicas: found -1, expected a count from 0 to 1000"])
    }

    // MARK: Shape

    @Test(arguments: [
        "", "  \n// nothing\n", "{}", "[]", "'text'", "{ services: [] }", "{ services: { a: {} } }",
        "{ services: { a: [] } }", "{ services: null }",
    ])
    func anEmptyOrShapelessManifestSaysWhatIsWanted(text: String) {
        let result = load(text)
        #expect(result.manifest == nil)
        #expect(result.errors.count == 1, "\(result.errors)")
    }

    @Test func anEmptyFileIsAnsweredWithAnExampleThatWorks() throws {
        let message = try #require(load("").errors.first).message
        let example = try #require(message.split(separator: "for example", maxSplits: 1).last)
        #expect(try manifest(String(example)).services.count == 1)
    }

    @Test(arguments: [
        ("All", false), ("all", false), ("1a", false), ("a_b", false), ("", false), ("a", true), ("a-1", true),
        (String(repeating: "a", count: 63), true),
        (String(repeating: "a", count: 64), false), ("ä", false),
    ])
    func namesOfServices(name: String, isRight: Bool) {
        #expect((load("{ services: { '\(name)': { command: 'a' } } }").manifest != nil) == isRight)
    }

    @Test func allErrorsComeAtOnceSortedByPosition() {
        let found = errors(
            """
            { services: {
              api: { comand: 'x', replicas: 'three', dependsOn: ['dbb'] },
              db: { command: 'x', limits: { nofile: 'many' }, stop: { timeout: 10 } },
              db: { command: 'y' },
            }, extra: 1 }
            """)
        #expect(
            found == [
                "2:8: services.api: found no \"command\", expected it: a list of arguments, or one text that is split like shell words",
                "2:10: services.api.comand: found the unknown key \"comand\", expected a known one; did you mean \"command\"?",
                "2:33: services.api.replicas: found \"three\", expected a count from 0 to 1000",
                "2:54: services.api.dependsOn[0]: found the unknown service \"dbb\", expected one of this manifest; did you mean \"db\"?",
                "3:41: services.db.limits.nofile: found \"many\", expected a count, \"unlimited\", \"soft:hard\" or { soft, hard }",
                "3:68: services.db.stop.timeout: found 10, expected a unit with it, as in \"10s\" or \"10ms\"",
                "4:3: services.db: found the key \"db\" again, expected every key once (the first is on line 3)",
                "5:4: extra: found the unknown key \"extra\", expected one of supd, hooks, defaults, services",
            ])
    }

    @Test func manyErrorsAreShownInPartAndCountedInFull() {
        let fields = (0..<3000).map { "x\($0): 1" }.joined(separator: ",\n")
        let result = loadService(fields)
        #expect(result.errors.count == 50)
        #expect(result.omittedErrors == 2950)
        #expect(checkReport(result).hasSuffix("t.json5: and 2950 more errors\nt.json5: 3000 errors\n"))
    }

    @Test func valuesOfEnvironmentAreNeverShown() {
        let secret = "hunter2"
        let result = load(
            """
            { services: { a: { command: 'a', environment: {
                A: ['\(secret)'], B: { x: '\(secret)' }, C: '\(secret) ${\(secret)}', D: '$\(secret)', E: '${env:SECRET}', F: '${\(secret)', G: true, H: 4711, I: '${env:}' } } } }
            """)
        #expect(result.errors.count == 8)
        #expect(!checkReport(result).contains(secret))
        #expect(!checkReport(result).contains("4711"))
        #expect(!checkReport(load("{ services: { a: { environment: { A: \(secret) } } } }")).contains(secret))
    }

    @Test func textFromOutsideCannotControlTheTerminal() {
        let found = errors("{ services: { a: { command: 'a', kind: '\\x1b[2J\\u202e\\n' } } }")
        #expect(found == ["1:40: services.a.kind: found \"U+001B[2JU+202E\\n\", expected \"service\" or \"task\""])
    }

    // MARK: Dependencies

    @Test func dependenciesAreAListOrAMap() throws {
        let loaded = try manifest(
            "{ services: { a: { command: 'a', dependsOn: { c: 'completed', b: 'started' } }, b: { command: 'b', dependsOn: ['c'] }, c: { command: 'c', kind: 'task' } } }"
        )
        #expect(
            loaded.services.map(\.dependsOn) == [
                [Dependency(service: "c", condition: .completed), Dependency(service: "b", condition: .started)],
                [Dependency(service: "c")], [],
            ])
    }

    @Test(arguments: [
        ("['a']", "found the service itself, expected another: it would wait for itself for ever"),
        ("['b', 'b']", "found \"b\" again, expected every service once"),
        (
            "{ b: 'completed' }",
            "found \"completed\" of \"b\", expected \"ready\" or \"started\": only what has kind: \"task\" completes"
        ),
        (
            "{ b: 'reddy' }",
            "found \"reddy\", expected \"ready\", \"started\" or \"completed\"; did you mean \"ready\"?"
        ), ("['B']", "found \"B\", expected the name of a service"),
        ("'b'", "found \"b\", expected a list of services, or a map like { db: \"ready\" }"),
        ("['zzz']", "found the unknown service \"zzz\", expected one of this manifest"),
    ])
    func badDependenciesAreExplained(text: String, message: String) {
        #expect(
            load("{ services: { a: { command: 'a', dependsOn: \(text) }, b: { command: 'b' } } }").errors.map(\.message)
                == [message])
    }

    @Test func cyclesAreReportedWithTheWholePath() {
        func chain(_ edges: [(String, String)]) -> [String] {
            let services = edges.map { "\($0): { command: 'x', dependsOn: [\($1)] }" }.joined(separator: ", ")
            return load("{ services: { \(services) } }").errors.map(\.message)
        }
        #expect(
            chain([("api", "'db'"), ("db", "'api'")]) == [
                "found a cycle: api → db → api, expected none: each would wait for the next for ever"
            ])
        #expect(
            chain([("x", "'a'"), ("a", "'b'"), ("b", "'c'"), ("c", "'a'")]) == [
                "found a cycle: a → b → c → a, expected none: each would wait for the next for ever"
            ])
        #expect(chain([("a", "'b', 'c'"), ("b", "'d'"), ("c", "'d'"), ("d", "")]).isEmpty)
        #expect(chain([("a", "'b'"), ("b", "'a'"), ("c", "'d'"), ("d", "'c'")]).count == 2)
    }

    @Test func aCycleThroughThousandsIsFound() {
        let services = (0..<3000).map { "s\($0): { command: 'x', dependsOn: ['s\(($0 + 1) % 3000)'] }" }.joined(
            separator: ",\n")
        let found = load("{ services: { \(services) } }").errors
        #expect(found.count == 1)
        #expect(found.first?.message.contains("more) → ") == true)
    }

    // MARK: Ports

    @Test(
        arguments: [
            ("port: 9000, replicas: 3", "port: 9003", nil),
            (
                "port: 9000, replicas: 3", "port: 9002",
                "found port 9002, which overlaps with services.a.port, expected a port or address of its own (the other is on line 1)"
            ),
            (
                "port: 9002", "port: 9000, replicas: 3",
                "found port 9002 (of a replica), which overlaps with services.a.port, expected a port or address of its own (the other is on line 1)"
            ),
            ("listen: 8080", "listen: 8081", nil),
            (
                "listen: 8080", "listen: 8080",
                "found 127.0.0.1:8080, which overlaps with services.a.listen, expected a port or address of its own (the other is on line 1)"
            ),
            (
                "listen: 8080", "listen: '127.0.0.1:8080'",
                "found 127.0.0.1:8080, which overlaps with services.a.listen, expected a port or address of its own (the other is on line 1)"
            ),
            (
                "listen: 8080", "listen: '0.0.0.0:8080'",
                "found 0.0.0.0:8080, which overlaps with services.a.listen, expected a port or address of its own (the other is on line 1)"
            ),
            (
                "listen: '0.0.0.0:8080'", "listen: 8080",
                "found 127.0.0.1:8080, which overlaps with services.a.listen, expected a port or address of its own (the other is on line 1)"
            ),
            (
                "listen: '[::]:8080'", "listen: 8080",
                "found 127.0.0.1:8080, which overlaps with services.a.listen, expected a port or address of its own (the other is on line 1)"
            ),
            (
                "listen: '[::0:1]:8080'", "listen: '[::1]:8080'",
                "found [::1]:8080, which overlaps with services.a.listen, expected a port or address of its own (the other is on line 1)"
            ),
            ("listen: '127.0.0.2:8080'", "listen: 8080", nil), ("listen: '0.0.0.0:8080'", "listen: '[::]:8080'", nil),
            ("listen: 'unix:/a'", "listen: 'unix:/b'", nil),
            (
                "listen: 'unix:/srv/a'", "listen: 'unix:a'",
                "found unix:/srv/a, which overlaps with services.a.listen, expected a port or address of its own (the other is on line 1)"
            ),
            (
                "listen: 8080", "port: 8080",
                "found port 8080, which overlaps with services.a.listen, expected a port or address of its own (the other is on line 1)"
            ),
            (
                "listen: '0.0.0.0:8081'", "port: 8080, replicas: 2",
                "found port 8081 (of a replica), which overlaps with services.a.listen, expected a port or address of its own (the other is on line 1)"
            ),
            ("listen: '192.168.0.1:8080'", "port: 8080", nil), ("port: 65535", "command: ['b']", nil),
            (
                "port: 65534, replicas: 3", "",
                "found port 65534 for 3 replicas, expected at most 65533: the last port would be 65536"
            ),
            (
                "listen: 20000", "",
                "found port 20000, expected one outside supd.portRange (\"20000-29999\"), whose ports go to instances; choose another port or move the range"
            ),
            (
                "port: 8080, listen: 8080", "",
                "found port 8080, which overlaps with services.a.listen, expected a port or address of its own (the other is on line 1)"
            ),
            (
                "listen: ['0.0.0.0:8080', '127.0.0.1:8080']", "",
                "found 127.0.0.1:8080, which overlaps with services.a.listen[0], expected a port or address of its own (the other is on line 1)"
            ),
            ("port: 20001", "", nil),
        ] as [(String, String, String?)])
    func portsAndAddressesAreUsedOnce(first: String, second: String, message: String?) {
        let other = second.contains("command") ? second : "command: 'b', \(second)"
        let found = load("{ services: { a: { command: 'a', \(first) }, b: { \(other) } } }").errors.map(\.message)
        #expect(found == (message.map { [$0] } ?? []))
    }

    @Test(
        arguments: [
            ("20000-20009", 10, "", nil),
            (
                "20000-20009", 11, "",
                "found 10 free ports in \"20000-20009\", expected at least 11: one for each instance without a fixed port"
            ),
            (
                "20000-20009", 8, "port: 20002, replicas: 3",
                "found 7 free ports in \"20000-20009\", expected at least 8: one for each instance without a fixed port"
            ),
            ("20000-20009", 9, "port: 20009, replicas: 3", nil), ("20000-20009", 10, "port: 9", nil),
        ] as [(String, Int, String, String?)])
    func portRangeIsLargeEnough(range: String, replicas: Int, other: String, message: String?) {
        let services =
            "a: { command: 'a', replicas: \(replicas) }" + (other.isEmpty ? "" : ", b: { command: 'b', \(other) }")
        #expect(
            load("{ supd: { portRange: '\(range)' }, services: { \(services) } }").errors.map(\.message)
                == (message.map { [$0] } ?? []))
    }

    @Test(arguments: ["'20000'", "'29999-20000'", "'0-10'", "'1-65536'", "'a-b'", "20000", "'1-2-3'", "' 1-2'"])
    func badPortRangesAreErrors(text: String) {
        #expect(load("{ supd: { portRange: \(text) }, services: { a: { command: 'a' } } }").errors.count == 1)
    }

    // MARK: Limits of the whole

    @Test func servicesAndInstancesHaveALimit() {
        let services = (0...5000).map { "s\($0): { command: 'x' }" }.joined(separator: ",")
        #expect(
            load("{ services: { \(services) } }").errors.map(\.message) == [
                "found 5001 services, expected at most 5000"
            ])
        let replicas = (0..<11).map { "s\($0): { command: 'x', replicas: 1000 }" }.joined(separator: ",")
        let found = load("{ supd: { portRange: '1000-65535' }, services: { \(replicas) } }").errors.map(\.message)
        #expect(found == ["found 11000 instances in all, expected at most 4000"])
    }

    @Test func environmentHasALimit() {
        let many = (0...1024).map { "V\($0): ''" }.joined(separator: ",")
        #expect(
            loadService("environment: { \(many) }").errors.map(\.message) == [
                "found 1025 variables, expected at most 1024"
            ])
        let large = (0..<2).map { "V\($0): '\(String(repeating: "x", count: 70_000))'" }.joined(separator: ",")
        #expect(
            loadService("environment: { \(large) }").errors.map(\.message) == [
                "found an environment of 140008 bytes, expected at most 131072"
            ])
    }

    @Test func whatDefaultsMultiplyIsBounded() {
        let large = String(repeating: "x", count: 120_000)
        let services = (0..<400).map { "s\($0): { command: 'x' }" }.joined(separator: ",")
        let found = load("{ defaults: { environment: { A: '\(large)' } }, services: { \(services) } }").errors.map(
            \.message)
        #expect(found == ["found commands and environments of more than 32M in all, expected less"])
    }

    @Test func tenMegabytesGetAClearAnswer() {
        let junk = load("{ services: { a: { command: ['" + String(repeating: "x", count: 10 << 20) + "'] } } }")
        #expect(junk.errors.map(\.message) == ["found a text of 10485760 bytes, expected at most 131072"])
        let comment = load("// " + String(repeating: "y", count: 10 << 20) + "\n{ services: { a: { command: 'a' } } }")
        #expect(comment.manifest != nil)
    }

    @Test func twoThousandServicesLoad() throws {
        let services = (0..<2000).map { number in
            "s\(number): { command: ['./run', '${PORT}'], environment: { A: '1' }, limits: { nofile: 100 }, listen: \(30000 + number), dependsOn: [\(number == 0 ? "" : "'s\(number - 1)'")] }"
        }
        let clock = ContinuousClock()
        let text = "{ services: {\n\(services.joined(separator: ",\n"))\n} }"
        let time = clock.measure {
            #expect(load(text, facts: HostFacts(ephemeralPorts: nil)).manifest?.services.count == 2000)
        }
        // 0.1 s in a release build; this is a debug build, perhaps on a busy machine.
        #expect(time < .seconds(60))
    }
}
