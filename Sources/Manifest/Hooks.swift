/// A command that is run when something happens to an instance, for whoever wants a mail or a message on a phone.
package struct Hook: Sendable, Hashable, Codable {
    /// What it is run for.
    package enum Occasion: String, Sendable, Hashable, Codable, CaseIterable {
        /// An instance was given up, or has failed three times in a row.
        case failed
        /// Its health probes have failed too often in a row.
        case unhealthy
        /// After one of the two: it has been up for ten seconds, or its probes pass again.
        case recovered
        /// Lines that a service wrote were dropped, because of `log.rate` or because they could not be written.
        case logDropped = "log-dropped"
    }

    /// The most hooks of a manifest.
    package static let most = 20

    /// What it is run for, each once.
    package var occasions: [Occasion]
    /// The argument vector; it gets the event as JSON on its standard input.
    package var command: [Template]

    /// Creates a hook.
    package init(occasions: [Occasion], command: [Template]) {
        self.occasions = occasions
        self.command = command
    }
}

/// A hook while it is read.
struct HookDraft: Sendable {
    var occasions: [Hook.Occasion]?
    var command: [Template]?
}

extension FieldTable {
    /// One hook.
    static let hookSection = Section<HookDraft>([
        Field(
            "on",
            Format.list(of: Format<Hook.Occasion>.word, "occasions", count: 1...Hook.Occasion.allCases.count),
            required: true, inDefaults: false,
            "When it runs: \"failed\", an instance was given up or has failed three times in a row; \"unhealthy\", its health "
                + "probes say so; \"recovered\", after one of the two it has been up for ten seconds, or its probes pass again; "
                + "\"log-dropped\", lines that a service wrote are in no log, once a minute at most."
        ) { $1.occasions = $0 },
        Field(
            "command", .command, required: true, inDefaults: false,
            "What runs, as supd's own user, in the manifest's folder: it gets the event as one line of JSON on its standard "
                + "input, and ten seconds. At most four run at a time. Variables are those of the instance; "
                + "INSTANCE and PORT are empty if the event is not of one instance alone."
        ) { $1.command = $0 },
    ])

    /// The list of them.
    static let hooksFormat = Format<[Hook]>.list(of: hookFormat, "hooks", count: 0...Hook.most)

    private static let hookFormat = Format<Hook>(
        expected: "a map like { on: [\"failed\"], command: [\"./notify\"] }", schema: hookSection.schema,
        allowsVariables: true
    ) { value, reader in
        var draft = HookDraft()
        hookSection.read(value, into: &draft, &reader)
        guard let occasions = draft.occasions, let command = draft.command else { return nil }
        return Hook(occasions: occasions, command: command)
    }
}
