// The entries of `listen`: an address alone, or a map with what else holds for that front.

/// An entry while it is read, with the places that checks come back to.
struct ListenDraft: Sendable {
    /// The settings; nil while no address was read.
    var address: Located<ListenAddress>?
    /// All but the address.
    var settings = ListenSettings(.loopback(port: 0))
    /// `acceptProxyProtocol: true`.
    var acceptProxyProtocol: Location?
    /// Keys that are the balancer's business.
    var balancerOnly: [Located<String>] = []
    /// Keys that mean nothing to a Unix socket.
    var tcpOnly: [Located<String>] = []

    /// The finished entry.
    var finished: Located<ListenSettings>? {
        guard let address else { return nil }
        var settings = settings
        settings.address = address.value
        return Located(value: settings, location: address.location)
    }
}

extension FieldTable {
    /// A front written as a map.
    static let listenSection = Section<ListenDraft>(
        listenFields,
        misplaced: [
            "port": "\(partOfAddress); the port of the instances belongs directly in the service",
            "host": partOfAddress,
        ])

    private static let partOfAddress = "it is a part of \"address\", as in \"0.0.0.0:8080\""

    private static let listenFields: [Field<ListenDraft>] = [
        Field(
            "address", Format.listenAddress.located, required: true, inDefaults: false,
            "Where connections are accepted: what stands alone in the short form."
        ) { $1.address = $0 },
        Field(
            "pass", .flag, default: false, inDefaults: false,
            "Whether the instances get the listening socket itself, by LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES from "
                + "descriptor 3 on, as sd_listen_fds(3) reads them: no balancer is in the way, and the kernel gives each "
                + "connection to whichever instance accepts it first. Off: a service must know how to take it."
        ) { $1.settings.passes = $0 },
        Field(
            "maxConnections", Format.integer(1...1_000_000, "a count").located, inDefaults: false,
            "The most connections at a time, waiting ones included; more stay in the kernel's queue. Without it no "
                + "limit: descriptors bound what the balancer takes, and it stops accepting before it runs out."
        ) {
            $1.settings.maxConnections = $0.value
            $1.balancerOnly.append(Located(value: "maxConnections", location: $0.location))
        },
        tcpOnly(
            "maxConnectionsPerAddress", .integer(1...1_000_000, "a count"),
            "The most connections of one client address; more are reset. Without it no limit, because many clients may "
                + "share an address (NAT, a proxy)."
        ) { $1.settings.maxConnectionsPerAddress = $0 },
        tcpOnly(
            "allow", .addressRanges,
            "The clients that may connect, as addresses or CIDR ranges; others are reset. It takes the place of "
                + "balance.allow, which holds without it."
        ) { $1.settings.allow = $0 },
        Field(
            "acceptProxyProtocol", Format.flag.located, default: false, inDefaults: false,
            "Whether every connection begins with a header of the PROXY protocol (v1 or v2) that tells the client's "
                + "address; it has three seconds to come. Off, because a client that may write its own header may claim any address: needs allow, or a "
                + "front on loopback or a Unix socket."
        ) {
            $1.settings.acceptProxyProtocol = $0.value
            $1.acceptProxyProtocol = $0.value ? $0.location : nil
            if $0.value { $1.balancerOnly.append(Located(value: "acceptProxyProtocol", location: $0.location)) }
        },
        tcpOnly(
            "keepAlive", .durationOrFalse(from: .seconds(1), to: .seconds(9 * 3600)), default: "60s",
            "After how long a silence a client is probed (SO_KEEPALIVE); false for never. On, because a client that "
                + "vanished without a word would hold its connection for ever; a minute is within what firewalls and NAT "
                + "remember."
        ) { $1.settings.keepAlive = $0 },
        tcpOnly(
            "userTimeout", .duration(from: .milliseconds(1)),
            "How long sent bytes may stay without acknowledgement before the connection is given up (TCP_USER_TIMEOUT). "
                + "Without it the kernel's 15 minutes or so: a shorter one cuts clients on bad networks."
        ) { $1.settings.userTimeout = $0 },
        Field(
            "backlog", .integer(1...65535, "a count"), default: 4096, inDefaults: false,
            "How many connections may wait to be accepted: listen(2), cut by the kernel to net.core.somaxconn, whose "
                + "default this is, so that a burst or a respawn of the balancer loses none."
        ) { $1.settings.backlog = $0 },
        tcpOnly(
            "deferAccept", .duration(from: .seconds(1), to: .seconds(3600)),
            "Accept a connection with its first bytes, or after this long (TCP_DEFER_ACCEPT, in whole seconds). Off, "
                + "because it must not be used with protocols in which the server speaks first (SMTP, SSH, MySQL): they "
                + "would wait out this time."
        ) { $1.settings.deferAccept = $0 },
    ]

    /// A field that is an error on a Unix socket.
    private static func tcpOnly<Value>(
        _ name: String, _ format: Format<Value>, default standard: JSONText? = nil, _ summary: String,
        store: @escaping @Sendable (Value, inout ListenDraft) -> Void
    ) -> Field<ListenDraft> {
        Field(name, format.located, default: standard, inDefaults: false, summary) { result, draft in
            store(result.value, &draft)
            draft.tcpOnly.append(Located(value: name, location: result.location))
            draft.balancerOnly.append(Located(value: name, location: result.location))
        }
    }

    /// What the balancer accepts connections on.
    static let listenField: Field<ServiceDraft> = {
        let format = Format<[ListenDraft]>.oneOrMany(listenEntry, "addresses", atMost: 16)
        // What is wrong is told once: it must not look to the checks as if it were not there.
        let readAnyhow = Format<[ListenDraft]?>(expected: format.expected, schema: format.schema) { value, reader in
            .some(format.read(value, &reader))
        }
        return Field(
            "listen", readAnyhow, default: [], inDefaults: false, children: listenSection.descriptions,
            "What the balancer accepts connections on for this service."
        ) {
            $1.listen = $0 ?? []
            $1.listenIsWrong = $0 == nil
        }
    }()

    /// One entry of `listen`.
    static let listenEntry: Format<ListenDraft> = {
        let address = Format.listenAddress
        let expected = "\(address.expected), or a map like { address: 8080, maxConnections: 100 }"
        return Format(
            expected: expected, schema: .members(["anyOf": [address.schema, listenSection.schema]])
        ) { value, reader in
            var draft = ListenDraft()
            if case .object = value.content {
                listenSection.read(value, into: &draft, &reader)
                return draft.address == nil ? nil : draft
            }
            draft.address = address.located.read(value, &reader)
            return draft.address == nil ? nil : draft
        }
    }()
}

extension ManifestChecks {
    /// What the settings of a service's fronts mean together.
    func checkFronts(of draft: ServiceDraft, _ reader: inout FieldReader) {
        for front in draft.listen {
            guard let address = front.address?.value else { continue }
            if case .unix = address {
                for key in front.tcpOnly {
                    reader.problems.add(
                        key.location,
                        "found \(quoted(key.value)) with \(quoted("\(address)")), expected no such key: "
                            + "clients of a Unix socket have no address and no TCP options; "
                            + "the permissions of its directory say who may connect")
                }
            }
            if front.settings.passes {
                for key in front.balancerOnly {
                    reader.problems.add(
                        key.location,
                        "found \(quoted(key.value)) beside \"pass\", expected no such key: "
                            + "the service accepts the connections itself, and the balancer sees none of them")
                }
                continue
            }
            guard let location = front.acceptProxyProtocol, !address.isLocal, front.settings.allow == nil,
                draft.balance.allow == nil
            else { continue }
            reader.problems.add(
                location,
                "found true without \"allow\" on \(address), expected \"allow\" with the addresses of the proxies: "
                    + "anybody else could forge the header, and with it any client's address")
        }
    }
}

extension ManifestChecks {
    /// What does not go together with listening sockets that are handed to the instances.
    func checkPassedSockets(of draft: ServiceDraft, _ reader: inout FieldReader) {
        let passed = draft.listen.filter { $0.settings.passes && $0.address != nil }
        guard !passed.isEmpty else { return }
        let sockets = passed.reduce(0) { $0 + ($1.address?.value.sockets.count ?? 0) }
        if case .notify(.descriptor(let number)) = draft.ready, number < 3 + sockets, let location = draft.readyNotify {
            reader.problems.add(
                location,
                "found descriptor \(number), which is one of its \(sockets) listening sockets (\"pass\"), "
                    + "expected \(3 + sockets) or more")
        }
    }
}

extension ListenAddress {
    /// Whether only this machine's own programs reach it.
    fileprivate var isLocal: Bool {
        switch self {
        case .loopback, .unix: true
        case .ipv4(let address, _): address.hasPrefix("127.")
        case .ipv6(let address, _): address == "::1"
        }
    }
}
