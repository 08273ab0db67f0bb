/// Warnings about what is allowed, but seldom what was meant. Each says what will happen and what to do.
struct ManifestWarnings {
    let root: FieldTable.Draft
    let services: [NamedDraft]
    let facts: HostFacts

    /// Programs that reserve far more address space than they use.
    private static let reservingPrograms: Set<String> = [
        "node", "nodejs", "npm", "npx", "yarn", "pnpm", "bun", "deno", "java", "dotnet", "mono", "beam", "beam.smp",
        "erl",
        "elixir", "iex", "mix", "go", "julia", "pwsh", "chromium", "chrome", "firefox",
    ]

    /// Adds them all.
    func run(_ reader: inout FieldReader) {
        warnOfPortRange(&reader)
        warnOfWeb(&reader)
        if facts.isRoot == false, let user = root.balancerUser {
            reader.warnings.add(user, "has no effect: supd does not run as root, so the balancer runs as the same user")
        }
        let accounts = Dictionary(grouping: services) { $0.draft.user?.value ?? "" }.mapValues { $0.map(\.name) }
        for service in services {
            warnOfPorts(service.draft, &reader)
            warnOfFronts(service.draft, &reader)
            warnOfTask(service.draft, &reader)
            warnOfHealth(service, &reader)
            for limit in service.draft.limits {
                guard let text = warning(about: limit.value, service, accounts) else { continue }
                reader.warnings.add(location(limit.location, of: service), text)
            }
        }
    }

    /// A warning about what stands in `defaults` names the service that it is about.
    func location(_ location: Location, of service: NamedDraft) -> Location {
        guard location.path.hasPrefix("defaults.") else { return location }
        return Location(offset: location.offset, path: "\(location.path) of services.\(service.name)")
    }

    // MARK: Ports

    private func warnOfPortRange(_ reader: inout FieldReader) {
        guard let ephemeral = facts.ephemeralPorts, let location = root.portRange else { return }
        let range = root.supd.portRange
        guard range.first <= ephemeral.upperBound, range.last >= ephemeral.lowerBound else { return }
        reader.warnings.add(
            location,
            "overlaps with \(text(ephemeral)), from which the kernel takes the ports of outgoing connections: "
                + "an instance may find its port taken; choose a range outside (net.ipv4.ip_local_port_range), "
                + "or reserve it (net.ipv4.ip_local_reserved_ports)"
        )
    }

    private func warnOfPorts(_ draft: ServiceDraft, _ reader: inout FieldReader) {
        if let port = draft.port {
            let last = UInt16(clamping: Int(port.value) + max(1, draft.mostReplicas) - 1)
            warnIfEphemeral(port.value...max(port.value, last), port.location, &reader)
            if facts.isRoot == false || draft.user != nil, port.value < facts.unprivilegedPortStart {
                reader.warnings.add(
                    port.location,
                    "ports below \(facts.unprivilegedPortStart) can be opened by root alone: "
                        + "the service needs CAP_NET_BIND_SERVICE, or another port"
                )
            }
        }
        for address in draft.listen.compactMap(\.address) {
            guard let port = address.value.port else { continue }
            warnIfEphemeral(port...port, address.location, &reader)
            if facts.isRoot == false, port < facts.unprivilegedPortStart {
                reader.warnings.add(
                    address.location,
                    "ports below \(facts.unprivilegedPortStart) can be opened by root alone: "
                        + "run supd as root, or grant it CAP_NET_BIND_SERVICE"
                )
            }
        }
    }

    private func warnIfEphemeral(_ ports: ClosedRange<UInt16>, _ location: Location, _ reader: inout FieldReader) {
        guard let ephemeral = facts.ephemeralPorts, ports.overlaps(ephemeral) else { return }
        reader.warnings.add(
            location,
            "port \(max(ports.lowerBound, ephemeral.lowerBound)) is among \(text(ephemeral)), from which the kernel "
                + "takes the ports of outgoing connections: it may be taken at a start; choose one outside "
                + "(net.ipv4.ip_local_port_range), or reserve it (net.ipv4.ip_local_reserved_ports)"
        )
    }

    private func text(_ range: ClosedRange<UInt16>) -> String { "\(range.lowerBound)-\(range.upperBound)" }

    private func warnOfFronts(_ draft: ServiceDraft, _ reader: inout FieldReader) {
        guard draft.balance.allow != nil, let location = draft.balanceKeys["allow"]?.unlessDefault,
            !draft.listen.isEmpty,
            draft.listen.allSatisfy({ $0.address?.value.port == nil })
        else { return }
        reader.warnings.add(
            location,
            "has no effect: clients of a Unix socket have no address; the permissions of its directory say who may "
                + "connect")
    }

    // MARK: Tasks

    private func warnOfTask(_ draft: ServiceDraft, _ reader: inout FieldReader) {
        guard draft.kind == .task else { return }
        if let address = draft.listen.compactMap(\.address).first, !address.location.path.hasPrefix("defaults.") {
            reader.warnings.add(
                address.location,
                "a task is not waited for until it accepts connections: clients may come before it does; what serves "
                    + "clients is a \"service\"")
        }
        guard let policy = draft.restartPolicy, policy.value == .always else { return }
        reader.warnings.add(
            policy.location,
            "a task with \"always\" starts again after every success and never completes; use \"on-failure\"")
    }

    // MARK: Limits

    private func warning(about limit: ResourceLimit, _ service: NamedDraft, _ accounts: [String: [String]]) -> String? {
        let isLimited = limit.soft != nil || limit.hard != nil
        guard isLimited else { return nil }
        switch limit.resource {
        case .as:
            guard let program = service.draft.command?.value.first?.literal,
                let name = program.split(separator: "/").last.map(String.init), Self.reservingPrograms.contains(name)
            else { return nil }
            return
                "\(name) reserves far more address space than it uses, and may fail to start under this limit; "
                + "use its own setting for memory, or \"data\""
        case .rss: return "has no effect on Linux (since 2.4.30); use \"data\" or \"as\""
        case .locks: return "has no effect on Linux (since 2.4.25)"
        case .cpu where service.draft.kind == .service:
            return
                "counts processor seconds from the start on, not per second: the service is killed once it has used "
                + "them; it is meant for tasks"
        case .memlock where runsAsRoot(service.draft), .nproc where runsAsRoot(service.draft):
            return "has no effect on root, which is exempt; set \"user\""
        case .nproc: return warningAboutProcesses(service, accounts)
        default: return nil
        }
    }

    private func runsAsRoot(_ draft: ServiceDraft) -> Bool {
        guard let user = draft.user?.value else { return facts.isRoot == true }
        return user == "root" || user == "0"
    }

    private func warningAboutProcesses(_ service: NamedDraft, _ accounts: [String: [String]]) -> String? {
        let user = service.draft.user?.value
        let others = (accounts[user ?? ""] ?? []).filter { $0 != service.name }
        if user != nil, others.isEmpty { return nil }
        let whose = user.map { "the user \($0)" } ?? "supd's own user"
        var sharing: [String] = others.prefix(3).map { $0 }
        if others.count > 3 { sharing.append("\(others.count - 3) more") }
        if user == nil { sharing.append("all else that this user runs") }
        return
            "counts every process and thread of \(whose), also of \(sharing.joined(separator: ", ")): "
            + "at the limit no thread can be made and no program started; give the service a user of its own"
    }
}
