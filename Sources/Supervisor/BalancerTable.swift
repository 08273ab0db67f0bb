import Links
import Manifest
import Supervision

// What the manifest says of fronts and balancing, as the balancer takes it.

extension RoutingTable.Pool {
    /// The pool of a service: its routes now, and its settings.
    init(_ route: Application.Route, _ fronts: [Front], _ service: Service) {
        let balance = service.balance
        self.init(
            service: route.service,
            fronts: fronts.map { RoutingTable.Front($0, allow: balance.allow) },
            endpoints: route.endpoints.map(RoutingTable.Endpoint.init),
            emptiness: route.holds ? .hold : .refuse, queueTimeout: balance.queueTimeout.wholeNanoseconds,
            holdUntil: route.holdUntil?.nanoseconds, connectTimeout: balance.connectTimeout.wholeNanoseconds,
            drainTimeout: balance.drainTimeout.wholeNanoseconds)
        idleTimeout = balance.idleTimeout?.wholeNanoseconds
        finTimeout = balance.finTimeout.wholeNanoseconds
        algorithm = Algorithm(balance.algorithm)
        slowStart = balance.slowStart.wholeNanoseconds
        maxConnections = balance.maxConnections.map(UInt32.init(clamping:))
        maxQueue = balance.maxQueue.map(UInt32.init(clamping:))
        proxyProtocol = balance.proxyProtocol.map(ProxyProtocol.init)
        logsSessions = balance.log
        announcesWaiting = route.isAsleep ? true : nil
    }
}

extension RoutingTable.Pool.Algorithm {
    init(_ algorithm: BalanceSettings.Algorithm) {
        self =
            switch algorithm {
            case .roundrobin: .roundrobin
            case .leastconn: .leastconn
            case .random2: .random2
            case .source: .source
            }
    }
}

extension RoutingTable.Pool.ProxyProtocol {
    init(_ version: BalanceSettings.ProxyProtocol) {
        self =
            switch version {
            case .v1: .v1
            case .v2: .v2
            }
    }
}

extension RoutingTable.Front {
    /// A front; `allow` holds where it has no list of its own, but for a Unix socket, whose clients have no address.
    init(_ front: Front, allow: [AddressRange]?) {
        let settings = front.settings
        self.init(address: front.address, listeners: front.sockets.map(\.id))
        maxConnections = settings.maxConnections.map(UInt32.init(clamping:))
        maxConnectionsPerAddress = settings.maxConnectionsPerAddress.map(UInt32.init(clamping:))
        if settings.address.port != nil {
            self.allow = (settings.allow ?? allow)?.map {
                RoutingTable.AddressRange(bytes: $0.bytes, prefix: UInt8(clamping: $0.prefix))
            }
        }
        acceptsProxyProtocol = settings.acceptProxyProtocol
        options.keepAliveSeconds = settings.keepAlive?.wholeSecondsUp
        options.userTimeoutMilliseconds = settings.userTimeout.map { UInt32(clamping: $0.wholeNanoseconds / 1_000_000) }
        options.backlog = UInt32(clamping: settings.backlog)
        options.deferAcceptSeconds = settings.deferAccept?.wholeSecondsUp
    }
}

extension RoutingTable.Endpoint {
    init(_ endpoint: Application.Route.Endpoint) {
        let state: State =
            switch endpoint.state {
            case .active: .active
            case .draining: .draining
            case .parked: .parked
            }
        self.init(
            id: endpoint.generation.number, instance: endpoint.instance.description, port: endpoint.port, state: state)
    }
}

extension Duration {
    /// In seconds, a begun one as a whole: the kernel counts these in no smaller unit, and 0 would mean something else.
    fileprivate var wholeSecondsUp: UInt32 {
        let (seconds, attoseconds) = components
        return UInt32(clamping: attoseconds > 0 ? seconds.addingReportingOverflow(1).partialValue : seconds)
    }
}
