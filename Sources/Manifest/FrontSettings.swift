// What a service's `listen` and `balance` say.

/// What the balancer accepts connections on.
package enum ListenAddress: Sendable, Hashable, Codable {
    /// A port on 127.0.0.1 and ::1.
    case loopback(port: UInt16)
    /// An IPv4 address in dotted form, and a port.
    case ipv4(address: String, port: UInt16)
    /// An IPv6 address in text form without brackets, and a port; `::` takes IPv6 alone (IPV6_V6ONLY).
    case ipv6(address: String, port: UInt16)
    /// A Unix socket: an absolute path of at most 107 bytes.
    case unix(path: String)
}

/// One entry of `listen`.
package struct ListenSettings: Sendable, Hashable, Codable {
    /// Where connections are accepted.
    package var address: ListenAddress
    /// Whether the instances get the listening sockets themselves, sd_listen_fds(3), in place of the balancer.
    package var passes = false
    /// The most connections at the same time; nil: no limit.
    package var maxConnections: Int?
    /// The most connections of one client address; nil: no limit.
    package var maxConnectionsPerAddress: Int?
    /// The clients that may connect; nil: those of `balance.allow`.
    package var allow: [AddressRange]?
    /// Whether clients begin with a header of the PROXY protocol.
    package var acceptProxyProtocol = false
    /// After how long a silence a client is probed (SO_KEEPALIVE); nil: never.
    package var keepAlive: Duration? = .seconds(60)
    /// How long sent bytes may stay without acknowledgement (TCP_USER_TIMEOUT); nil: as long as the kernel's default.
    package var userTimeout: Duration?
    /// How many connections may wait to be accepted: listen(2).
    package var backlog = 4096
    /// For how long accepting waits for the first bytes (TCP_DEFER_ACCEPT); nil: it does not.
    package var deferAccept: Duration?

    /// Creates an entry with the manifest's defaults.
    package init(_ address: ListenAddress) { self.address = address }
}

/// A range of addresses in CIDR notation; a single address is a range of one.
package struct AddressRange: Sendable, Hashable, Codable {
    /// The address in network byte order, 4 or 16 bytes; bits beyond the prefix are 0.
    package var bytes: [UInt8]
    /// How many leading bits must agree.
    package var prefix: Int

    /// Creates a range.
    package init(bytes: [UInt8], prefix: Int) {
        self.bytes = bytes
        self.prefix = prefix
    }
}

/// The `balance` section.
package struct BalanceSettings: Sendable, Hashable, Codable {
    /// How an instance is chosen.
    package enum Algorithm: String, Sendable, Hashable, Codable, CaseIterable {
        /// In turn.
        case roundrobin
        /// The one with the fewest connections.
        case leastconn
        /// The one with fewer connections of two drawn at random.
        case random2
        /// By the client's address.
        case source
    }

    /// The versions of the PROXY protocol.
    package enum ProxyProtocol: String, Sendable, Hashable, Codable, CaseIterable {
        /// A line of text.
        case v1
        /// A binary header.
        case v2
    }

    /// How an instance is chosen.
    package var algorithm = Algorithm.roundrobin
    /// For how long the share of a new instance ramps up; zero: not at all.
    package var slowStart = Duration.zero
    /// The most connections of one instance; nil: no limit.
    package var maxConnections: Int?
    /// The most connections that wait; nil: no limit.
    package var maxQueue: Int?
    /// How long a connection waits while no instance is ready, or all are full.
    package var queueTimeout: Duration
    /// How long a connect to an instance may take.
    package var connectTimeout: Duration
    /// After how long without a byte either way a connection is closed; nil: never.
    package var idleTimeout: Duration?
    /// How long a connection may be silent once one direction has ended.
    package var finTimeout = Duration.seconds(30)
    /// How long open connections of an instance may go on when it is to stop.
    package var drainTimeout: Duration
    /// What is said to instances about the client first.
    package var proxyProtocol: ProxyProtocol?
    /// The clients that may connect to fronts without a list of their own; nil: all.
    package var allow: [AddressRange]?
    /// Whether a line is written for every session.
    package var log = false

    /// Creates settings; the defaults are the manifest's.
    package init(
        queueTimeout: Duration = .seconds(10), connectTimeout: Duration = .seconds(2),
        drainTimeout: Duration = .seconds(30)
    ) {
        self.queueTimeout = queueTimeout
        self.connectTimeout = connectTimeout
        self.drainTimeout = drainTimeout
    }
}
