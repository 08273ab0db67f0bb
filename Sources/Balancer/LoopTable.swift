import CPlatform
import Links
import Platform
import Synchronization

/// Taking a new table. Whatever both tables have goes on untouched: slots are found again by service, by endpoint id and
/// by descriptor.
extension LoopCore {
    /// Takes what was sent to this loop.
    mutating func takeCommands() {
        if let commands = mailbox.take() {
            for command in commands {
                switch command {
                case .routing(let table): take(table)
                case .failAccepts(let count, let code): (forcedAcceptFailures, forcedAcceptError) = (count, code)
                case .failWatches(let count): forcedWatchFailures = count
                case .failConnects(let count): forcedConnectFailures = count
                case .sessionLog(let service, let pipe): take(sessionLog: pipe, service: service)
                case .retire: retireListeners()
                case .stop: stop()
                }
            }
        }
        if mailbox.takeCall() { wasCalled = true }
        if mailbox.takeArrivals() {
            stopResting()
            for number in 0..<listeners.end where listeners.isUsed(number) { acceptConnections(listener: number) }
        }
    }

    private mutating func take(_ table: Routing) {
        // Their pool and its pipe may go with the table before.
        writeSessionLines()
        epoch &+= 1
        forgetCalls()
        takeEndpoints(of: table)
        takePools(of: table)
        takeListeners(of: table)
        routing = table
        for number in pools.numbers {
            settleHealth(pools[number])
            settleQueue(number)
        }
        // Those who were turned away have lines as well, of pools that may go now with their pipes.
        writeSessionLines()
        forgetPools()
        forgetEndpoints()
        sessionLogs = sessionLogs.filter { poolNumbers[$0.key] != nil }
        nextTimer = now
        report(.applied(loop: number, table: table.number, busy: busyEndpoints))
    }

    private mutating func takeEndpoints(of table: Routing) {
        for number in endpoints.numbers {
            endpoints[number].pointee.isActive = false
            endpoints[number].pointee.isGone = true
            endpoints[number].pointee.pool = EndpointSlot.noPool
        }
        for pool in table.pools {
            for endpoint in pool.endpoints { take(endpoint, pool) }
        }
        drainingCount = endpoints.numbers.count { endpoints[$0].pointee.cutAt != .max }
    }

    private mutating func take(_ endpoint: Routing.Endpoint, _ pool: Routing.Pool) {
        let counters = endpoint.counters.block(loop: self.number)
        let number: UInt32
        if let known = endpointNumbers[endpoint.id], endpoints[known].pointee.counters == counters,
            endpoints[known].pointee.load == endpoint.share.load
        {
            number = known
        } else {
            // An id that now belongs to another instance is another endpoint; the older one ends with its connections.
            number = endpoints.insert(
                EndpointSlot(
                    endpoint, counters: counters, mayMeetItself: ephemeralPorts.contains(Int(endpoint.port))))
            endpointNumbers[endpoint.id] = number
        }
        let slot = endpoints[number]
        slot.pointee.isGone = false
        slot.pointee.isActive = endpoint.state == .active
        slot.pointee.activated = endpoint.activated
        countLoad(slot, pool.countsLoad)
        switch endpoint.state {
        case .active, .parked:
            slot.pointee.drainingSince = .max
            slot.pointee.cutAt = .max
        case .draining:
            if slot.pointee.drainingSince == .max { slot.pointee.drainingSince = now }
            slot.pointee.cutAt = saturatingSum(slot.pointee.drainingSince, pool.drainTimeout)
        }
    }

    /// Begins or ends to count this loop's connections of an endpoint together with the other loops'. Those that are
    /// open move at once, so that the count is right as soon as all loops have the table.
    private func countLoad(_ slot: UnsafeMutablePointer<EndpointSlot>, _ counts: Bool) {
        guard slot.pointee.isCounted != counts else { return }
        slot.pointee.isCounted = counts
        let current = counts ? Int(slot.pointee.current) : -Int(slot.pointee.current)
        slot.pointee.load.pointee.wrappingAdd(current, ordering: .sequentiallyConsistent)
    }

    private mutating func takePools(of table: Routing) {
        for number in pools.numbers { pools[number].pointee.isGone = true }
        limitedPools = []
        for pool in table.pools {
            let number: UInt32
            if let known = poolNumbers[pool.service] {
                number = known
                pools[number].pointee.active.deallocate()
                renew(pools[number], pool.share)
            } else {
                number = pools.insert(PoolSlot(pool.share, active: .allocate(capacity: 0)))
                pools[number].pointee.active.deallocate()
                poolNumbers[pool.service] = number
            }
            let slot = pools[number]
            let active = pool.endpoints.filter { $0.state == .active }.compactMap { endpointNumbers[$0.id] }
            for endpoint in active { endpoints[endpoint].pointee.pool = number }
            slot.pointee.active = .allocate(capacity: max(1, active.count))
            slot.pointee.active.initialize(from: active, count: active.count)
            slot.pointee.activeCount = UInt32(active.count)
            slot.pointee.refuses = pool.refuses
            slot.pointee.announcesWaiting = pool.announcesWaiting
            slot.pointee.isGone = false
            slot.pointee.queueTimeout = pool.queueTimeout
            slot.pointee.holdUntil = pool.holdUntil
            slot.pointee.connectTimeout = pool.connectTimeout
            slot.pointee.proxyProtocol = pool.proxyProtocol
            slot.pointee.logsSessions = pool.logsSessions
            slot.pointee.sessionLog = sessionLogs[pool.service]?.raw ?? -1
            takeTimeouts(number, idle: pool.idleTimeout, halfClosed: min(pool.finTimeout, pool.idleTimeout))
            slot.pointee.maxQueue = pool.maxQueue
            slot.pointee.limit = pool.limit
            slot.pointee.algorithm = pool.algorithm
            slot.pointee.slowStart = pool.slowStart
            let activated = active.map { endpoints[$0].pointee.activated }
            let (oldest, newest) = (activated.min() ?? .min, activated.max() ?? .min)
            slot.pointee.oldest = oldest
            slot.pointee.allWarmAt =
                pool.slowStart > 0 && oldest != newest ? saturatingSum(newest, pool.slowStart) : .min
            slot.pointee.isPlain = pool.algorithm == .roundrobin && pool.limit == 0 && pool.slowStart == 0
            if pool.limit > 0 { limitedPools.append(number) }
        }
        for number in pools.numbers where pools[number].pointee.isGone {
            pools[number].pointee.activeCount = 0
            pools[number].pointee.refuses = true
        }
    }

    /// Takes what is shared of a service; another one if it was forgotten meanwhile, and then nobody waits here.
    private func renew(_ slot: UnsafeMutablePointer<PoolSlot>, _ share: PoolShare) {
        guard slot.pointee.cursor != share.parts.ticket else { return }
        slot.pointee.share.release()
        slot.pointee.take(share)
    }

    /// Listeners are told apart by descriptor: the tables that name one keep it open.
    private mutating func takeListeners(of table: Routing) {
        var known: [Int32: UInt32] = [:]
        for number in listeners.numbers { known[listeners[number].pointee.socket] = number }
        for pool in table.pools {
            guard let poolNumber = poolNumbers[pool.service] else { continue }
            for listener in pool.listeners {
                let counters = listener.counters.block(loop: number)
                countFront(counters, at: listener.limit > 0 ? listener.counters.gate : nil, limit: listener.limit)
                let slotNumber: UInt32
                if let found = known.removeValue(forKey: listener.socket.raw) {
                    slotNumber = found
                    if listeners[slotNumber].pointee.counters != counters { forgetFull(listeners[slotNumber]) }
                    listeners[slotNumber].pointee.pool = poolNumber
                    listeners[slotNumber].pointee.counters = counters
                    listeners[slotNumber].pointee.rules = listener.rules
                    listeners[slotNumber].pointee.allowed = listener.allowed?.ranges
                } else {
                    slotNumber = listeners.insert(
                        ListenerSlot(
                            socket: listener.socket.raw, pool: poolNumber,
                            isUnix: supd_is_unix(listener.socket.raw) != 0, counters: counters,
                            rules: listener.rules, allowed: listener.allowed?.ranges))
                }
                listeners[slotNumber].pointee.limit = listener.limit
                watchListener(slotNumber)
                // Who went by a lower limit until now has not called for what it freed.
                shareFront(listeners[slotNumber])
            }
        }
        if listeners.end > Self.mostListeners { stopResting() }
        wasCalled = wasCalled || fullListeners > 0
        // The keeper holds these sockets too, so closing ours would leave them in the set.
        for slotNumber in known.values {
            if listeners[slotNumber].pointee.isWatched { set.remove(listeners[slotNumber].pointee.socket) }
            listeners[slotNumber].pointee.isWatched = false
            forgetFull(listeners[slotNumber])
            listeners.remove(slotNumber)
        }
    }

    /// What the new table means for those that wait.
    private mutating func settleQueue(_ number: UInt32) {
        // With a limit others may wait for a place that this table gives, and this loop passes the call on.
        if pools[number].pointee.limit > 0, pools[number].pointee.activeCount > 0 { return serveSoon(number) }
        guard pools[number].pointee.waiting.first > 0 else { return }
        if pools[number].pointee.activeCount > 0 {
            serveQueue(number)
        } else if pools[number].pointee.refuses {
            turnAwayQueue(number)
        } else {
            announceWaiting(pools[number])
        }
    }

    /// Forgets pools that left the table once they have no connection.
    private mutating func forgetPools() {
        for (service, number) in poolNumbers
        where pools[number].pointee.isGone && pools[number].pointee.current == 0 {
            pools[number].pointee.active.deallocate()
            pools[number].pointee.share.release()
            pools.remove(number)
            poolNumbers[service] = nil
        }
    }

    /// Forgets endpoints that left the table once they have no connection.
    private mutating func forgetEndpoints() {
        for number in endpoints.numbers
        where endpoints[number].pointee.isGone && endpoints[number].pointee.current == 0 {
            forgetEndpoint(number)
        }
    }

    private mutating func forgetEndpoint(_ number: UInt32) {
        let id = endpoints[number].pointee.id
        if endpointNumbers[id] == number { endpointNumbers[id] = nil }
        endpoints[number].pointee.share.release()
        endpoints.remove(number)
    }

    /// Endpoints that take nothing new and still have connections here.
    private var busyEndpoints: [UInt64] {
        endpoints.numbers
            .filter { !endpoints[$0].pointee.isActive && endpoints[$0].pointee.current > 0 }
            .map { endpoints[$0].pointee.id }
    }

    /// The last connection of an endpoint that takes nothing new has ended.
    mutating func endpointEmptied(_ number: UInt32) {
        let id = endpoints[number].pointee.id
        if endpoints[number].pointee.isGone { forgetEndpoint(number) }
        report(.emptied(loop: self.number, endpoint: id))
    }

    /// Ends everything: for tests, which have other loops after this one.
    private mutating func stop() {
        isStopped = true
        for number in listeners.numbers where listeners[number].pointee.isWatched {
            set.remove(listeners[number].pointee.socket)
            listeners[number].pointee.isWatched = false
        }
        for index in 0..<connections.highWater where reference(index).head.pointee.generation != 0 {
            close(reference(index), reset: true, .refused)
        }
        writeSessionLines()
        for number in pools.numbers { pools[number].pointee.active.deallocate() }
    }
}
