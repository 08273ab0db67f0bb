/// The `idle` section of a service while it is read.
struct IdleDraft: Sendable {
    /// Where it stands; nil: there is none.
    var location: Location?
    var after: Duration?
}

extension FieldTable {
    /// The `idle` section.
    static let idleField = Field<ServiceDraft>(
        "idle",
        section: Section([
            Field(
                "stopAfter", .duration(from: .seconds(1)), required: true,
                "After how long without a connection all instances are stopped. The next connection starts them again and "
                    + "waits meanwhile, for balance.queueTimeout from the start of the process."
            ) { $1.idle.after = $0 }
        ]), inDefaults: false,
        "For a service with listen that nothing depends on: it sleeps while nobody uses it.",
        found: { $1.idle.location = $0 })
}

extension ManifestChecks {
    /// Only what the balancer sees every connection of can be told to be idle.
    func checkIdle(of draft: ServiceDraft, _ reader: inout FieldReader) {
        guard let location = draft.idle.location else { return }
        if draft.kind == .task {
            reader.problems.add(
                location, "found \"idle\" for a task, expected no such key: a task serves no connections")
        } else if draft.listen.isEmpty, !draft.listenIsWrong {
            reader.problems.add(
                location,
                "found \"idle\" for a service without \"listen\", expected an address to listen on: "
                    + "its connections tell whether it is used, and wake it")
        } else if draft.listen.contains(where: \.settings.passes) {
            reader.problems.add(
                location,
                "found \"idle\" for a service with \"pass\", expected no such key: "
                    + "the balancer sees none of the connections that the service accepts itself")
        } else if draft.balance.maxQueue == 0 || draft.balance.queueTimeout == .zero {
            let which = draft.balance.maxQueue == 0 ? "maxQueue" : "queueTimeout"
            reader.problems.add(
                location,
                "found \"idle\" for a service with a balance.\(which) of 0, expected more there: "
                    + "the connection that wakes it waits until it is ready")
        }
    }

    /// What sleeps is not ready: who needs that would wait for it.
    func checkWakefulness(of name: String, _ draft: ServiceDraft, at location: Location, _ reader: inout FieldReader) {
        guard draft.idle.location != nil else { return }
        reader.problems.add(
            location,
            "found \(quoted(name)), which has \"idle\", expected a service that does not sleep: "
                + "take \"idle\" away there, or this dependency")
    }
}
