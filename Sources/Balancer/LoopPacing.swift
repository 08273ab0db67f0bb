import CPlatform

/// How fast the kernel sends bulk: as fast as it can, where there is no network.
///
/// Where a machine's congestion control is BBR, as net.ipv4.tcp_congestion_control tells, each socket estimates what its
/// path can carry, and spreads what it sends over time, so as not to fill the queues of routers. To a peer on the same
/// machine there is no router, and the estimate is far below what the machine can do. So bulk to such a peer goes by
/// losses alone (reno), and there are hardly any. Small requests do not send enough to be held back, and keep what they
/// have, as do peers on other machines: that is for their operator to choose.
extension LoopCore {
    /// What may wait to be sent to such a client, as much as one splice(2) brings. What else comes is left in the endpoint's
    /// socket: with eight flows, and up to 4 MiB for each, the processor's cache would hold too little of it. To endpoints
    /// the kernel takes what it takes to others: one that hangs keeps a client's end behind what it does not read.
    private static let unsentLimit = PipeStock.wantedCapacity

    /// Chooses the congestion control of a flow's sink, once for each flow.
    mutating func choosePace(_ connection: ConnectionReference, _ source: SideIndex) {
        connection.flow(from: source).pointee.flags.insert(.paceChosen)
        let socket = connection.side(source.other).pointee.socket
        // Of a Unix socket the answer is an error.
        guard supd_uses_bbr(socket) > 0 else { return }
        // Endpoints are on the loopback interface.
        guard source == .client || ClientAddress(peerOf: socket).isOnMachine(of: ClientAddress(localOf: socket)) else {
            return
        }
        // Who may not choose goes on as before.
        guard supd_use_reno(socket) == 0 else { return }
        if source == .endpoint { _ = supd_limit_unsent(socket, Self.unsentLimit) }
    }
}

extension ClientAddress {
    /// The own end of a socket, by getsockname(2); nobody if that fails or it is no TCP socket.
    init(localOf socket: Int32) {
        var found = supd_address()
        self = supd_local_address(socket, &found) == 0 ? ClientAddress(found) : ClientAddress()
    }

    /// Whether both ends of a connection are on one machine, as far as their addresses tell: they are the same, or both of
    /// 127.0.0.0/8.
    func isOnMachine(of other: ClientAddress) -> Bool {
        if family == .none || family != other.family { return false }
        if high == other.high && low == other.low { return true }
        return family == .ipv4 && isLoopback && other.isLoopback
    }

    /// Of an IPv4 address.
    private var isLoopback: Bool { low >> 24 & 0xff == 127 }
}
