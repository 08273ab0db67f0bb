/// A value of a JSON5 text, and where it stands. Offsets are bytes from the beginning of the text;
/// ``SourcePositions`` turns them into lines and columns.
package struct JSON5Value: Sendable, Hashable {
    /// What the value is.
    package enum Content: Sendable, Hashable {
        /// `null`
        case null
        /// `true` or `false`
        case bool(Bool)
        /// A number, as it is written.
        case number(JSON5Number)
        /// A string, its escapes resolved.
        case string(String)
        /// A list.
        case array([JSON5Value])
        /// A map, in the order of the text; no key twice.
        case object([JSON5Member])
    }

    /// The offset of the value's first byte.
    package var offset: Int
    /// What it is.
    package var content: Content

    /// Creates a value.
    package init(offset: Int, content: Content) {
        self.offset = offset
        self.content = content
    }
}

/// One key of an object with its value.
package struct JSON5Member: Sendable, Hashable {
    /// The key, its escapes resolved.
    package var key: String
    /// The offset of the key's first byte (of its quote, if it has one).
    package var keyOffset: Int
    /// The value.
    package var value: JSON5Value

    /// Creates a member.
    package init(key: String, keyOffset: Int, value: JSON5Value) {
        self.key = key
        self.keyOffset = keyOffset
        self.value = value
    }
}

/// A number as it is written: converting is left to whoever knows the range that is wanted, so nothing is rounded or
/// overflows on the way.
package struct JSON5Number: Sendable, Hashable {
    /// The text, by the grammar of JSON5Number: at most ``JSON5Reader/maximumNumberLength`` bytes of ASCII.
    package var text: String

    /// Creates a number from text that follows the grammar.
    package init(text: String) { self.text = text }

    private var isNegative: Bool { text.utf8.first == UInt8(ascii: "-") }

    private var unsigned: Substring.UTF8View {
        guard let first = text.utf8.first, first == UInt8(ascii: "-") || first == UInt8(ascii: "+") else {
            return text[...].utf8
        }
        return text.utf8.dropFirst()
    }

    private var hexadecimal: Substring? {
        let digits = unsigned
        guard digits.starts(with: "0x".utf8) || digits.starts(with: "0X".utf8) else { return nil }
        return Substring(digits.dropFirst(2))
    }

    /// The magnitude when the number is whole and fits; `1e3` and `2.0` are whole.
    private var magnitude: UInt64? {
        if let hexadecimal { return UInt64(hexadecimal, radix: 16) }
        if let plain = UInt64(Substring(unsigned)) { return plain }
        // Whole numbers beyond 2^53 must be written out: a Double could not tell them apart.
        guard let double, double.magnitude < 0x1p53 else { return nil }
        return UInt64(exactly: double.magnitude)
    }

    /// The value when it is whole and neither negative nor above UInt64.max.
    package var unsignedInteger: UInt64? {
        guard let magnitude, !isNegative || magnitude == 0 else { return nil }
        return magnitude
    }

    /// The value when it is whole and fits in an Int.
    package var integer: Int? {
        guard let magnitude, let positive = Int(exactly: magnitude) else { return nil }
        return isNegative ? -positive : positive
    }

    /// The nearest floating-point number; infinite and not-a-number when it says so.
    package var double: Double? {
        let digits = Substring(unsigned)
        let value: Double?
        if let hexadecimal {
            value = hexadecimal.utf8.reduce(into: 0.0) { $0 = $0 * 16 + Double(hexadecimalValue($1) ?? 0) }
        } else if digits == "Infinity" {
            value = .infinity
        } else if digits == "NaN" {
            value = .nan
        } else {
            // JSON5 allows `.5` and `5.`; Swift's grammar wants a digit on both sides of the point.
            var parts = digits.split(separator: "e", maxSplits: 1, omittingEmptySubsequences: false)
            if parts.count == 1 { parts = digits.split(separator: "E", maxSplits: 1, omittingEmptySubsequences: false) }
            var mantissa = String(parts.first ?? "")
            if mantissa.hasPrefix(".") { mantissa = "0" + mantissa }
            if mantissa.hasSuffix(".") { mantissa += "0" }
            value = Double(parts.count > 1 ? "\(mantissa)e\(parts[1])" : mantissa)
        }
        guard let value else { return nil }
        return isNegative ? -value : value
    }
}

/// The value of a hexadecimal digit in ASCII.
func hexadecimalValue(_ byte: UInt8) -> UInt32? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt32(byte - UInt8(ascii: "0"))
    case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt32(byte - UInt8(ascii: "a")) + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): UInt32(byte - UInt8(ascii: "A")) + 10
    default: nil
    }
}
