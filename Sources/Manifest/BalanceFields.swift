extension FieldTable {
    /// The `balance` section. Every default is one that is safe for any TCP service; its reason is in the text.
    static let balanceSection = Section<ServiceDraft>(balanceFields, noting: { $2.balanceKeys[$0] = $1 })

    private static let balanceFields: [Field<ServiceDraft>] = [
        Field(
            "algorithm", .word, default: "roundrobin",
            "How an instance is chosen: \"roundrobin\" in turn; \"leastconn\" the one with the fewest connections, for "
                + "long ones; \"random2\" the less loaded of two drawn at random; \"source\" by the client's address, "
                + "always the same instance while it is ready. In turn is exact, and right for equal instances."
        ) { $1.balance.algorithm = $0 },
        Field(
            "slowStart", .duration(from: .zero), default: "0s",
            "For how long the share of an instance that has become ready ramps up from a tenth of what an older one gets. "
                + "Only beside an older one, and not with \"source\". Off: most services are as fast as they get once they "
                + "are ready; for caches and compilers of code that warm up."
        ) { $1.balance.slowStart = $0 },
        Field(
            "maxConnections", Format<Int>.integer(1...1_000_000, "a count").orFalse, default: false,
            "The most connections of one instance; more wait in the queue, first come, first served; false for no limit. "
                + "No limit: what an instance can bear only its author knows."
        ) { $1.balance.maxConnections = $0 },
        Field(
            "maxQueue", Format<Int>.integer(0...1_000_000, "a count").orFalse, default: false,
            "The most connections that wait, while no instance is ready or all are full; more are turned away at once. 0: "
                + "none waits; false for no limit. No limit but queueTimeout, so that a restart turns nobody away."
        ) { $1.balance.maxQueue = $0 },
        Field(
            "queueTimeout", .duration(from: .zero), default: "10s",
            "How long a connection waits while no instance is ready, or all are full. Longer than most restarts, shorter "
                + "than most clients' patience."
        ) { $1.balance.queueTimeout = $0 },
        Field(
            "connectTimeout", .duration(), default: "2s",
            "How long a connect to an instance may take before the next one is tried. On loopback it takes microseconds; "
                + "seconds mean that its backlog is full, and the kernel tries again after one."
        ) { $1.balance.connectTimeout = $0 },
        Field(
            "idleTimeout", .durationOrFalse(), default: false,
            "After how long without a byte either way a connection is reset, on both sides; false for never. Off, because database "
                + "connections and websockets are rightly silent for hours, and keepAlive finds dead clients."
        ) { $1.balance.idleTimeout = $0 },
        Field(
            "finTimeout", .duration(), default: "30s",
            "How long a connection may be silent once one side has ended its direction. A peer that says nothing for so "
                + "long after that has mostly forgotten the connection."
        ) { $1.balance.finTimeout = $0 },
        Field(
            "drainTimeout", .duration(from: .zero), default: "30s",
            "How long open connections may go on when their instance is to stop. Enough for requests under way; "
                + "a connection that never ends must not hold up a restart for ever. While clients have no other instance, and wait, "
                + "half of queueTimeout at most; when supd itself stops five seconds at most."
        ) { $1.balance.drainTimeout = $0 },
        Field(
            "proxyProtocol", Format<BalanceSettings.ProxyProtocol>.word.orFalse, default: false,
            "Tell instances each client's address by a header of the PROXY protocol, \"v1\" (text) or \"v2\" (binary); false "
                + "for none. Off, "
                + "because a service that does not expect it takes it for data."
        ) { $1.balance.proxyProtocol = $0 },
        Field(
            "allow", .addressRanges,
            "The clients that may connect to the TCP fronts without an allow of their own, as addresses or CIDR ranges; "
                + "others are reset. Without it everybody who can reach the front."
        ) { $1.balance.allow = $0 },
        Field(
            "log", .flag, default: false,
            "Write a line for every connection that ends into NAME/balancer.log (\"supctl logs --sessions\"; \"supctl help "
                + "logs\" explains its fields), rotated as the section log says. Off, because a line a connection is much on "
                + "a busy front."
        ) { $1.balance.log = $0 },
    ]
}
