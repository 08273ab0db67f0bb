import Testing

@testable import Balancer

@Suite("An event's word says what it is about")
struct EventWordTests {
    @Test(
        "connection, generation and side come back, also at the ends of their ranges",
        arguments: [0, 1, 1 << 20, .max] as [UInt32],
        [1, 2, EventWord.generationMask - 1, EventWord.generationMask])
    func connection(index: UInt32, generation: UInt32) {
        for side in [SideIndex.client, .endpoint] {
            let made = EventWord(connection: index, generation: generation, side: side)
            let word = EventWord(bits: made.bits)
            #expect(word.isConnection)
            #expect(word.index == index)
            #expect(word.generation == generation)
            #expect(word.side == side)
        }
    }

    @Test("no other kind is taken for a connection", arguments: [EventWord.Kind.listener, .command, .timer])
    func kinds(_ kind: EventWord.Kind) {
        let word = EventWord(bits: EventWord(kind: kind, index: .max).bits)
        #expect(!word.isConnection)
        #expect(word.kind == kind)
        #expect(word.index == .max)
    }

    @Test("generations go round without 0, which is a free slot")
    func wrap() {
        #expect(EventWord.generation(after: 0) == 1)
        #expect(EventWord.generation(after: 1) == 2)
        #expect(EventWord.generation(after: EventWord.generationMask - 1) == EventWord.generationMask)
        #expect(EventWord.generation(after: EventWord.generationMask) == 1)
    }
}
