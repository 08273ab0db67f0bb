import CPlatform
import Glibc
import Platform

/// Who may come in, and as whom.
extension LoopCore {
    /// How long the header of the PROXY protocol is waited for, in nanoseconds: the specification's advice.
    static let greetingPatience: Int64 = 3_000_000_000

    /// Holds a connection that was just accepted against the rules of its front. Returns whether it goes on to an endpoint
    /// now.
    mutating func passesRules(_ connection: ConnectionReference, _ listener: UnsafeMutablePointer<ListenerSlot>) -> Bool
    {
        let head = connection.head
        if let allowed = listener.pointee.allowed, !head.pointee.isUnixFront,
            head.pointee.client.isNone || !allowed.contains(head.pointee.client)
        {
            deny(connection)
            return false
        }
        if listener.pointee.rules.contains(.greeting) {
            awaitGreeting(connection)
            return false
        }
        return entersLedger(connection)
    }

    /// Turns away a connection that may not come in.
    private mutating func deny(_ connection: ConnectionReference, _ cause: EndState.Cause = .refused) {
        connection.head.pointee.front.pointee.denied.add()
        note(EndState(cause, .greeting), connection)
        turnAway(connection)
    }

    /// Takes a place for the client's address, if there is a limit. Returns false if it had too many, and is turned away.
    private mutating func entersLedger(_ connection: ConnectionReference) -> Bool {
        let head = connection.head
        let front = head.pointee.front
        guard !head.pointee.client.isNone else { return true }
        let entered = front.pointee.addresses._withUnsafeGuaranteedRef { ledger in
            guard ledger.isLimited else { return true }
            head.pointee.isInLedger = ledger.enter(head.pointee.client.key)
            return head.pointee.isInLedger
        }
        guard !entered else { return true }
        note(EndState(.refused, .greeting), connection)
        turnAway(connection, isLimited: true)
        return false
    }

    /// Gives the place of the client's address back.
    mutating func leaveLedger(_ connection: ConnectionReference) {
        connection.head.pointee.isInLedger = false
        connection.head.pointee.front.pointee.addresses._withUnsafeGuaranteedRef {
            $0.leave(connection.head.pointee.client.key)
        }
    }

    // MARK: The header of the PROXY protocol

    private mutating func awaitGreeting(_ connection: ConnectionReference) {
        guard watchClient(connection) else {
            // It is in no list yet, and so in no phase that would say so.
            note(EndState(.shortage, .greeting), connection)
            return close(connection, reset: true, .shortage)
        }
        connection.head.pointee.phase = .greeting
        connection.head.pointee.since = now
        details(connection)?.pointee.introduced = -1
        greeting.append(connection, in: connections)
        nextTimer = min(nextTimer, saturatingSum(now, Self.greetingPatience))
    }

    /// Something has come, or the client has gone. The header is looked at where it is and taken out when it is whole, so
    /// that not a byte behind it is touched.
    mutating func greetingEvent(_ connection: ConnectionReference) {
        let client = connection.side(.client)
        // One byte more than the longest header: whether there is one behind it tells if there is more to read.
        let peeked = supd_receive(client.pointee.socket, scratch, ProxyHeader.longest + 1, Int32(MSG_PEEK))
        guard peeked > 0 else {
            // Without a word: a probe of somebody's, and no fault.
            if Self.meaning(of: peeked) != .dry { close(connection, reset: peeked < 0, .client) }
            return
        }
        switch ProxyHeader.read(UnsafeRawBufferPointer(start: scratch, count: peeked)) {
        case .incomplete:
            if !client.pointee.flags.isDisjoint(with: [.peerEnded, .mustReadOut]) { deny(connection) }
        case .invalid: deny(connection)
        case .header(let length, let source, let destination):
            guard supd_receive(client.pointee.socket, scratch, length, 0) == length else { return deny(connection) }
            // What has come since raises an event of its own.
            let flags = client.pointee.flags
            // Reset behind its header: nobody is there any more, and the event that said so is spent.
            if flags.contains(.mustReadOut), !connection.head.pointee.isUnixFront {
                return close(connection, reset: true, .client)
            }
            // A peek ends at urgent data, too.
            if peeked == length, flags.isDisjoint(with: [.peerEnded, .mustReadOut, .shortReadsMeanNothing]) {
                client.pointee.flags.remove(.readable)
            }
            greeting.remove(connection, in: connections)
            connection.head.pointee.phase = .assigning
            details(connection)?.pointee.introduced = now
            if !source.isNone {
                connection.head.pointee.client = source
                details(connection)?.pointee.destination = destination
            }
            if entersLedger(connection) { route(connection) }
        }
    }

    /// Turns away those that have not said who they are in time.
    mutating func expireGreeting() {
        while greeting.first > 0 {
            let connection = reference(greeting.first - 1)
            guard saturatingSum(connection.head.pointee.since, Self.greetingPatience) <= now else { return }
            deny(connection, .clientTimeout)
        }
    }

    // MARK: What is said to endpoints

    /// Sends the header of the PROXY protocol to an endpoint that has just been connected to, and what the client has
    /// said so far in the same segment; at once if that is nothing, for a server that speaks first waits for the header.
    /// Returns whether the connection is still open.
    mutating func introduce(_ connection: ConnectionReference, _ version: ProxyHeader.Version) -> Bool {
        let flow = connection.flow(from: .client)
        let client = connection.side(.client)
        let endpoint = connection.side(.endpoint)
        var count = ProxyHeader.write(
            version, source: clientAddress(connection), destination: destination(of: connection), to: scratch)
        let header = count
        var step = Step.moved
        if client.pointee.flags.contains(.readable), buffers.count < buffers.capacity {
            let received = supd_receive(
                client.pointee.socket, scratch + count, LoopLimits.bufferSize - count, 0)
            if received > 0 {
                self.count(received, connection, .client)
                if received < LoopLimits.bufferSize - count { noteShortRead(flow, client) }
                count += received
            } else {
                step = Self.meaning(of: received)
            }
        }
        // `connected` pumps next, and so passes on an end that is known already.
        let sent = send(scratch, count, flow, endpoint, isLast: flow.pointee.flags.contains(.ended))
        if sent < count {
            guard sent >= 0 || sent == -Int(EAGAIN) else { return sinkFailed(connection, .endpoint) }
            endpoint.pointee.flags.remove(.writable)
            // A new connection takes more than a header; were it not so, only the bytes of a client could be kept.
            guard max(sent, 0) >= header || buffers.count < buffers.capacity else {
                close(connection, reset: true, .shortage)
                return false
            }
            keep(flow, from: max(sent, 0), to: count)
        }
        switch step {
        case .moved, .sinkFailed: break
        case .dry: client.pointee.flags.remove(.readable)
        // The pump reads the end again; the error was taken, and would look like one.
        case .ended: break
        case .reset: client.pointee.flags.insert(.wasReset)
        }
        return true
    }

    /// What the client has connected to.
    private mutating func destination(of connection: ConnectionReference) -> ClientAddress {
        if let details = details(connection), !details.pointee.destination.isNone { return details.pointee.destination }
        var address = supd_address()
        guard supd_local_address(connection.side(.client).pointee.socket, &address) == 0 else { return .none }
        return ClientAddress(address)
    }
}
