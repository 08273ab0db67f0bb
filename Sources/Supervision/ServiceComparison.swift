import Manifest

/// How two settings of a service differ, field by field; a test holds the table to the fields of `Service`.
enum ServiceComparison {
    /// One field of a service.
    struct Field: Sendable {
        /// The name of the property of `Service` that it is about.
        var property: String
        /// What differs; empty: nothing.
        var differences: @Sendable (Service, Service) -> [Plan.FieldChange]
        /// Whether a process that runs cannot be given the new value.
        var needsNewProcess: @Sendable (Service, Service) -> Bool
    }

    /// All fields but the name.
    static let fields: [Field] = [
        field("kind", .process) { $0.kind.rawValue },
        Field(
            property: "command", differences: { old, new in command(old.command, new.command) },
            needsNewProcess: { _, _ in true }),
        field("directory", .process, same: { $0.directory == $1.directory }) {
            $0.directory.holdsEnvironment ? nil : $0.directory.written
        },
        Field(
            property: "environment", differences: { old, new in environment(old.environment, new.environment) },
            needsNewProcess: { _, _ in true }),
        field("environmentFiles", .process) { $0.environmentFiles.joined(separator: ", ") },
        field("inheritEnvironment", .process) { $0.inheritEnvironment.joined(separator: ", ") },
        field("user", .process) { $0.user },
        field("group", .process) { $0.group },
        field("umask", .process) { $0.umask.map { "0\(String($0, radix: 8))" } },
        field("replicas", .live) { String($0.replicas) },
        Field(
            property: "scaledFrom",
            differences: { old, new in
                // Where the number changes as well, that says it all.
                guard old.replicas == new.replicas, old.scaling == nil, new.scaling == nil else { return [] }
                return pairs([("scaled from", old.scaledFrom.map(String.init), new.scaledFrom.map(String.init))])
            }, needsNewProcess: { _, _ in false }),
        field("scaling", named: "replicas by itself", .live) { $0.scaling?.text },
        field("port", .process) { $0.port.map(String.init) },
        Field(
            property: "listen", differences: { listen($0.listen, $1.listen) },
            needsNewProcess: { old, new in
                // Sockets that are handed over are so at the start.
                old.listen.filter(\.passes).map(\.address) != new.listen.filter(\.passes).map(\.address)
            }),
        Field(
            property: "balance", differences: { balance($0.balance, $1.balance) },
            needsNewProcess: { old, new in
                // The instances must know what their clients begin with.
                old.balance.proxyProtocol != new.balance.proxyProtocol
            }),
        field("ready", .process, same: { $0.ready == $1.ready }) { text($0.ready) },
        field("readyTimeout", named: "ready.timeout", .live) { exact($0.readyTimeout) },
        field("watchdog", .process) { $0.watchdog.map(exact) },
        Field(
            property: "restart", differences: { restart($0.restart, $1.restart) }, needsNewProcess: { _, _ in false }),
        Field(
            property: "stop",
            differences: { old, new in
                pairs([
                    ("stop.signal", old.stop.signal, new.stop.signal),
                    ("stop.timeout", exact(old.stop.timeout), exact(new.stop.timeout)),
                ])
            }, needsNewProcess: { _, _ in false }),
        field("dependsOn", .live) {
            $0.dependsOn.map { "\($0.service) \($0.condition.rawValue)" }.joined(separator: ", ")
        },
        Field(
            property: "limits", differences: { limits($0.limits, $1.limits) },
            needsNewProcess: { old, new in
                // What the process would have had without the limit nobody knows any more.
                old.limits.contains { limit in !new.limits.contains { $0.resource == limit.resource } }
                    // What it has used of its time already counts: a new limit could end it at once.
                    || [.cpu, .rttime].contains { (resource: ResourceLimit.Resource) in
                        old.limits.first { $0.resource == resource } != new.limits.first { $0.resource == resource }
                    }
            }),
        Field(
            property: "log",
            differences: { old, new in
                pairs([
                    ("log.maxSize", Wording.size(old.log.maxSize), Wording.size(new.log.maxSize)),
                    ("log.keep", String(old.log.keep), String(new.log.keep)),
                    ("log.format", old.log.format.rawValue, new.log.format.rawValue),
                    ("log.rate", old.log.rate.map(String.init), new.log.rate.map(String.init)),
                    ("log.journal", "\(old.log.journal)", "\(new.log.journal)"),
                ])
            }, needsNewProcess: { _, _ in false }),
        field("idleAfter", named: "idle.stopAfter", .live) { $0.idleAfter.map(exact) },
        Field(property: "health", differences: { health($0.health, $1.health) }, needsNewProcess: { _, _ in false }),
        Field(
            property: "deploy",
            differences: { old, new in
                pairs([
                    ("deploy.strategy", text(old.deploy.strategy), text(new.deploy.strategy)),
                    ("deploy.surge", String(old.deploy.surge), String(new.deploy.surge)),
                    ("deploy.maxUnavailable", String(old.deploy.maxUnavailable), String(new.deploy.maxUnavailable)),
                    ("deploy.failures", String(old.deploy.failures), String(new.deploy.failures)),
                    ("deploy.canary", text(old.deploy.canary), text(new.deploy.canary)),
                ])
            }, needsNewProcess: { _, _ in false }),
    ]

    private enum Kind { case live, process }

    /// A field that has one text.
    private static func field(
        _ property: String, named name: String? = nil, _ kind: Kind,
        same: (@Sendable (Service, Service) -> Bool)? = nil, _ text: @escaping @Sendable (Service) -> String?
    ) -> Field {
        let isProcess = kind == .process
        return Field(
            property: property,
            differences: { old, new in
                let shown = pairs([(name ?? property, text(old), text(new))])
                // What is not shown differs all the same.
                guard shown.isEmpty, let same, !same(old, new) else { return shown }
                return [Plan.FieldChange(field: name ?? property)]
            },
            needsNewProcess: { _, _ in isProcess })
    }

    private static func pairs(_ values: [(String, String?, String?)]) -> [Plan.FieldChange] {
        values.compactMap { name, old, new in
            guard old != new else { return nil }
            return Plan.FieldChange(field: name, from: old, to: new)
        }
    }

    // MARK: Texts

    /// A length of time as a manifest may say it, to the last nanosecond: two that differ have different texts.
    private static func exact(_ duration: Duration) -> String {
        let nanoseconds = duration.wholeNanoseconds
        for (unit, length) in [
            ("h", Int64(3_600_000_000_000)), ("m", 60_000_000_000), ("s", 1_000_000_000), ("ms", 1_000_000),
        ]
        where nanoseconds != 0 && nanoseconds % length == 0 {
            return "\(nanoseconds / length)\(unit)"
        }
        return nanoseconds == 0 ? "0s" : "\(nanoseconds)ns"
    }

    /// A template as it was written, but for what came from the environment.
    private static func command(_ old: [Template], _ new: [Template]) -> [Plan.FieldChange] {
        guard old != new else { return [] }
        // An argument that was made of `${env:…}` may be a secret.
        guard !(old + new).contains(where: \.holdsEnvironment) else { return [Plan.FieldChange(field: "command")] }
        return [Plan.FieldChange(field: "command", from: text(old), to: text(new))]
    }

    private static func quoted(_ word: String) -> String {
        word.isEmpty || word.contains(where: \.isWhitespace) ? "'\(word)'" : word
    }

    /// The names only: values may be secrets.
    private static func environment(_ old: [EnvironmentVariable], _ new: [EnvironmentVariable]) -> [Plan.FieldChange] {
        let before = Dictionary(old.map { ($0.name, $0.value) }, uniquingKeysWith: { _, last in last })
        let after = Dictionary(new.map { ($0.name, $0.value) }, uniquingKeysWith: { _, last in last })
        return Set(before.keys).union(after.keys).sorted().compactMap { name in
            guard before[name] != after[name] else { return nil }
            return Plan.FieldChange(field: "environment.\(name)")
        }
    }

    private static func text(_ strategy: DeploySettings.Strategy?) -> String { (strategy ?? .rolling).rawValue }

    private static func text(_ canary: CanarySettings?) -> String? {
        canary.map { "\($0.replicas) for \(exact($0.hold))" }
    }

    private static func text(_ check: ReadyCheck) -> String {
        switch check {
        case .started: "started"
        case .notify(.systemd): "notify systemd"
        case .notify(.descriptor(let number)): "notify fd \(number)"
        case .log(let pattern): pattern.holdsEnvironment ? "log" : "log \(pattern.written)"
        case .tcp: "tcp"
        case .http(let check): "http \(text(check))"
        case .command(let command): "command \(text(command))"
        }
    }

    static func text(_ command: [Template]) -> String {
        command.contains(where: \.holdsEnvironment)
            ? "(not shown)" : command.map { quoted($0.source) }.joined(separator: " ")
    }

    private static func text(_ check: HTTPCheck) -> String {
        let body = check.body.map { " body \(quoted($0))" } ?? ""
        let host = check.host.map { " host \($0)" } ?? ""
        return "\(check.path.written) status \(check.lowestStatus)-\(check.highestStatus)\(body)\(host)"
    }

    private static func text(_ check: HealthSettings.Check?) -> String? {
        switch check {
        case nil: nil
        case .tcp: "tcp"
        case .http(let check): "http \(text(check))"
        case .command(let command): "command \(text(command))"
        }
    }

    private static func health(_ old: HealthSettings?, _ new: HealthSettings?) -> [Plan.FieldChange] {
        let shown = pairs([
            ("health", text(old?.check), text(new?.check)),
            ("health.interval", old.map { exact($0.interval) }, new.map { exact($0.interval) }),
            ("health.timeout", old.map { exact($0.timeout) }, new.map { exact($0.timeout) }),
            ("health.failures", old.map { String($0.failures) }, new.map { String($0.failures) }),
            ("health.successes", old.map { String($0.successes) }, new.map { String($0.successes) }),
        ])
        return shown.isEmpty && old != new ? [Plan.FieldChange(field: "health")] : shown
    }

    private static func listen(_ old: [ListenSettings], _ new: [ListenSettings]) -> [Plan.FieldChange] {
        var changes = pairs([
            (
                "listen", old.map { $0.address.description }.joined(separator: ", "),
                new.map { $0.address.description }.joined(separator: ", ")
            )
        ])
        for settings in new {
            guard let former = old.first(where: { $0.address == settings.address }), former != settings else {
                continue
            }
            let path = "listen \(settings.address.description)"
            changes += pairs([
                ("\(path) pass", "\(former.passes)", "\(settings.passes)"),
                (
                    "\(path) maxConnections", former.maxConnections.map(String.init),
                    settings.maxConnections.map(String.init)
                ),
                (
                    "\(path) maxConnectionsPerAddress", former.maxConnectionsPerAddress.map(String.init),
                    settings.maxConnectionsPerAddress.map(String.init)
                ),
                ("\(path) allow", ranges(former.allow), ranges(settings.allow)),
                ("\(path) acceptProxyProtocol", "\(former.acceptProxyProtocol)", "\(settings.acceptProxyProtocol)"),
                ("\(path) keepAlive", former.keepAlive.map(exact), settings.keepAlive.map(exact)),
                ("\(path) userTimeout", former.userTimeout.map(exact), settings.userTimeout.map(exact)),
                ("\(path) backlog", String(former.backlog), String(settings.backlog)),
                ("\(path) deferAccept", former.deferAccept.map(exact), settings.deferAccept.map(exact)),
            ])
        }
        return changes
    }

    private static func ranges(_ ranges: [AddressRange]?) -> String? {
        ranges.map { $0.map(\.description).joined(separator: ", ") }
    }

    private static func balance(_ old: BalanceSettings, _ new: BalanceSettings) -> [Plan.FieldChange] {
        pairs([
            ("balance.algorithm", old.algorithm.rawValue, new.algorithm.rawValue),
            ("balance.slowStart", exact(old.slowStart), exact(new.slowStart)),
            ("balance.maxConnections", old.maxConnections.map(String.init), new.maxConnections.map(String.init)),
            ("balance.maxQueue", old.maxQueue.map(String.init), new.maxQueue.map(String.init)),
            ("balance.queueTimeout", exact(old.queueTimeout), exact(new.queueTimeout)),
            ("balance.connectTimeout", exact(old.connectTimeout), exact(new.connectTimeout)),
            ("balance.idleTimeout", old.idleTimeout.map(exact), new.idleTimeout.map(exact)),
            ("balance.finTimeout", exact(old.finTimeout), exact(new.finTimeout)),
            ("balance.drainTimeout", exact(old.drainTimeout), exact(new.drainTimeout)),
            ("balance.proxyProtocol", old.proxyProtocol?.rawValue, new.proxyProtocol?.rawValue),
            ("balance.allow", ranges(old.allow), ranges(new.allow)),
            ("balance.log", "\(old.log)", "\(new.log)"),
        ])
    }

    private static func restart(_ old: RestartSettings, _ new: RestartSettings) -> [Plan.FieldChange] {
        func codes(_ settings: RestartSettings) -> String {
            settings.successExitCodes.map(String.init).joined(separator: ", ")
        }
        func limit(_ settings: RestartSettings) -> String? {
            settings.limit.map { "\($0.starts) within \(exact($0.within))" }
        }
        return pairs([
            ("restart.policy", old.policy.rawValue, new.policy.rawValue),
            ("restart.successExitCodes", codes(old), codes(new)),
            ("restart.initialDelay", exact(old.initialDelay), exact(new.initialDelay)),
            ("restart.maxDelay", exact(old.maxDelay), exact(new.maxDelay)),
            ("restart.factor", "\(old.factor)", "\(new.factor)"),
            ("restart.jitter", "\(old.jitter)", "\(new.jitter)"),
            ("restart.resetAfter", exact(old.resetAfter), exact(new.resetAfter)),
            ("restart.limit", limit(old), limit(new)),
        ])
    }

    private static func limits(_ old: [ResourceLimit], _ new: [ResourceLimit]) -> [Plan.FieldChange] {
        func text(_ limits: [ResourceLimit], _ resource: ResourceLimit.Resource) -> String? {
            limits.first { $0.resource == resource }.map { limit in
                let soft = limit.soft.map { "\($0)" } ?? "unlimited"
                let hard = limit.hard.map { "\($0)" } ?? "unlimited"
                return soft == hard ? soft : "\(soft):\(hard)"
            }
        }
        return pairs(ResourceLimit.Resource.allCases.map { ("limits.\($0.rawValue)", text(old, $0), text(new, $0)) })
    }
}
