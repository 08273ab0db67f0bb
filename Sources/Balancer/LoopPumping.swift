import CPlatform
import Glibc

extension LoopCore {
    /// Reads in a row for one connection until the others get their turn.
    private static let roundsPerShare = 16
    /// Full reads in a row after which a flow is bulk.
    private static let fullReadsUntilBulk: UInt8 = 4
    /// A first write larger than this may take several segments, whose last one Nagle's algorithm would hold back.
    private static let promptSize = 4096

    /// What one read and write has come to.
    enum Step {
        /// Bytes moved, or the flags of the sides have changed: look at them again.
        case moved
        /// The source has no more for now.
        case dry
        /// The source has ended.
        case ended
        /// The source was reset.
        case reset
        /// The sink takes no more.
        case sinkFailed
    }

    /// Moves what can be moved from one side to the other. Returns whether the connection is still open.
    ///
    /// Edge-triggered: after this, either the source was seen to be empty, or the sink was seen to be full, or the
    /// connection is in the list of those that go on.
    mutating func pump(_ connection: ConnectionReference, from source: SideIndex) -> Bool {
        let flow = connection.flow(from: source)
        let from = connection.side(source)
        let to = connection.side(source.other)
        if flow.pointee.flags.contains(.passed) {
            // It had ended in order. EPOLLHUP or EPOLLERR now means that it is gone in the other direction too.
            return from.pointee.flags.contains(.mustReadOut) ? peerVanished(connection, source) : true
        }
        var rounds = 0
        while true {
            if flow.pointee.flags.contains(.broken) { return discard(connection, source) }
            if flow.pointee.holdsBytes {
                guard to.pointee.flags.contains(.writable) else { return true }
                guard flush(connection, source) else { return sinkFailed(connection, source.other) }
                if flow.pointee.holdsBytes { return true }
            }
            if flow.pointee.flags.contains(.ended) { return passEnd(connection, source) }
            guard from.pointee.flags.contains(.readable), to.pointee.flags.contains(.writable) else { return true }
            if rounds == Self.roundsPerShare {
                again(connection)
                return true
            }
            rounds += 1
            let step = flow.pointee.flags.contains(.bulk) ? splice(connection, source) : copy(connection, source)
            switch step {
            case .moved: continue
            case .dry:
                from.pointee.flags.remove(.readable)
                return true
            case .ended:
                if from.pointee.flags.contains(.wasReset) { return sourceWasReset(connection, source) }
                flow.pointee.flags.insert(.ended)
            case .reset: return sourceWasReset(connection, source)
            case .sinkFailed: return sinkFailed(connection, source.other)
            }
        }
    }

    /// Moves bytes through the loop's one buffer.
    @inline(__always)
    private mutating func copy(_ connection: ConnectionReference, _ source: SideIndex) -> Step {
        if buffers.count == buffers.capacity { return copyWithoutBuffer(connection, source) }
        let flow = connection.flow(from: source)
        let from = connection.side(source)
        let to = connection.side(source.other)
        let received = receive(from)
        guard received > 0 else { return Self.meaning(of: received) }
        count(received, connection, source)
        if received < LoopLimits.bufferSize {
            flow.pointee.streak = 0
            noteShortRead(flow, from)
        } else {
            keepUrgentInStream(from)
            flow.pointee.streak += 1
            if flow.pointee.streak >= Self.fullReadsUntilBulk { becomeBulk(connection, source) }
        }
        let sent = send(scratch, received, flow, to, isLast: flow.pointee.flags.contains(.ended))
        if sent == received { return .moved }
        guard sent >= 0 || sent == -Int(EAGAIN) else { return .sinkFailed }
        to.pointee.flags.remove(.writable)
        keepUrgentInStream(from)
        keep(flow, from: max(sent, 0), to: received)
        return .moved
    }

    /// Reads to the loop's one buffer.
    @inline(__always)
    private func receive(_ from: UnsafeMutablePointer<Side>, _ flags: Int32 = 0) -> Int {
        let received = supd_receive(from.pointee.socket, scratch, LoopLimits.bufferSize, flags)
        // In front of an urgent byte it is EAGAIN, too, when a signal waits for this thread, as a SIGSTOP does. The signal
        // is gone when the call is, and no event would come for what was there all the time.
        if received == -Int(EAGAIN), from.pointee.flags.isSuperset(of: [.shortReadsMeanNothing, .keepsUrgent]) {
            return supd_receive(from.pointee.socket, scratch, LoopLimits.bufferSize, flags)
        }
        return received
    }

    /// After a short read nothing is left, so the next one would be EAGAIN, or 0 if the end was announced: spare it.
    @inline(__always)
    func noteShortRead(_ flow: UnsafeMutablePointer<Flow>, _ from: UnsafeMutablePointer<Side>) {
        let flags = from.pointee.flags
        if !flags.isDisjoint(with: [.shortReadsMeanNothing, .mustReadOut]) { return }
        if flags.contains(.peerEnded) {
            flow.pointee.flags.insert(.ended)
        } else {
            from.pointee.flags.remove(.readable)
        }
    }

    /// Moves bytes when no buffer is left for what the sink does not take: the kernel keeps them until they are sent.
    private mutating func copyWithoutBuffer(_ connection: ConnectionReference, _ source: SideIndex) -> Step {
        let from = connection.side(source)
        let to = connection.side(source.other)
        let peeked = receive(from, Int32(MSG_PEEK))
        guard peeked > 0 else { return Self.meaning(of: peeked) }
        let sent = send(scratch, peeked, connection.flow(from: source), to)
        guard sent >= 0 || sent == -Int(EAGAIN) else { return .sinkFailed }
        if sent < peeked {
            to.pointee.flags.remove(.writable)
            keepUrgentInStream(from)
        }
        if sent > 0 {
            count(sent, connection, source)
            _ = supd_receive(from.pointee.socket, scratch, sent, 0)
        }
        return .moved
    }

    /// What a result of recv or splice that is not a number of bytes means.
    static func meaning(of result: Int) -> Step {
        if result == 0 { return .ended }
        return result == -Int(EAGAIN) || result == -Int(EINTR) ? .dry : .reset
    }

    /// Sends, and notes a reset that the error tells of. TCP_NODELAY is set only when it can make a difference: Nagle's
    /// algorithm holds back a small segment while an earlier one is not acknowledged.
    ///
    /// `isLast`: if all of this is sent, `passEnd` follows in the same call. The kernel then keeps the last segment back
    /// for the FIN (MSG_MORE in send(2)), which shutdown(2) or close(2) puts on it and sends: one segment for both. When
    /// the socket takes a part only, the kernel pushes that part all the same before it says so, and the rest is sent when
    /// there is room.
    @inline(__always)
    mutating func send(
        _ bytes: UnsafeRawPointer, _ count: Int, _ flow: UnsafeMutablePointer<Flow>, _ to: UnsafeMutablePointer<Side>,
        isLast: Bool = false
    ) -> Int {
        if !to.pointee.flags.contains(.sendsPromptly) {
            if flow.pointee.flags.contains(.hasSent) || count > Self.promptSize { sendPromptly(to) }
            flow.pointee.flags.insert(.hasSent)
        }
        let sent = supd_send(to.pointee.socket, bytes, count, isLast ? 1 : 0)
        if sent < 0 { noteSendError(Int32(-sent), to) }
        return sent
    }

    /// Switches Nagle's algorithm off.
    mutating func sendPromptly(_ side: UnsafeMutablePointer<Side>) {
        side.pointee.flags.insert(.sendsPromptly)
        _ = supd_set_no_delay(side.pointee.socket)
    }

    /// From now on an urgent byte is read in its place, in place of being lost. An event tells of one before the next read,
    /// so this is for reads that no event precedes: after a full one, after the sink was full, and after a failed send.
    /// Clients' sockets have it from the start. An endpoint's do not, since that would cost every connection a call; so a
    /// second urgent byte that comes before the first was read still takes that one away.
    mutating func keepUrgentInStream(_ side: UnsafeMutablePointer<Side>) {
        guard !side.pointee.flags.contains(.keepsUrgent) else { return }
        side.pointee.flags.insert(.keepsUrgent)
        _ = supd_set_urgent_inline(side.pointee.socket)
    }

    /// A failed send takes the socket's error away from the next recv, which must know of it: after EPIPE the peer had
    /// ended in order before it was gone, after any other error it had not.
    mutating func noteSendError(_ code: Int32, _ side: UnsafeMutablePointer<Side>) {
        if code != EAGAIN, code != EPIPE { side.pointee.flags.insert(.wasReset) }
    }

    /// Keeps a part of the loop's buffer for one flow.
    mutating func keep(_ flow: UnsafeMutablePointer<Flow>, from start: Int, to end: Int) {
        guard let slot = buffers.allocate() else { return }
        buffers.address(slot).copyMemory(from: scratch + start, byteCount: end - start)
        flow.pointee.buffer = slot + 1
        flow.pointee.start = 0
        flow.pointee.end = UInt16(end - start)
    }

    /// Sends what is kept. Returns false if the sink takes no more; else what it did not take is still kept.
    mutating func flush(_ connection: ConnectionReference, _ source: SideIndex) -> Bool {
        let flow = connection.flow(from: source)
        // There is room again, so the sink has taken something: it is not silent.
        let isOpen = connection.head.pointee.phase == .open
        if isOpen { connection.head.pointee.since = now }
        if flow.pointee.piped > 0 { return flushPipe(connection, source) }
        let to = connection.side(source.other)
        let slot = flow.pointee.buffer - 1
        let count = Int(flow.pointee.end - flow.pointee.start)
        // Not before a reset, which waits until nothing is in the send queue.
        let isLast = isOpen && flow.pointee.flags.contains(.ended)
        let sent = send(buffers.address(slot) + Int(flow.pointee.start), count, flow, to, isLast: isLast)
        if sent == count {
            buffers.free(slot)
            flow.pointee.buffer = 0
            return true
        }
        guard sent >= 0 || sent == -Int(EAGAIN) else { return false }
        if sent > 0 { flow.pointee.start += UInt16(sent) }
        to.pointee.flags.remove(.writable)
        return true
    }

    /// Throws away what a flow holds.
    mutating func release(_ flow: UnsafeMutablePointer<Flow>) {
        if flow.pointee.buffer > 0 {
            buffers.free(flow.pointee.buffer - 1)
            flow.pointee.buffer = 0
        }
        if flow.pointee.pipeOut >= 0 { releasePipe(flow) }
    }

    /// Adds moved bytes to the counters.
    @inline(__always)
    func count(_ bytes: Int, _ connection: ConnectionReference, _ source: SideIndex) {
        let head = connection.head
        let instance = endpoints[head.pointee.endpoint - 1].pointee.counters
        let amount = UInt64(bytes)
        head.pointee.since = now
        if let details = details(connection) {
            if source == .client {
                details.pointee.bytesIn &+= amount
            } else {
                details.pointee.bytesOut &+= amount
            }
        }
        switch source {
        case .client:
            head.pointee.front.pointee.bytesIn.add(amount)
            instance.pointee.bytesIn.add(amount)
        case .endpoint:
            head.pointee.front.pointee.bytesOut.add(amount)
            instance.pointee.bytesOut.add(amount)
        }
    }
}
