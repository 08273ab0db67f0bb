import Events
import Manifest
import Supervision
import Testing

@testable import Supervisor

@Suite("Hooks between their occasion and their end")
struct HookRunsTests {
    private func hook(_ occasions: Hook.Occasion...) -> Hook {
        Hook(occasions: occasions, command: [Template(literal: occasions.map(\.rawValue).joined())])
    }

    private func found(_ occasion: Hook.Occasion) throws -> HookWatch.Found {
        var watch = HookWatch()
        let event = EventRecord(
            number: 1, at: "x", service: "a", instance: "a/1", kind: .probe(.init(outcome: .unhealthy)))
        let taken = watch.take(event, at: Instant(nanoseconds: 0))
        var found = try #require(taken)
        found.occasion = occasion
        return found
    }

    @Test("Each hook is run for its own occasions, in their order")
    func occasions() throws {
        var runs = HookRuns()
        let hooks = [hook(.failed), hook(.failed, .recovered), hook(.unhealthy)]
        #expect(try !runs.add(found(.failed), of: hooks))
        #expect(try !runs.add(found(.unhealthy), of: hooks))
        #expect(runs.next()?.command == hooks[0].command)
        #expect(runs.next()?.command == hooks[1].command)
        let last = runs.next()
        #expect(last?.command == hooks[2].command && last?.occasion == .unhealthy)
        #expect(runs.next() == nil && runs.running == 3)
    }

    @Test("Four run at a time, a hundred wait, and what is dropped is counted and told")
    func limits() throws {
        var runs = HookRuns()
        let hooks = [hook(.failed)]
        for _ in 0..<100 { #expect(try !runs.add(found(.failed), of: hooks)) }
        // The first of them is told at once, their number at the end.
        #expect(try runs.add(found(.failed), of: hooks))
        #expect(try !runs.add(found(.failed), of: hooks))
        var begun = 0
        while runs.next() != nil { begun += 1 }
        #expect(begun == 4 && runs.running == 4 && runs.waiting.count == 96)
        var dropped: [Int] = []
        while runs.running > 0 {
            dropped.append(runs.ended())
            if runs.next() != nil { begun += 1 }
            #expect(runs.running <= 4)
        }
        #expect(begun == 100)
        #expect(dropped.filter { $0 > 0 } == [2])
        #expect(runs.last == 100)
    }
}
