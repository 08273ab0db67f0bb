import Platform
import Synchronization

/// Whether a connection goes now: places at endpoints and in the queue, which all loops share.
///
/// **Endpoints.** With a limit every connection holds a place of its endpoint, taken by compare-and-exchange on one count
/// before the connect begins. Who finds none joins the queue of its own loop, which is in the order of arrival. A loop
/// that sees others wait, in whichever loop, joins too: nobody overtakes them. Every loop says who is first in its queue
/// (`oldest`, a number that all loops draw from), and a place that is freed calls the loop whose first one is the oldest of
/// all. That loop serves it, and while there is room calls the next. So the queue is in the order of arrival over all
/// loops; only after a connect has failed a loop's own first one tries again, wherever older ones wait.
///
/// **No call is lost.** To be shown: as long as there is both room and someone who waits, a call is under way. All of the
/// counts below are changed and read in one order that every loop sees alike (sequential consistency).
/// - Who joins is counted (`loops`, then `queued`) *before* it looks for a place for the last time. Who frees a place
///   lowers the load *before* it reads `queued`. So of two that do this at the same time at least one sees the other:
///   the joiner finds the place, or the freeing loop finds the joiner and calls. As a loop's bit is set before `queued`
///   grows, whoever reads `queued` above 0 for the sake of this joiner finds its bit.
/// - A loop that is called and does not use up the room, because its clients have left or were served meanwhile, calls
///   the next one. One that finds no room calls no one: the place was taken, and its end calls again.
/// - Room that comes by a new table is used by each loop when it takes the table; room that comes because time has
///   passed, after an endpoint was set aside, by a timer of the loops whose clients wait.
/// - A connect that fails frees a place too. To call for that at once could go round in circles, from one loop's refusal
///   to the next one's. So one is tried after `retryPause`, by the timer of the loop whose connect has failed, and one
///   more after each further pause while there is room; a call serves no more than one then. As soon as a connect succeeds
///   all the room is used.
///
/// Places at fronts are in LoopFronts.swift.
extension LoopCore {
    var ownBit: UInt64 { 1 << UInt64(number) }

    // MARK: Places at endpoints

    /// Gives back a place whose connection has ended, and calls for the next one.
    @inline(__always)
    mutating func releasePlace(_ number: UInt32) {
        guard endpoints[number].pointee.isCounted, let pool = lowerLoad(number) else { return }
        callNext(pool)
    }

    /// Takes one off an endpoint's load. Returns the pool if others may wait for that.
    private mutating func lowerLoad(_ number: UInt32) -> UInt32? {
        let endpoint = endpoints[number]
        endpoint.pointee.load.pointee.wrappingSubtract(1, ordering: .sequentiallyConsistent)
        let pool = endpoint.pointee.pool
        return pool != EndpointSlot.noPool && pools[pool].pointee.limit > 0 ? pool : nil
    }

    /// Gives back a place whose connect has failed.
    mutating func releasePlaceAfterFailure(_ number: UInt32) {
        guard endpoints[number].pointee.isCounted, let pool = lowerLoad(number) else { return }
        pools[pool].pointee.retriesAt = saturatingSum(now, Self.retryPause)
        guard pools[pool].pointee.line.pointee.queued.load(ordering: .sequentiallyConsistent) > 0 else { return }
        retry(at: pools[pool].pointee.retriesAt)
    }

    /// Tries queues again at an instant.
    mutating func retry(at instant: Int64) {
        retryAt = min(retryAt, instant)
        nextTimer = min(nextTimer, retryAt)
    }

    // MARK: Places in the queue

    /// Counts a connection among those that wait. Returns false when there are as many as the service wants; but one
    /// whose connect has failed since it waited comes back to its place, whoever has come meanwhile. So there may be as
    /// many more as connects are under way.
    mutating func takeQueuePlace(_ connection: ConnectionReference) -> Bool {
        let head = connection.head
        let pool = pools[head.pointee.pool]
        let line = pool.pointee.line
        if pool.pointee.places == 0 { line.pointee.loops.bitwiseOr(ownBit, ordering: .sequentiallyConsistent) }
        if !line.pointee.queued.addOne(limit: head.pointee.hasWaited ? .max : pool.pointee.maxQueue) {
            if pool.pointee.places == 0 { line.pointee.loops.bitwiseAnd(~ownBit, ordering: .sequentiallyConsistent) }
            return false
        }
        pool.pointee.places += 1
        head.pointee.isQueued = true
        head.pointee.hasWaited = true
        return true
    }

    /// It waits no more.
    mutating func releaseQueuePlace(_ connection: ConnectionReference) {
        guard connection.head.pointee.isQueued else { return }
        connection.head.pointee.isQueued = false
        let pool = pools[connection.head.pointee.pool]
        let line = pool.pointee.line
        pool.pointee.places -= 1
        line.pointee.queued.wrappingSubtract(1, ordering: .sequentiallyConsistent)
        if pool.pointee.places == 0 { line.pointee.loops.bitwiseAnd(~ownBit, ordering: .sequentiallyConsistent) }
    }

    /// A connection that may come in goes to an endpoint, or behind those that wait for one.
    @inline(__always)
    mutating func route(_ connection: ConnectionReference) {
        if mustQueue(pools[connection.head.pointee.pool]) {
            queueBehind(connection)
        } else {
            assign(connection, after: nil)
        }
    }

    /// Whether a new connection has to go behind others. Where no endpoint is active `assign` decides.
    @inline(__always)
    private func mustQueue(_ pool: UnsafeMutablePointer<PoolSlot>) -> Bool {
        pool.pointee.limit > 0 && pool.pointee.activeCount > 0
            && pool.pointee.line.pointee.queued.load(ordering: .sequentiallyConsistent) > 0
    }

    /// A new connection goes behind those that wait. If they are only on their way to a place, and there is more room,
    /// nobody else would call.
    private mutating func queueBehind(_ connection: ConnectionReference) {
        let number = connection.head.pointee.pool
        enqueue(connection)
        guard hasRoom(pools[number]) else { return }
        let retriesAt = pools[number].pointee.retriesAt
        if retriesAt > now { retry(at: retriesAt) } else { callNext(number) }
    }

    /// The loop with the oldest of those that wait; where a loop of `loops` has counted its own and not put it into its
    /// queue yet, the next one in turn. nil if `loops` is empty.
    private mutating func loopToCall(_ pool: UnsafeMutablePointer<PoolSlot>, of loops: UInt64) -> Int? {
        var left = loops
        var (oldest, found) = (UInt64.max, Int?.none)
        while left != 0 {
            let loop = left.trailingZeroBitCount
            left &= left - 1
            let first = (pool.pointee.oldestWaiting + loop).pointee.load(ordering: .sequentiallyConsistent)
            if first < oldest { (oldest, found) = (first, loop) }
        }
        return found ?? nextLoop(after: pool.pointee.line.pointee.turn.load(ordering: .relaxed), of: loops)
    }

    /// Calls the loop with the oldest of those that wait, of all loops or of the others.
    mutating func callNext(_ number: UInt32, ofOthers: Bool = false) {
        let line = pools[number].pointee.line
        guard line.pointee.queued.load(ordering: .sequentiallyConsistent) > 0 else { return }
        let loops = line.pointee.loops.load(ordering: .sequentiallyConsistent)
        guard let loop = loopToCall(pools[number], of: ofOthers ? loops & ~ownBit : loops) else { return }
        line.pointee.turn.store(loop, ordering: .relaxed)
        if loop == self.number {
            serveSoon(number)
        } else {
            line.pointee.calls.bitwiseOr(1 << UInt64(loop), ordering: .sequentiallyConsistent)
            others[loop]._withUnsafeGuaranteedRef { $0.call() }
        }
    }

    /// Notes that a pool's queue is to be served when this batch of events is done: not amid something else.
    mutating func serveSoon(_ number: UInt32) {
        let pool = pools[number]
        guard !pool.pointee.isToServe else { return }
        pool.pointee.isToServe = true
        pool.pointee.nextToServe = poolsToServe
        poolsToServe = number + 1
    }

    /// Forgets which pools are to be served: a new table looks at all of them.
    mutating func forgetCalls() {
        while poolsToServe > 0 {
            let pool = pools[poolsToServe - 1]
            pool.pointee.isToServe = false
            poolsToServe = pool.pointee.nextToServe
        }
    }

    /// Does what calls, of this loop and of others, have asked for.
    mutating func answerCalls() {
        if wasCalled {
            wasCalled = false
            for position in limitedPools.indices {
                let number = limitedPools[position]
                let calls = pools[number].pointee.line
                guard calls.pointee.calls.load(ordering: .relaxed) & ownBit != 0 else { continue }
                calls.pointee.calls.bitwiseAnd(~ownBit, ordering: .sequentiallyConsistent)
                serveSoon(number)
            }
            watchFullListeners()
        }
        // Serving one pool never asks for another; what is asked for again is done in the next round.
        var next = poolsToServe
        poolsToServe = 0
        while next > 0 {
            let number = next - 1
            next = pools[number].pointee.nextToServe
            pools[number].pointee.isToServe = false
            serveInTurn(number)
        }
    }

    /// Serves the queue of a pool with a limit while there is room: those here until another loop has an older one.
    mutating func serveInTurn(_ number: UInt32) {
        let pool = pools[number]
        guard pool.pointee.limit > 0 else { return serveQueue(number) }
        while pool.pointee.activeCount > 0, hasRoom(pool) {
            let line = pool.pointee.line
            if pool.pointee.waiting.first > 0 {
                let loops = line.pointee.loops.load(ordering: .sequentiallyConsistent)
                guard loops & ~ownBit == 0 || loopToCall(pool, of: loops) == self.number else {
                    callNext(number, ofOthers: true)
                    break
                }
                let first = reference(pool.pointee.waiting.first - 1)
                takeFirst(first)
                // Refused or overtaken: a timer or a place that is freed will call.
                if first.head.pointee.generation != 0, first.head.pointee.phase == .waiting { break }
                guard hasRoom(pool) else { break }
                // Else refusals could make room for each other, loop by loop, without end.
                if pool.pointee.retriesAt > now {
                    retry(at: pool.pointee.retriesAt)
                    break
                }
            } else {
                callNext(number, ofOthers: true)
                break
            }
        }
        retryAfterTrial(pool)
    }

    /// Lets one of a pool with a limit try, after a connect has failed or when one set aside may be tried.
    mutating func retryInTurn(_ number: UInt32) {
        let pool = pools[number]
        let line = pool.pointee.line
        guard pool.pointee.activeCount > 0, line.pointee.queued.load(ordering: .sequentiallyConsistent) > 0 else {
            return
        }
        if hasRoom(pool) {
            pool.pointee.retriesAt = saturatingSum(now, Self.retryPause)
            if pool.pointee.waiting.first > 0 {
                takeFirst(reference(pool.pointee.waiting.first - 1))
            } else {
                callNext(number)
            }
            // What it tries may be long in answering, and another endpoint may have room.
            if hasRoom(pool), line.pointee.queued.load(ordering: .sequentiallyConsistent) > 0 {
                retry(at: saturatingSum(now, Self.retryPause))
            }
        }
        retryAfterTrial(pool)
    }

    /// Those that wait for a place, in whichever loop, try again when an endpoint that is set aside may be tried: nothing
    /// else tells them, and their own loop may have slept when it was set aside.
    mutating func retryAfterTrial(_ pool: UnsafeMutablePointer<PoolSlot>) {
        guard pool.pointee.limit > 0, pool.pointee.aside.pointee.load(ordering: .relaxed) > 0,
            pool.pointee.line.pointee.queued.load(ordering: .sequentiallyConsistent) > 0
        else { return }
        let trial = nextTrial(pool)
        if trial != .max { retry(at: max(trial, saturatingSum(now, Self.retryPause))) }
    }
}
