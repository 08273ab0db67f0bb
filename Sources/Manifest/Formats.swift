// The formats that the field table is made of. Each says once what is allowed; reading, messages and schema follow.

extension Format where Value == Int {
    /// A whole number in a range.
    static func integer(_ range: ClosedRange<Int>, _ what: String = "a whole number") -> Format {
        let expected = "\(what) from \(range.lowerBound) to \(range.upperBound)"
        return Format(
            expected: expected,
            schema: .members([
                "type": "integer", "minimum": .integer(range.lowerBound), "maximum": .integer(range.upperBound),
            ])
        ) { value, reader in
            guard case .number(let number) = value.content, let integer = number.integer, range.contains(integer) else {
                reader.report(value, expected: expected)
                return nil
            }
            return integer
        }
    }
}

extension Format where Value == Double {
    /// A number in a range.
    static func decimal(_ range: ClosedRange<Double>) -> Format {
        let expected =
            "a number from \(JSONText.number(range.lowerBound).text()) to \(JSONText.number(range.upperBound).text())"
        return Format(
            expected: expected,
            schema: .members([
                "type": "number", "minimum": .number(range.lowerBound), "maximum": .number(range.upperBound),
            ])
        ) { value, reader in
            guard case .number(let number) = value.content, let double = number.double, range.contains(double) else {
                reader.report(value, expected: expected)
                return nil
            }
            return double
        }
    }
}

extension Format where Value: RawRepresentable & CaseIterable, Value.RawValue == String {
    /// One of the words of an enumeration.
    static var word: Format {
        let words = Value.allCases.map(\.rawValue)
        let expected = alternatives(words.map(quoted))
        return Format(expected: expected, schema: .members(["enum": .array(words.map { .string($0) })])) {
            value, reader in
            guard case .string(let text) = value.content, let result = Value(rawValue: text) else {
                if case .string(let text) = value.content {
                    let suggestion = reader.suggestion(for: text, among: words)
                    reader.report(value, expected: expected, suggestion: suggestion)
                } else {
                    reader.report(value, expected: expected)
                }
                return nil
            }
            return result
        }
    }
}

extension Format where Value == Bool {
    /// `true` alone: the key's presence says it all.
    static var yes: Format {
        Format(expected: "true", schema: .members(["const": true])) { value, reader in
            guard value.content == .bool(true) else {
                reader.report(value, expected: "true (or leave the key out)")
                return nil
            }
            return true
        }
    }
}

extension Format where Value == Bool {
    /// On or off, for what `defaults` may turn on for all and a service off again.
    static var flag: Format {
        Format(expected: "true or false", schema: .members(["type": "boolean"])) { value, reader in
            guard case .bool(let isOn) = value.content else {
                reader.report(value, expected: "true or false")
                return nil
            }
            return isOn
        }
    }
}

extension Format {
    /// What this reads, or `false`, which is nil: that takes back what `defaults` give.
    var orFalse: Format<Value?> {
        let expected = "\(expected), or false"
        return Format<Value?>(
            expected: expected, schema: .members(["anyOf": [schema, .members(["const": false])]]),
            allowsVariables: allowsVariables
        ) { [read] value, reader in
            if value.content == .bool(false) { return .some(nil) }
            reader.alternative = ", or false"
            defer { reader.alternative = "" }
            return read(value, &reader).map { .some($0) }
        }
    }
}

extension Format where Value == Duration? {
    /// A duration with its unit, or `false`, which is nil.
    static func durationOrFalse(from least: Duration = .milliseconds(1), to most: Duration = maximumDuration) -> Format
    {
        Format<Duration>.duration(from: least, to: most).orFalse
    }
}

extension Format where Value == Duration {
    /// A duration with its unit.
    static func duration(from least: Duration = .milliseconds(1), to most: Duration = maximumDuration) -> Format {
        let expected =
            "a duration like \"500ms\", \"10s\", \"5m\" or \"1h\", from \(durationText(least)) to \(durationText(most))"
        return Format(
            expected: expected, schema: .members(["type": "string", "pattern": "^[0-9]+(ms|s|m|h)$"])
        ) { value, reader in
            if case .number(let number) = value.content, number.integer != nil {
                reader.report(value, expected: "a unit with it, as in \"\(number.text)s\" or \"\(number.text)ms\"")
                return nil
            }
            guard case .string(let text) = value.content, let duration = parseDuration(text),
                (least...most).contains(duration)
            else {
                reader.report(value, expected: expected)
                return nil
            }
            return duration
        }
    }
}

extension Format where Value == UInt64 {
    /// A number of bytes, plain or with a unit.
    static func size(_ range: ClosedRange<UInt64>) -> Format {
        let expected =
            "a size in bytes like 4096, \"512K\", \"10M\" or \"1G\", "
            + "from \(sizeText(range.lowerBound)) to \(sizeText(range.upperBound))"
        return Format(
            expected: expected,
            schema: .members([
                "anyOf": [
                    .members([
                        "type": "integer", "minimum": .integer(Int(clamping: range.lowerBound)),
                        "maximum": .integer(Int(clamping: range.upperBound)),
                    ]), .members(["type": "string", "pattern": "^[0-9]+[KMGT]?$"]),
                ]
            ])
        ) { value, reader in
            let bytes: UInt64?
            switch value.content {
            case .number(let number): bytes = number.unsignedInteger
            case .string(let text): bytes = parseSize(text)
            default: bytes = nil
            }
            guard let bytes, range.contains(bytes) else {
                var hint = ""
                if case .string(let text) = value.content, let meant = sizeMeant(by: text), meant != text {
                    hint = "; did you mean \(quoted(meant))?"
                }
                reader.report(value, expected: expected + hint)
                return nil
            }
            return bytes
        }
    }
}

extension Format where Value == UInt16 {
    /// A TCP port.
    static var port: Format {
        Format<Int>.integer(1...65535, "a port").map { port, _, _ in UInt16(exactly: port) }
    }

    /// A file mode creation mask in octal digits. A number would be read as decimal, and JSON has no octal numbers.
    static var umask: Format {
        let expected = "three or four octal digits in quotes, like \"022\""
        return Format(
            expected: expected, schema: .members(["type": "string", "pattern": "^0?[0-7]{3}$"])
        ) { value, reader in
            guard case .string(let text) = value.content, (3...4).contains(text.utf8.count),
                text.utf8.allSatisfy(isDigit), let mask = UInt16(text, radix: 8), mask <= 0o777
            else {
                reader.report(value, expected: expected)
                return nil
            }
            return mask
        }
    }
}

extension Format where Value == PortRange {
    /// `"20000-29999"`
    static var portRange: Format {
        let expected = "two ports from 1 to 65535, the lower one first, like \"20000-29999\""
        return Format(
            expected: expected, schema: .members(["type": "string", "pattern": "^[0-9]{1,5}-[0-9]{1,5}$"])
        ) { value, reader in
            guard case .string(let text) = value.content, let dash = text.firstIndex(of: "-"),
                let first = parsePort(text[..<dash]), let last = parsePort(text[text.index(after: dash)...]),
                first <= last
            else {
                reader.report(value, expected: expected)
                return nil
            }
            return PortRange(first: first, last: last)
        }
    }
}

extension Format {
    /// A list of some length.
    static func list<Element>(of element: Format<Element>, _ what: String, count: ClosedRange<Int>) -> Format
    where Value == [Element] {
        let least = count.lowerBound > 0 ? JSONText.integer(count.lowerBound) : nil
        return Format(
            expected: "a list of \(what)",
            schema: .members([
                "type": "array", "items": element.schema, "minItems": least, "maxItems": .integer(count.upperBound),
            ]), allowsVariables: element.allowsVariables
        ) { value, reader in
            guard case .array(let elements) = value.content else {
                reader.report(value, expected: "a list of \(what)")
                return nil
            }
            guard count.contains(elements.count) else {
                reader.report(
                    value.offset,
                    "found a list of \(elements.count), expected \(count.lowerBound) to \(count.upperBound) elements")
                return nil
            }
            let results = elements.enumerated().map { index, value in
                reader.within(.index(index)) { element.read(value, &$0) }
            }
            let right = results.compactMap { $0 }
            return right.count == results.count ? right : nil
        }
    }

    /// Either a list, or one element in its place.
    static func oneOrMany<Element>(_ element: Format<Element>, _ what: String, atMost most: Int) -> Format
    where Value == [Element] {
        let many = Format.list(of: element, what, count: 0...most)
        return Format(
            expected: "\(element.expected), or a list of them",
            schema: .members(["anyOf": [element.schema, many.schema]]),
            allowsVariables: element.allowsVariables
        ) { value, reader in
            if case .array = value.content { return many.read(value, &reader) }
            return element.read(value, &reader).map { [$0] }
        }
    }

    /// A map with keys of the user's own.
    static func map<Element>(
        _ what: String, keyPattern: JSONText, key isRight: @escaping @Sendable (String) -> String?,
        value element: Format<Element>
    ) -> Format where Value == [(key: String, value: Element)] {
        Format(
            expected: "a map of \(what)",
            schema: .members([
                "type": "object", "propertyNames": .members(["pattern": keyPattern]),
                "additionalProperties": element.schema,
            ]), allowsVariables: element.allowsVariables
        ) { value, reader in
            guard case .object(let members) = value.content else {
                reader.report(value, expected: "a map of \(what)")
                return nil
            }
            return members.compactMap { member in
                reader.within(.key(member.key)) { reader in
                    if let expected = isRight(member.key) {
                        reader.report(member.keyOffset, "found the name \(quoted(member.key)), expected \(expected)")
                        return nil
                    }
                    return element.read(member.value, &reader).map { (member.key, $0) }
                }
            }
        }
    }
}
