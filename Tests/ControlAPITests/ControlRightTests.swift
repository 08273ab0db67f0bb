import Testing

@testable import ControlAPI

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

    @Test(
        "how much of a token is right cannot be told by the time: as many bytes are looked at, wherever the first wrong one is",
        arguments: [16, 17, 64, 256])
    func constantTime(length: Int) {
        let secret = (0..<length).map { UInt8(0x21 + $0 % 90) }
        /// What a comparison comes to, and how many bytes of the two it has looked at.
        func compare(_ given: [UInt8]) -> (isSame: Bool, ofGiven: Int, ofSecret: Int) {
            let (one, other) = (CountedBytes(given), CountedBytes(secret))
            let isSame = WebToken.isSame(one, other)
            return (isSame, one.reads.count, other.reads.count)
        }
        #expect(compare(secret) == (true, length, length))
        for wrong in 0..<length {
            var given = secret
            given[wrong] ^= 1
            #expect(compare(given) == (false, length, length), "byte \(wrong)")
        }
        // Of another length: all of the secret is looked at, however much of it was right.
        for shorter in [0, 1, length - 1] {
            #expect(compare(Array(secret.prefix(shorter))) == (false, shorter, length))
            #expect(compare([UInt8](repeating: 0, count: shorter)) == (false, shorter, length))
        }
        let most = WebToken.length.upperBound + 1
        for more in [1, 300, 100_000] {
            let expected = min(length + more, most)
            #expect(compare(secret + [UInt8](repeating: 0, count: more)) == (false, expected, length))
            #expect(compare([UInt8](repeating: 0, count: length + more)) == (false, expected, length))
        }
    }
}

/// Bytes that count how often one of them is looked at. They cannot be looked at as one piece of memory.
private struct CountedBytes: Collection {
    final class Reads { var count = 0 }

    let reads = Reads()
    private let bytes: [UInt8]

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    var startIndex: Int { bytes.startIndex }
    var endIndex: Int { bytes.endIndex }

    func index(after index: Int) -> Int { index + 1 }

    subscript(position: Int) -> UInt8 {
        reads.count += 1
        return bytes[position]
    }
}
