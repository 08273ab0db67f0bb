// What `deploy` says beyond counts: trials of new instances, and all of them at once.

/// Where the keys of a `deploy` section stand while it is read; nil: they do not.
struct DeployPlaces: Sendable {
    var strategy: Location?
    var canary: Location?
    var surge: Location?
    var maxUnavailable: Location?
}

extension FieldTable {
    /// One new instance after the other, or all at once.
    static let strategyField = Field<ServiceDraft>(
        "strategy", Format<DeploySettings.Strategy>.word.located, default: "rolling",
        "rolling: one new instance after the other takes over. blue-green: a whole new set starts beside the old one; once all "
            + "of it is ready, all new connections go to it, in one step, and the old instances end theirs. Needs listen, no "
            + "fixed port, and a free port for each instance; surge, maxUnavailable and canary cannot be beside it."
    ) {
        $1.deploy.strategy = $0.value == .rolling ? nil : $0.value
        $1.deployPlaces.strategy = $0.location
    }

    /// Some new instances on trial before the others follow.
    static let canaryField = Field<ServiceDraft>(
        "canary", canaryFormat.located, children: canarySection.descriptions,
        "First so many new instances run beside the old ones, and take their share of connections for a while. If they end, "
            + "fail health probes or refuse connections more often than the old ones, the service goes back to the manifest "
            + "before; else the others follow. \"supctl promote\" and \"supctl rollback NAME\" decide at once. Needs listen, and "
            + "no fixed port."
    ) {
        $1.deploy.canary = $0.value
        $1.deployPlaces.canary = $0.location
    }

    private static let canarySection = Section<CanarySettings>([
        Field("replicas", .integer(1...100, "a count"), "How many new instances are on trial; without it one.") {
            $1.replicas = $0
        },
        Field(
            "hold", .duration(from: .milliseconds(100), to: .seconds(7 * 86400)), required: true,
            "For how long, from when all of them are ready."
        ) { $1.hold = $0 },
    ])

    private static let canaryFormat = Format<CanarySettings>(
        expected: "a map like { replicas: 1, hold: \"2m\" }", schema: canarySection.schema
    ) { value, reader in
        let before = reader.problems.count
        var settings = CanarySettings(hold: .seconds(1))
        canarySection.read(value, into: &settings, &reader)
        return reader.problems.count == before ? settings : nil
    }
}

extension ManifestChecks {
    /// What `deploy` asks for must be possible. What comes from `defaults` holds where it can.
    func checkDeployment(of draft: ServiceDraft, _ reader: inout FieldReader) {
        let places = draft.deployPlaces
        if let location = places.canary?.unlessDefault, draft.deploy.canary != nil, !draft.hasOwnBlueGreen,
            let hindrance = draft.standInHindrance ?? draft.surgeHindrance
        {
            reader.problems.add(location, "found a canary \(hindrance), expected no such key")
        }
        guard draft.hasOwnBlueGreen, let location = places.strategy else { return }
        if let hindrance = draft.standInHindrance {
            reader.problems.add(location, "found \"blue-green\" \(hindrance), expected \"rolling\"")
        }
        let others = [("canary", places.canary), ("surge", places.surge), ("maxUnavailable", places.maxUnavailable)]
        for (name, place) in others {
            guard let place = place?.unlessDefault else { continue }
            reader.problems.add(
                place,
                "found \(quoted(name)) beside strategy: \"blue-green\", expected no such key: all new instances run "
                    + "beside the old ones, and take over at once")
        }
    }

    /// The largest set that may run beside the others must find ports.
    func checkPortsBeside(_ available: Int, needed: Int, _ reader: inout FieldReader) {
        for service in services {
            let replicas = service.draft.mostReplicas
            guard service.draft.finishedDeploy.isBlueGreen, service.draft.standInHindrance == nil,
                needed <= available, needed + replicas > available, let location = service.draft.deployPlaces.strategy
            else { continue }
            let range = root.supd.portRange
            reader.problems.add(
                location,
                "found \"blue-green\" for \(counted(replicas, "instance")) of \(quoted(service.name)), and "
                    + "\(counted(max(available - needed, 0), "port")) to spare in supd.portRange "
                    + "(\"\(range.first)-\(range.last)\"), expected one for each: a whole new set runs beside the old one"
            )
        }
    }
}

extension ServiceDraft {
    /// The service itself, and not `defaults`, says that all new instances take over at once.
    fileprivate var hasOwnBlueGreen: Bool { deploy.isBlueGreen && deployPlaces.strategy?.unlessDefault != nil }

    /// What comes from `defaults` is left out where it cannot hold.
    var finishedDeploy: DeploySettings {
        var deploy = deploy
        guard deploy.isBlueGreen else { return deploy }
        let isOwn = hasOwnBlueGreen
        let gives = deployPlaces.canary?.unlessDefault != nil || surgeHindrance != nil || standInHindrance != nil
        if !isOwn, gives { deploy.strategy = nil } else { deploy.canary = nil }
        return deploy
    }

    /// Why no instance can run beside the others; nil: it can.
    fileprivate var standInHindrance: String? {
        if kind == .task { return "for a task, which serves nobody" }
        if !mayBeBalanced {
            return "for a service without a front (\"listen\") of the balancer, which could give it its share"
        }
        return port == nil ? nil : "for a service with a fixed port, which only one process can have"
    }

    /// Why none may; nil: some may.
    fileprivate var surgeHindrance: String? {
        deploy.surge == 0 ? "beside surge: 0, which lets none run beside the others" : nil
    }
}

extension Location {
    /// Nil for what stands in `defaults`.
    var unlessDefault: Location? { path.hasPrefix("defaults.") ? nil : self }
}
