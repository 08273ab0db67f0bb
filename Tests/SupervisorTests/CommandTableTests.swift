import Dispatch
import Platform
import TestSupport
import Testing

@testable import Supervision
@testable import Supervisor

@Suite("Users' commands, and who waits for them", .timeLimit(.minutes(5)))
struct CommandTableTests {
    private static let start = Instant(nanoseconds: 5_000_000_000)
    private static var now: Instant { Instant(nanoseconds: monotonicNanoseconds()) }
    private let queue = DispatchQueue(label: "commands under test")

    /// A table whose timer does nothing: the test says what time it is.
    private func table() -> CommandTable {
        let table = CommandTable(queue: queue)
        table.onOverdue {}
        return table
    }

    private func wait(_ table: CommandTable, for limit: Duration?) -> CommandID {
        let id = table.begin()
        table.await(id, ControlResponder(nil), summary: nil, for: limit, at: Self.start)
        return id
    }

    @Test("The timer is set to the earliest end, and to none when nobody's time is limited")
    func earliest() {
        let table = table()
        _ = wait(table, for: nil)
        #expect(table.nextDeadline == nil)
        let hour = wait(table, for: .seconds(3600))
        #expect(table.nextDeadline == Self.start + .seconds(3600))
        let second = wait(table, for: .seconds(1))
        let minute = wait(table, for: .seconds(60))
        #expect(table.nextDeadline == Self.start + .seconds(1))
        table.finish(second, .done, at: Self.start)
        #expect(table.nextDeadline == Self.start + .seconds(60))
        table.forget(minute, at: Self.start)
        #expect(table.nextDeadline == Self.start + .seconds(3600))
        table.finish(hour, .failed("x"), at: Self.start)
        #expect(table.nextDeadline == nil)
    }

    @Test("Of thousands of commands whose clients would have waited an hour nothing is left when they are over")
    func nothingIsLeft() {
        let table = table()
        var left = 0
        for number in 0..<3000 {
            let id = wait(table, for: .seconds(3600))
            if number % 2 == 0 { table.finish(id, .done, at: Self.start) } else { table.forget(id, at: Self.start) }
            if table.isAwaited(id) || table.nextDeadline != nil { left += 1 }
        }
        #expect(left == 0)
        for _ in 0..<10 { _ = wait(table, for: .seconds(3600)) }
        table.finishAll(.done, at: Self.start)
        #expect(table.nextDeadline == nil)
    }

    @Test("What a command brings about at once is told when it is kept, and not before")
    func toldAfterwards() {
        let table = table()
        let id = wait(table, for: .seconds(3600))
        var order: [String] = []
        table.onTold = { _ in order.append("told") }
        table.tellingAfterwards {
            table.finish(id, .done, at: Self.start)
            // Over all the same.
            #expect(!table.isAwaited(id))
        } keep: {
            order.append("kept")
        }
        #expect(order == ["kept", "told"])
        let next = wait(table, for: nil)
        table.finish(next, .done, at: Self.start)
        #expect(order == ["kept", "told", "told"])
    }

    @Test("Those whose time is over are told so once, and no others")
    func overdue() {
        let table = table()
        let late = wait(table, for: .seconds(9))
        let first = wait(table, for: .seconds(1))
        let second = wait(table, for: .seconds(2))
        let patient = wait(table, for: nil)
        // The timer came a little early, and must come again.
        #expect(table.timeOut(at: Self.start).isEmpty)
        #expect(table.nextDeadline == Self.start + .seconds(1))
        #expect(table.timeOut(at: Self.start + .seconds(2)) == [first, second])
        #expect(table.timeOut(at: Self.start + .seconds(2)).isEmpty)
        #expect([late, first, second, patient].map(table.isAwaited) == [true, false, false, true])
        #expect(table.nextDeadline == Self.start + .seconds(9))
    }

    @Test("A wait that is longer than time itself, or over before it begins, is no trouble")
    func extremes() {
        let table = table()
        _ = wait(table, for: .seconds(Int64.max))
        let over = wait(table, for: .zero)
        #expect(table.timeOut(at: Self.start) == [over])
        #expect(table.nextDeadline == Instant(nanoseconds: .max))
    }

    @Test("The timer fires for each end, the earliest first")
    func timer() throws {
        let seen = Lock<[CommandID]>([])
        let table = Confined(CommandTable(queue: queue))
        table.value.onOverdue { seen.withLock { $0 += table.value.timeOut(at: Self.now) } }
        let ids = queue.sync {
            [80, 20, 3_600_000, 50].map { milliseconds in
                let id = table.value.begin()
                table.value.await(
                    id, ControlResponder(nil), summary: nil, for: .milliseconds(milliseconds), at: Self.now)
                return id
            }
        }
        try eventually("three ends") { seen.withLock { $0.count } == 3 ? true : nil }
        #expect(seen.withLock { $0 } == [ids[1], ids[3], ids[0]])
        #expect(queue.sync { table.value.isAwaited(ids[2]) })
    }

    /// Touched on the queue only.
    private struct Confined: @unchecked Sendable {
        let value: CommandTable
        init(_ value: CommandTable) { self.value = value }
    }
}
