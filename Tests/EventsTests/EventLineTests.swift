import Events
import Testing

@Suite("Events as lines of JSON")
struct EventLineTests {
    private static let kinds: [(EventKind, String)] = [
        (
            .state(.init(from: "running", to: "backoff", reason: "exited with code 1")),
            #""from":"running","instance":"api/2","kind":"state","reason":"exited with code 1","service":"api","to":"backoff"}"#
        ),
        (.start(.init(generation: 7, pid: 42, restarts: 3)), #""generation":7"#),
        (.exit(.init(generation: 7, code: 1, reason: "exited with code 1")), #""code":1"#),
        (.exit(.init(generation: 7, signal: "SIGKILL", reason: "killed by SIGKILL")), #""signal":"SIGKILL""#),
        (.startFailed(.init(generation: 8, reason: "no such file")), #""kind":"startFailed""#),
        (.probe(.init(outcome: .unhealthy, reason: "GET / answered 500")), #""outcome":"unhealthy""#),
        (.goal(.init(goal: "down")), #""goal":"down""#),
        (.drain(.init(drained: true)), #""drained":true"#),
        (.gone(), #""kind":"gone""#),
        (.rollout(.init(step: .goingBack, reason: "api/1 was not ready")), #""step":"goingBack""#),
        (.scale(.init(from: 2, to: 3, reason: "81 connections per instance")), #""from":2,"instance""#),
        (.scaleHindered(.init(from: 2, to: 4, reason: "no port", load: "x")), #""kind":"scaleHindered","load":"x""#),
        (.limit(.init(limit: "nofile", old: "1024", new: "4096", by: "uid 0 (pid 9)")), #""limit":"nofile""#),
        (.logDropped(.init(lines: 12, bytes: 345, reason: "No space left on device")), #""lines":12"#),
        (.command(.init(verb: "restart", names: ["api", "web-*"], by: "uid 0 (pid 9)", userID: 0)), #""userID":0"#),
        (.apply(.init(step: .began, manifest: "/etc/supd.json5", by: "SIGHUP")), #""manifest":"/etc/supd.json5""#),
        (.role(.init(role: "balancer", step: "ended", reason: "killed by SIGKILL")), #""role":"balancer""#),
        (.daemon(.init(step: .started, version: "1.0")), #""version":"1.0""#),
        (.lost(.init(count: 12)), #""count":12"#),
    ]

    @Test("Every kind is one flat object, number first, and reads back as what it was")
    func roundTrip() throws {
        for (number, (kind, part)) in Self.kinds.enumerated() {
            let event = EventRecord(
                number: UInt64(number + 1), at: "2026-01-31T10:20:30.123Z", service: "api", instance: "api/2",
                kind: kind)
            let line = try #require(EventLine.text(event))
            let text = String(decoding: line, as: UTF8.self)
            #expect(text.hasPrefix(#"{"number":\#(number + 1),"#) && text.hasSuffix("}\n"))
            #expect(text.contains(part), "\(text)")
            #expect(text.split(separator: "\n").count == 1)
            #expect(EventLine.number(of: line) == event.number)
            #expect(EventLine.event(line) == event)
        }
    }

    @Test("What a newer version tells is kept as something else, not lost")
    func unknownKind() {
        let known = EventLine.event(Array(#"{"number":3,"at":"x","kind":"weather","sky":"blue"}"#.utf8))
        #expect(known == EventRecord(number: 3, at: "x", service: nil, instance: nil, kind: .other("weather")))
        // A kind that is known, with a word that is not.
        let other = EventLine.event(Array(#"{"number":4,"at":"x","kind":"daemon","step":"asleep"}"#.utf8))
        #expect(other?.kind == .other("daemon"))
    }

    @Test(
        "What is no event is no event",
        arguments: [
            "", "{", "{}", "x", #"{"number":}"#, #"{"number":-1,"at":"x","kind":"gone"}"#,
            #"{"number":18446744073709551616,"at":"x","kind":"gone"}"#, #"{"checkpoint":{}}"#,
        ])
    func broken(line: String) {
        #expect(EventLine.event(Array(line.utf8)) == nil)
        #expect(EventLine.number(of: Array(line.utf8)) == nil)
    }

    @Test("A line has a limit, and its text stays one line whatever is in it")
    func limits() throws {
        func event(_ reason: String) -> EventRecord {
            EventRecord(
                number: 1, at: "x", service: "a", instance: "a/1",
                kind: .startFailed(.init(generation: 1, reason: reason)))
        }
        #expect(EventLine.text(event(String(repeating: "x", count: EventLine.limit))) == nil)
        let line = try #require(EventLine.text(event("one\ntwo\u{0}\u{2028}\"")))
        #expect(line.count(where: { $0 == UInt8(ascii: "\n") }) == 1)
        #expect(EventLine.event(line) == event("one\ntwo\u{0}\u{2028}\""))
    }
}
