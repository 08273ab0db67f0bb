import CPlatform
import Glibc
import Platform

/// How connections end.
///
/// What each side would see without a balancer between them, it sees through it: an end after the last byte, a reset as
/// a reset. A reset of ours would drop what our kernel has not delivered yet, so it waits until the send queue is empty
/// (SIOCOUTQ), one second at most. Once the other kernel has the bytes a reset does not take them from the reader.
extension LoopCore {
    /// How long a side's send queue may take until the reset follows anyway, in nanoseconds.
    static let resetPatience: Int64 = 1_000_000_000
    /// How long a client is heard out after its endpoint has gone, in nanoseconds; and how many bytes.
    static let discardPatience: Int64 = 5_000_000_000
    static let discardLimit: UInt32 = 64 << 20

    // MARK: Ends in order

    /// The source's end was read and all before it is sent: passes it on. Returns whether the connection is still open.
    mutating func passEnd(_ connection: ConnectionReference, _ source: SideIndex) -> Bool {
        let flow = connection.flow(from: source)
        flow.pointee.flags.insert(.passed)
        if flow.pointee.pipeOut >= 0 { releasePipe(flow) }
        let back = connection.flow(from: source.other).pointee.flags
        if back.contains(.passed) {
            close(connection, reset: false, .normal)
            return false
        }
        becameHalfClosed(connection)
        // If this fails the peer is gone, and an event says so.
        _ = supd_shutdown_write(connection.side(source.other).pointee.socket)
        return back.contains(.broken) ? peerVanished(connection, source) : true
    }

    /// A side is gone in both directions; its end was in order and was passed on. Always returns false: not open.
    mutating func peerVanished(_ connection: ConnectionReference, _ side: SideIndex) -> Bool {
        switch side {
        case .client:
            // An endpoint is on this machine: Linux lets it read what it has received, also after a reset.
            beginReset(connection, survivor: .endpoint, .client)
        case .endpoint:
            beginDiscarding(connection)
        }
        return false
    }

    // MARK: Resets

    /// A side's error was read, and all bytes before it. Always returns false: not open.
    mutating func sourceWasReset(_ connection: ConnectionReference, _ source: SideIndex) -> Bool {
        if connection.flow(from: source).pointee.flags.contains(.broken) {
            // The other one was gone before.
            close(connection, reset: true, source.other.cause)
        } else {
            beginReset(connection, survivor: source.other, source.cause)
        }
        return false
    }

    /// A send to a side has failed. What that side had sent before may still be in its receive queue: it is read and
    /// passed on first. An early reply, sent by a server that closes before it has read the whole request, arrives this
    /// way. Returns whether the connection is still open.
    mutating func sinkFailed(_ connection: ConnectionReference, _ sink: SideIndex) -> Bool {
        let lost = connection.flow(from: sink.other)
        lost.pointee.flags.insert(.broken)
        release(lost)
        let back = connection.flow(from: sink)
        if back.pointee.flags.contains(.broken) {
            close(connection, reset: true, sink.other.cause)
            return false
        }
        becameHalfClosed(connection)
        if back.pointee.flags.contains(.passed) { return peerVanished(connection, sink) }
        connection.side(sink).pointee.flags.formUnion([.readable, .mustReadOut])
        keepUrgentInStream(connection.side(sink))
        return pump(connection, from: sink)
    }

    /// One side is gone: the other gets what it is still owed, then a reset.
    private mutating func beginReset(
        _ connection: ConnectionReference, survivor: SideIndex, _ cause: EndState.Cause
    ) {
        endSilence(connection)
        let end = end(of: connection, cause)
        note(end, connection)
        closeSocket(connection.side(survivor.other), reset: false)
        if survivor == .client { leaveEndpoint(connection, end) }
        release(connection.flow(from: survivor))
        let head = connection.head
        head.pointee.phase = .resetting
        head.pointee.since = now
        resetting.append(connection, in: connections)
        if finishReset(connection, survivor) { return }
        resetCheckPause = 1_000_000
        // Never later than it is due for others.
        resetCheckAt = min(resetCheckAt, saturatingSum(now, resetCheckPause))
        nextTimer = min(nextTimer, resetCheckAt)
    }

    /// Sends the reset if nothing is owed any more. Returns whether the connection is closed.
    private mutating func finishReset(_ connection: ConnectionReference, _ survivor: SideIndex) -> Bool {
        let owed = connection.flow(from: survivor.other)
        let side = connection.side(survivor)
        if owed.pointee.holdsBytes {
            guard side.pointee.flags.contains(.writable) else { return false }
            guard flush(connection, survivor.other) else {
                close(connection, reset: true, survivor.cause)
                return true
            }
            if owed.pointee.holdsBytes { return false }
        }
        guard supd_unsent_bytes(side.pointee.socket) <= 0 else { return false }
        if survivor == .client, connection.flow(from: .client).pointee.flags.contains(.broken) {
            // It may still be sending what nobody reads any more: a reset on that would overtake the answer it has not
            // read yet. Heard out first; `resetPatience` bounds it.
            switch discardInput(connection) {
            case .moved, .dry: return false
            case .ended, .reset, .sinkFailed: break
            }
        }
        close(connection, reset: true, survivor.other.cause)
        return true
    }

    /// An event of the side that is left; or of the other one, seen in the same batch in which it was closed.
    mutating func resettingEvent(
        _ seen: EpollSet.Interest, _ connection: ConnectionReference, _ side: SideIndex
    ) {
        guard connection.side(side).pointee.socket >= 0 else { return }
        if !seen.isDisjoint(with: [.error, .hangUp]) {
            close(connection, reset: true, side.cause)
        } else if !seen.isDisjoint(with: .output) {
            _ = finishReset(connection, side)
        }
    }

    /// Looks at all send queues that must become empty: there is no event for it. The pause between looks grows.
    mutating func checkResets() {
        var next = resetting.first
        while next > 0 {
            let connection = reference(next - 1)
            next = connection.head.pointee.next
            let survivor: SideIndex = connection.side(.client).pointee.socket >= 0 ? .client : .endpoint
            if now - connection.head.pointee.since >= Self.resetPatience {
                close(connection, reset: true, survivor.other.cause)
            } else {
                _ = finishReset(connection, survivor)
            }
        }
        if resetting.first == 0 {
            resetCheckAt = .max
        } else {
            resetCheckPause = min(resetCheckPause * 2, 100_000_000)
            resetCheckAt = saturatingSum(now, resetCheckPause)
        }
    }

    // MARK: Hearing a client out

    /// The endpoint has answered and is gone, while the client may still be sending. Closing on bytes that were not read
    /// would send a reset, and outside Linux a reset takes an answer that was not read yet from the client.
    private mutating func beginDiscarding(_ connection: ConnectionReference) {
        endSilence(connection)
        closeSocket(connection.side(.endpoint), reset: false)
        leaveEndpoint(connection, .complete)
        release(connection.flow(from: .client))
        connection.head.pointee.phase = .discarding
        connection.head.pointee.since = now
        discarding.append(connection, in: connections)
        nextTimer = min(nextTimer, saturatingSum(now, Self.discardPatience))
        discardingEvent(connection)
    }

    mutating func discardingEvent(_ connection: ConnectionReference) {
        switch discardInput(connection) {
        case .moved: again(connection)
        case .dry: connection.side(.client).pointee.flags.remove(.readable)
        case .ended: close(connection, reset: false, .normal)
        case .reset: close(connection, reset: true, .client)
        case .sinkFailed: close(connection, reset: true, .clientTimeout)
        }
    }

    /// Deals with input that no one takes any more, while the other way still flows. Returns whether the connection is
    /// still open.
    mutating func discard(_ connection: ConnectionReference, _ source: SideIndex) -> Bool {
        // An endpoint that sends to a client that is gone learns it soon, by a reset.
        guard source == .client, connection.side(source).pointee.flags.contains(.readable) else { return true }
        switch discardInput(connection) {
        case .moved: again(connection)
        case .dry, .reset, .sinkFailed: connection.side(source).pointee.flags.remove(.readable)
        case .ended:
            connection.side(source).pointee.flags.remove(.readable)
            connection.flow(from: source).pointee.flags.formUnion([.ended, .passed])
        }
        return true
    }

    /// Reads and throws away a share of what a client sends.
    private mutating func discardInput(_ connection: ConnectionReference) -> Step {
        let head = connection.head
        for _ in 0..<16 {
            if head.pointee.discarded >= Self.discardLimit { return .sinkFailed }
            let received = supd_receive(
                connection.side(.client).pointee.socket, scratch, LoopLimits.bufferSize, 0)
            guard received > 0 else { return Self.meaning(of: received) }
            head.pointee.discarded += UInt32(received)
        }
        return .moved
    }

    // MARK: The end

    /// Closes both sides and forgets the connection. `reset`: not in order, so that both peers see it. `cause`: who or
    /// what has ended it, unless that was noted before.
    mutating func close(_ connection: ConnectionReference, reset: Bool, _ cause: EndState.Cause) {
        let head = connection.head
        let end = end(of: connection, cause)
        // Whoever sees the connection end finds it counted.
        head.pointee.front.pointee.countEnd(end)
        leaveList(connection)
        if head.pointee.isAgain { forgetAgain(connection) }
        release(connection.flow(from: .client))
        release(connection.flow(from: .endpoint))
        // Before the client can see the end, and come again.
        if head.pointee.isInLedger { leaveLedger(connection) }
        if head.pointee.isQueued { releaseQueuePlace(connection) }
        closeSocket(connection.side(.client), reset: reset)
        closeSocket(connection.side(.endpoint), reset: reset)
        leaveEndpoint(connection, end)
        if head.pointee.details > 0 { finishDetails(connection, end) }
        pools[head.pointee.pool].pointee.current -= 1
        // The counters may be gone once nothing is counted there any more.
        releaseFrontPlace(head.pointee.front)
        head.pointee.front.pointee.current.drop()
        head.pointee.generation = 0
        connections.free(connection.index)
        if isAcceptPaused { descriptorsFreed() }
    }

    /// Closes a side's socket, if it has one.
    @inline(__always)
    func closeSocket(_ side: UnsafeMutablePointer<Side>, reset: Bool) {
        let socket = side.pointee.socket
        guard socket >= 0 else { return }
        if reset { supd_reset_on_close(socket) }
        supd_close(socket)
        side.pointee.socket = -1
    }

    /// Takes the connection off the list that its phase belongs to.
    private mutating func leaveList(_ connection: ConnectionReference) {
        switch connection.head.pointee.phase {
        case .waiting: leaveQueue(connection)
        case .connecting:
            leaveConnecting(connection)
            // Those in the queue behind it rely on how its connect ends.
            if pools[connection.head.pointee.pool].pointee.waiting.first > 0 {
                retry(at: now)
            }
        case .assigning: break
        case .greeting: greeting.remove(connection, in: connections)
        case .open: endSilence(connection)
        case .resetting: resetting.remove(connection, in: connections)
        case .discarding: discarding.remove(connection, in: connections)
        }
    }
}
