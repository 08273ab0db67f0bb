import Manifest
import Testing

@testable import Supervision

/// What helps a process on whose port nobody listens is said when it is likely to be of help.
@Suite struct AdviceTests {
    private let a = instance("a")
    private let refused = "to be ready: connection refused"

    private func story(_ timeout: Duration, nobodyListens: Bool = true) -> Story {
        var story = Story(service("a", front: 80, ready: .tcp, readyTimeout: timeout))
        story.spawned(1)
        story.tell(
            .probed(Generation(1), passed: false, detail: "connection refused", nobodyListens: nobodyListens))
        return story
    }

    private func advice(_ story: Story) throws -> String {
        let port = try story.view(a).port
        return "; the program must listen on 127.0.0.1:\(port), the port it gets as PORT"
    }

    /// `ready.timeout`, and after how many milliseconds there is advice.
    @Test(arguments: [(60, 15_000), (600, 30_000), (24, 6000), (8, 5000)])
    func `a start that is slow and healthy gets none; one that is long has it`(timeout: Int, after: Int) throws {
        var story = story(.seconds(timeout))
        #expect(try story.view(a).detail == refused)
        story.pass(.milliseconds(after - 1))
        #expect(try story.view(a).detail == refused)
        story.pass(.milliseconds(1))
        #expect(try story.view(a).detail == refused + advice(story))
    }

    @Test func `a start that has failed for it says so, however short it was`() throws {
        var story = story(.seconds(3))
        let advice = try advice(story)
        story.pass(.seconds(3))
        #expect(try story.view(a).lastExit?.reason == "not ready within 3 s (connection refused\(advice))")
    }

    @Test func `where somebody listens there is none`() throws {
        var story = story(.seconds(60), nobodyListens: false)
        story.pass(.seconds(50))
        #expect(try story.view(a).detail == refused)
        // It listens by now, and is not ready for another reason.
        var other = self.story(.seconds(60))
        other.pass(.seconds(50))
        other.tell(.probed(Generation(1), passed: false, detail: "GET / answered 503"))
        #expect(try other.view(a).detail == "to be ready: GET / answered 503")
    }

    @Test func `the next process has its own time`() throws {
        var story = story(.seconds(60))
        story.pass(.seconds(50))
        story.exited(1)
        story.pass(.seconds(1))
        story.spawned(2)
        #expect(try story.view(a).detail == nil)
        story.tell(.probed(Generation(2), passed: false, detail: "connection refused", nobodyListens: true))
        #expect(try story.view(a).detail == refused)
    }
}
