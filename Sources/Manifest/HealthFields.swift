// The fields of `health`, and those of a GET, which `ready` has as well.

/// The `health` section while it is read. Without a check it says how, but not what: such is a section in `defaults`.
struct HealthDraft: Sendable {
    var check: HealthSettings.Check?
    /// The key that names the check.
    var checkLocation: Location?
    var interval = Located(value: Duration.seconds(10), location: Location(offset: 0, path: ""))
    var timeout = Located(value: Duration.seconds(1), location: Location(offset: 0, path: ""))
    var failures = 3
    var successes = 1
    /// A key other than the check.
    var settingLocation: Location?

    /// The finished section; nil: nothing is probed.
    var finished: HealthSettings? {
        check.map {
            HealthSettings(
                check: $0, interval: interval.value, timeout: timeout.value, failures: failures, successes: successes)
        }
    }
}

extension FieldTable {
    /// Liveness of ready instances.
    static let healthField = Field<ServiceDraft>(
        "health",
        section: Section(
            [
                Field("tcp", Format.yes.located, "Healthy while the instance's port accepts connections.") {
                    $1.health.set(.tcp, $0.location)
                },
                Field(
                    "http", httpCheckFormat.located, children: httpSection.descriptions,
                    "Healthy while a GET of this path on the instance's port is answered with a status of 200 to 399, "
                        + "or as a map says."
                ) { $1.health.set(.http($0.value), $0.location) },
                Field(
                    "command", Format.command.located,
                    "Healthy while this command exits with 0; it runs like the instance."
                ) { $1.health.set(.command($0.value), $0.location) },
                Field(
                    "interval", Format.duration(from: .milliseconds(100)).located, default: "10s",
                    "From one probe to the next. Those of many services are spread over it."
                ) {
                    $1.health.interval = $0
                    $1.health.settingLocation = $0.location
                },
                Field(
                    "timeout", Format.duration().located, default: "1s",
                    "How long a probe may take; then it has failed. Shorter than the interval, so that none is left out."
                ) {
                    $1.health.timeout = $0
                    $1.health.settingLocation = $0.location
                },
                Field(
                    "failures", Format.integer(1...1000, "a count").located, default: 3,
                    "So many failures in a row make an instance unhealthy: it is restarted. More than one, because a "
                        + "short pause is no fault."
                ) {
                    $1.health.failures = $0.value
                    $1.health.settingLocation = $0.location
                },
                Field(
                    "successes", Format.integer(1...1000, "a count").located, default: 1,
                    "So many passes in a row make an unhealthy instance, which has not been restarted yet, healthy again."
                ) {
                    $1.health.successes = $0.value
                    $1.health.settingLocation = $0.location
                },
            ], exclusive: ["tcp", "http", "command"]),
        word: uncheckedFormat,
        "How ready instances are probed: one that fails is restarted. Without it none is probed.")

    private static let uncheckedFormat = Format<@Sendable (inout ServiceDraft) -> Void>(
        expected: "\"none\"", schema: .members(["const": "none"])
    ) { value, reader in
        guard value.content == .string("none") else {
            reader.report(value, expected: "\"none\", or { http: \"/path\" }, { tcp: true } or { command: […] }")
            return nil
        }
        return { $0.health = HealthDraft() }
    }

    /// A GET written as a map.
    static let httpSection = Section<HTTPDraft>([
        Field("path", .requestPath, required: true, "The path, with the query: what stands alone in the short form.") {
            $1.path = $0
        },
        Field("status", .statusRange, "The status that is right, or a range of them. Without it 200 to 399.") {
            $1.statuses = $0
        },
        Field(
            "body", .text("a text of at most 1024 bytes", maximum: 1024),
            "What the body of the answer, its first 64 KiB, must contain. Without it the body does not matter."
        ) { $1.body = $0 },
        Field(
            "host",
            .text("the name of a host, with a port or without", pattern: "^[!-~]+$", maximum: 255) { text in
                text.utf8.allSatisfy { (0x21...0x7E).contains($0) }
            },
            "The value of the Host header, for a service that answers by it. Without it 127.0.0.1 and the port."
        ) { $1.host = $0 },
    ])

    /// A path alone, or a map with what is expected of the answer.
    static let httpCheckFormat: Format<HTTPCheck> = {
        let path = Format.requestPath
        let section = httpSection
        let expected = "\(path.expected), or a map like { path: \"/healthz\", status: 200 }"
        return Format(
            expected: expected, schema: .members(["anyOf": [path.schema, section.schema]]), allowsVariables: true
        ) { value, reader in
            guard case .object = value.content else {
                guard case .string = value.content else {
                    reader.report(value, expected: expected)
                    return nil
                }
                return path.read(value, &reader).map { HTTPCheck(path: $0) }
            }
            let before = reader.problems.count
            var draft = HTTPDraft()
            section.read(value, into: &draft, &reader)
            guard let path = draft.path, reader.problems.count == before else { return nil }
            return HTTPCheck(
                path: path, lowestStatus: draft.statuses.lowerBound, highestStatus: draft.statuses.upperBound,
                body: draft.body, host: draft.host)
        }
    }()
}

/// A GET while it is read.
struct HTTPDraft: Sendable {
    var path: Template?
    var statuses = 200...399
    var body: String?
    var host: String?
}

extension HealthDraft {
    /// Sets what is probed, in place of what `defaults` say.
    fileprivate mutating func set(_ check: HealthSettings.Check, _ location: Location) {
        self.check = check
        checkLocation = location
    }
}

extension Format where Value == ClosedRange<Int> {
    /// A status of HTTP as a number, or a range of them as a text: `200`, `"200-299"`.
    static var statusRange: Format {
        let expected = "a status from 200 to 999 like 204, or a range like \"200-299\""
        return Format(
            expected: expected,
            schema: .members([
                "anyOf": [
                    .members(["type": "integer", "minimum": 200, "maximum": 999]),
                    .members(["type": "string", "pattern": "^[2-9][0-9]{2}(-[2-9][0-9]{2})?$"]),
                ]
            ])
        ) { value, reader in
            var range: ClosedRange<Int>?
            switch value.content {
            case .number(let number): range = number.integer.map { $0...$0 }
            case .string(let text): range = statuses(text)
            default: break
            }
            guard let range, range.lowerBound >= 200, range.upperBound <= 999 else {
                reader.report(value, expected: expected)
                return nil
            }
            return range
        }
    }

    private static func statuses(_ text: String) -> ClosedRange<Int>? {
        let ends = text.split(separator: "-", omittingEmptySubsequences: false).map { end in
            end.utf8.count == 3 && end.utf8.allSatisfy(isDigit) ? Int(end) : nil
        }
        guard (1...2).contains(ends.count), let first = ends.first, let last = ends.last, let first, let last,
            first <= last
        else { return nil }
        return first...last
    }
}
