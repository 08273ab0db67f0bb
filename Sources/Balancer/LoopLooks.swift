import Synchronization

/// What a choice sees of a pool's endpoints: who is in service or on trial, who has a place, who is warm. Positions are
/// those in the pool's list of active endpoints.
extension LoopCore {
    @inline(__always)
    func slot(_ position: UInt16, _ pool: UnsafeMutablePointer<PoolSlot>) -> UnsafeMutablePointer<EndpointSlot> {
        endpoints[pool.pointee.active[Int(position)]]
    }

    @inline(__always)
    func positions(_ pool: UnsafeMutablePointer<PoolSlot>) -> Range<UInt16> {
        0..<UInt16(truncatingIfNeeded: pool.pointee.activeCount)
    }

    /// Whose turn it is.
    @inline(__always)
    func ticket(_ pool: UnsafeMutablePointer<PoolSlot>) -> UInt64 {
        pool.pointee.cursor.pointee.wrappingAdd(1, ordering: .relaxed).oldValue
    }

    @inline(__always)
    func isInService(_ position: UInt16, _ pool: UnsafeMutablePointer<PoolSlot>) -> Bool {
        let health = slot(position, pool).pointee.health.pointee.load(ordering: .relaxed)
        return health == 0 || EndpointHealth(bits: health).state == .inService
    }

    @inline(__always)
    func hasPlace(_ position: UInt16, _ pool: UnsafeMutablePointer<PoolSlot>) -> Bool {
        pool.pointee.limit == 0
            || slot(position, pool).pointee.load.pointee.load(ordering: .sequentiallyConsistent)
                < Int(pool.pointee.limit)
    }

    /// In service, with a place free.
    @inline(__always)
    func isFree(_ position: UInt16, _ pool: UnsafeMutablePointer<PoolSlot>) -> Bool {
        isInService(position, pool) && hasPlace(position, pool)
    }

    @inline(__always)
    func mayBeTried(_ position: UInt16, _ pool: UnsafeMutablePointer<PoolSlot>) -> Bool {
        let health = slot(position, pool).pointee.health.pointee.load(ordering: .relaxed)
        return health != 0 && EndpointHealth(bits: health).mayBeTried(now: now, trialTime: trialTime(pool))
    }

    mutating func claimTrial(_ position: UInt16, _ pool: UnsafeMutablePointer<PoolSlot>) -> Bool {
        guard mayBeTried(position, pool) else { return false }
        let (now, trialTime) = (now, trialTime(pool))
        return slot(position, pool).pointee.health.pointee.updateHealth { $0.tried(now: now, trialTime: trialTime) }
    }

    @inline(__always)
    func trialTime(_ pool: UnsafeMutablePointer<PoolSlot>) -> Int64 {
        PoolSlot.trialTime(connectTimeout: pool.pointee.connectTimeout)
    }

    mutating func inServiceCount(_ pool: UnsafeMutablePointer<PoolSlot>) -> UInt32 {
        if pool.pointee.aside.pointee.load(ordering: .relaxed) == 0 { return pool.pointee.activeCount }
        var count: UInt32 = 0
        for position in positions(pool) where isInService(position, pool) { count += 1 }
        return count
    }

    /// The position of the n-th one in service.
    mutating func inService(_ number: UInt32, _ pool: UnsafeMutablePointer<PoolSlot>) -> UInt16 {
        if pool.pointee.aside.pointee.load(ordering: .relaxed) == 0 { return UInt16(truncatingIfNeeded: number) }
        var left = number
        for position in positions(pool) where isInService(position, pool) {
            if left == 0 { return position }
            left -= 1
        }
        return 0
    }

    /// The first one from a position on that is in service and has a place, which is taken.
    mutating func firstFree(_ pool: UnsafeMutablePointer<PoolSlot>, from start: UInt16) -> UInt16 {
        let count = pool.pointee.activeCount
        for step in 0..<count {
            let position = UInt16(truncatingIfNeeded: (UInt32(start) + step) % count)
            if isInService(position, pool), take(position, pool) { return position }
        }
        return Self.nowhere
    }

    /// Whether there are endpoints in service that lack nothing but a place.
    mutating func isFull(_ pool: UnsafeMutablePointer<PoolSlot>) -> Bool {
        guard pool.pointee.limit > 0 else { return false }
        for position in positions(pool) where isInService(position, pool) && !hasPlace(position, pool) { return true }
        return false
    }

    /// Whether a connection would find a place now: in service, or on trial.
    mutating func hasRoom(_ pool: UnsafeMutablePointer<PoolSlot>) -> Bool {
        for position in positions(pool) where hasPlace(position, pool) {
            if isInService(position, pool) || mayBeTried(position, pool) { return true }
        }
        return false
    }

    /// When the first of those set aside that have a place may be tried again; max if none is.
    mutating func nextTrial(_ pool: UnsafeMutablePointer<PoolSlot>) -> Int64 {
        var next = Int64.max
        guard pool.pointee.aside.pointee.load(ordering: .relaxed) > 0 else { return next }
        for position in positions(pool) where hasPlace(position, pool) {
            let health = EndpointHealth(bits: slot(position, pool).pointee.health.pointee.load(ordering: .relaxed))
            next = min(next, health.nextTrial(trialTime: trialTime(pool)) ?? .max)
        }
        return next
    }

    /// An endpoint whose time aside is over, if this connection is the one that tries it.
    mutating func trial(_ pool: UnsafeMutablePointer<PoolSlot>) -> UInt16? {
        guard pool.pointee.aside.pointee.load(ordering: .relaxed) > 0 else { return nil }
        for position in 0..<pool.pointee.activeCount {
            let position = UInt16(truncatingIfNeeded: position)
            if hasPlace(position, pool), claimTrial(position, pool), take(position, pool) { return position }
        }
        return nil
    }

    // MARK: Places and loads

    @inline(__always)
    func take(_ position: UInt16, _ pool: UnsafeMutablePointer<PoolSlot>) -> Bool {
        let endpoint = slot(position, pool)
        guard endpoint.pointee.isCounted else { return true }
        if pool.pointee.limit > 0 { return endpoint.pointee.load.pointee.addOne(limit: Int(pool.pointee.limit)) }
        endpoint.pointee.load.pointee.wrappingAdd(1, ordering: .relaxed)
        return true
    }

    /// Its connections in all loops; those of one that is not warm count more, in the proportion of its share.
    @inline(__always)
    mutating func weighedLoad(_ position: UInt16, _ pool: UnsafeMutablePointer<PoolSlot>, ramps: Bool) -> UInt64 {
        let load = UInt64(max(0, slot(position, pool).pointee.load.pointee.load(ordering: .relaxed)))
        let weighed = load &* UInt64(SlowStart.full)
        return ramps ? weighed / UInt64(share(position, pool)) : weighed
    }

    // MARK: Slow start

    /// Whether some endpoints get less than others.
    @inline(__always)
    func ramps(_ pool: UnsafeMutablePointer<PoolSlot>) -> Bool { now < pool.pointee.allWarmAt }

    mutating func share(_ position: UInt16, _ pool: UnsafeMutablePointer<PoolSlot>) -> UInt32 {
        SlowStart.share(
            activated: slot(position, pool).pointee.activated, oldest: pool.pointee.oldest,
            duration: pool.pointee.slowStart, now: now)
    }

    mutating func takesPart(_ position: UInt16, _ pool: UnsafeMutablePointer<PoolSlot>) -> Bool {
        SlowStart.takesPart(share: share(position, pool), random: &random)
    }

    /// The same, with one draw that is asked twice for the same endpoint.
    mutating func takesPart(_ position: UInt16, _ pool: UnsafeMutablePointer<PoolSlot>, _ draw: UInt64) -> Bool {
        var random = ChoiceRandom(seed: draw &+ UInt64(position))
        return SlowStart.takesPart(share: share(position, pool), random: &random)
    }
}
