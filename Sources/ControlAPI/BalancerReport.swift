/// The answer to `GET /v1/balancer`. Keys never change their meaning; numbers are numbers, what is absent is null. All
/// counters begin with the balancer's start.
package struct BalancerReport: Codable, Sendable, Equatable {
    /// The services with a front, in the order of the manifest.
    package var services: [BalancedService]
    /// How often accepting paused for want of descriptors.
    package var acceptPauses: UInt64

    /// Creates a report.
    package init(services: [BalancedService], acceptPauses: UInt64) {
        self.services = services
        self.acceptPauses = acceptPauses
    }
}

/// One service with a front.
package struct BalancedService: Codable, Sendable, Equatable {
    /// The name.
    package var name: String
    /// `roundrobin`, `leastconn`, `random2` or `source`.
    package var algorithm: String
    /// Its fronts, in the order of `listen`.
    package var fronts: [BalancedFront]
    /// Its instances.
    package var instances: [BalancedInstance]

    /// Creates an entry.
    package init(name: String, algorithm: String, fronts: [BalancedFront], instances: [BalancedInstance]) {
        self.name = name
        self.algorithm = algorithm
        self.fronts = fronts
        self.instances = instances
    }
}

/// What clients see.
package struct BalancedFront: Codable, Sendable, Equatable {
    /// The address.
    package var address: String
    /// The counters of its connections.
    package var counters: SessionCounters

    /// Creates an entry.
    package init(address: String, counters: SessionCounters) {
        self.address = address
        self.counters = counters
    }
}

/// Where connections go.
package struct BalancedInstance: Codable, Sendable, Equatable {
    /// `api/2`.
    package var id: String
    /// The state, by the words of `status`.
    package var state: String
    /// Whether a user has drained it.
    package var drained: Bool
    /// For how long it gets no connections yet because connects failed; null if it is not set aside.
    package var setAsideSeconds: Double?
    /// How many seconds ago its last connect failed, if it gets connections nevertheless, since too few others are there;
    /// null if the last one succeeded, or if it is set aside.
    package var failedSecondsAgo: Double?
    /// The counters of its connections.
    package var counters: SessionCounters

    /// Creates an entry.
    package init(
        id: String, state: String, drained: Bool, setAsideSeconds: Double? = nil, failedSecondsAgo: Double? = nil,
        counters: SessionCounters
    ) {
        self.id = id
        self.state = state
        self.drained = drained
        self.setAsideSeconds = setAsideSeconds
        self.failedSecondsAgo = failedSecondsAgo
        self.counters = counters
    }
}

/// The counters of a front or an instance. In JSON they stand beside its name, not below a key of their own.
package struct SessionCounters: Codable, Sendable, Equatable {
    /// Connections open now.
    package var connections: UInt64 = 0
    /// The most at the same time.
    package var connectionsMax: UInt64 = 0
    /// Connections ever.
    package var connectionsTotal: UInt64 = 0
    /// New ones in the last whole second.
    package var rate: UInt64 = 0
    /// The most new ones in one second.
    package var rateMax: UInt64 = 0
    /// Connections that wait for an instance now.
    package var queued: UInt64 = 0
    /// The most that waited at the same time.
    package var queuedMax: UInt64 = 0
    /// Bytes from clients.
    package var bytesIn: UInt64 = 0
    /// Bytes to clients.
    package var bytesOut: UInt64 = 0
    /// Connections that ended without having reached an instance.
    package var turnedAway: UInt64 = 0
    /// Of these: not allowed, or without a valid header of the PROXY protocol.
    package var denied: UInt64 = 0
    /// Of these: beyond `maxConnectionsPerAddress` or `maxQueue`.
    package var limited: UInt64 = 0
    /// Connects that failed.
    package var connectErrors: UInt64 = 0
    /// Connects tried again after a failed one.
    package var retries: UInt64 = 0
    /// Of these: at another instance.
    package var redispatches: UInt64 = 0
    /// How often it was set aside because connects failed.
    package var setAside: UInt64 = 0
    /// Connects that were done.
    package var connects: UInt64 = 0
    /// How long they took on average; null without any.
    package var connectSecondsAverage: Double?
    /// The longest; null without any.
    package var connectSecondsMax: Double?
    /// Ended sessions by their two-letter end state; absent is 0.
    package var ends: [String: UInt64] = [:]

    /// Creates counters, all 0.
    package init() {}
}

// Written by hand where nil must become null, and where two values share an object.

extension BalancedFront {
    private enum CodingKeys: String, CodingKey { case address }

    package init(from decoder: any Decoder) throws {
        address = try decoder.container(keyedBy: CodingKeys.self).decode(String.self, forKey: .address)
        counters = try SessionCounters(from: decoder)
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(address, forKey: .address)
        try counters.encode(to: encoder)
    }
}

extension BalancedInstance {
    private enum CodingKeys: String, CodingKey { case id, state, drained, setAsideSeconds, failedSecondsAgo }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        id = try container.decode(String.self, forKey: .id)
        state = try container.decode(String.self, forKey: .state)
        drained = try container.decode(Bool.self, forKey: .drained)
        setAsideSeconds = try container.decodeIfPresent(Double.self, forKey: .setAsideSeconds)
        failedSecondsAgo = try container.decodeIfPresent(Double.self, forKey: .failedSecondsAgo)
        counters = try SessionCounters(from: decoder)
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(id, forKey: .id)
        try container.encode(state, forKey: .state)
        try container.encode(drained, forKey: .drained)
        try container.encode(setAsideSeconds, forKey: .setAsideSeconds)
        try container.encode(failedSecondsAgo, forKey: .failedSecondsAgo)
        try counters.encode(to: encoder)
    }
}

extension SessionCounters {
    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(connections, forKey: .connections)
        try container.encode(connectionsMax, forKey: .connectionsMax)
        try container.encode(connectionsTotal, forKey: .connectionsTotal)
        try container.encode(rate, forKey: .rate)
        try container.encode(rateMax, forKey: .rateMax)
        try container.encode(queued, forKey: .queued)
        try container.encode(queuedMax, forKey: .queuedMax)
        try container.encode(bytesIn, forKey: .bytesIn)
        try container.encode(bytesOut, forKey: .bytesOut)
        try container.encode(turnedAway, forKey: .turnedAway)
        try container.encode(denied, forKey: .denied)
        try container.encode(limited, forKey: .limited)
        try container.encode(connectErrors, forKey: .connectErrors)
        try container.encode(retries, forKey: .retries)
        try container.encode(redispatches, forKey: .redispatches)
        try container.encode(setAside, forKey: .setAside)
        try container.encode(connects, forKey: .connects)
        try container.encode(connectSecondsAverage, forKey: .connectSecondsAverage)
        try container.encode(connectSecondsMax, forKey: .connectSecondsMax)
        try container.encode(ends, forKey: .ends)
    }
}
