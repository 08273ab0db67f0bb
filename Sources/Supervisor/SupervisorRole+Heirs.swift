import Dispatch
import Links
import Platform
import Supervision

/// The standing orders that the keeper has: see `Application.heirCandidates`.
struct StandingOrders {
    /// What is started when a process ends.
    var orders: [Generation: Application.Heir] = [:]
    /// The next look at who should have one.
    let timer: any DispatchSourceTimer
    private var armed: Instant?

    /// Creates them on a queue.
    init(queue: DispatchQueue) { timer = DispatchSource.makeTimerSource(queue: queue) }

    /// Looks again at this moment, or half a second later: services that started together are looked at together.
    mutating func look(at next: Instant?) {
        guard next != armed else { return }
        armed = next
        guard let next else { return timer.schedule(deadline: .distantFuture) }
        let delay = max(0, next.nanoseconds - monotonicNanoseconds())
        timer.schedule(deadline: .now() + .nanoseconds(Int(delay)), leeway: .milliseconds(500))
    }
}

extension SupervisorRole {
    /// Making a plan takes some 50 µs: so many at a time, that nothing else has to wait.
    private static let plansAtATime = 64

    /// Gives and withdraws standing orders, after things have changed.
    func arrangeHeirs() {
        guard var application, let planner, let keeper else { return }
        let (candidates, next) = application.heirCandidates(at: now)
        let wanted = Set(candidates.map(\.generation))
        for generation in heirs.orders.keys where !wanted.contains(generation) { withdrawHeir(of: generation) }
        var made = 0
        for candidate in candidates where heirs.orders[candidate.generation] == nil {
            guard made < Self.plansAtATime else {
                upkeep.request()
                break
            }
            made += 1
            guard let service = application.service(named: candidate.instance.service) else { continue }
            let heir = Application.Heir(
                generation: application.reserveGeneration(), instance: candidate.instance, port: candidate.port)
            guard
                let plan = try? planner.plan(
                    service, instance: heir.instance.number, port: heir.port, generation: heir.generation,
                    manifest: application.manifest),
                keeper.send(.standby(for: candidate.generation.number, port: heir.port, plan))
            else { continue }
            heirs.orders[candidate.generation] = heir
        }
        if made > 0 { self.application = application }
        heirs.look(at: next)
    }

    /// From now on nothing starts by itself when this process ends.
    func withdrawHeir(of generation: Generation) {
        guard heirs.orders.removeValue(forKey: generation) != nil else { return }
        keeper?.send(.standDown(id: generation.number))
    }

    /// The plan of an heir that could not be started, for the words of its failure.
    func planAgain(_ generation: Generation) -> SpawnPlan? {
        guard let application, let (instance, port) = application.instance(of: generation),
            let service = application.service(named: instance.service)
        else { return nil }
        return try? planner?.plan(
            service, instance: instance.number, port: port, generation: generation, manifest: application.manifest)
    }
}
