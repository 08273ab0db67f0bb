import CPlatform
import Links
import Synchronization

/// Where a connection goes.
///
/// The first choice is the algorithm's, among the endpoints that are in service and have a place free. When that one
/// does not take the connection the others are tried, each once: by address in their order for this client, else in turn
/// from where the algorithm would begin. Those set aside come last, for it is better to try them than to refuse; but not
/// while one in service is only full, for its place will be free again.
///
/// What needs no look at the other endpoints, plain round robin with all in service, has a short way of its own.
extension LoopCore {
    enum Choice {
        /// A place of it is taken.
        case endpoint(UInt32)
        /// There are some in service, with no place free.
        case full
        /// Every active endpoint was tried.
        case exhausted
        case noneActive
    }

    /// No position: there are fewer endpoints.
    static let nowhere = UInt16.max
    /// How often endpoints are drawn until one is taken that is not warm.
    private static let drawLimit = 16

    /// The next endpoint that this connection tries, with a place taken there.
    mutating func choose(_ connection: ConnectionReference) -> Choice {
        let head = connection.head
        let pool = pools[head.pointee.pool]
        let count = pool.pointee.activeCount
        if count == 0 { return .noneActive }
        if head.pointee.choiceEpoch != epoch {
            head.pointee.choiceEpoch = epoch
            head.pointee.choice = .begins
        }
        if head.pointee.choice == .begins {
            head.pointee.choice = .first
            head.pointee.choiceBegan = now
            let position = firstChoice(connection, pool)
            head.pointee.firstChoice = position
            if position != Self.nowhere { return .endpoint(pool.pointee.active[Int(position)]) }
            if isFull(pool) { return .full }
        }
        let walksByAddress = goesByAddress(connection, pool)
        if head.pointee.choice == .first {
            head.pointee.choice = .others
            head.pointee.walked = 0
            if !walksByAddress { head.pointee.walkStart = walkStart(pool) }
        }
        let position =
            walksByAddress ? nextByAddress(connection, pool) : nextInTurn(connection, pool)
        if position != Self.nowhere { return .endpoint(pool.pointee.active[Int(position)]) }
        return isFull(pool) ? .full : .exhausted
    }

    // MARK: The first one

    @inline(__always)
    private mutating func firstChoice(
        _ connection: ConnectionReference, _ pool: UnsafeMutablePointer<PoolSlot>
    ) -> UInt16 {
        if pool.pointee.isPlain, pool.pointee.aside.pointee.load(ordering: .relaxed) == 0 {
            return UInt16(truncatingIfNeeded: ticket(pool) % UInt64(pool.pointee.activeCount))
        }
        return firstChoiceAmongFew(connection, pool)
    }

    private mutating func firstChoiceAmongFew(
        _ connection: ConnectionReference, _ pool: UnsafeMutablePointer<PoolSlot>
    ) -> UInt16 {
        let head = connection.head
        let isByAddress = goesByAddress(connection, pool)
        if !isByAddress, let position = trial(pool) { return position }
        switch pool.pointee.algorithm {
        case .source where isByAddress:
            head.pointee.walked = 0
            head.pointee.firstChoice = Self.nowhere
            return nextByAddress(connection, pool)
        case .roundrobin, .source: return inTurn(pool)
        case .leastconn:
            let position = leastLoaded(pool)
            if position != Self.nowhere, take(position, pool) { return position }
        case .random2:
            let position = lesserOfTwo(pool)
            if position != Self.nowhere, take(position, pool) { return position }
        }
        // Nothing was drawn, or it was taken meanwhile.
        return firstFree(pool, from: UInt16(truncatingIfNeeded: ticket(pool) % UInt64(pool.pointee.activeCount)))
    }

    /// Round robin among those in service: exact also while others are set aside.
    private mutating func inTurn(_ pool: UnsafeMutablePointer<PoolSlot>) -> UInt16 {
        let ramps = ramps(pool)
        var position: UInt16 = 0
        for draw in 1...Self.drawLimit {
            let candidates = inServiceCount(pool)
            if candidates == 0 { return Self.nowhere }
            position = inService(UInt32(truncatingIfNeeded: ticket(pool) % UInt64(candidates)), pool)
            if ramps, draw < Self.drawLimit, !takesPart(position, pool) { continue }
            if take(position, pool) { return position }
            break
        }
        return firstFree(pool, from: position)
    }

    /// The one with the fewest connections; among equals in turn.
    private mutating func leastLoaded(_ pool: UnsafeMutablePointer<PoolSlot>) -> UInt16 {
        guard ramps(pool) else { return leastLoaded(pool, ramps: false) }
        let position = leastLoaded(pool, ramps: true)
        // Those with a full share take none now: of the others none is held back.
        return position == Self.nowhere ? leastLoaded(pool, ramps: false) : position
    }

    private mutating func leastLoaded(_ pool: UnsafeMutablePointer<PoolSlot>, ramps: Bool) -> UInt16 {
        let draws = ramps ? random.next() : 0
        var least = UInt64.max
        var equals: UInt64 = 0
        var first = Self.nowhere
        for position in positions(pool) where isFree(position, pool) {
            if ramps, !takesPart(position, pool, draws) { continue }
            let weighed = weighedLoad(position, pool, ramps: ramps)
            if weighed < least {
                (least, equals, first) = (weighed, 1, position)
            } else if weighed == least {
                equals += 1
            }
        }
        guard equals > 1 else { return first }
        var turn = ticket(pool) % equals
        for position in positions(pool) where isFree(position, pool) {
            if ramps, !takesPart(position, pool, draws) { continue }
            guard weighedLoad(position, pool, ramps: ramps) == least else { continue }
            if turn == 0 { return position }
            turn -= 1
        }
        // Other loops have changed the loads meanwhile.
        return first
    }

    /// The one with fewer connections of two drawn at random.
    private mutating func lesserOfTwo(_ pool: UnsafeMutablePointer<PoolSlot>) -> UInt16 {
        guard ramps(pool) else { return lesserOfTwo(pool, ramps: false) }
        let position = lesserOfTwo(pool, ramps: true)
        return position == Self.nowhere ? lesserOfTwo(pool, ramps: false) : position
    }

    private mutating func lesserOfTwo(_ pool: UnsafeMutablePointer<PoolSlot>, ramps: Bool) -> UInt16 {
        var drawn = Self.nowhere
        for _ in 0..<Self.drawLimit {
            let position = UInt16(truncatingIfNeeded: random.next(below: pool.pointee.activeCount))
            if position == drawn || !isFree(position, pool) { continue }
            if ramps, !takesPart(position, pool) { continue }
            if drawn == Self.nowhere {
                drawn = position
                if pool.pointee.activeCount == 1 { break }
            } else {
                let (one, other) = (
                    weighedLoad(drawn, pool, ramps: ramps), weighedLoad(position, pool, ramps: ramps)
                )
                return other < one ? position : drawn
            }
        }
        return drawn
    }

    // MARK: The others

    /// Where the others are begun with.
    private mutating func walkStart(_ pool: UnsafeMutablePointer<PoolSlot>) -> UInt16 {
        let count = pool.pointee.activeCount
        switch pool.pointee.algorithm {
        case .roundrobin, .source: return UInt16(truncatingIfNeeded: ticket(pool) % UInt64(count))
        case .random2: return UInt16(truncatingIfNeeded: random.next(below: count))
        case .leastconn:
            let position = leastLoaded(pool)
            return position == Self.nowhere ? 0 : position
        }
    }

    /// The next one of a walk over all: those in service in a first round, those set aside in a second one.
    private mutating func nextInTurn(
        _ connection: ConnectionReference, _ pool: UnsafeMutablePointer<PoolSlot>
    ) -> UInt16 {
        let head = connection.head
        let count = pool.pointee.activeCount
        while UInt32(head.pointee.walked) < 2 * count {
            let walked = UInt32(head.pointee.walked)
            if walked == count, isFull(pool) { break }
            let position = UInt16(truncatingIfNeeded: (UInt32(head.pointee.walkStart) + walked) % count)
            head.pointee.walked += 1
            if position == head.pointee.firstChoice { continue }
            if isDue(position, pool, inSecondRound: walked >= count, connection), take(position, pool) {
                return position
            }
        }
        return Self.nowhere
    }

    /// The next one in this client's order: those in service in a first round, those set aside in a second one.
    private mutating func nextByAddress(
        _ connection: ConnectionReference, _ pool: UnsafeMutablePointer<PoolSlot>
    ) -> UInt16 {
        let head = connection.head
        let client = clientHash(connection)
        let isFirst = head.pointee.choice == .first
        while head.pointee.walked < 2 {
            let last = head.pointee.firstChoice
            let bound = last == Self.nowhere ? UInt64.max : weight(last, client, pool)
            var best = Self.nowhere
            var bestWeight: UInt64 = 0
            for position in positions(pool) {
                let weight = weight(position, client, pool)
                // Equal weights come in the order of the table.
                if last != Self.nowhere, weight > bound || weight == bound && position <= last { continue }
                if best != Self.nowhere, weight <= bestWeight { continue }
                let isCandidate =
                    isFirst
                    ? isFree(position, pool) || mayBeTried(position, pool) && hasPlace(position, pool)
                    : isDue(position, pool, inSecondRound: head.pointee.walked == 1, connection)
                        && hasPlace(position, pool)
                if isCandidate { (best, bestWeight) = (position, weight) }
            }
            if best == Self.nowhere {
                // The first choice has no second round: `choose` looks whether those in service are only full.
                if isFirst { return best }
                head.pointee.walked += 1
                head.pointee.firstChoice = Self.nowhere
                if isFull(pool) { break }
                continue
            }
            head.pointee.firstChoice = best
            if isFirst, mayBeTried(best, pool), !claimTrial(best, pool) { continue }
            if take(best, pool) { return best }
        }
        return Self.nowhere
    }

    /// Whether a walk visits an endpoint in this round. One that was set aside since the choice began was tried, or has
    /// failed others a moment ago.
    @inline(__always)
    private func isDue(
        _ position: UInt16, _ pool: UnsafeMutablePointer<PoolSlot>, inSecondRound: Bool,
        _ connection: ConnectionReference
    ) -> Bool {
        let health = slot(position, pool).pointee.health.pointee.load(ordering: .relaxed)
        if health == 0 { return !inSecondRound }
        guard let since = EndpointHealth(bits: health).setAsideSince else { return !inSecondRound }
        // Health is kept in units of 1024 ns.
        return inSecondRound && since < connection.head.pointee.choiceBegan - 1024
    }

    // MARK: By address

    /// Whether the client's address says where it goes. A client of a Unix front has none, unless a header of the PROXY
    /// protocol has named one.
    @inline(__always)
    private func goesByAddress(_ connection: ConnectionReference, _ pool: UnsafeMutablePointer<PoolSlot>) -> Bool {
        pool.pointee.algorithm == .source
            && (!connection.head.pointee.isUnixFront || !connection.head.pointee.client.isNone)
    }

    @inline(__always)
    private func weight(_ position: UInt16, _ client: UInt64, _ pool: UnsafeMutablePointer<PoolSlot>) -> UInt64 {
        Rendezvous.weight(client: client, instance: slot(position, pool).pointee.instanceHash)
    }

    /// The hash of the client's address.
    private mutating func clientHash(_ connection: ConnectionReference) -> UInt64 { clientAddress(connection).hash }

    /// The client's address, which the accept has told unless the setting that needs it is new; none at a Unix front.
    mutating func clientAddress(_ connection: ConnectionReference) -> ClientAddress {
        let head = connection.head
        if head.pointee.client.isNone, !head.pointee.isUnixFront {
            head.pointee.client = ClientAddress(peerOf: connection.side(.client).pointee.socket)
        }
        return head.pointee.client
    }
}
