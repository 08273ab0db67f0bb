import ControlAPI
import Links
import TestSupport
import Testing

@testable import Web

@Suite("Which requests the page answers")
struct RequestPolicyTests {
    private static func policy(_ address: String = "127.0.0.1", _ hosts: [String] = []) -> RequestPolicy {
        RequestPolicy(WebServing(listeners: [], address: address, hosts: hosts, allowsActions: true))
    }

    private static func status(
        _ policy: RequestPolicy, _ method: String, _ target: String, _ fields: [(String, String)]
    ) -> Int? {
        let request = HTTPRequest(
            method: method, target: target, fields: fields.map { HTTPField($0.0, $0.1) })
        do throws(RequestPolicy.Refusal) {
            try policy.check(request)
            return nil
        } catch {
            return error.status
        }
    }

    @Test(
        "a name that is not ours is refused, whatever it leads to",
        arguments: [
            ("localhost", true), ("localhost:9300", true), ("LOCALHOST:1", true), ("127.0.0.1:9300", true),
            ("[::1]:9300", true), ("[::1]", true),
            ("evil.example", false), ("evil.example:9300", false), ("localhost.evil.example", false),
            ("127.0.0.1.evil.example:9300", false), ("192.168.1.5", false), ("", false), (":9300", false),
            ("localhost:", false), ("localhost:99999999", false), ("localhost:9300:1", false), ("[::1", false),
            ("[]", false), ("user@localhost", false), ("localhost/", false),
        ])
    func hosts(_ host: String, _ isAnswered: Bool) {
        #expect(Self.status(Self.policy(), "GET", "/", [("host", host)]) == (isAnswered ? nil : 421))
    }

    @Test("names of the manifest are ours; addresses in digits are, where the page listens on every one")
    func configuredHosts() {
        let named = Self.policy("192.168.1.5", ["home.example"])
        #expect(Self.status(named, "GET", "/", [("host", "Home.Example:80")]) == nil)
        #expect(Self.status(named, "GET", "/", [("host", "192.168.1.5:9300")]) == nil)
        #expect(Self.status(named, "GET", "/", [("host", "192.168.1.6:9300")]) == 421)
        for wildcard in ["0.0.0.0", "::"] {
            let policy = Self.policy(wildcard)
            #expect(Self.status(policy, "GET", "/", [("host", "192.168.1.6:9300")]) == nil)
            #expect(Self.status(policy, "GET", "/", [("host", "[fe80::1]:9300")]) == nil)
            #expect(Self.status(policy, "GET", "/", [("host", "evil.example")]) == 421)
        }
    }

    @Test("a request without Host is refused")
    func noHost() { #expect(Self.status(Self.policy(), "GET", "/", []) == 421) }

    @Test(
        "another origin's page may link here, and ask for nothing",
        arguments: [
            ("GET", "/", "origin", "http://evil.example", nil),
            ("GET", "/v1/status", "origin", "http://evil.example", 403),
            ("GET", "/v1/status", "origin", "null", 403),
            ("GET", "/v1/status", "origin", "http://localhost:9301", 403),
            ("GET", "/v1/status", "origin", "http://localhost:9300", nil),
            ("GET", "/v1/events", "origin", "https://localhost:9300", nil),
            ("GET", "/metrics", "origin", "http://evil.example", 403),
            ("POST", "/v1/services/api/stop", "origin", "http://evil.example", 403),
            ("POST", "/", "origin", "http://evil.example", 403),
            ("POST", "/v1/services/api/stop", "origin", "http://localhost:9300", nil),
            ("GET", "/v1/events", "sec-fetch-site", "cross-site", 403),
            ("GET", "/v1/events", "sec-fetch-site", "same-site", 403),
            ("GET", "/v1/events", "sec-fetch-site", "none", nil),
            ("POST", "/v1/services/api/stop", "sec-fetch-site", "none", 403),
            ("GET", "/", "sec-fetch-site", "cross-site", nil),
        ] as [(String, String, String, String, Int?)])
    func origins(_ method: String, _ target: String, _ field: String, _ value: String, _ expected: Int?) {
        #expect(
            Self.status(Self.policy(), method, target, [("host", "localhost:9300"), (field, value)]) == expected)
    }

    @Test(
        "methods that nothing here takes are refused", arguments: ["PUT", "DELETE", "OPTIONS", "CONNECT", "TRACE", "X"])
    func methods(_ method: String) {
        #expect(Self.status(Self.policy(), method, "/", [("host", "localhost")]) == 405)
    }

    @Test("fuzz: no field of any bytes is a name of ours unless it is one")
    func fuzz() {
        var random = SeededRandom(seed: 17)
        let letters = Array("[]:.@/0129abcxlohst-%".utf8)
        let policy = Self.policy()
        for _ in 0..<200_000 {
            let bytes = (0..<random.below(14)).map { _ in letters[random.below(letters.count)] }
            let host = String(decoding: bytes, as: UTF8.self)
            guard Self.status(policy, "GET", "/", [("host", host)]) == nil else { continue }
            let name = host.hasPrefix("[") ? "[::1]" : host.split(separator: ":").first.map(String.init) ?? ""
            #expect(["localhost", "127.0.0.1", "[::1]"].contains(name), "\(host)")
        }
    }
}
