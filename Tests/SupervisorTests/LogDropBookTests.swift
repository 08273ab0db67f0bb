import Events
import Logs
import Platform
import Supervision
import Testing

@testable import Supervisor

@Suite("Dropped lines as events")
struct LogDropBookTests {
    private let second: Int64 = 1_000_000_000

    private func loss(_ lines: UInt64, code: Int32 = LogLoss.overRate) -> LogLoss {
        LogLoss(lines: lines, bytes: lines * 10, code: code)
    }

    @Test("A service is told of at once, and then once a minute at most, with all that came since")
    func pace() {
        var book = LogDropBook()
        var (due, next) = book.take(["a/1": loss(5)], at: 100 * second)
        #expect(due.map(\.drop.lines) == [5] && due.map(\.drop.bytes) == [50] && next == nil)
        #expect(due.first?.drop.reason == "more lines a second than log.rate allows")
        #expect(due.first?.service == "a" && due.first?.instance == InstanceID(service: "a", number: 1))
        (due, next) = book.take(["a/1": loss(7)], at: 101 * second)
        #expect(due.isEmpty && next == 160 * second)
        // Another service does not wait for it.
        (due, next) = book.take(["a/1": loss(8), "b/1": loss(1, code: 28)], at: 102 * second)
        #expect(due.map(\.service) == ["b"] && next == 160 * second)
        (due, next) = book.take(["a/1": loss(30), "b/1": loss(1, code: 28)], at: 160 * second)
        #expect(due.map(\.drop.lines) == [25] && next == nil)
        (due, next) = book.take(["a/1": loss(30), "b/1": loss(1, code: 28)], at: 500 * second)
        #expect(due.isEmpty && next == nil)
    }

    @Test("Several instances of a service are one event, and lines about sessions are those of no instance")
    func services() {
        var book = LogDropBook(after: ["a/1": loss(100)])
        let losses = [
            "a/1": loss(101), "a/2": loss(2), "b/balancer": loss(3), "c/1": LogLoss(lines: 0, bytes: 0, code: 0),
        ]
        let (due, _) = book.take(losses, at: 0)
        #expect(due.map(\.service) == ["a", "b"] && due.map(\.drop.lines) == [3, 3])
        #expect(due.allSatisfy { $0.instance == nil })
    }

    @Test("The next supervisor tells what was not told, no sooner, and nothing twice")
    func nextOne() throws {
        var counts = try KeptCounts(keeping: "counts")
        var book = LogDropBook(counts)
        let losses = ["a/1": loss(5), "a/2": loss(1), "b/1": loss(9)]
        #expect(book.take(losses, at: 100 * second).due.map(\.drop.lines) == [6, 9])
        // The events of a are kept; then the supervisor is killed.
        book.keep(["a"], in: counts)
        counts = try KeptCounts(resuming: #require(counts.descriptor))
        book = LogDropBook(counts)
        var (due, next) = book.take(losses, at: 101 * second)
        #expect(due.map(\.service) == ["b"] && due.map(\.drop.lines) == [9] && next == nil)
        (due, next) = book.take(["a/1": loss(7), "a/2": loss(1), "b/1": loss(9)], at: 102 * second)
        #expect(due.isEmpty && next == 160 * second)
        (due, _) = book.take(["a/1": loss(7), "a/2": loss(1), "b/1": loss(9)], at: 160 * second)
        #expect(due.map(\.drop.lines) == [2] && due.map(\.instance) == [InstanceID(service: "a", number: 1)])
        // The events of both are kept now: the next one knows of both what was told, and when.
        book.keep(["a", "b"], in: counts)
        counts = try KeptCounts(resuming: #require(counts.descriptor))
        book = LogDropBook(counts)
        (due, next) = book.take(["a/1": loss(8), "a/2": loss(1), "b/1": loss(10)], at: 160 * second)
        #expect(due.isEmpty && next == 161 * second)
        (due, next) = book.take(["a/1": loss(7), "a/2": loss(1), "b/1": loss(9)], at: 500 * second)
        #expect(due.isEmpty && next == nil)
    }

    @Test("A count that begins anew is no negative one, and what is forgotten is told of again")
    func anew() {
        var book = LogDropBook()
        _ = book.take(["a/1": loss(50)], at: 0)
        #expect(book.take(["a/1": loss(3)], at: 100 * second).due.map(\.drop.lines) == [3])
        book.keep { $0.hasPrefix("b/") }
        #expect(book.take(["a/1": loss(4)], at: 101 * second).due.map(\.drop.lines) == [4])
    }
}
