import Dispatch
import Links
import Platform
import Supervision

/// The standing orders that the keeper has: see `Application.heirCandidates`.
struct StandingOrders {
    /// The processes that have one.
    var orders: Set<Generation> = []
    /// Those for which none could be made.
    var failed: Set<Generation> = []
    /// The next look at who should have one.
    let timer: any DispatchSourceTimer
    private var armed: Instant?

    /// Creates them on a queue.
    init(queue: DispatchQueue) { timer = DispatchSource.makeTimerSource(queue: queue) }

    /// Looks again at this moment, or half a second later: services that started together are looked at together.
    mutating func look(at next: Instant?) {
        if let armed, armed.nanoseconds <= monotonicNanoseconds() { self.armed = nil }
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
        for generation in heirs.orders where !wanted.contains(generation) { withdrawHeir(of: generation) }
        heirs.failed.formIntersection(wanted)
        var made = 0
        for candidate in candidates
        where !heirs.orders.contains(candidate.generation) && !heirs.failed.contains(candidate.generation) {
            guard made < Self.plansAtATime else {
                upkeep.request()
                break
            }
            made += 1
            guard let service = application.service(named: candidate.instance.service) else { continue }
            let heir = application.reserveGeneration()
            guard
                let plan = try? planner.plan(
                    service, instance: candidate.instance.number, port: candidate.port, generation: heir,
                    manifest: application.manifest),
                keeper.send(.standby(for: candidate.generation.number, port: candidate.port, plan))
            else {
                heirs.failed.insert(candidate.generation)
                continue
            }
            heirs.orders.insert(candidate.generation)
        }
        if made > 0 { self.application = application }
        heirs.look(at: next)
    }

    /// From now on nothing starts by itself when this process ends; an exit that is on its way here may still tell of an heir.
    func withdrawHeir(of generation: Generation) {
        guard heirs.orders.remove(generation) != nil else { return }
        keeper?.send(.standDown(id: generation.number))
    }

    /// The plan of an heir that could not be started, for the words of its failure.
    func planAgain(_ generation: Generation) -> SpawnPlan? {
        guard let application, let (instance, port) = application.instance(of: generation),
            let service = application.settings(of: instance)
        else { return nil }
        return try? planner?.plan(
            service, instance: instance.number, port: port, generation: generation, manifest: application.manifest)
    }
}
