import Manifest

@testable import Supervision

/// What a probe that fails says.
let refused = "GET /healthz answered 500"

/// A service whose health is looked at.
func checked(
    _ name: String = "a", replicas: Int = 1, front: UInt16? = 80, failures: Int = 3, successes: Int = 1,
    balance: BalanceSettings = BalanceSettings(), restart: RestartSettings? = nil
) -> Service {
    service(
        name, replicas: replicas, front: front, balance: balance, ready: .tcp, restart: restart,
        health: HealthSettings(check: .tcp, failures: failures, successes: successes), deploy: inPlace)
}

/// All instances of the only service are ready: generations from 1.
func ready(_ service: Service) -> Story {
    var story = Story(service)
    for generation in 1...UInt64(service.replicas) { story.spawned(generation) }
    for generation in 1...UInt64(service.replicas) { story.ready(generation) }
    return story
}

extension Story {
    /// So many failures in a row of a generation.
    mutating func fail(_ generation: UInt64, times: Int = 3) {
        for _ in 0..<times { probed(generation, refused) }
    }

    func state(_ number: Int) throws -> String { try view(instance("a", number)).state }
    func health(_ number: Int) throws -> String? { try view(instance("a", number)).health?.state }
    func detail(_ number: Int) throws -> String? { try view(instance("a", number)).detail }
}
