import Links
import Platform
import Supervision

/// The supervisor's side of the balancer: what it was told, what it must still be told.
struct BalancerClient {
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
    /// Of the last table.
    var revision: UInt64 = 0
    /// Endpoints that drained in the last table.
    var draining: Set<UInt64> = []
    /// Who waits for counters, by query.
    var waitingForCounters: [UInt64: @Sendable (BalancerCounters?) -> Void] = [:]
    /// The last query's number.
    var lastQuery: UInt64 = 0

    /// The next table.
    mutating func table(_ routes: [Application.Route], settings: (String) -> PoolSettings?, loops: Int) -> RoutingTable
    {
        revision += 1
        routesAreStale = false
        var pools: [RoutingTable.Pool] = []
        for route in routes {
            guard let fronts = fronts[route.service], let settings = settings(route.service) else { continue }
            pools.append(
                RoutingTable.Pool(
                    service: route.service,
                    fronts: fronts.map { RoutingTable.Front(address: $0.address, listeners: $0.sockets.map(\.id)) },
                    endpoints: route.endpoints.map {
                        RoutingTable.Endpoint(
                            id: $0.generation.number, instance: $0.instance.description, port: $0.port,
                            state: $0.draining ? .draining : .active)
                    },
                    emptiness: route.holds ? .hold : .refuse, queueTimeout: settings.queueTimeout,
                    holdUntil: route.holdUntil?.nanoseconds, connectTimeout: settings.connectTimeout,
                    drainTimeout: settings.drainTimeout))
        }
        draining = Set(pools.flatMap(\.endpoints).filter { $0.state == .draining }.map(\.id))
        return RoutingTable(revision: revision, loops: loops, pools: pools)
    }

    /// The `balance` section in nanoseconds.
    struct PoolSettings {
        var queueTimeout: Int64
        var connectTimeout: Int64
        var drainTimeout: Int64
    }
}
