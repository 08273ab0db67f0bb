import Manifest
import Testing

/// A machine of a test's making.
private struct Machine {
    var users: Set<String> = ["root", "api"]
    var userIDs: Set<UInt32> = [0, 1000]
    var groups: Set<String> = ["root", "www-data"]
    var entries: [String: HostLookup.Entry] = [
        "/srv": .directory, "/srv/app": .directory, "/srv/run": .file(isExecutable: true),
        "/srv/app/run": .file(isExecutable: true), "/srv/plain": .file(isExecutable: false), "/usr/bin": .directory,
        "/usr/bin/tool": .file(isExecutable: true), "/opt/bin/other": .file(isExecutable: true),
        "/srv/good.env": .file(isExecutable: false), "/srv/bad.env": .file(isExecutable: false), "/dev/null": .other,
    ]
    var contents = ["/srv/good.env": "PATH=/opt/bin", "/srv/bad.env": "A=1\nno equals sign"]
    /// Paths that may not be looked at.
    var hidden: Set<String> = []

    var lookup: HostLookup {
        HostLookup(
            hasUser: { users.contains($0) }, hasUserID: { userIDs.contains($0) }, hasGroup: { groups.contains($0) },
            entry: { hidden.contains($0) ? nil : entries[$0] ?? .missing },
            hasAddress: { $0 == "0.0.0.0" || $0 == "192.168.0.1" || $0 == "::" },
            contents: { contents[$0].map { Array($0.utf8) } })
    }

    func check(_ text: String, isRoot: Bool = true) -> LoadedManifest {
        ManifestLoader.load(
            text: Array(text.utf8), file: "t.json5", directory: "/srv", environment: ["PATH": "/usr/bin"],
            facts: HostFacts(isRoot: isRoot, isOnlyChecked: true), lookup: lookup)
    }

    func warnings(_ fields: String) -> [String] {
        let result = check("{ services: { a: { \(fields) } } }")
        #expect(result.errors.isEmpty && result.manifest != nil, "\(result.errors)")
        return result.warnings.map { "\($0.path): \($0.message)" }
    }
}

@Suite struct HostWarningTests {
    @Test(arguments: [("plain", 0), ("none", 1)])
    func aTokenOfThePageThatIsNotThereIsSaid(file: String, count: Int) {
        let result = Machine().check(
            "{ supd: { web: { listen: 9300, actions: '\(file)' } }, services: { a: { command: 'tool' } } }")
        #expect(result.errors.isEmpty)
        #expect(result.warnings.map(\.path) == Array(repeating: "supd.web.actions", count: count))
    }

    @Test(arguments: [
        (
            "command: 'tool', user: 'nobdy'",
            "services.a.user: there is no user \"nobdy\" on this machine: a start would fail; create it (useradd), or name another"
        ),
        (
            "command: 'tool', log: { journal: true }",
            "services.a.log.journal: there is no /run/systemd/journal/socket on this machine: lines would be in the files "
                + "only, and counted as not sent; leave \"journal\" out where systemd's journal does not run"
        ),
        (
            "command: 'tool', listen: '10.99.99.99:8500'",
            "services.a.listen: no interface of this machine has the address 10.99.99.99: supd would not start; name another"
        ),
        (
            "command: 'tool', listen: 'unix:/srv/none/s.sock'",
            "services.a.listen: the directory \"/srv/none\" does not exist on this machine: supd would not start; create it, or name another"
        ),
        (
            "command: 'tool', listen: 'unix:/srv/plain'",
            "services.a.listen: \"/srv/plain\" is there already and no socket: supd would not start; remove it, or name another"
        ),
        (
            "command: 'tool', group: 'staff'",
            "services.a.group: there is no group \"staff\" on this machine: a start would fail; create it (groupadd), or name another"
        ),
        (
            "command: 'tool', user: '4711'",
            "services.a.user: the user database of this machine does not know 4711, so its group is unknown: a start would fail; set \"group\" as well"
        ),
        (
            "command: 'tool', directory: 'data'",
            "services.a.directory: the directory \"/srv/data\" does not exist on this machine: a start would fail; create it, or name another"
        ),
        (
            "command: 'tool', directory: '/srv/${SERVICE}/${INSTANCE}'",
            "services.a.directory: the directory \"/srv/a/1\" does not exist on this machine: a start would fail; create it, or name another"
        ),
        (
            "command: 'tool', directory: 'plain'",
            "services.a.directory: \"/srv/plain\" is no directory: a start would fail; name another"
        ),
        (
            "command: 'tool', environmentFiles: ['good.env', 'none.env'], environment: { PATH: '/usr/bin' }",
            "services.a.environmentFiles[1]: the file \"/srv/none.env\" does not exist on this machine: a start would fail; create it, if empty, or leave it out"
        ),
        (
            "command: 'tool', environmentFiles: ['app']",
            "services.a.environmentFiles[0]: \"/srv/app\" is no regular file: a start would fail; name another"
        ),
        (
            "command: 'tool', environmentFiles: ['bad.env']",
            "services.a.environmentFiles[0]: \"/srv/bad.env\", line 2: found no \"=\", expected NAME=value (or # before a comment): a start would fail; correct the file"
        ),
        (
            "command: 'tol x'",
            "services.a.command: the program \"tol\" is in none of the folders of the service's PATH on this machine: a start would fail; install it, name its whole path, or set PATH in \"environment\""
        ),
        (
            "command: './rnu'",
            "services.a.command: the program \"/srv/rnu\" does not exist on this machine: a start would fail; install it, or name another"
        ),
        (
            "command: './plain'",
            "services.a.command: \"/srv/plain\" is not executable: a start would fail; use chmod +x, or name the interpreter before it"
        ),
        ("command: '/dev/null'", "services.a.command: \"/dev/null\" is no program: a start would fail; name another"),
    ])
    func whatThisMachineLacksIsWarnedOf(fields: String, warning: String) {
        #expect(Machine().warnings(fields) == [warning])
    }

    @Test(arguments: [
        "command: 'tool', user: 'api', group: 'www-data'", "command: 'tool', user: '1000'",
        "command: 'tool', user: '4711', group: '4712'", "command: './run'", "command: './run', directory: 'app'",
        "command: '/usr/bin/tool'", "command: 'other', environmentFiles: ['good.env']",
        "command: 'other', environment: { PATH: '/nowhere:/opt/bin/' }",
        // What depends on the port cannot be looked up.
        "command: './run-${PORT}', directory: 'app-${PORT}'", "command: 'tool', directory: 'data-${PORT}'",
    ])
    func whatIsThereIsNotWarnedOf(fields: String) {
        #expect(Machine().warnings(fields) == [])
    }

    @Test func whatMayNotBeLookedAtIsNotSaidToBeMissing() {
        var machine = Machine()
        machine.hidden = ["/srv/app", "/srv/app/secret", "/srv/x.env"]
        #expect(machine.warnings("command: './secret', directory: 'app', environmentFiles: ['x.env']") == [])
    }

    @Test func withoutPATHOfItsOwnAServiceHasTheUsualFolders() {
        #expect(Machine().warnings("command: 'tool', inheritEnvironment: []") == [])
        #expect(Machine().warnings("command: 'other', inheritEnvironment: []").count == 1)
    }

    @Test func whatIsMissingInDefaultsIsSaidOnceAtItsPlace() {
        let result = Machine().check(
            """
            {
              defaults: { user: 'nobdy', directory: 'none' },
              services: { a: { command: 'tool' }, b: { command: './x' } },
            }
            """)
        #expect(
            result.warnings.map { "\($0.line):\($0.column) \($0.path)" } == [
                "2:21 defaults.user", "2:41 defaults.directory",
            ])
    }

    @Test func aBalancersUserIsLookedUpToo() {
        let result = Machine().check(
            "{ supd: { balancer: { user: 'blancer' } }, services: { a: { command: 'tool' } } }")
        #expect(result.warnings.map(\.path) == ["supd.balancer.user"])
    }

    /// Who checks a manifest need not be who runs it; who runs it must be root.
    @Test func whatNeedsRootIsAWarningToWhoeverOnlyChecks() {
        let text = "{ services: { a: { command: 'tool', user: 'api', group: 'www-data' } } }"
        let checked = Machine().check(text, isRoot: false)
        #expect(checked.manifest != nil && checked.errors.isEmpty)
        #expect(checked.warnings.map(\.path) == ["services.a.user", "services.a.group"])
        #expect(checked.warnings.allSatisfy { $0.message.hasPrefix("needs root at run time") })
        let run = ManifestLoader.load(
            text: Array(text.utf8), file: "t.json5", directory: "/srv", environment: [:],
            facts: HostFacts(isRoot: false))
        #expect(run.errors.map(\.path) == ["services.a.user", "services.a.group"] && run.warnings.isEmpty)
    }
}
