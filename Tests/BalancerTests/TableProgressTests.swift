import Links
import Testing

@testable import Balancer

@Suite("What is told of tables and drained endpoints")
struct TableProgressTests {
    @Test("a table is applied when the last loop has it")
    func applied() {
        var progress = TableProgress(loops: 2)
        progress.sent(number: 1, revision: 7, active: [1], draining: [])
        #expect(progress.applied(loop: 0, number: 1, busy: []).isEmpty)
        #expect(progress.revision == 0)
        #expect(progress.applied(loop: 1, number: 1, busy: []) == [.applied(revision: 7)])
        #expect(progress.revision == 7)
    }

    @Test("an endpoint is drained when no loop has a connection of it, and only once")
    func drained() {
        var progress = TableProgress(loops: 2)
        progress.sent(number: 1, revision: 1, active: [], draining: [5])
        #expect(progress.applied(loop: 0, number: 1, busy: [5]).isEmpty)
        #expect(progress.emptied(loop: 0, endpoint: 5).isEmpty)
        #expect(progress.applied(loop: 1, number: 1, busy: [5]) == [.applied(revision: 1)])
        #expect(progress.emptied(loop: 1, endpoint: 5) == [.drained(endpoint: 5)])
        #expect(progress.emptied(loop: 1, endpoint: 5).isEmpty)
    }

    @Test("an endpoint that is active again in a table on its way is not reported")
    func activeAgain() {
        var progress = TableProgress(loops: 1)
        progress.sent(number: 1, revision: 1, active: [], draining: [5])
        #expect(progress.applied(loop: 0, number: 1, busy: [5]) == [.applied(revision: 1)])
        progress.sent(number: 2, revision: 2, active: [5], draining: [])
        #expect(progress.emptied(loop: 0, endpoint: 5).isEmpty)
        #expect(progress.applied(loop: 0, number: 2, busy: []) == [.applied(revision: 2)])
        progress.sent(number: 3, revision: 3, active: [], draining: [5])
        #expect(progress.applied(loop: 0, number: 3, busy: []) == [.applied(revision: 3), .drained(endpoint: 5)])
    }

    @Test("an endpoint that leaves the table is reported once, and forgotten")
    func gone() {
        var progress = TableProgress(loops: 1)
        progress.sent(number: 1, revision: 1, active: [5], draining: [])
        #expect(progress.applied(loop: 0, number: 1, busy: []) == [.applied(revision: 1)])
        progress.sent(number: 2, revision: 2, active: [], draining: [])
        #expect(progress.applied(loop: 0, number: 2, busy: [5]) == [.applied(revision: 2)])
        progress.sent(number: 3, revision: 3, active: [], draining: [])
        #expect(progress.applied(loop: 0, number: 3, busy: [5]) == [.applied(revision: 3)])
        #expect(progress.emptied(loop: 0, endpoint: 5) == [.drained(endpoint: 5)])
        progress.supervisorArrived()
        progress.sent(number: 4, revision: 4, active: [], draining: [])
        #expect(progress.applied(loop: 0, number: 4, busy: []) == [.applied(revision: 4)])
    }

    @Test("a draining endpoint that leaves the table while it has connections is reported once in the end")
    func drainingThenGone() {
        var progress = TableProgress(loops: 1)
        progress.sent(number: 1, revision: 1, active: [], draining: [5])
        #expect(progress.applied(loop: 0, number: 1, busy: [5]) == [.applied(revision: 1)])
        progress.sent(number: 2, revision: 2, active: [], draining: [])
        #expect(progress.applied(loop: 0, number: 2, busy: [5]) == [.applied(revision: 2)])
        #expect(progress.emptied(loop: 0, endpoint: 5) == [.drained(endpoint: 5)])
    }

    @Test("two tables on their way are applied in order")
    func twoOnTheirWay() {
        var progress = TableProgress(loops: 2)
        progress.sent(number: 1, revision: 10, active: [1], draining: [])
        progress.sent(number: 2, revision: 11, active: [], draining: [1])
        #expect(progress.applied(loop: 0, number: 1, busy: []).isEmpty)
        #expect(progress.applied(loop: 0, number: 2, busy: []).isEmpty)
        #expect(progress.applied(loop: 1, number: 1, busy: []) == [.applied(revision: 10)])
        #expect(
            progress.applied(loop: 1, number: 2, busy: []) == [.applied(revision: 11), .drained(endpoint: 1)])
    }
}
