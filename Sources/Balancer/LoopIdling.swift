import CPlatform

/// Where a connection is in the wheels of its pool: a list of one of the two, or nowhere.
struct SilenceLane: BitwiseCopyable {
    private var number: UInt8 = 0

    static let none = SilenceLane()

    init() {}

    init(_ lane: UInt8, isHalfClosed: Bool) { number = lane + 1 + (isHalfClosed ? UInt8(IdleWheel.lanes) : 0) }

    @inline(__always) var isNone: Bool { number == 0 }
    /// Whether it is in the wheel of the half-closed ones.
    var isHalfClosed: Bool { number > IdleWheel.lanes }
    /// The list in its wheel.
    var lane: UInt8 { number - 1 - (isHalfClosed ? UInt8(IdleWheel.lanes) : 0) }
}

/// How silent connections end: `idleTimeout`, and `finTimeout` once one direction has ended.
///
/// What counts is any byte that moves, and also that the kernel gets rid of what it holds for a slow reader. A side whose
/// incoming direction has ended in order, and been passed on, is closed in order: what is still on its way there arrives.
/// For the other one the stream is cut, and it sees a reset: a truncated stream must never look like one that has ended.
extension LoopCore {
    /// A connection is open now.
    @inline(__always)
    mutating func beginSilence(_ connection: ConnectionReference) {
        connection.head.pointee.since = now
        if pools[connection.head.pointee.pool].pointee.idle.timeout != .max {
            insertSilent(connection, isHalfClosed: false)
        }
    }

    /// One direction of an open connection has ended.
    @inline(__always)
    mutating func becameHalfClosed(_ connection: ConnectionReference) {
        let lane = connection.head.pointee.lane
        if lane.isHalfClosed { return }
        if !lane.isNone { endSilence(connection) }
        // An end is a sign of life, too: the time of a half-closed connection begins with it, however long the silence before.
        connection.head.pointee.since = now
        connection.head.pointee.owed = 0
        insertSilent(connection, isHalfClosed: true)
    }

    /// A connection is no longer open, or in another wheel.
    @inline(__always)
    mutating func endSilence(_ connection: ConnectionReference) {
        let lane = connection.head.pointee.lane
        if lane.isNone { return }
        let pool = pools[connection.head.pointee.pool]
        if lane.isHalfClosed {
            pool.pointee.halfClosed.remove(connection, lane: lane.lane, in: connections)
        } else {
            pool.pointee.idle.remove(connection, lane: lane.lane, in: connections)
        }
        connection.head.pointee.lane = .none
        silentCount -= 1
    }

    mutating func insertSilent(_ connection: ConnectionReference, isHalfClosed: Bool) {
        let pool = pools[connection.head.pointee.pool]
        let since = connection.head.pointee.since
        let place =
            isHalfClosed
            ? pool.pointee.halfClosed.insert(connection, since: since, now: now, in: connections)
            : pool.pointee.idle.insert(connection, since: since, now: now, in: connections)
        connection.head.pointee.lane = SilenceLane(place.lane, isHalfClosed: isHalfClosed)
        silentCount += 1
        silenceDue = min(silenceDue, place.due)
        nextTimer = min(nextTimer, place.due)
    }

    /// Looks at those whose list's time has come.
    mutating func expireSilent() {
        silenceDue = .max
        for number in 0..<pools.end where pools.isUsed(number) {
            let pool = pools[number]
            while let index = pool.pointee.idle.next(at: now, in: connections) {
                lookAtSilence(reference(index), timeout: pool.pointee.idle.timeout, isHalfClosed: false)
            }
            while let index = pool.pointee.halfClosed.next(at: now, in: connections) {
                lookAtSilence(reference(index), timeout: pool.pointee.halfClosed.timeout, isHalfClosed: true)
            }
            silenceDue = min(silenceDue, pool.pointee.idle.nextDue, pool.pointee.halfClosed.nextDue)
        }
    }

    /// A connection that was taken out of its list: ends it, or puts it back.
    private mutating func lookAtSilence(_ connection: ConnectionReference, timeout: Int64, isHalfClosed: Bool) {
        let head = connection.head
        head.pointee.lane = .none
        silentCount -= 1
        if saturatingSum(head.pointee.since, timeout) <= now {
            let owed = owedBytes(connection)
            if owed == 0 || owed == head.pointee.owed { return endSilent(connection) }
            // It is slow, not silent.
            head.pointee.owed = owed
            head.pointee.since = now
        }
        insertSilent(connection, isHalfClosed: isHalfClosed)
    }

    /// What the kernel has not delivered yet, also of a direction that has ended: its last bytes may be many.
    private mutating func owedBytes(_ connection: ConnectionReference) -> UInt32 {
        owedBytes(connection, to: .client) &+ owedBytes(connection, to: .endpoint)
    }

    private mutating func owedBytes(_ connection: ConnectionReference, to side: SideIndex) -> UInt32 {
        UInt32(max(0, supd_unsent_bytes(connection.side(side).pointee.socket)))
    }

    private mutating func endSilent(_ connection: ConnectionReference) {
        let fromClient = connection.flow(from: .client).pointee
        let fromEndpoint = connection.flow(from: .endpoint).pointee
        // Who is waited for: the one that has not ended, or does not take what is there for it.
        let waitsForEndpoint = fromClient.flags.contains(.passed) && !fromEndpoint.holdsBytes || fromClient.holdsBytes
        note(
            EndState(waitsForEndpoint ? .endpointTimeout : .clientTimeout, stage(of: connection)), connection)
        closeSocket(connection.side(.client), reset: !fromEndpoint.flags.contains(.passed))
        closeSocket(connection.side(.endpoint), reset: !fromClient.flags.contains(.passed))
        close(connection, reset: true, waitsForEndpoint ? .endpointTimeout : .clientTimeout)
    }
}

/// Taking other timeouts.
extension LoopCore {
    /// Sets the timeouts of a pool, for its open connections too.
    mutating func takeTimeouts(_ number: UInt32, idle: Int64, halfClosed: Int64) {
        let pool = pools[number]
        guard pool.pointee.idle.timeout != idle || pool.pointee.halfClosed.timeout != halfClosed else { return }
        if pool.pointee.current > 0 {
            forEachOpen(number) { core, connection in core.endSilence(connection) }
        }
        pool.pointee.idle.set(timeout: idle)
        pool.pointee.halfClosed.set(timeout: halfClosed)
        guard pool.pointee.current > 0 else { return }
        forEachOpen(number) { core, connection in
            if core.isHalfClosed(connection) {
                core.insertSilent(connection, isHalfClosed: true)
            } else if idle != .max {
                core.insertSilent(connection, isHalfClosed: false)
            }
        }
    }

    private func isHalfClosed(_ connection: ConnectionReference) -> Bool {
        let flags = connection.flow(from: .client).pointee.flags.union(connection.flow(from: .endpoint).pointee.flags)
        return !flags.isDisjoint(with: [.passed, .broken])
    }

    private mutating func forEachOpen(_ pool: UInt32, _ body: (inout LoopCore, ConnectionReference) -> Void) {
        for index in 0..<connections.highWater {
            let connection = reference(index)
            let head = connection.head
            guard head.pointee.generation != 0, head.pointee.pool == pool, head.pointee.phase == .open else { continue }
            body(&self, connection)
        }
    }
}
