/// The checks that look at more than one field, or at more than one service.
struct ManifestChecks {
    let root: FieldTable.Draft
    let services: [NamedDraft]
    let facts: HostFacts

    /// Runs them all.
    mutating func run(_ reader: inout FieldReader) {
        var expandedSize = 0
        for service in services {
            checkFields(of: service, &reader)
            expandedSize += service.draft.command?.value.reduce(0) { $0 + $1.size } ?? 0
            expandedSize += service.draft.environment?.value.size ?? 0
            if expandedSize > ManifestLoader.maximumExpandedSize {
                reader.problems.add(
                    service.location,
                    "found commands and environments of more than "
                        + "\(sizeText(UInt64(ManifestLoader.maximumExpandedSize))) in all, expected less"
                )
                break
            }
        }
        checkPorts(&reader)
        checkDependencies(&reader)
        ManifestWarnings(root: root, services: services, facts: facts).run(&reader)
    }

    // MARK: Within a service

    private func checkFields(of service: NamedDraft, _ reader: inout FieldReader) {
        let draft = service.draft
        if let environment = draft.environment {
            let (count, size) = (environment.value.variables.count, environment.value.size)
            if count > 1024 {
                reader.problems.add(environment.location, "found \(count) variables, expected at most 1024")
            }
            if size > maximumTextLength {
                reader.problems.add(
                    environment.location, "found an environment of \(size) bytes, expected at most \(maximumTextLength)"
                )
            }
        }
        if let delays = draft.restartDelays, draft.restart.initialDelay > draft.restart.maxDelay {
            let (initial, most) = (durationText(draft.restart.initialDelay), durationText(draft.restart.maxDelay))
            reader.problems.add(
                delays, "found an initialDelay of \(initial) above the maxDelay of \(most), expected it below")
        }
        checkFronts(of: draft, &reader)
        checkPassedSockets(of: draft, &reader)
        checkBalance(of: draft, &reader)
        checkDeployment(of: draft, &reader)
        checkIdle(of: draft, &reader)
        checkScaling(of: draft, &reader)
        guard facts.isRoot == false else { return }
        for account in [draft.user, draft.group].compactMap({ $0 }) {
            if facts.isOnlyChecked {
                reader.warnings.add(
                    account.location,
                    "needs root at run time: without it supd takes this for an error and does not start")
                continue
            }
            reader.problems.add(
                account.location,
                "found \(quoted(account.value)), but supd does not run as root, "
                    + "expected no such key: changing it needs root"
            )
        }
    }

    // MARK: Ports and addresses

    private func checkPorts(_ reader: inout FieldReader) {
        let range = root.supd.portRange
        var claims = SocketClaims()
        var instances = 0
        var needed = 0
        var fixedInRange = 0
        if let address = root.webListen { checkFront(address, in: range, &claims, &reader) }
        for service in services {
            let draft = service.draft
            let replicas = draft.mostReplicas
            instances += replicas
            for address in draft.listen.compactMap(\.address) {
                checkFront(address, in: range, &claims, &reader)
            }
            guard let port = draft.port else {
                needed += replicas
                continue
            }
            let last = Int(port.value) + max(replicas, 1) - 1
            guard let last = UInt16(exactly: last) else {
                reader.problems.add(
                    port.location,
                    "found port \(port.value) for \(replicas) replicas, expected at most \(65536 - replicas): "
                        + "the last port would be \(last)"
                )
                continue
            }
            fixedInRange += max(0, Int(min(last, range.last)) - Int(max(port.value, range.first)) + 1)
            for number in port.value...last {
                if let other = claims.claim(
                    .ipv4(address: "127.0.0.1", port: number), for: .init(location: port.location))
                {
                    let found = number == port.value ? "port \(number)" : "port \(number) (of a replica)"
                    reportTaken(found, at: port.location, by: other, &reader)
                    break
                }
            }
        }
        if instances > ManifestLoader.maximumInstances {
            reader.problems.add(
                Location(offset: root.services?.offset ?? 0, path: "services"),
                "found \(instances) instances in all, expected at most \(ManifestLoader.maximumInstances)")
        }
        let available = Int(range.last) - Int(range.first) + 1 - fixedInRange
        if needed > available {
            reader.problems.add(
                root.portRange ?? Location(offset: root.services?.offset ?? 0, path: "supd.portRange"),
                "found \(counted(max(available, 0), "free port")) in \"\(range.first)-\(range.last)\", "
                    + "expected at least \(needed): one for each instance without a fixed port"
            )
        }
        checkPortsBeside(available, needed: needed, &reader)
    }

    private func checkFront(
        _ address: Located<ListenAddress>, in range: PortRange, _ claims: inout SocketClaims,
        _ reader: inout FieldReader
    ) {
        if let port = address.value.port, range.contains(port) {
            reader.problems.add(
                address.location,
                "found port \(port), expected one outside supd.portRange (\"\(range.first)-\(range.last)\"), "
                    + "whose ports go to instances; choose another port or move the range"
            )
        }
        for socket in address.value.sockets {
            if let other = claims.claim(socket, for: .init(location: address.location)) {
                reportTaken("\(address.value)", at: address.location, by: other, &reader)
                break
            }
        }
    }

    private func reportTaken(
        _ found: String, at location: Location, by other: SocketClaims.Owner, _ reader: inout FieldReader
    ) {
        reader.problems.add(
            location,
            "found \(found), which overlaps with \(other.location.path), expected a port or address of its own",
            reference: Problem.Reference(label: "the other is on", offset: other.location.offset))
    }

    // MARK: Dependencies

    private func checkDependencies(_ reader: inout FieldReader) {
        let indices = Dictionary(services.enumerated().map { ($1.name, $0) }) { first, _ in first }
        var graph: [[(target: Int, location: Location)]] = []
        for service in services {
            var edges: [(target: Int, location: Location)] = []
            for dependency in service.draft.dependsOn {
                let name = dependency.value.service
                guard let target = indices[name] else {
                    let suggestion = reader.suggestion(for: name, among: services.lazy.map(\.name))
                    reader.problems.add(
                        dependency.location,
                        "found the unknown service \(quoted(name)), expected one of this manifest\(suggestion)")
                    continue
                }
                if name == service.name {
                    reader.problems.add(
                        dependency.location,
                        "found the service itself, expected another: it would wait for itself for ever")
                    continue
                }
                if dependency.value.condition == .completed, services[target].draft.kind != .task {
                    reader.problems.add(
                        dependency.location,
                        "found \"completed\" of \(quoted(name)), expected \"ready\" or \"started\": "
                            + "only what has kind: \"task\" completes"
                    )
                }
                checkWakefulness(of: name, services[target].draft, at: dependency.location, &reader)
                edges.append((target, dependency.location))
            }
            graph.append(edges)
        }
        for cycle in DependencyCycles.find(in: graph) {
            let names = cycle.services.map { services[$0].name }
            let closed = names + names.prefix(1)
            let path =
                closed.count <= 24
                ? closed.joined(separator: " → ")
                : (closed.prefix(12) + ["… (\(closed.count - 24) more)"] + closed.suffix(12)).joined(separator: " → ")
            reader.problems.add(
                cycle.location, "found a cycle: \(path), expected none: each would wait for the next for ever")
        }
    }
}

/// Finds cycles in a graph whose nodes are numbers, without recursion: a chain may be thousands long.
enum DependencyCycles {
    /// A cycle: its services in order, and where the edge stands that closes it.
    struct Cycle {
        var services: [Int]
        var location: Location
    }

    private enum Mark { case new, open, done }

    /// One cycle for every edge that leads back to a node on the way to it.
    static func find(in graph: [[(target: Int, location: Location)]]) -> [Cycle] {
        var cycles: [Cycle] = []
        var marks = Array(repeating: Mark.new, count: graph.count)
        for start in graph.indices where marks[start] == .new {
            var way: [(node: Int, next: Int)] = [(start, 0)]
            marks[start] = .open
            while let (node, next) = way.last {
                guard next < graph[node].count else {
                    marks[node] = .done
                    way.removeLast()
                    continue
                }
                way[way.count - 1].next = next + 1
                let edge = graph[node][next]
                switch marks[edge.target] {
                case .new:
                    marks[edge.target] = .open
                    way.append((edge.target, 0))
                case .open where cycles.count < ProblemLog.maximumKept:
                    let cycle = way.map(\.node).drop { $0 != edge.target }
                    cycles.append(Cycle(services: Array(cycle), location: edge.location))
                case .open, .done: break
                }
            }
        }
        return cycles
    }
}
