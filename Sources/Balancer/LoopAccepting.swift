import CPlatform
import Glibc
import Platform
import Synchronization

extension LoopCore {
    /// The most accepts in a row, so that loops share and connections get their turn.
    private static let acceptShare: UInt8 = 16
    /// How long a pause of accepting lasts when no connection closes meanwhile, in nanoseconds.
    private static let acceptPause: Int64 = 500_000_000

    /// The listener has connections to accept; another loop may be faster.
    mutating func acceptConnections(listener number: UInt32) {
        guard listeners.isUsed(number), listeners[number].pointee.isWatched else { return }
        // The listener is reported again as long as connections wait, which costs nothing; an accept that finds none does.
        // So the share grows only when it was not enough the round before.
        if listeners[number].pointee.lastRound &+ 1 != round { listeners[number].pointee.share = 1 }
        listeners[number].pointee.lastRound = round
        let share = listeners[number].pointee.share
        for accepted in 0..<share {
            if connections.count == connections.capacity {
                pauseAccepting("all \(connections.capacity) places for connections of a loop are taken")
                return
            }
            guard listeners[number].pointee.limit == 0 || takeFrontPlace(number) else { return }
            var peer = supd_address()
            let socket = acceptOne(listeners[number], &peer)
            if socket < 0 {
                releaseFrontPlace(listeners[number].pointee.counters)
                switch -socket {
                case EAGAIN:
                    listeners[number].pointee.share = max(1, accepted)
                    return
                case ECONNABORTED, EINTR, EPROTO, EPERM, ENETDOWN, ENOPROTOOPT, EHOSTDOWN, ENONET, EHOSTUNREACH,
                    ENETUNREACH, ETIMEDOUT:
                    // Errors of the one connection, which is gone: accept(2), "Error handling".
                    continue
                default:
                    pauseAccepting(errorMessage(-socket))
                    return
                }
            }
            coalescing.noteOpened()
            if !admit(socket, listeners[number], ClientAddress(peer)) {
                releaseFrontPlace(listeners[number].pointee.counters)
            } else if listeners[number].pointee.limit > 0 {
                shareFront(listeners[number])
            }
            if restIfUneven() { return }
        }
        listeners[number].pointee.share = min(share + 1, Self.acceptShare)
    }

    @inline(__always)
    private mutating func acceptOne(
        _ listener: UnsafeMutablePointer<ListenerSlot>, _ peer: inout supd_address
    ) -> Int32 {
        if forcedAcceptFailures > 0 {
            forcedAcceptFailures -= 1
            return -forcedAcceptError
        }
        let socket = listener.pointee.socket
        return listener.pointee.rules.contains(.address) ? supd_accept_from(socket, &peer) : supd_accept(socket)
    }

    /// Takes an accepted socket on. Returns whether a connection has come of it: that gives the front's place back when
    /// it is closed, which it may be already.
    private mutating func admit(
        _ socket: Int32, _ listener: UnsafeMutablePointer<ListenerSlot>, _ peer: ClientAddress
    ) -> Bool {
        let counters = listener.pointee.counters
        counters.pointee.countArrived(at: now)
        let pool = pools[listener.pointee.pool]
        guard let index = connections.allocate() else {
            supd_close(socket)
            return false
        }
        let connection = reference(index)
        var head = ConnectionHead(front: counters)
        generation = EventWord.generation(after: generation)
        head.generation = generation
        head.pool = listener.pointee.pool
        head.isUnixFront = listener.pointee.isUnix
        head.accepted = now
        head.arrival = pool.pointee.arrivals.pointee.wrappingAdd(1, ordering: .relaxed).oldValue
        head.client = peer
        connection.initialize(head)
        let client = connection.side(.client)
        client.pointee.socket = socket
        // TCP_NODELAY and SO_OOBINLINE are inherited from the listener.
        client.pointee.flags =
            listener.pointee.isUnix ? [.sendsPromptly, .shortReadsMeanNothing] : [.sendsPromptly, .keepsUrgent]
        counters.pointee.countOpened()
        pool.pointee.current += 1
        if listener.pointee.rules.contains(.details) {
            takeDetails(connection, isLogged: pool.pointee.logsSessions)
        }
        if pool.pointee.refuses, pool.pointee.activeCount == 0 {
            turnAway(connection)
        } else if listener.pointee.rules.isDisjoint(with: .admission) || passesRules(connection, listener) {
            route(connection)
        }
        return true
    }

    /// So many accepts a listener at the end, a backlog at most.
    private static let lastAccepts = 65_536

    /// Another process watches the same listeners, and goes on alone. EPOLLEXCLUSIVE wakes one of them for an arrival, and
    /// that may have been this loop: it leaves the set first, so that all who come later are the other's, and then takes
    /// those who are there.
    mutating func retireListeners() {
        // First: what it has left to another loop may be waiting at a listener that the other one has left already.
        stopResting()
        isRetired = true
        mailbox.watch.store(.pauses, ordering: .sequentiallyConsistent)
        for number in listeners.numbers where listeners[number].pointee.isWatched {
            set.remove(listeners[number].pointee.socket)
            for _ in 0..<Self.lastAccepts {
                let before = listeners[number].pointee.counters.pointee.total.load(ordering: .relaxed)
                acceptConnections(listener: number)
                guard listeners[number].pointee.isWatched,
                    listeners[number].pointee.counters.pointee.total.load(ordering: .relaxed) != before
                else { break }
            }
            listeners[number].pointee.isWatched = false
        }
    }

    // MARK: Pauses

    /// Stops accepting in this loop: for want of descriptors or slots. Clients wait in the kernel's queue meanwhile.
    mutating func pauseAccepting(_ reason: String) {
        guard !isAcceptPaused else { return }
        isAcceptPaused = true
        pipes.closeAll()
        isResting = false
        unwatchListeners()
        acceptsAgainAt = saturatingSum(now, Self.acceptPause)
        nextTimer = min(nextTimer, acceptsAgainAt)
        mailbox.acceptPauses.wrappingAdd(1, ordering: .relaxed)
        passArrivalsToOthers()
        reportShortage("pauses accepting: \(reason)")
    }

    /// Watches all listeners again.
    mutating func resumeAccepting() {
        isAcceptPaused = false
        acceptsAgainAt = .max
        isResting = false
        if !isRetired { mailbox.watch.store(.accepts, ordering: .sequentiallyConsistent) }
        for number in listeners.numbers { watchListener(number) }
    }

    /// Watches a listener, unless accepting is paused, left to another loop, or over.
    mutating func watchListener(_ number: UInt32) {
        guard !isRetired, !isAcceptPaused, !isResting, !listeners[number].pointee.isWatched,
            !listeners[number].pointee.isFull
        else { return }
        let result = set.add(
            listeners[number].pointee.socket, [.input, .exclusive],
            word: EventWord(kind: .listener, index: number).bits)
        if result == 0 {
            listeners[number].pointee.isWatched = true
        } else {
            report(.log(level: 3, "cannot watch a listening socket: \(errorMessage(-result))"))
            passArrivalsToOthers()
            // Tried again after a pause.
            acceptsAgainAt = saturatingSum(now, Self.acceptPause)
            nextTimer = min(nextTimer, acceptsAgainAt)
        }
    }

    /// A line for the log, at most one in ten seconds.
    mutating func reportShortage(_ text: @autoclosure () -> String) {
        guard now >= quietUntil else { return }
        quietUntil = saturatingSum(now, 10_000_000_000)
        report(.log(level: 4, text()))
    }

    /// A connection closed while descriptors or slots were short.
    mutating func descriptorsFreed() {
        if isShort {
            isShort = false
            retryAt = now
            nextTimer = now
        }
        resumeAccepting()
    }
}
