// What `deploy` says beyond counts: trials of new instances.

extension FieldTable {
    /// Some new instances on trial before the others follow.
    static let canaryField = Field<ServiceDraft>(
        "canary", canaryFormat.located, children: canarySection.descriptions,
        "First so many new instances run beside the old ones, and take their share of connections for a while. If they end, "
            + "fail health probes or refuse connections more often than the old ones, the service goes back to the manifest "
            + "before; else the others follow. \"supctl promote\" and \"supctl rollback NAME\" decide at once. Needs listen, and "
            + "no fixed port."
    ) {
        $1.deploy.canary = $0.value
        $1.deployCanary = $0.location
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
        guard draft.deploy.canary != nil, let location = draft.deployCanary, !location.path.hasPrefix("defaults.")
        else {
            return
        }
        guard let hindrance = draft.standInHindrance else { return }
        reader.problems.add(location, "found a canary \(hindrance), expected no such key")
    }
}

extension ServiceDraft {
    /// Why no instance can run beside the others; nil: it can.
    fileprivate var standInHindrance: String? {
        if kind == .task { return "for a task, which serves nobody" }
        if !listen.contains(where: { $0.address != nil && !$0.settings.passes }) {
            return "for a service without a front (\"listen\") of the balancer, which could give it its share"
        }
        if port != nil { return "for a service with a fixed port, which only one process can have" }
        if deploy.surge == 0 { return "beside surge: 0, which lets none run beside the others" }
        return nil
    }
}
