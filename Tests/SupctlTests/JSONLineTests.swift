import Foundation
import Testing

@testable import supctl

@Suite("Lines of services that log JSON")
struct JSONLineTests {
    private static let members = [(name: "instance", value: "api/1"), (name: "time", value: "now")]

    private func added(_ line: String) -> String? {
        JSONLine.adding(Self.members, to: Array(line.utf8)).map { String(decoding: $0, as: UTF8.self) }
    }

    @Test(
        "Members come first, and the rest stays as it is, to the byte",
        arguments: [
            ("{\"a\":1}", "{\"instance\":\"api/1\",\"time\":\"now\",\"a\":1}"),
            (" { \"a\" : 1.50e+2 } \r", " {\"instance\":\"api/1\",\"time\":\"now\", \"a\" : 1.50e+2 } \r"),
            ("{}", "{\"instance\":\"api/1\",\"time\":\"now\"}"), ("{ }", "{\"instance\":\"api/1\",\"time\":\"now\" }"),
            (
                "{\"b\":{\"time\":[0,-0.1,{},[]]},\"a\":\"\\u00e9\\\"}\",\"a\":9007199254740993}",
                "{\"instance\":\"api/1\",\"time\":\"now\",\"b\":{\"time\":[0,-0.1,{},[]]},\"a\":\"\\u00e9\\\"}\","
                    + "\"a\":9007199254740993}"
            ),
        ])
    func objects(line: String, expected: String) { #expect(added(line) == expected) }

    @Test(
        "A name that the line has is not doubled",
        arguments: [
            ("{\"time\":1}", "{\"instance\":\"api/1\",\"supd_time\":\"now\",\"time\":1}"),
            ("{\"t\\u0069me\":1}", "{\"instance\":\"api/1\",\"supd_time\":\"now\",\"t\\u0069me\":1}"),
            ("{\"a\":0,\"time\":1,\"supd_time\":2}", "{\"instance\":\"api/1\",\"a\":0,\"time\":1,\"supd_time\":2}"),
            ("{\"supd_time\":2}", "{\"instance\":\"api/1\",\"time\":\"now\",\"supd_time\":2}"),
        ])
    func doubles(line: String, expected: String) { #expect(added(line) == expected) }

    @Test("A line that has all the names stays as it is")
    func all() {
        let line = "{\"time\":1,\"supd_time\":2,\"instance\":3,\"supd_instance\":4}"
        #expect(added(line) == line)
    }

    @Test(
        "What is no JSON object is none",
        arguments: [
            "", " ", "text", "{", "}", "{]", "[]", "1", "\"{}\"", "{}{}", "{} x", "{\"a\"}", "{\"a\":}", "{\"a\":1,}",
            "{,}", "{a:1}", "{'a':1}", "{\"a\":01}", "{\"a\":1.}", "{\"a\":.5}", "{\"a\":-}", "{\"a\":1e}",
            "{\"a\":tru}", "{\"a\":NaN}", "{\"a\":\"\\x\"}", "{\"a\":\"\\u12g4\"}", "{\"a\":\"\t\"}", "{\"a\":\"",
            "{\"a\":[1,]}", "{\"a\":[1 2]}", "{\"a\":1 \"b\":2}", "{\"a\":[}", "{\"a\":1]", "{\"a\":{\"b\":1}",
        ])
    func others(line: String) { #expect(added(line) == nil) }

    @Test("Neither what is no UTF-8 nor a nest without end is passed on")
    func limits() {
        #expect(JSONLine.adding(Self.members, to: Array("{\"a\":\"".utf8) + [0xff] + Array("\"}".utf8)) == nil)
        func nest(_ depth: Int) -> String {
            "{\"a\":" + String(repeating: "[", count: depth) + String(repeating: "]", count: depth) + "}"
        }
        #expect(added(nest(100)) != nil)
        #expect(added(nest(400_000)) == nil)
    }

    /// Whatever comes of a line must be JSON, as somebody else reads it.
    @Test("A line with a byte changed is passed on as JSON or not at all")
    func changed() throws {
        let line = Array("{\"a\":[1.5e3,true,null,\"x\\n\\u00e9\"],\"b\":{\"c\":-0},\"time\":\"z\"}".utf8)
        var objects = 0
        for offset in line.indices {
            for byte: UInt8 in [0x00, 0x20, 0x22, 0x2c, 0x2d, 0x2e, 0x30, 0x31, 0x5b, 0x5c, 0x5d, 0x65, 0x7b, 0x7d] {
                var other = line
                other[offset] = byte
                guard let result = JSONLine.adding(Self.members, to: other) else { continue }
                objects += 1
                let read = try JSONSerialization.jsonObject(with: Data(result)) as? [String: Any]
                #expect(read?["instance"] as? String == "api/1", "\(String(decoding: result, as: UTF8.self))")
            }
        }
        #expect(objects > 50)
    }
}
