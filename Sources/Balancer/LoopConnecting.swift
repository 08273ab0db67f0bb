import CPlatform
import Glibc
import Platform
import Synchronization

extension LoopCore {
    /// How many source addresses are tried when the ports of one are used up.
    private static let sourceTries = 8
    /// How long another source address than 127.0.0.1 is used before that is tried again, in nanoseconds.
    private static let sourcePatience: Int64 = 1_000_000_000

    private enum ConnectResult {
        case begun
        /// This endpoint does not take it.
        case failed
        /// We lack descriptors, ports or memory: no endpoint's fault.
        case short(Int32)
    }

    /// Finds an endpoint for a connection that belongs to no list and has none, or lets it wait, or turns it away.
    ///
    /// `after`: the counters of the endpoint that has just failed it, which the caller keeps in use.
    mutating func assign(_ connection: ConnectionReference, after failed: UnsafeMutablePointer<CounterBlock>?) {
        let head = connection.head
        var failed = failed
        while true {
            switch choose(connection) {
            case .endpoint(let number):
                if let failed {
                    failed.pointee.retries.add()
                    head.pointee.front.pointee.retries.add()
                    if failed != endpoints[number].pointee.counters {
                        failed.pointee.redispatches.add()
                        head.pointee.front.pointee.redispatches.add()
                    }
                }
                switch beginConnect(connection, to: number) {
                case .begun:
                    pools[head.pointee.pool].pointee.lacksMeans = false
                    if head.pointee.isQueued { releaseQueuePlace(connection) }
                    return
                case .failed:
                    pools[head.pointee.pool].pointee.lacksMeans = false
                    endpointFailed(number, began: now)
                    releasePlaceAfterFailure(number)
                    let counters = endpoints[number].pointee.counters
                    counters.pointee.connectErrors.add()
                    head.pointee.front.pointee.connectErrors.add()
                    failed = counters
                case .short(let code):
                    endpointUntried(number)
                    releasePlaceAfterFailure(number)
                    head.pointee.front.pointee.connectErrors.add()
                    return waitForMeans(connection, code)
                }
            case .full:
                pools[head.pointee.pool].pointee.lacksMeans = false
                head.pointee.choice = .begins
                if head.pointee.isQueued || failed != nil {
                    // What has just refused it may take it later.
                    if failed != nil { retry(at: saturatingSum(now, Self.retryPause)) }
                    return enqueue(connection)
                }
                // Counted first, then one more look: who frees a place in between sees one of the two.
                guard takeQueuePlace(connection) else { return turnAway(connection, isLimited: true) }
            case .exhausted:
                // An endpoint that is only just listening again is found by the first in the queue.
                head.pointee.choice = .begins
                retry(at: saturatingSum(now, Self.retryPause))
                return enqueue(connection)
            case .noneActive:
                pools[head.pointee.pool].pointee.lacksMeans = false
                if pools[head.pointee.pool].pointee.refuses {
                    return turnAway(connection)
                } else {
                    return enqueue(connection)
                }
            }
        }
    }

    /// Creates the endpoint's socket and begins to connect. On loopback the handshake is done when connect(2) returns,
    /// but the result comes as an event of the next batch, mostly together with the client's first bytes.
    private mutating func beginConnect(_ connection: ConnectionReference, to number: UInt32) -> ConnectResult {
        let endpoint = endpoints[number]
        let head = connection.head
        if forcedConnectFailures > 0 {
            forcedConnectFailures -= 1
            return .short(EMFILE)
        }
        let socket = supd_tcp_socket()
        guard socket >= 0 else { return .short(-socket) }
        if let failure = connect(socket, to: endpoint) {
            supd_close(socket)
            return failure
        }
        let word = EventWord(connection: connection.index, generation: head.pointee.generation, side: .client)
        if !head.pointee.isWatched {
            let result = set.add(connection.side(.client).pointee.socket, .connection, edge: true, word: word.bits)
            guard result == 0 else {
                supd_close(socket)
                return .short(-result)
            }
            head.pointee.isWatched = true
        }
        let endpointWord = EventWord(
            connection: connection.index, generation: head.pointee.generation, side: .endpoint)
        let result = set.add(socket, .connection, edge: true, word: endpointWord.bits)
        guard result == 0 else {
            supd_close(socket)
            return .short(-result)
        }
        connection.side(.endpoint).initialize(to: Side(socket: socket))
        head.pointee.endpoint = number + 1
        endpoint.pointee.current += 1
        endpoint.pointee.counters.pointee.countOpened()
        endpoint.pointee.counters.pointee.countArrived(at: now)
        if head.pointee.details > 0 { noteConnect(connection, endpoint.pointee.counters) }
        head.pointee.phase = .connecting
        head.pointee.since = now
        let pool = pools[head.pointee.pool]
        pool.pointee.connecting.append(connection, in: connections)
        connectingCount += 1
        nextTimer = min(nextTimer, saturatingSum(now, pool.pointee.connectTimeout))
        return .begun
    }

    /// Connects, from another source address when the ports of one are used up. Returns nil when it has begun.
    private mutating func connect(_ socket: Int32, to endpoint: UnsafeMutablePointer<EndpointSlot>) -> ConnectResult? {
        if endpoint.pointee.source != 1 {
            if now - endpoint.pointee.sourceSince > Self.sourcePatience {
                endpoint.pointee.source = 1
            } else {
                _ = supd_bind_loopback(socket, endpoint.pointee.source)
            }
        }
        var result = supd_connect_loopback(socket, endpoint.pointee.port)
        var tries = 1
        while result == -EADDRNOTAVAIL || result == -EAGAIN, tries < Self.sourceTries {
            tries += 1
            endpoint.pointee.source = endpoint.pointee.source == 254 ? 2 : endpoint.pointee.source + 1
            endpoint.pointee.sourceSince = now
            guard supd_bind_loopback(socket, endpoint.pointee.source) == 0 else { break }
            result = supd_connect_loopback(socket, endpoint.pointee.port)
        }
        switch -result {
        case 0, EINPROGRESS:
            if endpoint.pointee.mayMeetItself, connectsToItself(socket, port: endpoint.pointee.port) {
                supd_reset_on_close(socket)
                return .failed
            }
            return nil
        case EADDRNOTAVAIL, EAGAIN, EMFILE, ENFILE, ENOBUFS, ENOMEM, EADDRINUSE: return .short(-result)
        default: return .failed
        }
    }

    /// Something has come of a connect, or the client has gone meanwhile.
    mutating func connectingEvent(
        _ seen: EpollSet.Interest, _ connection: ConnectionReference, _ side: SideIndex
    ) {
        if side == .client {
            // Bytes of the client wait until there is someone to give them to. A reset ends it all.
            if !seen.isDisjoint(with: [.error, .hangUp]), clientVanished(connection) {
                close(connection, reset: true, .client)
            }
            return
        }
        let endpoint = connection.side(.endpoint)
        if !seen.isDisjoint(with: [.error, .hangUp]) {
            let error = abs(supd_take_error(endpoint.pointee.socket))
            switch error {
            case 0, EPIPE: break
            case ECONNRESET: endpoint.pointee.flags.insert(.wasReset)
            default: return connectFailed(connection, .endpoint)
            }
            // The endpoint's kernel had taken it, and it was reset since: nothing is tried again.
        } else if seen.isDisjoint(with: [.output, .input]) {
            return
        }
        connected(connection)
    }

    private mutating func connected(_ connection: ConnectionReference) {
        leaveConnecting(connection)
        let head = connection.head
        let pool = head.pointee.pool
        let counters = endpoints[head.pointee.endpoint - 1].pointee.counters
        // By the coarse clock, whose ticks even out over many connects: the average is right, single times are not.
        let time = UInt64(max(0, now - head.pointee.since))
        counters.pointee.noteConnect(time)
        head.pointee.front.pointee.noteConnect(time)
        details(connection)?.pointee.connectDone = now
        endpointSucceeded(head.pointee.endpoint - 1)
        head.pointee.phase = .open
        beginSilence(connection)
        othersMayConnect(pool)
        if let version = pools[pool].pointee.proxyProtocol {
            guard introduce(connection, version) else { return }
        }
        if connection.side(.client).pointee.flags.contains(.readable) {
            guard pump(connection, from: .client) else { return }
        }
        if connection.side(.endpoint).pointee.flags.contains(.readable) { _ = pump(connection, from: .endpoint) }
    }

    /// An endpoint has refused, or has not answered in time: the next one.
    mutating func connectFailed(_ connection: ConnectionReference, _ cause: EndState.Cause) {
        leaveConnecting(connection)
        let number = connection.head.pointee.endpoint - 1
        // In this order: who sees the place free sees that it is aside.
        endpointFailed(number, began: connection.head.pointee.since)
        releasePlaceAfterFailure(number)
        let counters = endpoints[number].pointee.counters
        counters.pointee.connectErrors.add()
        counters.pointee.countEnd(EndState(cause, .connect))
        connection.head.pointee.front.pointee.connectErrors.add()
        connection.head.pointee.phase = .assigning
        closeSocket(connection.side(.endpoint), reset: true)
        connection.head.pointee.endpoint = 0
        assign(connection, after: counters)
        giveUpClaim(number)
    }

    /// Takes the connection off its pool's list of connects.
    mutating func leaveConnecting(_ connection: ConnectionReference) {
        pools[connection.head.pointee.pool].pointee.connecting.remove(connection, in: connections)
        connectingCount -= 1
    }

    /// Ends the connection's claim on its endpoint, for which it has ended thus.
    mutating func leaveEndpoint(_ connection: ConnectionReference, _ end: EndState) {
        guard connection.head.pointee.endpoint > 0 else { return }
        let number = connection.head.pointee.endpoint - 1
        connection.head.pointee.endpoint = 0
        endpoints[number].pointee.counters.pointee.countEnd(end)
        releasePlace(number)
        giveUpClaim(number)
    }

    /// Takes one connection off an endpoint's count. Its counters may be gone afterwards.
    private mutating func giveUpClaim(_ number: UInt32) {
        let endpoint = endpoints[number]
        endpoint.pointee.current -= 1
        endpoint.pointee.counters.pointee.current.drop()
        if endpoint.pointee.current == 0, !endpoint.pointee.isActive { endpointEmptied(number) }
    }
}

/// Whether a connect to a port of 127.0.0.1 has met itself: nobody listens there, and the kernel has chosen the same port
/// for our own end, which is TCP's simultaneous open. It happens only with ports that the kernel gives to clients.
func connectsToItself(_ socket: Int32, port: UInt16) -> Bool { supd_local_port(socket) == Int32(port) }
