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
}

/// What the balancer says to the supervisor.
package enum BalancerNotice: Codable, Sendable, Equatable {
    /// The answer to hello: the listeners it has, and the revision of its table (0: none yet).
    case hello(version: Int, listeners: [String], revision: UInt64)
    /// The table of this revision is in force in every loop: no new connection goes by an older one.
    case applied(revision: UInt64)
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

        /// Creates a pool.
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

        /// Creates a front.
        package init(address: String, listeners: [String]) {
            self.address = address
            self.listeners = listeners
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
