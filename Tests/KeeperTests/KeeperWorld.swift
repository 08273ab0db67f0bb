import Links
import Platform

@testable import Keeper

/// A core with a clock of its own.
struct World {
    static let second: Int64 = 1_000_000_000

    var core: KeeperCore
    var now: Int64 = 1000 * second

    init(watchdog: Int64? = nil) { core = KeeperCore(scope: "scope", watchdog: watchdog) }

    /// A world whose supervisor (pid 100) has said hello, and that it is ready.
    static func greeted(watchdog: Int64? = nil, isReady: Bool = true) -> World {
        var world = World(watchdog: watchdog)
        world.handle(.started)
        world.handle(.roleSpawned(.supervisor, pid: 100))
        world.handle(.received(.supervisor, .hello(version: linkVersion), descriptors: 0))
        if isReady { world.handle(.received(.supervisor, .ready, descriptors: 0)) }
        return world
    }

    @discardableResult
    mutating func handle(_ event: KeeperEvent) -> [KeeperAction] { core.handle(event, at: now) }

    @discardableResult
    mutating func ask(_ request: KeeperRequest, descriptors: Int = 0) -> [KeeperAction] {
        handle(.received(.supervisor, request, descriptors: descriptors))
    }

    /// Lets time pass, to the next deadline if none is given.
    @discardableResult
    mutating func pass(_ seconds: Double? = nil) -> [KeeperAction] {
        now = seconds.map { now + Int64($0 * Double(Self.second)) } ?? max(now, core.nextDeadline)
        return handle(.timePassed)
    }

    /// The seconds until the next deadline.
    var untilDeadline: Double { Double(core.nextDeadline - now) / Double(Self.second) }

    /// A running child.
    mutating func child(_ id: UInt64, pid: Int32) {
        ask(.spawn(SpawnPlan(id: id, label: "label \(id)", candidates: [], arguments: [], environment: [])))
        handle(.childForked(id, pid: pid))
        handle(.childExecuted(id))
    }

    /// A running balancer (pid 200) that has said hello.
    mutating func balancer() {
        ask(.startBalancer(nil))
        handle(.roleSpawned(.balancer, pid: 200))
        handle(.received(.balancer, .hello(version: linkVersion), descriptors: 0))
    }
}

/// What the supervisor is told.
func told(_ notice: KeeperNotice, _ keys: [DescriptorKey] = []) -> KeeperAction {
    .send(.supervisor, notice, keys)
}
