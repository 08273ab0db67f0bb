import Manifest
import Testing

/// `deploy.strategy`, and what it goes with.
@Suite struct DeployFieldTests {
    private func load(_ fields: String, defaults: String = "{}", range: String = "20000-29999") -> LoadedManifest {
        ManifestTests.load(
            "{ supd: { portRange: '\(range)' }, defaults: \(defaults), services: { a: { command: ['a'], \(fields) } } }"
        )
    }

    private func strategy(_ fields: String, defaults: String = "{}") throws -> DeploySettings {
        let result = load(fields, defaults: defaults)
        return try #require(result.manifest?.services.first?.deploy, "\(result.errors)")
    }

    @Test func `rolling is the default, and no other than none said`() throws {
        #expect(try strategy("listen: 80") == DeploySettings())
        #expect(try strategy("listen: 80, deploy: { strategy: 'rolling' }") == DeploySettings())
        #expect(try strategy("listen: 80, deploy: { strategy: 'blue-green' }").isBlueGreen)
    }

    @Test(arguments: [
        ("listen: 80, deploy: { strategy: 'bluegreen' }", "did you mean \"blue-green\"?"),
        ("deploy: { strategy: 'blue-green' }", "without a front (\"listen\")"),
        ("listen: 80, port: 9000, deploy: { strategy: 'blue-green' }", "with a fixed port"),
        ("kind: 'task', deploy: { strategy: 'blue-green' }", "for a task, which serves nobody"),
        ("listen: 80, deploy: { strategy: 'blue-green', canary: { hold: '1m' } }", "found \"canary\" beside strategy"),
        ("listen: 80, deploy: { strategy: 'blue-green', surge: 2 }", "found \"surge\" beside strategy"),
        (
            "listen: 80, deploy: { strategy: 'blue-green', maxUnavailable: 0 }",
            "found \"maxUnavailable\" beside strategy"
        ),
    ])
    func `what cannot be is told`(fields: String, part: String) {
        let errors = load(fields).errors.map { "\($0)" }
        #expect(errors.count == 1 && errors.allSatisfy { $0.contains(part) }, "\(errors)")
    }

    @Test func `a whole new set needs ports`() {
        let fields = "listen: 80, replicas: 3, deploy: { strategy: 'blue-green' }"
        #expect(load(fields, range: "20000-20005").errors.isEmpty)
        let errors = load(fields, range: "20000-20004").errors.map { "\($0)" }
        #expect(errors.count == 1 && errors.first?.contains("2 ports to spare") == true, "\(errors)")
    }

    @Test func `so does the largest set of a service that scales itself`() {
        let fields =
            "listen: 80, replicas: { min: 1, max: 3, target: { connections: 50 } }, deploy: { strategy: 'blue-green' }"
        #expect(load(fields, range: "20000-20005").errors.isEmpty)
        let errors = load(fields, range: "20000-20004").errors.map { "\($0)" }
        #expect(errors.count == 1 && errors.first?.contains("2 ports to spare") == true, "\(errors)")
    }

    @Test func `what comes from defaults holds where it can`() throws {
        let blueGreen = "{ deploy: { strategy: 'blue-green' } }"
        #expect(try strategy("listen: 80", defaults: blueGreen).isBlueGreen)
        #expect(try !strategy("port: 9000", defaults: blueGreen).isBlueGreen)
        #expect(try !strategy("listen: 80, deploy: { surge: 0 }", defaults: blueGreen).isBlueGreen)
        let canary = try strategy("listen: 80, deploy: { canary: { hold: '1m' } }", defaults: blueGreen)
        #expect(!canary.isBlueGreen && canary.canary != nil)
        let own = try strategy(
            "listen: 80, deploy: { strategy: 'blue-green' }",
            defaults: "{ deploy: { surge: 2, canary: { hold: '1m' } } }")
        #expect(own.isBlueGreen && own.canary == nil)
    }
}
