import Foundation
import Testing

/// Thousands of schedules of a whole application, each from its seed. `scripts/simulate` runs more, or one again.
@Suite struct SimulationTests {
    @Test func `the invariants hold in every schedule`() {
        let environment = ProcessInfo.processInfo.environment
        let only = environment["SUPD_SIMULATION_SEED"].flatMap(UInt64.init)
        let count = environment["SUPD_SIMULATION_COUNT"].flatMap(UInt64.init) ?? (only == nil ? 800 : 1)
        let first = only ?? 1
        var tally = Tally()
        for seed in first..<first + count {
            var world = World(seed: seed, traced: false)
            do {
                try world.run()
            } catch {
                // The same again, this time told.
                var again = World(seed: seed, traced: true)
                _ = try? again.run()
                let lines = (again.trace ?? []).suffix(3000).joined(separator: "\n")
                Issue.record("seed \(seed): \(error.text)\n\(lines)\nreplay: scripts/simulate --seed \(seed)")
                return
            }
            tally.add(world.tally)
            tally.count(.heir, world.heirs.count)
        }
        print("simulation: \(count) schedules: \(tally.text)")
        // The schedules lead to what they are about; of a few that cannot be said.
        guard count >= 400 else { return }
        for subject in Tally.Subject.allCases {
            let least = Int(count) / subject.atLeastOneIn
            #expect(tally[subject] >= least, "\(tally[subject]) of at least \(least): \(subject.rawValue)")
        }
    }
}
