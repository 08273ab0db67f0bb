/// What the shell knows of the machine, for checks that the pure reader cannot make by itself.
package struct HostFacts: Sendable, Hashable {
    /// net.ipv4.ip_local_port_range; nil: unknown, nothing is warned about.
    package var ephemeralPorts: ClosedRange<UInt16>?
    /// Whether supd will run as root; nil: unknown, so nothing is said about what needs root.
    package var isRoot: Bool?
    /// net.ipv4.ip_unprivileged_port_start: ports below it need root or CAP_NET_BIND_SERVICE.
    package var unprivilegedPortStart: UInt16
    /// The manifest is checked and not run: who checks it need not be who will run it, so that a lack of rights is no error.
    package var isOnlyChecked: Bool

    /// Creates facts.
    package init(
        ephemeralPorts: ClosedRange<UInt16>? = 32768...60999, isRoot: Bool? = nil, unprivilegedPortStart: UInt16 = 1024,
        isOnlyChecked: Bool = false
    ) {
        self.ephemeralPorts = ephemeralPorts
        self.isRoot = isRoot
        self.unprivilegedPortStart = unprivilegedPortStart
        self.isOnlyChecked = isOnlyChecked
    }
}

/// What came of reading a manifest.
package struct LoadedManifest: Sendable, Hashable {
    /// The name of the file as the user gave it.
    package var file: String
    /// The manifest; nil when there are errors.
    package var manifest: Manifest?
    /// All errors by position, at most 50.
    package var errors: [Diagnostic]
    /// How many more errors there are.
    package var omittedErrors: Int
    /// All warnings by position, at most 50.
    package var warnings: [Diagnostic]
    /// How many more warnings there are.
    package var omittedWarnings: Int
}

/// Reads a manifest: text in; a manifest, or all its errors at once, out. Touches no file, clock or descriptor.
package enum ManifestLoader {
    /// The most services of a manifest.
    package static let maximumServices = 5000
    /// The most instances of all services together: what the log has room for.
    package static let maximumInstances = 4000
    /// The most bytes of all commands and environments together: what `defaults` and `${env:…}` multiply is bounded.
    package static let maximumExpandedSize = 32 << 20

    /// What an empty manifest is answered with.
    private static let example = """
        a manifest, for example
          {
            services: {
              web: { command: "python3 -m http.server ${PORT} --bind ${HOST}", replicas: 2, listen: 8080 },
            },
          }
        """

    /// Reads a manifest.
    /// - Parameters:
    ///   - text: The bytes of the file. More than ``JSON5Reader/maximumSize`` is an error, so a caller need read
    ///     no more than one byte beyond it.
    ///   - file: The file's name for messages.
    ///   - directory: The absolute directory of the manifest, which relative paths start from.
    ///   - environment: supd's own environment, for `${env:NAME}`.
    ///   - facts: What is known of the machine.
    ///   - lookup: How to look up what the manifest names, for warnings about what is not there; nil: not at all.
    package static func load(
        text: [UInt8], file: String, directory: String, environment: [String: String], facts: HostFacts = HostFacts(),
        lookup: HostLookup? = nil
    ) -> LoadedManifest {
        let outcome = JSON5Reader.read(text)
        if outcome.isBlank {
            var log = ProblemLog()
            log.add(Location(offset: text.count, path: ""), "found nothing but an empty file, expected \(example)")
            return finish(nil, log, ProblemLog(), file: file, text: text)
        }
        var reader = FieldReader(problems: outcome.problems, environment: environment, directory: directory)
        guard let value = outcome.value else {
            return finish(nil, reader.problems, ProblemLog(), file: file, text: text)
        }
        let manifest = manifest(from: value, facts: facts, lookup: lookup, &reader)
        return finish(manifest, reader.problems, reader.warnings, file: file, text: text)
    }

    private static func finish(
        _ manifest: Manifest?, _ errors: ProblemLog, _ warnings: ProblemLog, file: String, text: [UInt8]
    ) -> LoadedManifest {
        let shownErrors = errors.diagnostics(.error, file: file, text: text)
        let shownWarnings = warnings.diagnostics(.warning, file: file, text: text)
        return LoadedManifest(
            file: file, manifest: errors.isEmpty ? manifest : nil, errors: shownErrors,
            omittedErrors: errors.count - shownErrors.count, warnings: shownWarnings,
            omittedWarnings: warnings.count - shownWarnings.count)
    }

    private static func manifest(
        from value: JSON5Value, facts: HostFacts, lookup: HostLookup?, _ reader: inout FieldReader
    ) -> Manifest? {
        var root = FieldTable.Draft()
        guard case .object = value.content else {
            reader.report(value, expected: example)
            return nil
        }
        FieldTable.root.read(value, into: &root, &reader)
        var base = ServiceDraft()
        if let defaults = root.defaults {
            reader.within(.key("defaults")) { FieldTable.defaults.read(defaults, into: &base, &$0) }
        }
        guard let services = root.services else { return nil }
        let drafts = reader.within(.key("services")) { readServices(services, over: base, &$0) }
        guard let drafts else { return nil }
        var checks = ManifestChecks(root: root, services: drafts, facts: facts)
        checks.run(&reader)
        if let lookup {
            var warnings = HostWarnings(
                root: root, services: drafts, lookup: lookup, directory: reader.directory,
                environment: reader.environment)
            warnings.run(&reader)
        }
        return Manifest(
            supd: root.supd,
            services: drafts.compactMap { $0.draft.service(named: $0.name, directory: reader.directory) },
            hooks: root.hooks.isEmpty ? nil : root.hooks)
    }

    /// Reads all services, each over a copy of the defaults.
    private static func readServices(
        _ value: JSON5Value, over base: ServiceDraft, _ reader: inout FieldReader
    ) -> [NamedDraft]? {
        guard case .object(let members) = value.content else {
            reader.report(value, expected: "a map of services")
            return nil
        }
        // What a new installation begins with, and what is left when the last service is taken out.
        if members.isEmpty {
            reader.warnings.add(reader.location(value.offset), "found no service: supd will have nothing to do")
        }
        guard members.count <= maximumServices else {
            reader.report(value.offset, "found \(members.count) services, expected at most \(maximumServices)")
            return nil
        }
        return members.map { member in
            reader.within(.key(member.key)) { reader in
                if !isServiceName(member.key) {
                    reader.report(
                        member.keyOffset,
                        "found the name \(quoted(member.key)), "
                            + "expected a lower-case letter, then letters, digits and \"-\", at most 63"
                    )
                } else if member.key == "all" {
                    reader.report(
                        member.keyOffset, "found the name \"all\", expected another: to supctl it means every service")
                }
                var draft = base
                FieldTable.service.read(member.value, into: &draft, &reader)
                return NamedDraft(name: member.key, location: reader.location(member.keyOffset), draft: draft)
            }
        }
    }
}

/// A service with its name, before the checks across services.
struct NamedDraft: Sendable {
    var name: String
    var location: Location
    var draft: ServiceDraft
}
