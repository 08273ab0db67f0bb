import ControlAPI
import Testing

@Suite("What the page may ask for")
struct ControlRightTests {
    private static let token = "abcdefghijklmnop"

    private func status(_ right: ControlRight, _ method: String, _ target: String, _ given: String? = nil) throws -> Int
    {
        let fields = given.map { [HTTPField("authorization", $0)] } ?? []
        let request = HTTPRequest(method: method, target: target, fields: fields)
        let route = try ControlRoute(request)
        do throws(RouteFailure) {
            try right.check(route, request)
            return 200
        } catch {
            return error.status
        }
    }

    @Test(
        "reading needs no token; changing does; the rest is not for it at all",
        arguments: [
            ("GET", "/v1/version", 200, 200), ("GET", "/v1/status?limits=true", 200, 200),
            ("GET", "/v1/balancer", 200, 200), ("GET", "/metrics", 200, 200), ("GET", "/v1/events?after=3", 200, 200),
            ("GET", "/v1/logs?name=api/1&lines=5&follow=true", 200, 200),
            ("POST", "/v1/services/api/start", 401, 200), ("POST", "/v1/services/api/stop", 401, 200),
            ("POST", "/v1/services/api/2/restart", 401, 200), ("POST", "/v1/services/api/scale?replicas=3", 401, 200),
            ("POST", "/v1/rollback", 401, 200), ("POST", "/v1/rollback?to=3", 401, 200),
            ("POST", "/v1/services/api/restart?wait=true", 403, 403), ("POST", "/v1/services/api/drain", 403, 403),
            ("POST", "/v1/services/api/undrain", 403, 403), ("POST", "/v1/services/api/signal?signal=KILL", 403, 403),
            ("POST", "/v1/services/api/promote", 403, 403), ("POST", "/v1/apply?file=/etc/shadow", 403, 403),
            ("POST", "/v1/shutdown", 403, 403), ("POST", "/v1/upgrade?path=/tmp/x", 403, 403),
            ("GET", "/v1/history", 403, 403),
        ])
    func routes(_ method: String, _ target: String, _ without: Int, _ with: Int) throws {
        let right = ControlRight.page(token: WebToken(fileText: Array(Self.token.utf8)))
        #expect(try status(right, method, target) == without)
        #expect(try status(right, method, target, "Bearer \(Self.token)") == with)
        #expect(try status(.everything, method, target) == 200)
        #expect(try status(.page(token: nil), method, target, "Bearer \(Self.token)") == (without == 200 ? 200 : 403))
    }

    @Test(
        "nothing but the token is the token",
        arguments: [
            "Bearer", "Bearer ", "Bearer abcdefghijklmno", "Bearer abcdefghijklmnopq", "Bearer abcdefghijklmnoq",
            "Bearer bbcdefghijklmnop", "Bearer ABCDEFGHIJKLMNOP", "Basic abcdefghijklmnop", "abcdefghijklmnop",
            "Bearer  abcdefghijklmnop", "Bearer abcdefghijklmnop\0",
        ])
    func wrong(_ given: String) throws {
        let right = ControlRight.page(token: WebToken(fileText: Array(Self.token.utf8)))
        #expect(try status(right, "POST", "/v1/services/api/stop", given) == 401)
        #expect(try status(right, "POST", "/v1/services/api/stop", "bearer abcdefghijklmnop") == 200)
    }

    @Test("two tokens are none")
    func twice() throws {
        let field = HTTPField("authorization", "Bearer \(Self.token)")
        let request = HTTPRequest(method: "POST", target: "/v1/services/api/stop", fields: [field, field])
        let route = try ControlRoute(request)
        #expect(throws: RouteFailure.self) {
            try ControlRight.page(token: WebToken(fileText: Array(Self.token.utf8))).check(route, request)
        }
    }

    @Test(
        "a token's file has one word of 16 to 256 letters",
        arguments: [
            ("abcdefghijklmnop", true), (" \n abcdefghijklmnop\r\n", true), (String(repeating: "x", count: 256), true),
            ("", false), ("\n", false), ("abcdefghijklmno", false), (String(repeating: "x", count: 257), false),
            ("abcdefgh ijklmnop", false), ("abcdefghijklmnop\nabcdefghijklmnop", false), ("abcdefghijklmnöp", false),
        ])
    func files(_ text: String, _ isToken: Bool) { #expect((WebToken(fileText: Array(text.utf8)) != nil) == isToken) }
}
