import Links
import Manifest
import Platform
import Supervision

/// The supervisor's side of the balancer: what it was told, what it must still be told.
struct BalancerClient {
    /// No supervisor comes this far, at a million tables a second.
    static let highestRevision = UInt64(1) << 62

    /// The link; nil while no balancer runs.
    var link: DispatchLink<BalancerRequest, BalancerNotice>?
    /// The balancer's process.
    var pid: Int32?
    /// The open fronts of every service, in the order of its `listen`.
    var fronts: [String: [Front]] = [:]
    /// The routes have changed since they were sent.
    var routesAreStale = false
    /// The balancer has said hello, and has every listener.
    var isReady = false
    /// The table in force may be one of the manifest before.
    var mayBeBehind = false
    /// It has said that a table of this supervisor's is in force.
    var isServing = false
    /// The pipes for the lines about sessions, by service.
    var sessionLogs: [String: SessionLog] = [:]
    /// Of the last table.
    var revision: UInt64 = 0
    /// Of the last table that the balancer has said to be in force.
    var applied: UInt64 = 0
    /// Endpoints that took no new connections in the last table, and of which no end was told.
    var draining: Set<UInt64> = []
    /// Who waits for counters, by query.
    var waitingForCounters: [UInt64: CounterQuery] = [:]
    /// The last query's number.
    var lastQuery: UInt64 = 0

    /// The next table.
    mutating func table(_ routes: [Application.Route], service: (String) -> Service?, loops: Int) -> RoutingTable {
        revision += 1
        routesAreStale = false
        let pools = routes.compactMap { route -> RoutingTable.Pool? in
            guard let fronts = fronts[route.service], let service = service(route.service) else { return nil }
            return RoutingTable.Pool(route, fronts, service)
        }
        draining = Set(pools.flatMap(\.endpoints).filter { $0.state != .active }.map(\.id))
        return RoutingTable(revision: revision, loops: loops, pools: pools)
    }
}

/// Somebody who wants to know the balancer's counters.
struct CounterQuery {
    /// Whether the next balancer may answer if this one ends, or none is there yet.
    var isPatient: Bool
    /// Is given the counters, or nil.
    var completion: @Sendable (BalancerCounters?) -> Void
}
