import CPlatform

/// How fast the kernel sends bulk: as fast as it can, where there is no network.
///
/// Where a machine's congestion control is BBR, as net.ipv4.tcp_congestion_control tells, each socket measures its path,
/// and spreads over time what it sends, by a timer. To a peer on the same machine there is no path, and no router whose
/// queue could be spared: measuring and timers are all that is left of it, and they take half of a stream's rate and two
/// thirds of its processor time. So bulk to such a peer goes by losses alone (reno), of which there are none. What is not
/// bulk has nothing to gain: to choose for it costs as much as it saves. Peers on other machines get what their operator
/// has chosen.
extension LoopCore {
    /// The most that the kernel keeps of such a flow. With several flows the 4 MiB that it goes up to by itself are more
    /// than a processor's cache has, and a third slower.
    private static let bulkSendBuffer: Int32 = 1 << 20

    /// Chooses the pace of a flow's sink, once for each flow.
    mutating func choosePace(_ connection: ConnectionReference, _ source: SideIndex) {
        connection.flow(from: source).pointee.flags.insert(.hasPace)
        let socket = connection.side(source.other).pointee.socket
        // A Unix socket has no pace: the answer is an error.
        guard supd_paces(socket) > 0 else { return }
        // Endpoints are on the loopback interface.
        guard source == .client || ClientAddress(peerOf: socket).isOnMachine(of: ClientAddress(localOf: socket)) else {
            return
        }
        if supd_use_reno(socket) == 0 { supd_limit_send_buffer(socket, Self.bulkSendBuffer) }
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
