package import Manifest

/// What another manifest changes, and what each change costs. A value that can be shown and that is carried out as shown.
package struct Plan: Sendable, Hashable {
    /// What a change of a service costs.
    package enum Cost: String, Sendable, Hashable, Codable {
        /// Nothing that runs is touched.
        case live
        /// Instances are added or taken away; the others are not touched.
        case scale
        /// New processes beside the old ones, so that clients always find one that is ready.
        case rolling
        /// A whole new set of processes beside the old one, to which all new connections go at once when all of it is ready.
        case blueGreen = "blue-green"
        /// New processes in the places of the old ones: clients of a single instance wait meanwhile.
        case restart
        /// The service is new.
        case start
        /// The service goes.
        case stop
        /// It is noted, and holds from supd's next start.
        case later

        /// Whether processes that run make room for others.
        var replacesProcesses: Bool {
            switch self {
            case .rolling, .blueGreen, .restart: true
            case .live, .scale, .start, .stop, .later: false
            }
        }
    }

    /// One field that differs.
    package struct FieldChange: Sendable, Hashable {
        /// Its path in the service: `limits.nofile`.
        package var field: String
        /// The old value as people write it; nil: it had none, or its value is not shown.
        package var old: String?
        /// The new value; nil likewise.
        package var new: String?

        init(field: String, old: String? = nil, new: String? = nil) {
            self.field = field
            self.old = old
            self.new = new
        }

        /// Two values that differ, each shown in a bounded piece: of long ones where they begin to differ. Nothing for what is
        /// empty.
        init(field: String, from old: String?, to new: String?) {
            let common = zip(old ?? "", new ?? "").prefix { $0 == $1 }.count
            self.init(field: field, old: Self.piece(of: old, common), new: Self.piece(of: new, common))
        }

        /// The longest text that is shown whole.
        private static let longest = 120

        private static func piece(of text: String?, _ common: Int) -> String? {
            guard let text, !text.isEmpty else { return nil }
            guard text.count > longest else { return text }
            let left = common > longest / 2 ? text.dropFirst(common - longest / 4) : text[...]
            let isCut = (left.startIndex > text.startIndex, left.count > longest)
            return (isCut.0 ? "…" : "") + left.prefix(longest) + (isCut.1 ? "…" : "")
        }
    }

    /// What happens to one service.
    package struct Change: Sendable, Hashable {
        /// The service; `supd` for the daemon's own settings.
        package var service: String
        /// What it costs.
        package var cost: Cost
        /// What differs; of a new service, and of one that goes, nothing.
        package var fields: [FieldChange]
        /// How many instances it is about.
        package var instances: Int
        /// How many of the new ones are on trial first, and for how long; nil: none.
        package var canary: CanarySettings?

        /// How the new ones take over, for people; nil: one after the other, or there are none.
        package var manner: String? {
            if let canary { return "after a canary of \(canary.replicas) for \(Wording.time(canary.hold))" }
            return cost == .blueGreen ? "all of which take over at once when they are ready" : nil
        }
    }

    /// One entry for each service that is touched at all, in the order of the new manifest; what goes comes last.
    package var changes: [Change]

    /// Works out the difference.
    package init(from application: Application, to new: Manifest) {
        self.init(from: application.manifest, to: new, leaving: application.leaving)
    }

    init(from old: Manifest, to new: Manifest, leaving: Set<String> = []) {
        changes = []
        let daemon = Plan.fields(old.supd, new.supd)
        for (field, cost) in daemon {
            changes.append(Change(service: "supd", cost: cost, fields: [field], instances: 0))
        }
        let hooks = Plan.hooks(old.hooks ?? [], new.hooks ?? [])
        if !hooks.isEmpty { changes.append(Change(service: "supd", cost: .live, fields: hooks, instances: 0)) }
        let present = old.services.filter { !leaving.contains($0.name) }
        let before = Dictionary(present.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        for service in new.services {
            guard let former = before[service.name] else {
                changes.append(Change(service: service.name, cost: .start, fields: [], instances: service.replicas))
                continue
            }
            if let change = Plan.change(from: former, to: service) { changes.append(change) }
        }
        let kept = Set(new.services.map(\.name))
        for service in present where !kept.contains(service.name) {
            changes.append(Change(service: service.name, cost: .stop, fields: [], instances: service.replicas))
        }
    }

    private static func change(from old: Service, to new: Service) -> Change? {
        guard old != new else { return nil }
        var cost = Cost.live
        var fields: [FieldChange] = []
        for entry in ServiceComparison.fields {
            let differences = entry.differences(old, new)
            guard !differences.isEmpty else { continue }
            fields += differences
            if entry.needsNewProcess(old, new) { cost = replacement(of: old, by: new) }
        }
        if cost == .live, old.replicas != new.replicas { cost = .scale }
        // Without instances nothing is replaced.
        if old.replicas == 0 || new.replicas == 0, cost.replacesProcesses { cost = .scale }
        var change = Change(service: new.name, cost: cost, fields: fields, instances: new.replicas)
        if cost == .rolling, var canary = new.deploy.canary {
            canary.replicas = max(1, min(canary.replicas, new.replicas))
            change.canary = canary
        }
        return change
    }

    /// Hooks by their place in the list.
    private static func hooks(_ old: [Hook], _ new: [Hook]) -> [FieldChange] {
        (0..<max(old.count, new.count)).compactMap { index in
            let (before, after) = (old.dropFirst(index).first, new.dropFirst(index).first)
            guard before != after else { return nil }
            let (shownBefore, shownAfter) = (before.map(text), after.map(text))
            // What came from the environment differs, and is not shown.
            guard shownBefore != shownAfter else { return FieldChange(field: "hooks[\(index)]") }
            return FieldChange(field: "hooks[\(index)]", from: shownBefore, to: shownAfter)
        }
    }

    private static func text(_ hook: Hook) -> String {
        "\(hook.occasions.map(\.rawValue).joined(separator: ", ")): \(ServiceComparison.text(hook.command))"
    }

    private static func replacement(of old: Service, by new: Service) -> Cost {
        guard new.surge(replacing: old) > 0 else { return .restart }
        return new.deploy.isBlueGreen ? .blueGreen : .rolling
    }

    private static func fields(_ old: DaemonSettings, _ new: DaemonSettings) -> [(FieldChange, Cost)] {
        var changes: [(FieldChange, Cost)] = []
        if old.portRange != new.portRange {
            changes.append(
                (
                    FieldChange(
                        field: "portRange", old: "\(old.portRange.first)-\(old.portRange.last)",
                        new: "\(new.portRange.first)-\(new.portRange.last)"), .live
                ))
        }
        if old.balancer.loops != new.balancer.loops {
            changes.append(
                (
                    FieldChange(
                        field: "balancer.loops", old: old.balancer.loops.map(String.init),
                        new: new.balancer.loops.map(String.init)), .later
                ))
        }
        if old.balancer.user != new.balancer.user {
            changes.append(
                (FieldChange(field: "balancer.user", old: old.balancer.user, new: new.balancer.user), .later))
        }
        func change(_ field: String, _ value: (WebSettings) -> String?) {
            let (before, after) = (old.web.flatMap(value), new.web.flatMap(value))
            if before != after { changes.append((FieldChange(field: field, old: before, new: after), .live)) }
        }
        change("web.listen") { "\($0.listen)" }
        change("web.hosts") { $0.hosts.isEmpty ? nil : $0.hosts.joined(separator: ", ") }
        change("web.actions", \.actions)
        return changes
    }
}
