import CPlatform
import Platform

/// Deadlines. Each kind keeps its own order, so nothing is sorted, and setting one is a comparison. The timer descriptor
/// is armed only when the loop goes to sleep with something due later; a busy loop looks at its coarse clock instead.
extension LoopCore {
    /// How long the next wait may be, in milliseconds.
    mutating func millisecondsToNextTimer(atMost limit: Int32) -> Int32 {
        guard nextTimer != .max else { return limit }
        let left = nextTimer - now
        return left <= 0 ? 0 : Int32(min(Int64(limit), left / 1_000_000 + 1))
    }

    /// Does what is due, and finds out when the next thing is.
    mutating func fireTimers() {
        if retryAt <= now { retryQueues() }
        if acceptsAgainAt <= now { resumeAccepting() }
        if resetCheckAt <= now { checkResets() }
        expireGreeting()
        expireDiscarding()
        if silenceDue <= now { expireSilent() }
        if drainingCount > 0 { cutDrained() }
        nextTimer = earliestTimer(expiring: true)
    }

    /// Arms the timer descriptor for the next deadline, if there is one.
    mutating func armTimer() {
        guard nextTimer != .max else { return }
        // Deadlines that were met meanwhile are still in `nextTimer`.
        nextTimer = earliestTimer(expiring: false)
        guard nextTimer != .max, nextTimer < armedTimer else { return }
        armedTimer = nextTimer
        _ = supd_timerfd_arm(timer.raw, max(1, nextTimer))
    }

    private mutating func earliestTimer(expiring: Bool) -> Int64 {
        if silentCount == 0 { silenceDue = .max }
        var earliest = min(retryAt, acceptsAgainAt, resetCheckAt, silenceDue)
        if greeting.first > 0 {
            let since = reference(greeting.first - 1).head.pointee.since
            earliest = min(earliest, saturatingSum(since, Self.greetingPatience))
        }
        if discarding.first > 0 {
            let since = reference(discarding.first - 1).head.pointee.since
            earliest = min(earliest, saturatingSum(since, Self.discardPatience))
        }
        if waitingCount > 0 || connectingCount > 0 {
            for number in 0..<pools.end where pools.isUsed(number) {
                if expiring {
                    // Connects first: those that fail go to the queue.
                    earliest = min(earliest, expireConnecting(number))
                    earliest = min(earliest, expireQueue(number))
                } else {
                    earliest = min(earliest, nextExpiry(pools[number]))
                }
            }
            // What expired may have put others elsewhere.
            if expiring { earliest = min(earliest, retryAt, acceptsAgainAt) }
        }
        if drainingCount > 0 {
            for number in 0..<endpoints.end where endpoints.isUsed(number) && endpoints[number].pointee.current > 0 {
                earliest = min(earliest, endpoints[number].pointee.cutAt)
            }
        }
        return earliest
    }

    private mutating func nextExpiry(_ pool: UnsafeMutablePointer<PoolSlot>) -> Int64 {
        var earliest = Int64.max
        if pool.pointee.waiting.first > 0 {
            let accepted = reference(pool.pointee.waiting.first - 1).head.pointee.accepted
            earliest = pool.pointee.expiry(acceptedAt: accepted)
        }
        if pool.pointee.connecting.first > 0 {
            let since = reference(pool.pointee.connecting.first - 1).head.pointee.since
            earliest = min(earliest, saturatingSum(since, pool.pointee.connectTimeout))
        }
        return earliest
    }

    /// Gives up connects that have taken too long; returns when the next one has.
    private mutating func expireConnecting(_ number: UInt32) -> Int64 {
        let pool = pools[number]
        while pool.pointee.connecting.first > 0 {
            let connection = reference(pool.pointee.connecting.first - 1)
            let due = saturatingSum(connection.head.pointee.since, pool.pointee.connectTimeout)
            if due > now { return due }
            connectFailed(connection, .endpointTimeout)
        }
        return .max
    }

    private mutating func expireDiscarding() {
        while discarding.first > 0 {
            let connection = reference(discarding.first - 1)
            guard saturatingSum(connection.head.pointee.since, Self.discardPatience) <= now else { return }
            close(connection, reset: true, .clientTimeout)
        }
    }

    /// Cuts what is left at endpoints whose drain time is over.
    private mutating func cutDrained() {
        for number in 0..<endpoints.end
        where endpoints.isUsed(number) && endpoints[number].pointee.cutAt <= now
            && endpoints[number].pointee.current > 0
        {
            for index in 0..<connections.highWater {
                let connection = reference(index)
                guard connection.head.pointee.generation != 0, connection.head.pointee.endpoint == number + 1 else {
                    continue
                }
                close(connection, reset: true, .drained)
            }
        }
    }
}
