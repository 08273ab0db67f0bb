import FoundationEssentials
import Manifest
import Testing

/// The page for browsers.
@Suite struct WebTests {
    private func loaded(_ web: String, _ service: String = "") -> LoadedManifest {
        load("{ supd: { web: \(web) }, services: { a: { command: ['a'], \(service) } } }")
    }

    @Test func withoutTheSectionThereIsNone() throws {
        #expect(try manifest("{ services: {} }").supd.web == nil)
        #expect(try manifest("{ supd: {}, services: {} }").supd.web == nil)
    }

    @Test func allItsFields() throws {
        let result = loaded("{ listen: '127.0.0.1:9300', hosts: ['Home.example', 'a'], actions: 'secrets/token' }")
        #expect(
            result.manifest?.supd.web
                == WebSettings(
                    listen: .ipv4(address: "127.0.0.1", port: 9300), hosts: ["home.example", "a"],
                    actions: "/srv/secrets/token"))
        #expect(result.warnings.isEmpty)
    }

    @Test(arguments: [
        ("{}", "supd.web"), ("{ hosts: [] }", "supd.web"), ("{ listen: 0 }", "supd.web.listen"),
        ("{ listen: 'unix:/run/x' }", "supd.web.listen"), ("{ listen: 'localhost:80' }", "supd.web.listen"),
        ("{ listen: 80, hosts: ['a b'] }", "supd.web.hosts[0]"), ("{ listen: 80, hosts: ['-a'] }", "supd.web.hosts[0]"),
        ("{ listen: 80, hosts: ['a:80'] }", "supd.web.hosts[0]"), ("{ listen: 80, hosts: ['*'] }", "supd.web.hosts[0]"),
        ("{ listen: 80, token: 'x' }", "supd.web.token"), ("{ listen: 80, actions: '' }", "supd.web.actions"),
        ("{ listen: 20005 }", "supd.web.listen"), ("9300", "supd.web"), ("true", "supd.web"),
    ])
    func whatIsWrongIsSaidWithItsPlace(web: String, path: String) {
        let found = loaded(web).errors
        #expect(found.count == 1 && found[0].path.hasPrefix(path), "\(found)")
    }

    @Test func anAddressIsEitherAFrontsOrThePages() {
        #expect(loaded("{ listen: 8080 }", "listen: 8081").errors.isEmpty)
        let found = loaded("{ listen: 8080 }", "listen: '0.0.0.0:8080'").errors
        #expect(found.count == 1 && found[0].path == "services.a.listen", "\(found)")
    }

    @Test(arguments: [
        ("9300", false), ("'127.0.0.1:9300'", false), ("'127.3.2.1:9300'", false), ("'[::1]:9300'", false),
        ("'0.0.0.0:9300'", true), ("'[::]:9300'", true), ("'192.168.1.5:9300'", true), ("'[fe80::1]:9300'", true),
    ])
    func whereOthersMayReadItThereIsAWarning(listen: String, warns: Bool) {
        let warnings = loaded("{ listen: \(listen) }").warnings
        #expect(warnings.map(\.path) == (warns ? ["supd.web.listen"] : []), "\(warnings)")
    }

    @Test func whatAnOlderSupdHasWrittenIsRead() throws {
        let old = #"{"portRange":{"first":1,"last":2},"balancer":{}}"#
        #expect(try JSONDecoder().decode(DaemonSettings.self, from: Data(old.utf8)).web == nil)
    }
}
