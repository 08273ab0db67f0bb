import CPlatform
import Glibc
import Platform
import Synchronization

/// Connections that no endpoint takes yet. They hold a slot and a descriptor, nothing more: nothing is read of them.
extension LoopCore {
    /// The pause until the first of a queue tries again although the table has not changed, in nanoseconds.
    static let retryPause: Int64 = 100_000_000

    /// Puts a connection into its pool's queue: the oldest first, also when it was tried in vain meanwhile.
    mutating func enqueue(_ connection: ConnectionReference) {
        let head = connection.head
        guard head.pointee.isQueued || takeQueuePlace(connection) else { return turnAway(connection, isLimited: true) }
        guard watchClient(connection) else { return close(connection, reset: true, .shortage) }
        if connection.side(.client).pointee.flags.contains(.peerEnded), hasLeft(connection) {
            return close(connection, reset: true, .client)
        }
        let pool = pools[head.pointee.pool]
        head.pointee.phase = .waiting
        // One that was tried in vain is the oldest, a new one the youngest: no walk is long. Only one that was slow to say
        // who it is passes those accepted since, of `greetingPatience` at most.
        let queue = pool.pointee.waiting
        var previous = queue.last
        if queue.first > 0, head.pointee.arrival < reference(queue.first - 1).head.pointee.arrival { previous = 0 }
        while previous > 0, reference(previous - 1).head.pointee.arrival > head.pointee.arrival {
            previous = reference(previous - 1).head.pointee.previous
        }
        pool.pointee.waiting.insert(connection, after: previous, in: connections)
        if previous == 0 { publishOldest(pool) }
        waitingCount += 1
        head.pointee.front.pointee.countQueued()
        nextTimer = min(nextTimer, pool.pointee.expiry(acceptedAt: head.pointee.accepted))
        retryAfterTrial(pool)
        announceWaiting(pool)
    }

    /// Has the supervisor told that somebody waits for a service that sleeps, once for each table: a supervisor that did not
    /// hear it sends another one.
    mutating func announceWaiting(_ pool: UnsafeMutablePointer<PoolSlot>) {
        guard pool.pointee.announcesWaiting else { return }
        pool.pointee.announcesWaiting = false
        guard let service = poolNumbers.first(where: { pools[$0.value] == pool })?.key else { return }
        report(.waiting(service: service))
    }

    /// Watches for a client that goes away.
    mutating func watchClient(_ connection: ConnectionReference) -> Bool {
        let head = connection.head
        if head.pointee.isWatched { return true }
        if forcedWatchFailures > 0 {
            forcedWatchFailures -= 1
            return false
        }
        let word = EventWord(connection: connection.index, generation: head.pointee.generation, side: .client)
        guard
            set.add(connection.side(.client).pointee.socket, .connection, edge: true, word: word.bits) == 0
        else { return false }
        head.pointee.isWatched = true
        return true
    }

    /// Tells the other loops who is first here.
    private mutating func publishOldest(_ pool: UnsafeMutablePointer<PoolSlot>) {
        let first = pool.pointee.waiting.first
        (pool.pointee.oldestWaiting + number).pointee.store(
            first > 0 ? reference(first - 1).head.pointee.arrival : .max, ordering: .sequentiallyConsistent)
    }

    /// A shortage of our own: the connection waits until something of ours is free again.
    mutating func waitForMeans(_ connection: ConnectionReference, _ code: Int32) {
        reportShortage("cannot connect: \(errorMessage(code)); the connection waits")
        connection.head.pointee.choice = .begins
        pools[connection.head.pointee.pool].pointee.lacksMeans = true
        isShort = true
        retry(at: saturatingSum(now, Self.retryPause))
        enqueue(connection)
        if code == ENOMEM || code == EMFILE || code == ENFILE || code == ENOBUFS {
            pauseAccepting(errorMessage(code))
        }
    }

    /// Takes a connection out of its queue.
    mutating func leaveQueue(_ connection: ConnectionReference) {
        let pool = pools[connection.head.pointee.pool]
        let wasFirst = pool.pointee.waiting.first == connection.index + 1
        pool.pointee.waiting.remove(connection, in: connections)
        if wasFirst { publishOldest(pool) }
        waitingCount -= 1
        connection.head.pointee.front.pointee.queued.drop()
    }

    /// An event of a client that waits. An end of its input is no reason to go if something came before: it may have
    /// sent its request and wait for the answer. One that has said nothing at all has left: such are the probes of
    /// others, which would fill the queue.
    mutating func waitingEvent(_ seen: EpollSet.Interest, _ connection: ConnectionReference) {
        if seen.contains(.peerShutdown), hasLeft(connection) { return close(connection, reset: true, .client) }
        if !seen.isDisjoint(with: [.error, .hangUp]), clientVanished(connection) {
            close(connection, reset: false, .client)
        }
    }

    /// Whether a client whose socket hangs up has left nothing to deliver. A TCP client was reset then; a Unix client
    /// may have sent its message and closed, as TCP clients do without a hang-up.
    mutating func clientVanished(_ connection: ConnectionReference) -> Bool {
        guard connection.head.pointee.isUnixFront else { return true }
        return supd_receive(connection.side(.client).pointee.socket, scratch, 1, Int32(MSG_PEEK)) <= 0
    }

    /// Whether a client that has ended its input had sent nothing before.
    mutating func hasLeft(_ connection: ConnectionReference) -> Bool {
        supd_receive(connection.side(.client).pointee.socket, scratch, 1, Int32(MSG_PEEK)) == 0
    }

    /// A connect to one of a pool's endpoints has succeeded: what refused others may take them now.
    @inline(__always)
    mutating func othersMayConnect(_ number: UInt32) {
        let pool = pools[number]
        if pool.pointee.limit > 0 {
            pool.pointee.retriesAt = .min
            guard pool.pointee.line.pointee.queued.load(ordering: .sequentiallyConsistent) > 0 else { return }
            if hasRoom(pool) { callNext(number) }
        } else if waitingCount > 0 {
            serveQueue(number)
        }
    }

    /// Assigns all that wait in a pool's queue now.
    mutating func serveQueue(_ number: UInt32) {
        let pool = pools[number]
        guard pool.pointee.waiting.first > 0 else { return }
        let last = pool.pointee.waiting.last
        while pool.pointee.waiting.first > 0 {
            let connection = reference(pool.pointee.waiting.first - 1)
            let isLast = connection.index + 1 == last
            takeFirst(connection)
            if isLast { return }
            // After a failure the ones behind would fail too, and this one is at the front again.
            if connection.head.pointee.generation != 0, connection.head.pointee.phase == .waiting { return }
        }
    }

    /// Lets the first one of each queue that has endpoints try.
    mutating func retryQueues() {
        retryAt = .max
        isShort = false
        for position in limitedPools.indices { retryInTurn(limitedPools[position]) }
        for number in pools.numbers where pools[number].pointee.waiting.first > 0 {
            let pool = pools[number]
            guard pool.pointee.limit == 0, pool.pointee.activeCount > 0 else { continue }
            takeFirst(reference(pool.pointee.waiting.first - 1))
            // That one may be long in getting an answer.
            if pool.pointee.waiting.first > 0 { retry(at: saturatingSum(now, Self.retryPause)) }
        }
    }

    mutating func takeFirst(_ connection: ConnectionReference) {
        leaveQueue(connection)
        connection.head.pointee.phase = .assigning
        assign(connection, after: nil)
    }

    /// Resets a connection that has reached no endpoint. `isLimited`: because there are as many as a limit allows.
    mutating func turnAway(
        _ connection: ConnectionReference, _ cause: EndState.Cause = .refused, isLimited: Bool = false
    ) {
        if isLimited { connection.head.pointee.front.pointee.limited.add() }
        connection.head.pointee.front.pointee.turnedAway.add()
        close(connection, reset: true, cause)
    }

    /// Turns away all that wait in a pool's queue.
    mutating func turnAwayQueue(_ number: UInt32) {
        while pools[number].pointee.waiting.first > 0 {
            turnAway(reference(pools[number].pointee.waiting.first - 1))
        }
    }

    /// Turns away those whose time in the queue is over; returns when the next one's is.
    mutating func expireQueue(_ number: UInt32) -> Int64 {
        let pool = pools[number]
        while pool.pointee.waiting.first > 0 {
            let connection = reference(pool.pointee.waiting.first - 1)
            let expiry = pool.pointee.expiry(acceptedAt: connection.head.pointee.accepted)
            if expiry > now { return expiry }
            turnAway(connection, pool.pointee.lacksMeans ? .shortage : .endpointTimeout)
        }
        return .max
    }
}
