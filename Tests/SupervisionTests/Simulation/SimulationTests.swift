import Foundation
import Testing

/// Thousands of schedules of a whole application, each from its seed. `scripts/simulate` runs more, or one again.
@Suite struct SimulationTests {
    @Test func `the invariants hold in every schedule`() {
        let environment = ProcessInfo.processInfo.environment
        let only = environment["SUPD_SIMULATION_SEED"].flatMap(UInt64.init)
        let count = environment["SUPD_SIMULATION_COUNT"].flatMap(UInt64.init) ?? (only == nil ? 800 : 1)
        let first = only ?? 1
        var heirs = 0
        var healthRestarts = 0
        var applies = 0
        var switches = 0
        var recalls = 0
        var drawn: [Set<Drawn>] = []
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
            heirs += world.heirs.count
            healthRestarts += world.healthRestarts
            applies += world.applies
            switches += world.switches
            recalls += world.recalls
            drawn.append(world.drawn)
        }
        let most = drawn.map { $0.intersection(Drawn.together).count }.max() ?? 0
        print(
            "simulation: \(count) schedules, \(heirs) restarts by standing order, \(healthRestarts) for health, "
                + "\(applies) manifests applied, \(switches) sets of new instances taken over to at once, \(recalls) rollouts "
                + "sent back by a stop\nschedules with \(Drawn.summary(drawn)); \(most) of \(Drawn.together.count) in one"
        )
        // The schedules lead to what they are about.
        #expect(only != nil || heirs > Int(count) / 8, "\(heirs) heirs")
        #expect(only != nil || healthRestarts > Int(count) / 8, "\(healthRestarts) restarts for health")
        #expect(only != nil || switches > Int(count) / 100, "\(switches) switches")
        #expect(only != nil || recalls > Int(count) / 100, "\(recalls) rollouts sent back by a stop")
        for one in Drawn.expected {
            #expect(only != nil || count < 800 || drawn.contains { $0.contains(one) }, "no schedule has come to \(one)")
        }
        #expect(only != nil || applies > Int(count) / 2, "\(applies) applies")
    }
}
