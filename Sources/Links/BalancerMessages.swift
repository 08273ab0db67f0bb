import Platform

/// What the supervisor says to the balancer.
package enum BalancerRequest: Codable, Sendable, Equatable {
    /// The first message of every new supervisor. Answered by `hello`.
    case hello(version: Int)
    /// A listening socket, which comes beside this message; one already known under this id is kept instead.
    case listener(id: String)
    /// The whole routing table; takes the place of the one before. Listeners that no front names are closed.
    /// Answered by `applied`.
    case table(RoutingTable)
    /// Answered by `counters` with the same number.
    case queryCounters(query: UInt64)
    /// The writing end of a pipe, which comes beside this message, for the session lines of a service (see
    /// `RoutingTable.Pool.logsSessions`); takes the place of the one before.
    case sessionLog(service: String)
}

/// What the balancer says to the supervisor.
package enum BalancerNotice: Codable, Sendable, Equatable {
    /// The answer to hello: the listeners it has, and the revision of its table (0: none yet).
    case hello(version: Int, listeners: [String], revision: UInt64)
    /// The table of this revision is in force in every loop: no new connection goes by an older one.
    case applied(revision: UInt64)
    /// A connection waits for a service whose pool `announcesWaiting`. Sent by each loop once for a table.
    case waiting(service: String)
    /// An endpoint that is draining or gone has no connection any more. Sent once each, never before `applied`.
    case drained(endpoint: UInt64)
    /// The answer to `queryCounters`.
    case counters(query: UInt64, BalancerCounters)
    /// A line for the log of supd; `level` is a syslog level (3 error, 4 warning, 6 info).
    case log(level: Int, text: String)
}

/// Where connections go: a value that is swapped in whole.
package struct RoutingTable: Codable, Sendable, Equatable {
    /// Grows with every table.
    package var revision: UInt64
    /// How many loops the balancer runs; read from the first table only.
    package var loops: Int
    /// One per service with a front.
    package var pools: [Pool]

    /// Creates a table.
    package init(revision: UInt64, loops: Int, pools: [Pool]) {
        self.revision = revision
        self.loops = loops
        self.pools = pools
    }

    /// The fronts and endpoints of one service. Round robin is exact over all its fronts and loops.
    package struct Pool: Codable, Sendable, Equatable {
        /// What happens to a connection that finds no active endpoint.
        package enum Emptiness: String, Codable, Sendable, Equatable {
            /// It waits for at most `queueTimeout`: an instance is on its way.
            case hold
            /// It is reset at once: the service was stopped on purpose or has failed for good.
            case refuse
        }

        /// How an endpoint is chosen among the active ones; the words of the manifest.
        package enum Algorithm: String, Codable, Sendable, Equatable, CaseIterable {
            /// In turn, exactly, over all fronts and loops.
            case roundrobin
            /// The one with the fewest connections in all loops; among equals in turn.
            case leastconn
            /// The one with fewer connections of two drawn at random.
            case random2
            /// By the client's address, by rendezvous hashing over the instances' names: an instance more or less moves
            /// only its own share. Clients of a Unix front have no address; they go in turn.
            case source
        }

        /// What is said to an endpoint before the client's first byte.
        package enum ProxyProtocol: String, Codable, Sendable, Equatable, CaseIterable {
            /// The line of text.
            case v1
            /// The binary header.
            case v2
        }

        /// The service's name.
        package var service: String
        /// Its fronts.
        package var fronts: [Front]
        /// Its endpoints, active and draining, in the order of their instance numbers.
        package var endpoints: [Endpoint]
        /// What happens while no endpoint is active.
        package var emptiness: Emptiness
        /// In nanoseconds, as the two others.
        package var queueTimeout: Int64
        /// While an instance is replaced in place: connections that wait do not expire before this instant of
        /// CLOCK_MONOTONIC in nanoseconds, whatever their own `queueTimeout` says; Int64.max while the new process has
        /// not begun, nil otherwise.
        package var holdUntil: Int64?
        /// How long a connect to an endpoint may take.
        package var connectTimeout: Int64
        /// How long connections of a draining endpoint live on.
        package var drainTimeout: Int64
        /// After how long without a byte either way a connection is closed; nil: never.
        package var idleTimeout: Int64?
        /// How long a connection lives on without a byte when one direction has ended.
        package var finTimeout: Int64 = 30_000_000_000
        /// How an endpoint is chosen.
        package var algorithm = Algorithm.roundrobin
        /// For how long the share of an endpoint that became active ramps up; 0: not at all.
        package var slowStart: Int64 = 0
        /// The most connections of one endpoint, over all loops; beyond it they queue. nil: no limit.
        package var maxConnections: UInt32?
        /// The most connections that wait, over all loops; beyond it they are turned away. nil: no limit but the loops' own.
        package var maxQueue: UInt32?
        /// What is said to endpoints first.
        package var proxyProtocol: ProxyProtocol?
        /// Whether a line is written for every session that ends.
        package var logsSessions = false
        /// Whether the supervisor wants to know when a connection waits, because its service sleeps; nil, as from an older
        /// supervisor: no.
        package var announcesWaiting: Bool?

        /// Creates a pool; what is not given has its default and is set afterwards.
        package init(
            service: String, fronts: [Front], endpoints: [Endpoint], emptiness: Emptiness, queueTimeout: Int64,
            holdUntil: Int64? = nil, connectTimeout: Int64, drainTimeout: Int64
        ) {
            self.service = service
            self.fronts = fronts
            self.endpoints = endpoints
            self.emptiness = emptiness
            self.queueTimeout = queueTimeout
            self.holdUntil = holdUntil
            self.connectTimeout = connectTimeout
            self.drainTimeout = drainTimeout
        }
    }

    /// One entry of a service's `listen`.
    package struct Front: Codable, Sendable, Equatable {
        /// The address as shown to people: `127.0.0.1:8080`, `[::]:80`, `unix:/run/x.sock`.
        package var address: String
        /// The ids of its listening sockets: one, or two for a loopback front.
        package var listeners: [String]
        /// The most connections of this front, waiting ones included, over all loops; beyond it they wait in the kernel's
        /// queue. nil: no limit.
        package var maxConnections: UInt32?
        /// The most connections of one client address over all loops; beyond it they are reset. nil: no limit.
        package var maxConnectionsPerAddress: UInt32?
        /// The peers that may connect; others are reset. nil: all. A Unix front has no addresses, and no such list.
        package var allow: [AddressRange]?
        /// Whether every connection begins with a header of the PROXY protocol, version 1 or 2, which says who the client
        /// is. Without a valid one within three seconds it is closed.
        package var acceptsProxyProtocol = false
        /// The TCP options of its sockets; without effect on a Unix front, but for the backlog.
        package var options = SocketOptions()

        /// Creates a front.
        package init(address: String, listeners: [String]) {
            self.address = address
            self.listeners = listeners
        }
    }

    /// Options of a front's sockets, see tcp(7).
    package struct SocketOptions: Codable, Sendable, Equatable {
        /// SO_KEEPALIVE: a client silent for this many seconds is probed (TCP_KEEPIDLE; four probes follow at a quarter of
        /// it, at least a second apart); nil: never.
        package var keepAliveSeconds: UInt32? = 60
        /// TCP_USER_TIMEOUT: how many milliseconds sent bytes may stay without acknowledgement; nil: the kernel's 15 minutes.
        package var userTimeoutMilliseconds: UInt32?
        /// The backlog of listen(2), which the kernel cuts to net.core.somaxconn.
        package var backlog: UInt32 = 4096
        /// TCP_DEFER_ACCEPT: a connection is accepted with its first bytes, or after this many seconds; nil: at once.
        package var deferAcceptSeconds: UInt32?

        /// Creates the default options.
        package init() {}
    }

    /// A range of addresses in CIDR notation, read by the supervisor.
    package struct AddressRange: Codable, Sendable, Hashable {
        /// The address in network byte order: 4 bytes for IPv4, 16 for IPv6. Bits beyond the prefix are 0.
        package var bytes: [UInt8]
        /// How many leading bits must agree: 0 to 32, or to 128. An IPv4 range also takes IPv4 clients of an IPv6 socket.
        package var prefix: UInt8

        /// Creates a range.
        package init(bytes: [UInt8], prefix: UInt8) {
            self.bytes = bytes
            self.prefix = prefix
        }
    }

    /// One generation of one instance.
    package struct Endpoint: Codable, Sendable, Equatable {
        /// Whether it takes new connections.
        package enum State: String, Codable, Sendable, Equatable {
            /// It does.
            case active
            /// It does not; those open go on, for at most `drainTimeout` from the table that said so, and are then cut.
            case draining
            /// It does not, by `supctl drain`; those open go on without a limit. Its `drained` is reported like the others'.
            case parked
        }

        /// The generation's number; unique for the keeper's lifetime.
        package var id: UInt64
        /// The instance, `api/2`.
        package var instance: String
        /// Its port on 127.0.0.1.
        package var port: UInt16
        /// Whether it takes new connections.
        package var state: State

        /// Creates an endpoint.
        package init(id: UInt64, instance: String, port: UInt16, state: State) {
            self.id = id
            self.instance = instance
            self.port = port
            self.state = state
        }
    }
}

/// All counters, since the balancer's start.
package struct BalancerCounters: Codable, Sendable, Equatable {
    /// Counters of one front or one endpoint.
    package struct Counts: Codable, Sendable, Equatable {
        /// Connections open now.
        package var current: UInt64 = 0
        /// Connections ever: accepted by the front, or assigned to the endpoint.
        package var total: UInt64 = 0
        /// Bytes from clients.
        package var bytesIn: UInt64 = 0
        /// Bytes to clients.
        package var bytesOut: UInt64 = 0
        /// Connects that failed: refused, timed out or by our own shortage.
        package var connectErrors: UInt64 = 0
        /// Connections that went to another endpoint after a failed connect.
        package var retries: UInt64 = 0
        /// Connections waiting for an endpoint now; 0 for endpoints.
        package var queued: UInt64 = 0
        /// Connections closed or reset without having reached any endpoint; 0 for endpoints.
        package var turnedAway: UInt64 = 0
        /// The most connections open at the same time. With several loops, the sum of the loops' own maxima at most.
        package var maximum: UInt64 = 0
        /// The most that waited at the same time; 0 for endpoints. As above.
        package var maximumQueued: UInt64 = 0
        /// New connections in the last whole second.
        package var rate: UInt64 = 0
        /// The most new connections in one second.
        package var maximumRate: UInt64 = 0
        /// Of `retries`, those that went to another endpoint than the one that had failed.
        package var redispatches: UInt64 = 0
        /// Of `turnedAway`: not in `allow`, or without a valid PROXY header.
        package var denied: UInt64 = 0
        /// Of `turnedAway`: beyond `maxConnectionsPerAddress`, or `maxQueue`.
        package var limited: UInt64 = 0
        /// How often the endpoint was set aside for connects that failed; 0 for fronts.
        package var setAside: UInt64 = 0
        /// Connects done, their times in nanoseconds in all, and the longest.
        package var connects: UInt64 = 0
        /// In nanoseconds, in all.
        package var connectTime: UInt64 = 0
        /// In nanoseconds.
        package var maximumConnectTime: UInt64 = 0
        /// Ended sessions by their two-letter end state, see `EndState` of the balancer; absent is 0.
        package var ends: [String: UInt64] = [:]

        /// Creates counters, all 0.
        package init() {}
    }

    /// One front's counters.
    package struct Front: Codable, Sendable, Equatable {
        /// The service's name.
        package var service: String
        /// The address as in the table.
        package var address: String
        /// The counters.
        package var counts: Counts

        /// Creates an entry.
        package init(service: String, address: String, counts: Counts) {
            self.service = service
            self.address = address
            self.counts = counts
        }
    }

    /// One endpoint's counters. Counters of an instance go on over its generations.
    package struct Endpoint: Codable, Sendable, Equatable {
        /// The instance, `api/2`.
        package var instance: String
        /// The counters.
        package var counts: Counts
        /// While it is set aside: for how many nanoseconds still.
        package var setAsideFor: Int64?
        /// While it is in service although its last connect failed: how many nanoseconds ago that was.
        package var failedAgo: Int64?

        /// Creates an entry.
        package init(instance: String, counts: Counts) {
            self.instance = instance
            self.counts = counts
        }
    }

    /// The fronts in the order of the table.
    package var fronts: [Front]
    /// The instances in the order of the table.
    package var endpoints: [Endpoint]
    /// How often accepting paused for want of descriptors.
    package var acceptPauses: UInt64

    /// Creates counters.
    package init(fronts: [Front] = [], endpoints: [Endpoint] = [], acceptPauses: UInt64 = 0) {
        self.fronts = fronts
        self.endpoints = endpoints
        self.acceptPauses = acceptPauses
    }
}
