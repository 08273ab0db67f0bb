import Manifest
import Testing

private func warnings(_ services: String, facts: HostFacts = testFacts) -> [String] {
    let result = load("{ services: { \(services) } }", facts: facts)
    #expect(result.manifest != nil, "\(result.errors)")
    return result.warnings.map { "\($0.path): \($0.message)" }
}

@Suite struct WarningTests {
    @Test(arguments: [
        ("a: { command: '/usr/bin/node x.js', limits: { as: '1G' } }", "node reserves"),
        ("a: { command: 'java -jar x', limits: { as: '1G:2G' } }", "java reserves"),
        ("a: { command: 'x', limits: { rss: 1 } }", "services.a.limits.rss: has no effect"),
        ("a: { command: 'x', limits: { locks: 1 } }", "has no effect"),
        ("a: { command: 'x', limits: { cpu: 60 } }", "killed once it has used them"),
        ("a: { command: 'x', limits: { nproc: 60 } }", "has no effect on root"),
        ("a: { command: 'x', user: 'root', limits: { memlock: 60 } }", "has no effect on root"),
        (
            "a: { command: 'x', user: 'u', limits: { nproc: 60 } }, b: { command: 'y', user: 'u' }",
            "of the user u, also of b:"
        ), ("a: { command: 'x', port: 40000 }", "port 40000 is among 32768-60999"),
        ("a: { command: 'x', port: 32766, replicas: 5 }", "port 32768 is among"),
        ("a: { command: 'x', listen: 50000 }", "port 50000 is among"),
        ("a: { command: 'x | y' }", "\"|\" is passed to the program as it is"),
        ("a: { command: 'x', kind: 'task', restart: 'always' }", "never completes"),
        ("a: { command: 'x', user: 'u', port: 80 }", "CAP_NET_BIND_SERVICE"),
    ])
    func trapsAreWarnedOf(services: String, part: String) {
        let found = warnings(services)
        #expect(found.count == 1 && found.allSatisfy { $0.contains(part) }, "\(found)")
    }

    @Test(arguments: [
        "a: { command: './server', limits: { as: '1G' } }", "a: { command: 'node x', limits: { as: 'unlimited' } }",
        "a: { command: 'x', kind: 'task', limits: { cpu: 60 } }",
        "a: { command: 'x', user: 'u', limits: { nproc: 60, memlock: 1 } }", "a: { command: 'x', listen: 80 }",
        "a: { command: [\"sh\", \"-c\", \"a | b\"] }", "a: { command: 'x', port: 9000 }",
    ])
    func whatIsFineIsNotWarnedOf(services: String) {
        #expect(warnings(services).isEmpty)
    }

    @Test func whatNeedsRootIsAnErrorWithoutIt() {
        let facts = HostFacts(isRoot: false)
        #expect(
            loadService("user: 'u', group: 'g'", facts: facts).errors.map(\.path) == [
                "services.a.user", "services.a.group",
            ])
        #expect(loadService("user: 'u'", facts: HostFacts(isRoot: nil)).errors.isEmpty)
        #expect(warnings("a: { command: 'x', listen: 80 }", facts: facts).count == 1)
        #expect(
            warnings("a: { command: 'x', listen: 80 }", facts: HostFacts(isRoot: false, unprivilegedPortStart: 80))
                .isEmpty)
        #expect(
            warnings("a: { command: 'x', limits: { nproc: 9 } }", facts: facts).first?.contains(
                "all else that this user runs") == true)
    }

    @Test func portRangeInsideTheEphemeralOneIsWarnedOf() {
        let result = load("{ supd: { portRange: '30000-33000' }, services: { a: { command: 'a' } } }")
        #expect(result.warnings.map(\.path) == ["supd.portRange"])
        #expect(checkReport(result).hasPrefix("t.json5:1:22: warning: supd.portRange: overlaps with 32768-60999"))
        #expect(checkReport(result).hasSuffix("t.json5: 1 service, 1 instance: OK, 1 warning\n"))
    }

    @Test func aLogThatNamesTheSeverityItselfGetsTheWarningWithoutIt() {
        let result = load("{ services: {} }")
        #expect(
            result.warnings.map(\.logText) == ["t.json5:1:13: services: found no service: supd will have nothing to do"]
        )
        #expect(load("{ x: 1, services: {} }").errors.allSatisfy { $0.logText == $0.description })
    }

    @Test func aManifestWithoutServicesIsValidButWarnedOf() {
        #expect(
            checkReport(load("{ services: {} }")) == """
                t.json5:1:13: warning: services: found no service: supd will have nothing to do
                t.json5: 0 services, 0 instances: OK, 1 warning

                """)
    }

    @Test func theBalancersUserHasNoEffectWithoutRoot() {
        let result = load(
            "{ supd: { balancer: { user: 'nobody' } }, services: { a: { command: 'a' } } }",
            facts: HostFacts(isRoot: false))
        #expect(result.warnings.map(\.path) == ["supd.balancer.user"])
    }

    @Test func aWarningAboutADefaultNamesTheService() {
        let result = load(
            "{ defaults: { limits: { as: '1G' } }, services: { a: { command: 'node x' }, b: { command: 'c' } } }")
        #expect(result.warnings.map(\.path) == ["defaults.limits.as of services.a"])
    }
}
