import Platform
import Synchronization

/// What connects say about endpoints, for all loops.
extension LoopCore {
    /// An endpoint has refused a connect that was begun at `began`, or has not answered it in time.
    mutating func endpointFailed(_ number: UInt32, began: Int64) {
        let endpoint = endpoints[number]
        guard endpoint.pointee.pool != EndpointSlot.noPool else { return }
        let pool = pools[endpoint.pointee.pool]
        let health = endpoint.pointee.health
        let now = now
        // The only one stays in service whatever happens.
        if pool.pointee.activeCount < 2,
            EndpointHealth(bits: health.pointee.load(ordering: .relaxed)).state == .inService
        {
            _ = health.pointee.updateHealth { $0.failed(began: began, now: now, mayBeSetAside: false) }
            return
        }
        let isNew = changeHealth(pool) { aside in
            let mayBeSetAside = aside < Int(pool.pointee.activeCount / 2)
            return health.pointee.updateHealth { $0.failed(began: began, now: now, mayBeSetAside: mayBeSetAside) }
        }
        if isNew { endpoint.pointee.counters.pointee.setAside.add() }
    }

    /// A connect that this loop has just begun could not be tried, for want of something of our own.
    mutating func endpointUntried(_ number: UInt32) {
        let health = endpoints[number].pointee.health
        guard health.pointee.load(ordering: .relaxed) != 0 else { return }
        let now = now
        _ = health.pointee.updateHealth { $0.untried(began: now) }
    }

    /// A connect has succeeded.
    @inline(__always)
    mutating func endpointSucceeded(_ number: UInt32) {
        if endpoints[number].pointee.health.pointee.load(ordering: .relaxed) != 0 { putBack(number) }
    }

    private mutating func putBack(_ number: UInt32) {
        let endpoint = endpoints[number]
        let health = endpoint.pointee.health
        guard endpoint.pointee.pool != EndpointSlot.noPool else {
            _ = health.pointee.updateHealth { $0.succeeded() }
            return
        }
        let pool = pools[endpoint.pointee.pool]
        if changeHealth(pool, { _ in health.pointee.updateHealth { $0.succeeded() } }), pool.pointee.limit > 0 {
            callNext(endpoint.pointee.pool)
        }
    }

    /// Changes the health of one of a pool's endpoints while no other loop does. The body is told how many are aside.
    private func changeHealth(_ pool: UnsafeMutablePointer<PoolSlot>, _ body: (Int) -> Bool) -> Bool {
        pool.pointee.share.takeUnretainedValue().healthChange.withLock { _ in
            let changed = body(countAside(pool))
            pool.pointee.aside.pointee.store(countAside(pool), ordering: .relaxed)
            return changed
        }
    }

    private func countAside(_ pool: UnsafeMutablePointer<PoolSlot>) -> Int {
        var count = 0
        for position in 0..<Int(pool.pointee.activeCount) where health(position, pool).state != .inService {
            count += 1
        }
        return count
    }

    private func health(_ position: Int, _ pool: UnsafeMutablePointer<PoolSlot>) -> EndpointHealth {
        let endpoint = endpoints[pool.pointee.active[position]]
        return EndpointHealth(bits: endpoint.pointee.health.pointee.load(ordering: .relaxed))
    }

    /// After a new table: with fewer active endpoints fewer may be aside. Those whose time ends soonest go back.
    func settleHealth(_ pool: UnsafeMutablePointer<PoolSlot>) {
        if countAside(pool) == 0, pool.pointee.aside.pointee.load(ordering: .relaxed) == 0 { return }
        _ = changeHealth(pool) { aside in
            var excess = aside - Int(pool.pointee.activeCount / 2)
            while excess > 0 {
                excess -= 1
                var soonest: (position: Int, instant: Int64)?
                for position in 0..<Int(pool.pointee.activeCount) {
                    guard let instant = health(position, pool).nextTrial(trialTime: 0) else { continue }
                    if instant < soonest?.instant ?? .max { soonest = (position, instant) }
                }
                guard let soonest else { break }
                let endpoint = endpoints[pool.pointee.active[soonest.position]]
                _ = endpoint.pointee.health.pointee.updateHealth { $0.putBack() }
            }
            return true
        }
    }
}
