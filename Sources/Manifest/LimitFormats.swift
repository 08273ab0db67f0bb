/// A soft and a hard limit; nil is unlimited.
struct LimitPair: Sendable {
    var soft: UInt64?
    var hard: UInt64?

    /// Whether the soft limit is above the hard one, which setrlimit(2) refuses.
    var isInverted: Bool {
        guard let hard else { return false }
        return soft.map { $0 > hard } ?? true
    }
}

/// What a limit counts.
enum LimitUnit: Sendable {
    /// `n`, `"512M"`
    case bytes
    /// `n`
    case count
    /// `n`, `"10s"`; the hard limit of a plain value is one second above.
    case seconds
    /// `n`, in microseconds, or `"10ms"`
    case microseconds
    /// A number of the kernel's own, up to some highest one.
    case level(UInt64)

    var words: String {
        switch self {
        case .bytes: "a size like 65536 or \"512M\""
        case .count: "a count"
        case .seconds: "whole seconds like 60 or \"1m\""
        case .microseconds: "microseconds like 50000 or \"50ms\""
        case .level(let highest): "a number from 0 to \(highest)"
        }
    }

    /// The highest number that is not "unlimited".
    var highest: UInt64 {
        if case .level(let highest) = self { return highest }
        return UInt64.max - 1  // RLIM_INFINITY is the highest number itself.
    }

    /// Reads one number, or one text without a colon; nil when it is none.
    func parse(_ text: String) -> UInt64? {
        if !text.isEmpty, text.utf8.allSatisfy(isDigit) { return UInt64(text).flatMap { $0 <= highest ? $0 : nil } }
        switch self {
        case .bytes: return parseSize(text).flatMap { $0 <= highest ? $0 : nil }
        case .count, .level: return nil
        case .seconds, .microseconds:
            guard let duration = parseDuration(text) else { return nil }
            let (seconds, attoseconds) = duration.components
            guard let whole = UInt64(exactly: seconds) else { return nil }
            if case .seconds = self { return attoseconds == 0 ? whole : nil }
            return UInt64(exactly: attoseconds / 1_000_000_000_000).map { whole * 1_000_000 + $0 }
        }
    }

    /// A pattern for one number or text.
    var pattern: String {
        switch self {
        case .bytes: "[0-9]+[KMGT]?"
        case .count, .level: "[0-9]+"
        case .seconds: "[0-9]+(ms|s|m|h)?"
        case .microseconds: "[0-9]+(ms|s|m|h)?"
        }
    }

    var schemaMaximum: JSONText? {
        if case .level(let highest) = self { return .integer(Int(clamping: highest)) }
        return nil
    }
}

extension ResourceLimit.Resource {
    /// What the resource counts.
    var unit: LimitUnit {
        switch self {
        case .as, .core, .data, .fsize, .memlock, .msgqueue, .rss, .stack: .bytes
        case .locks, .nofile, .nproc, .sigpending: .count
        case .cpu: .seconds
        case .rttime: .microseconds
        case .nice: .level(40)
        case .rtprio: .level(99)
        }
    }
}

extension Format where Value == UInt64? {
    /// One side of a limit; nil within the result is unlimited.
    static func limitSide(_ unit: LimitUnit) -> Format {
        let expected = "\(unit.words), or \"unlimited\""
        let schema = JSONText.members([
            "anyOf": [
                .members(["type": "integer", "minimum": 0, "maximum": unit.schemaMaximum]),
                .members(["type": "string", "pattern": .string("^(unlimited|\(unit.pattern))$")]),
            ]
        ])
        return Format(expected: expected, schema: schema) { value, reader in
            switch value.content {
            case .string("unlimited"): return .some(nil)
            case .string(let text):
                if let number = unit.parse(text) { return .some(number) }
            case .number(let number):
                if let number = number.unsignedInteger, number <= unit.highest { return .some(number) }
            default: break
            }
            reader.report(value, expected: expected)
            return nil
        }
    }
}

extension Format where Value == LimitPair {
    /// A resource limit: one value for both sides, `"soft:hard"`, or `{ soft, hard }`.
    static func limit(_ unit: LimitUnit) -> Format {
        let side = Format<UInt64?>.limitSide(unit)
        let both = Section<LimitPair>([
            Field("soft", side, required: true, "The limit in force; the process may raise it up to the hard one.") {
                $1.soft = $0
            },
            Field("hard", side, required: true, "The highest soft limit.") { $1.hard = $0 },
        ])
        let expected = "\(unit.words), \"unlimited\", \"soft:hard\" or { soft, hard }"
        let one = "(unlimited|\(unit.pattern))"
        let schema = JSONText.members([
            "anyOf": [
                .members(["type": "integer", "minimum": 0, "maximum": unit.schemaMaximum]),
                .members(["type": "string", "pattern": .string("^\(one)(:\(one))?$")]), both.schema,
            ]
        ])
        return Format(expected: expected, schema: schema) { value, reader in
            let before = reader.problems.count
            guard let pair = readLimit(value, unit, both, &reader) else {
                if reader.problems.count == before { reader.report(value, expected: expected + unit.hint(for: value)) }
                return nil
            }
            if pair.isInverted {
                reader.report(value.offset, "found a soft limit above the hard one, expected soft <= hard")
                return nil
            }
            return pair
        }
    }
}

extension LimitUnit {
    fileprivate func hint(for value: JSON5Value) -> String {
        guard case .bytes = self, case .string(let text) = value.content, let meant = sizeMeant(by: text), meant != text
        else {
            return ""
        }
        return "; did you mean \(quoted(meant))?"
    }

    /// A plain value as both sides.
    fileprivate func pair(_ value: UInt64?) -> LimitPair {
        guard case .seconds = self, let value else { return LimitPair(soft: value, hard: value) }
        // With both alike the kernel sends SIGKILL at once, and SIGXCPU never comes.
        return LimitPair(soft: value, hard: min(value, highest - 1) + 1)
    }
}

/// Reads `n`, `512M`, `unlimited` or `soft:hard`; nil for anything else. Does not compare the two.
func parseLimit(_ text: String, _ unit: LimitUnit) -> LimitPair? {
    func side(_ text: Substring) -> UInt64?? {
        text == "unlimited" ? .some(nil) : unit.parse(String(text)).map { .some($0) }
    }
    let sides = text.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
    guard let first = sides.first, let last = sides.last, sides.count <= 2, let soft = side(first),
        let hard = side(last)
    else { return nil }
    return sides.count == 1 ? unit.pair(soft) : LimitPair(soft: soft, hard: hard)
}

/// Reads any way to write a limit; nil when it is none (reported only for `{ soft, hard }`).
private func readLimit(
    _ value: JSON5Value, _ unit: LimitUnit, _ both: Section<LimitPair>, _ reader: inout FieldReader
) -> LimitPair? {
    switch value.content {
    case .number(let number):
        guard let number = number.unsignedInteger, number <= unit.highest else { return nil }
        return unit.pair(number)
    case .string(let text): return parseLimit(text, unit)
    case .object:
        let before = reader.problems.count
        var pair = LimitPair()
        both.read(value, into: &pair, &reader)
        return reader.problems.count == before ? pair : nil
    default: return nil
    }
}

extension ResourceLimit {
    /// Reads a limit as the manifest would read the text: `4096`, `512M`, `unlimited`, `100:200`; nil when it is none, or
    /// its soft limit is above the hard one.
    package init?(_ resource: Resource, text: String) {
        guard let pair = parseLimit(text, resource.unit), !pair.isInverted else { return nil }
        self.init(resource: resource, soft: pair.soft, hard: pair.hard)
    }
}
