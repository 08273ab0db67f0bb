/// Between which numbers of instances a service scales itself, and by what: `replicas` as a map.
package struct ScalingRule: Sendable, Hashable, Codable {
    /// What each instance is to have on average.
    package enum Target: Sendable, Hashable, Codable {
        /// So many connections of the balancer.
        case connections(Int)
        /// So much CPU, in percent of one core.
        case cpu(percent: Int)

        /// As a number, of connections or percent.
        package var amount: Int {
            switch self {
            case .connections(let count): count
            case .cpu(let percent): percent
            }
        }
    }

    /// The least, from 1; with so many it begins.
    package var min: Int
    /// The most, never below `min`.
    package var max: Int
    /// What decides in between.
    package var target: Target

    /// Creates a rule.
    package init(min: Int = 1, max: Int, target: Target) {
        self.min = min
        self.max = max
        self.target = target
    }

    /// The number that comes nearest to this one.
    package func nearest(to count: Int) -> Int { Swift.max(min, Swift.min(count, max)) }

    /// `1 to 4, 50 connections each`.
    package var text: String { "\(min) to \(max), \(target.text) each" }
}

extension ScalingRule.Target {
    /// `50 connections`, `70% of a core`.
    package var text: String {
        switch self {
        case .connections(let count): count == 1 ? "1 connection" : "\(count) connections"
        case .cpu(let percent): "\(percent)% of a core"
        }
    }
}

/// What `replicas` may be.
enum ReplicasValue: Sendable {
    case count(Int)
    case rule(ScalingRule)
}

extension FieldTable {
    /// How many instances run.
    static let replicasField = Field<ServiceDraft>(
        "replicas", replicasFormat.located, default: 1, children: scalingSection.descriptions,
        "How many instances run; or a map: between which numbers the service scales itself, and by what."
    ) { value, draft in
        switch value.value {
        case .count(let count):
            draft.replicas = Located(value: count, location: value.location)
            draft.scaling = nil
        case .rule(let rule):
            draft.replicas = Located(value: rule.min, location: value.location)
            draft.scaling = Located(value: rule, location: value.location)
        }
    }

    private struct RuleDraft: Sendable {
        var min = 1
        var max: Int?
        var target: ScalingRule.Target?
    }

    private static let scalingSection = Section<RuleDraft>([
        Field("min", .integer(1...1000, "a count"), "The fewest instances; without it one.") { $1.min = $0 },
        Field("max", .integer(1...1000, "a count"), required: true, "The most instances.") { $1.max = $0 },
        Field(
            "target",
            section: Section<RuleDraft>(
                [
                    Field(
                        "connections", .integer(1...1_000_000, "a count"),
                        "How many connections of the balancer an instance is to have on average. Needs listen."
                    ) { $1.target = .connections($0) },
                    Field(
                        "cpu", .share, "How much CPU an instance is to use on average, in percent of one core."
                    ) { $1.target = .cpu(percent: $0) },
                ], exclusive: ["connections", "cpu"]),
            "What there is to be of each instance on average: instances are added after half a minute above it, and taken "
                + "away one at a time after five minutes in which one fewer would have been enough."),
    ])

    private static let replicasFormat: Format<ReplicasValue> = {
        let count = Format.integer(Service.replicaCounts, "a count")
        let expected = "\(count.expected), or a map like { min: 1, max: 4, target: { connections: 50 } }"
        return Format(expected: expected, schema: .members(["anyOf": [count.schema, scalingSection.schema]])) {
            value, reader in
            guard case .object = value.content else { return count.read(value, &reader).map { .count($0) } }
            let before = reader.problems.count
            var draft = RuleDraft()
            scalingSection.read(value, into: &draft, &reader)
            guard reader.problems.count == before, let max = draft.max else { return nil }
            guard let target = draft.target else {
                reader.report(
                    value.offset, "found no \"target\", expected { connections: 50 } or { cpu: \"70%\" } there")
                return nil
            }
            guard draft.min <= max else {
                reader.report(value.offset, "found a min of \(draft.min) above the max of \(max), expected it below")
                return nil
            }
            return .rule(ScalingRule(min: draft.min, max: max, target: target))
        }
    }()
}

extension Format where Value == Int {
    /// A share of one core, `"70%"`; more than 100% is more than one core.
    static var share: Format {
        let expected = "a share of one core like \"70%\", from \"1%\" to \"6400%\""
        return Format(
            expected: expected, schema: .members(["type": "string", "pattern": "^[1-9][0-9]{0,3}%$"])
        ) { value, reader in
            guard case .string(let text) = value.content, text.utf8.last == UInt8(ascii: "%"),
                (2...5).contains(text.utf8.count), text.utf8.dropLast().allSatisfy(isDigit),
                text.utf8.first != UInt8(ascii: "0"), let percent = Int(text.dropLast()), percent <= 6400
            else {
                reader.report(value, expected: expected)
                return nil
            }
            return percent
        }
    }
}

extension ManifestChecks {
    /// What a service scales itself by must be there.
    func checkScaling(of draft: ServiceDraft, _ reader: inout FieldReader) {
        guard let scaling = draft.scaling else { return }
        if draft.kind == .task {
            reader.problems.add(
                scaling.location, "found a map for a task, expected a count: a task runs to its end, and is not scaled")
        } else if case .connections = scaling.value.target, !draft.mayBeBalanced {
            reader.problems.add(
                scaling.location,
                "found a target of connections for a service without a front (\"listen\") of the balancer, which could "
                    + "count them, expected a target of cpu")
        }
    }
}

extension ServiceDraft {
    /// How many instances there may be, by themselves.
    var mostReplicas: Int { scaling?.value.max ?? replicas?.value ?? 1 }
}
