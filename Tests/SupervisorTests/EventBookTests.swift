import Events
import Testing

@testable import Supervisor

@Suite("Events on their way to the store")
struct EventBookTests {
    private let event = EventRecord(number: 0, at: "x", service: "a", instance: "a/1", kind: .gone())

    @Test("So many wait for a disk that hangs; how many more there were is told once it works")
    func limit() {
        var book = EventBook()
        for _ in 0..<EventBook.mostWaiting + 5 { book.add(event) }
        #expect(book.pending.count == EventBook.mostWaiting)
        let batch = book.takePending(at: "y")
        #expect(batch.count == EventBook.mostWaiting + 1)
        #expect(batch.first?.kind == .lost(.init(count: 5)) && batch.first?.at == "y")
        // They are with the store, which has not kept any: there is no room for more.
        book.add(event)
        #expect(book.pending.isEmpty && book.waiting == batch.count)
        book.waiting = 0
        book.add(event)
        #expect(book.takePending(at: "z").map(\.kind) == [.lost(.init(count: 1)), .gone()])
        book.waiting = 0
        book.add(event)
        #expect(book.takePending(at: "z").map(\.kind) == [.gone()])
    }

    @Test("So many may follow, and one that leaves makes room")
    func followers() {
        var book = EventBook()
        let one = EventBook.Follower(responder: ControlResponder(nil), after: 0, follows: true)
        let ids = (0..<EventBook.mostFollowers).compactMap { _ in book.addFollower(one) }
        #expect(Set(ids).count == EventBook.mostFollowers)
        #expect(book.addFollower(one) == nil)
        // Who only looks at what is kept is another matter.
        let look = EventBook.Follower(responder: ControlResponder(nil), after: 0, follows: false)
        #expect(book.addFollower(look) != nil)
        book.followers[ids[3]] = nil
        #expect(book.addFollower(one) != nil)
    }
}
