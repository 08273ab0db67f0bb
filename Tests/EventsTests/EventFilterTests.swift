import Events
import Testing

@Suite("Which events are wanted")
struct EventFilterTests {
    @Test("Of those about an instance only those about some, and all others, whatever their texts are")
    func choice() throws {
        let filter = EventFilter(instances: ["api/1", "db/12"])
        let nasty = "\"instance\":\"web/1\", instance"
        for (instance, isWanted) in [
            ("api/1", true), ("db/12", true), ("api/10", false), ("api/2", false), ("db/1", false), (nil, true),
        ] as [(String?, Bool)] {
            for kind: EventKind in [
                .exit(.init(generation: 1, code: 1, reason: nasty)), .startFailed(.init(generation: 1, reason: "i")),
                .command(.init(verb: "stop", names: [nasty], by: nasty, userID: 0)),
            ] {
                let event = EventRecord(number: 7, at: nasty, service: "x", instance: instance, kind: kind)
                let line = try #require(EventLine.text(event))
                #expect(filter.accepts(line[...]) == isWanted, "\(String(decoding: line, as: UTF8.self))")
                #expect(EventFilter(instances: []).accepts(line[...]) == (instance == nil))
                // As a part of more, and cut.
                #expect(filter.accepts((Array("{}\n".utf8) + line)[3...]) == isWanted)
            }
        }
        for text in ["", "i", "instance\":\"", "\"instance\":", "{\"number\":1"] {
            #expect(filter.accepts(ArraySlice(text.utf8)))
        }
        #expect(!filter.accepts(ArraySlice("\"instance\":\"api".utf8)))
    }
}
