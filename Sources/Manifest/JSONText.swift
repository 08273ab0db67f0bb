/// A piece of JSON to be written: the schema, and the defaults in the field table.
package indirect enum JSONText: Sendable, Hashable {
    /// `true` or `false`
    case bool(Bool)
    /// A whole number.
    case integer(Int)
    /// A number.
    case number(Double)
    /// A string.
    case string(String)
    /// A list.
    case array([JSONText])
    /// An object; its members are written in this order.
    case object([Member])

    /// A key with its value.
    package struct Member: Sendable, Hashable {
        var key: String
        var value: JSONText
    }

    /// An object of some members; those without a value are left out.
    static func members(_ members: KeyValuePairs<String, JSONText?>) -> JSONText {
        .object(members.compactMap { key, value in value.map { Member(key: key, value: $0) } })
    }

    /// The members of an object.
    var members: [Member] {
        guard case .object(let members) = self else { return [] }
        return members
    }

    /// An object with the members of two.
    func merging(_ other: JSONText) -> JSONText { .object(members + other.members) }

    /// The text: objects and lists of them over several lines, other lists on one.
    package func text(indent: Int = 0) -> String {
        let inner = String(repeating: "  ", count: indent + 1)
        let outer = String(repeating: "  ", count: indent)
        switch self {
        case .bool(let value): return value ? "true" : "false"
        case .integer(let value): return "\(value)"
        case .number(let value):
            return value == value.rounded() && value.magnitude < 1e15 ? "\(Int64(value))" : "\(value)"
        case .string(let text): return Self.quoted(text)
        case .array(let elements) where elements.allSatisfy(\.isPlain):
            return "[" + elements.map { $0.text() }.joined(separator: ", ") + "]"
        case .array(let elements):
            return "[\n" + elements.map { inner + $0.text(indent: indent + 1) }.joined(separator: ",\n") + "\n\(outer)]"
        case .object(let members) where members.isEmpty: return "{}"
        case .object(let members) where members.count == 1 && members.allSatisfy { $0.value.isPlain }:
            return "{ " + members.map { "\(Self.quoted($0.key)): \($0.value.text())" }.joined() + " }"
        case .object(let members):
            let lines = members.map { "\(inner)\(Self.quoted($0.key)): \($0.value.text(indent: indent + 1))" }
            return "{\n" + lines.joined(separator: ",\n") + "\n\(outer)}"
        }
    }

    private var isPlain: Bool {
        switch self {
        case .bool, .integer, .number, .string: true
        case .array(let elements): elements.isEmpty
        case .object: false
        }
    }

    private static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case _ where scalar.value < 0x20:
                let digits = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}

extension JSONText: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral {
    package init(stringLiteral value: String) { self = .string(value) }
    package init(integerLiteral value: Int) { self = .integer(value) }
    package init(floatLiteral value: Double) { self = .number(value) }
}

extension JSONText: ExpressibleByBooleanLiteral, ExpressibleByArrayLiteral {
    package init(booleanLiteral value: Bool) { self = .bool(value) }
    package init(arrayLiteral elements: JSONText...) { self = .array(elements) }
}
