import Links
import Platform
import Synchronization

/// What outlives a table: listening sockets, cursors and counters. Turns tables into what the loops take.
struct TableCompiler {
    /// The most endpoints of one pool; positions in it are 16 bits wide.
    static let endpointLimit = 10_000
    /// The most pools, and listening sockets.
    static let poolLimit = 20_000
    static let listenerLimit = 20_000

    private struct FrontKey: Hashable {
        let service: String
        let address: String
    }

    private struct Instance {
        let service: String
        let counters: CounterSet
    }

    private struct GenerationKey: Hashable {
        let id: UInt64
        let instance: String
    }

    /// One generation of an instance.
    private struct Generation {
        var share: EndpointShare?
        /// When a table first had it active.
        var activated: Int64?
    }

    let loops: Int
    private var shares: [String: PoolShare] = [:]
    private var fronts: [FrontKey: CounterSet] = [:]
    private var instances: [String: Instance] = [:]
    private var generations: [GenerationKey: Generation] = [:]

    init(loops: Int) { self.loops = loops }

    /// Compiles a table with the listening sockets it names; `missing` collects the names of those that are not there.
    mutating func compile(
        _ table: RoutingTable, number: UInt64, listeners: [String: Descriptor], missing: inout [String],
        now: Int64 = monotonicNanoseconds()
    ) -> Routing {
        var pools: [Routing.Pool] = []
        var services: Set<String> = []
        var taken: Set<String> = []
        for pool in table.pools.prefix(Self.poolLimit) where services.insert(pool.service).inserted {
            var sockets: [Routing.Listener] = []
            for front in pool.fronts {
                let counters = counters(FrontKey(service: pool.service, address: front.address))
                counters.addresses.set(limit: front.maxConnectionsPerAddress)
                let rules = Self.rules(front, pool)
                let allowed = front.allow.map { AddressList($0) }
                // A socket belongs to one front, whatever the table says.
                for name in front.listeners where taken.insert(name).inserted {
                    if let socket = listeners[name] {
                        sockets.append(
                            Routing.Listener(
                                socket: socket, counters: counters, rules: rules, allowed: allowed,
                                limit: front.maxConnections.map { max(1, $0) } ?? 0))
                    } else {
                        missing.append(name)
                    }
                }
            }
            let share = shares[pool.service] ?? PoolShare()
            shares[pool.service] = share
            let endpoints = pool.endpoints.prefix(Self.endpointLimit).map {
                compile($0, service: pool.service, now: now)
            }
            pools.append(
                Routing.Pool(
                    service: pool.service, share: share, listeners: sockets, endpoints: endpoints,
                    refuses: pool.emptiness == .refuse, queueTimeout: max(0, pool.queueTimeout),
                    holdUntil: pool.holdUntil ?? .min, connectTimeout: max(1_000_000, pool.connectTimeout),
                    drainTimeout: max(0, pool.drainTimeout),
                    idleTimeout: pool.idleTimeout.map { max(1_000_000, $0) } ?? .max,
                    finTimeout: max(1_000_000, pool.finTimeout),
                    proxyProtocol: pool.proxyProtocol.map { $0 == .v1 ? .v1 : .v2 }, logsSessions: pool.logsSessions,
                    algorithm: Routing.Algorithm(pool.algorithm), slowStart: max(0, pool.slowStart),
                    limit: pool.maxConnections.map { max(1, $0) } ?? 0, maxQueue: pool.maxQueue.map(Int.init) ?? .max,
                    announcesWaiting: pool.announcesWaiting ?? false))
        }
        return Routing(revision: table.revision, number: number, pools: pools)
    }

    /// What the connections of a front need before they are assigned.
    private static func rules(_ front: RoutingTable.Front, _ pool: RoutingTable.Pool) -> ListenerSlot.Rules {
        var rules: ListenerSlot.Rules = []
        if front.allow != nil { rules.formUnion([.allow, .address]) }
        if front.acceptsProxyProtocol { rules.formUnion([.greeting, .address]) }
        if front.maxConnectionsPerAddress != nil { rules.formUnion([.limit, .address]) }
        if pool.logsSessions { rules.formUnion([.details, .address]) }
        if pool.proxyProtocol != nil { rules.insert(.address) }
        if pool.proxyProtocol != nil, front.acceptsProxyProtocol { rules.insert(.details) }
        if pool.algorithm == .source { rules.insert(.address) }
        return rules
    }

    private mutating func compile(
        _ endpoint: RoutingTable.Endpoint, service: String, now: Int64
    ) -> Routing.Endpoint {
        let key = GenerationKey(id: endpoint.id, instance: endpoint.instance)
        var generation = generations[key] ?? Generation()
        let share = generation.share ?? EndpointShare()
        generation.share = share
        if endpoint.state == .active, generation.activated == nil { generation.activated = now }
        generations[key] = generation
        return Routing.Endpoint(
            id: endpoint.id, port: endpoint.port, state: endpoint.state,
            counters: counters(of: endpoint.instance, service: service), share: share,
            instanceHash: Rendezvous.hash(instance: endpoint.instance), activated: generation.activated ?? now)
    }

    private mutating func counters(_ key: FrontKey) -> CounterSet {
        if let known = fronts[key] { return known }
        let fresh = CounterSet(loops: loops, label: key.address)
        fronts[key] = fresh
        return fresh
    }

    private mutating func counters(of instance: String, service: String) -> CounterSet {
        if let known = instances[instance] { return known.counters }
        let fresh = CounterSet(loops: loops, label: instance)
        instances[instance] = Instance(service: service, counters: fresh)
        return fresh
    }

    /// Forgets what the table in force in all loops no longer names. Instances stay as long as their service does: one
    /// that is about to start again is in no table for a moment, and its counters go on.
    mutating func forget(except table: RoutingTable) {
        let services = Set(table.pools.map(\.service))
        let addresses = Set(
            table.pools.flatMap { pool in
                pool.fronts.map { FrontKey(service: pool.service, address: $0.address) }
            })
        shares = shares.filter { services.contains($0.key) }
        fronts = fronts.filter { addresses.contains($0.key) || $0.value.isInUse }
        // What a table names is never forgotten, even if it names an instance under a service that is not its own: once
        // a loop could begin to use counters that only its table keeps, they would go with the table.
        let named = Set(table.pools.flatMap { $0.endpoints.map(\.instance) })
        instances = instances.filter { name, instance in
            named.contains(name) || services.contains(instance.service) || instance.counters.isInUse
        }
        // A generation stays while a loop has connections of it.
        let present = Set(
            table.pools.flatMap { $0.endpoints.map { GenerationKey(id: $0.id, instance: $0.instance) } })
        for key in Array(generations.keys) where !present.contains(key) {
            if isKnownUniquelyReferenced(&generations[key, default: Generation()].share) { generations[key] = nil }
        }
    }

    /// All counters, in the order of a table; instances that it does not name at the moment come after those it does.
    func counters(
        _ table: RoutingTable, acceptPauses: UInt64, now: Int64 = monotonicNanoseconds()
    ) -> BalancerCounters {
        var result = BalancerCounters(acceptPauses: acceptPauses)
        var listed: Set<String> = []
        for pool in table.pools {
            for front in pool.fronts {
                guard let set = fronts[FrontKey(service: pool.service, address: front.address)] else { continue }
                result.fronts.append(
                    BalancerCounters.Front(service: pool.service, address: front.address, counts: set.sum(at: now)))
            }
            for endpoint in pool.endpoints where listed.insert(endpoint.instance).inserted {
                guard let known = instances[endpoint.instance] else { continue }
                var entry = BalancerCounters.Endpoint(instance: endpoint.instance, counts: known.counters.sum(at: now))
                let key = GenerationKey(id: endpoint.id, instance: endpoint.instance)
                note(generations[key], pool, now, in: &entry)
                if endpoint.state != .active { entry.failedAgo = nil }
                result.endpoints.append(entry)
            }
        }
        for (name, known) in instances.sorted(by: { $0.key < $1.key }) where !listed.contains(name) {
            result.endpoints.append(BalancerCounters.Endpoint(instance: name, counts: known.counters.sum(at: now)))
        }
        return result
    }

    /// What connects say about an endpoint: for how long it is still set aside, or how long ago one has failed.
    private func note(
        _ generation: Generation?, _ pool: RoutingTable.Pool, _ now: Int64, in entry: inout BalancerCounters.Endpoint
    ) {
        guard let share = generation?.share else { return }
        let health = EndpointHealth(bits: share.health.pointee.load(ordering: .relaxed))
        entry.setAsideFor = health.nextTrial(trialTime: PoolSlot.trialTime(connectTimeout: pool.connectTimeout)).map {
            max(0, $0.subtractingReportingOverflow(now).partialValue)
        }
        entry.failedAgo = health.failedLast.map { max(0, now.subtractingReportingOverflow($0).partialValue) }
    }

    /// For tests: how many generations of instances are remembered.
    var generationCount: Int { generations.count }
}
