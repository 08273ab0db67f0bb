import Links
import Manifest
import Platform
import Supervision
import TestSupport
import Testing

@testable import Supervisor

@Suite struct SpawnPlannerTests {
    static let isRoot = Accounts.ownUser == 0

    private func planner(own: [String: String] = [:]) -> SpawnPlanner {
        SpawnPlanner(scope: "/run/supd#n1", ownEnvironment: own) { _, service, number, port in
            [("PORT", "\(port)"), ("INSTANCE", "\(number)"), ("SERVICE", service.name), ("DB_PORT", "5432")]
        }
    }

    private func plan(_ service: Service, own: [String: String] = [:]) throws -> SpawnPlan {
        try planner(own: own).plan(
            service, instance: 2, port: 20_001, generation: Generation(17), manifest: Manifest(services: [service]))
    }

    private func failure(_ service: Service, own: [String: String] = [:]) throws -> String {
        try #require(#expect(throws: StartFailure.self) { try plan(service, own: own) }).text
    }

    private func literal(_ texts: String...) -> [Template] { texts.map { Template(literal: $0) } }

    @Test("a plan holds the instance's own texts")
    func expansion() throws {
        let service = Service(
            name: "api",
            command: [
                Template(literal: "./bin/api"),
                Template(parts: [.literal("--listen="), .variable(.host), .literal(":"), .variable(.port)]),
                Template(parts: [.variable(.service), .literal("-"), .variable(.instance)]),
            ],
            directory: Template(parts: [.literal("/srv/"), .variable(.service), .literal("/"), .variable(.instance)]))
        let plan = try plan(service)
        #expect(plan.id == 17)
        #expect(plan.arguments == ["./bin/api", "--listen=127.0.0.1:20001", "api-2"])
        #expect(plan.directory == "/srv/api/2")
        #expect(plan.candidates == ["/srv/api/2/bin/api"])
        #expect(plan.credentials == nil)
        #expect(plan.umask == 0o022)
        #expect(plan.limits == [])
        #expect(plan.capturesOutput)
        let label = try #require(ChildLabel(plan.label))
        #expect(label.role == .leader)
        #expect(
            (label.instance, label.generation, label.port) == (
                InstanceID(service: "api", number: 2), Generation(17), 20_001
            ))
    }

    @Test("the mark comes first in the environment, and nothing else may set it")
    func mark() throws {
        let service = Service(
            name: "api", command: literal("/bin/true"),
            environment: [EnvironmentVariable(name: "SUPD_SCOPE", value: Template(literal: "x"))],
            inheritEnvironment: ["SUPD_SCOPE"])
        let environment = try plan(service, own: ["SUPD_SCOPE": "outer"]).environment
        #expect(environment.first == "SUPD_SCOPE=/run/supd#n1#api/2#17")
        #expect(environment.filter { $0.hasPrefix("SUPD_SCOPE=") }.count == 1)
        let instance = InstanceProcesses.Instance(
            generation: Generation(17), id: InstanceID(service: "api", number: 2), leader: 1, scope: "/run/supd#n1")
        #expect(environment.first == "SUPD_SCOPE=\(instance.mark)")
    }

    @Test("of supd's own environment only the names listed pass, and what systemd tells supd never does")
    func inheritance() throws {
        let own = [
            "PATH": "/p", "HOME": "/h", "SECRET": "s", "NOTIFY_SOCKET": "n", "LISTEN_FDS": "1", "WATCHDOG_USEC": "1",
            "JOURNAL_STREAM": "1:2", "EXTRA": "e",
        ]
        let service = Service(
            name: "api", command: literal("/bin/true"),
            inheritEnvironment: [
                "PATH", "EXTRA", "MISSING", "NOTIFY_SOCKET", "LISTEN_FDS", "WATCHDOG_USEC", "JOURNAL_STREAM",
            ])
        let environment = try Set(plan(service, own: own).environment.dropFirst())
        #expect(environment == ["PATH=/p", "EXTRA=e", "PORT=20001", "INSTANCE=2", "SERVICE=api", "DB_PORT=5432"])
    }

    @Test("files take the place of inherited and given values, and the manifest that of all")
    func precedence() throws {
        let directory = try TemporaryDirectory()
        let first = try directory.write("1", "A=file1\nB=file1\nPORT=file1\nC=file1\n")
        let second = try directory.write("2", "B=file2\n")
        let service = Service(
            name: "api", command: literal("/bin/true"),
            environment: [
                EnvironmentVariable(name: "C", value: Template(parts: [.literal("own-"), .variable(.port)]))
            ],
            environmentFiles: [first, second], inheritEnvironment: ["A"])
        let environment = try plan(service, own: ["A": "inherited"]).environment
        #expect(Set(environment).isSuperset(of: ["A=file1", "B=file2", "PORT=file1", "C=own-20001"]))
        #expect(Set(environment.map { $0.prefix { $0 != "=" } }).count == environment.count)
    }

    @Test("a bad environment file is a failed start that names file and line")
    func badFile() throws {
        let directory = try TemporaryDirectory()
        let path = try directory.write("e", "A=1\nB\n")
        let service = Service(name: "api", command: literal("/bin/true"), environmentFiles: [path])
        #expect(try failure(service).hasPrefix("environment file \(path):2: "))
    }

    @Test(
        "a program without a slash is looked for in the child's PATH, one with a slash counts from the directory",
        arguments: [
            ("api", "/a:/b/", ["/a/api", "/b/api"]), ("api", "", ["/srv/api"]),
            ("api", ":/a:.", ["/srv/api", "/a/api", "/srv/api"]),
            ("api", "bin", ["/srv/bin/api"]), ("/x/api", "/a", ["/x/api"]), ("./api", "/a", ["/srv/api"]),
            (".//./api", nil, ["/srv/api"]), ("../api", nil, ["/srv/../api"]),
            (
                "api", nil,
                ["local/sbin", "local/bin"].map { "/usr/\($0)/api" }
                    + ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map { "\($0)/api" }
            ),
        ] as [(String, String?, [String])])
    func candidates(program: String, path: String?, candidates: [String]) throws {
        #expect(programCandidates(program, path: path, directory: "/srv") == candidates)
    }

    @Test("PATH is that of the manifest where it sets one")
    func childPath() throws {
        let service = Service(
            name: "api", command: literal("api"),
            environment: [EnvironmentVariable(name: "PATH", value: Template(literal: "/opt/bin"))])
        #expect(try plan(service, own: ["PATH": "/usr/bin"]).candidates == ["/opt/bin/api"])
    }

    @Test("limits come in a fixed order, those of time last")
    func limits() throws {
        func number(_ name: String) throws -> Int32 { try #require(ResourceLimits.number(of: name)) }
        let service = Service(
            name: "api", command: literal("/bin/true"),
            limits: [
                ResourceLimit(resource: .cpu, soft: 1, hard: 2), ResourceLimit(resource: .core, soft: 0, hard: nil),
                ResourceLimit(resource: .as, soft: nil, hard: nil),
            ])
        #expect(
            try plan(service).limits == [
                SpawnPlan.Limit(resource: number("as"), soft: .max, hard: .max),
                SpawnPlan.Limit(resource: number("core"), soft: 0, hard: .max),
                SpawnPlan.Limit(resource: number("cpu"), soft: 1, hard: 2),
            ])
    }

    @Test("a user brings its groups, home and name", .enabled(if: SpawnPlannerTests.isRoot, "needs root"))
    func user() throws {
        let nobody = try #require(try Accounts.account(named: "nobody"))
        let service = Service(name: "api", command: literal("/bin/true"), user: "nobody")
        let plan = try plan(service, own: ["HOME": "/root", "USER": "root"])
        let credentials = try #require(plan.credentials)
        #expect((credentials.user, credentials.group) == (nobody.user, nobody.group))
        #expect(credentials.supplementary.contains(nobody.group))
        #expect(Set(plan.environment).isSuperset(of: ["HOME=\(nobody.home)", "USER=nobody", "LOGNAME=nobody"]))
        var numbered = service
        numbered.user = "\(nobody.user)"
        #expect(try self.plan(numbered).credentials == credentials)
        numbered.group = "4711"
        #expect(try self.plan(numbered).credentials?.group == 4711)
    }

    @Test("a number without an account needs a group", .enabled(if: SpawnPlannerTests.isRoot, "needs root"))
    func unknownNumber() throws {
        var service = Service(name: "api", command: literal("/bin/true"), user: "3999999999")
        #expect(try failure(service).contains("set 'group' as well"))
        service.group = "4711"
        #expect(
            try plan(service).credentials
                == SpawnPlan.Credentials(user: 3_999_999_999, group: 4711, supplementary: [4711]))
    }

    @Test(
        "a user or group that is not there is named",
        arguments: [
            ("no-such-one", nil), (nil, "no-such-one"), ("root", "no-such-one"), ("-1", nil), ("4294967295", "0"),
        ]
            as [(String?, String?)])
    func unknownAccount(user: String?, group: String?) throws {
        let text = try failure(Service(name: "api", command: literal("/bin/true"), user: user, group: group))
        #expect(text.hasPrefix("cannot run as "))
        #expect(text.contains("there is no such"))
    }

    @Test("what execve would cut or refuse is refused in words, without showing values")
    func texts() throws {
        func service(_ argument: String = "a", value: String = "v") -> Service {
            Service(
                name: "api", command: literal("/bin/true", argument),
                environment: [EnvironmentVariable(name: "KEY", value: Template(literal: value))])
        }
        #expect(try failure(service("a\u{0}b")) == "cannot start: command[1] holds a NUL character")
        #expect(
            try failure(service(value: "se\u{0}cret"))
                == "cannot start: the environment variable KEY holds a NUL character")
        let long = String(repeating: "x", count: 131_072)
        #expect(try failure(service(long)).hasPrefix("cannot start: command[1] has 131072 bytes"))
        #expect(
            try failure(service(value: long)).hasPrefix("cannot start: the environment variable KEY has 131076 bytes"))
        #expect(try plan(service(String(long.dropLast()))).arguments.count == 2)
        #expect(
            try failure(Service(name: "api", command: literal("")))
                == "cannot start: the program's name in command[0] is empty")
        #expect(try failure(Service(name: "api", command: [])).contains("is empty"))
    }

    @Test("arguments and environment together may take a quarter of the stack's limit, as for a real execve")
    func size() throws {
        let quarter = 1 << 20
        func service(_ count: Int) -> Service {
            let filler = String(repeating: "x", count: 999)
            return Service(
                name: "api", command: literal("/bin/true") + Array(repeating: Template(literal: filler), count: count),
                limits: [ResourceLimit(resource: .stack, soft: UInt64(4 * quarter), hard: nil)])
        }
        // 1,008 bytes each with its end and its pointer.
        let most = (quarter - 1000) / 1008
        #expect(try plan(service(most)).arguments.count == most + 1)
        let text = try failure(service(quarter / 1008 + 1))
        #expect(text.contains("Linux takes \(quarter) at most"))
    }

    @Test("a probe runs as the instance does, but for its id, label and command")
    func probe() throws {
        let service = Service(name: "api", command: literal("/bin/true"), umask: 0o077)
        let own = try plan(service)
        let probe = try planner().probePlan(
            [Template(literal: "/bin/check"), Template(parts: [.variable(.port)])], of: service, instance: 2,
            port: 20_001,
            generation: Generation(17), manifest: Manifest(services: [service]), child: 99)
        #expect(probe.id == 99)
        #expect(probe.arguments == ["/bin/check", "20001"])
        #expect((probe.environment, probe.directory, probe.umask) == (own.environment, own.directory, own.umask))
        #expect(ChildLabel(probe.label)?.role == .probe)
    }

    @Test("a hook gets no other instance's number and port where its event has none")
    func hook() throws {
        let service = Service(name: "api", command: literal("/bin/true"))
        let command = [
            Template(literal: "/bin/tell"), Template(parts: [.variable(.instance), .literal("-"), .variable(.port)]),
            Template(parts: [.variable(.service)]),
        ]
        func plan(_ instance: Int?, _ port: UInt16?) throws -> SpawnPlan {
            try planner().hookPlan(
                command, of: service, instance: instance, port: port, manifest: Manifest(services: [service]))
        }
        let known = try plan(2, 20_001)
        #expect(known.arguments == ["/bin/tell", "2-20001", "api"])
        #expect(known.environment.contains("INSTANCE=2") && known.environment.contains("PORT=20001"))
        let gone = try plan(2, nil)
        #expect(gone.arguments == ["/bin/tell", "2-", "api"])
        let unknown = try plan(nil, nil)
        #expect(unknown.arguments == ["/bin/tell", "-", "api"])
        for entry in ["INSTANCE=", "PORT=", "SERVICE=api", "DB_PORT=5432"] {
            #expect(unknown.environment.contains(entry), "\(unknown.environment)")
        }
    }

    @Test(
        "what is no label is none",
        arguments: [
            "", "leader", "leader api/2 17", "leader api/0 17 1", "leader api 1 1", "x api/2 17 1",
            "leader api/2 17 65536", "leader api/2 -1 1",
        ])
    func labels(text: String) { #expect(ChildLabel(text) == nil) }
}
