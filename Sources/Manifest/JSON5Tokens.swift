// The tokens of JSON5 that have a grammar of their own: strings, identifiers, numbers.

extension JSON5Parser {
    /// Reads a string in either kind of quotes, at its quote.
    mutating func string() throws(JSON5SyntaxError) -> String {
        let start = index
        let quote = current
        var text: [UInt8] = []
        index += 1
        var run = index
        while current != quote {
            switch current {
            case .none:
                throw failure(at: start, "found a string without an end, expected its closing quote")
            case 0x0A, 0x0D:
                throw failure(
                    at: start,
                    "found a string that does not end on its line, "
                        + "expected its closing quote (or \\ before the line's end)"
                )
            case UInt8(ascii: "\\"):
                text += bytes[run..<index]
                try escape(into: &text)
                run = index
            default:
                index += 1
            }
        }
        defer { index += 1 }
        if text.isEmpty { return String(decoding: bytes[run..<index], as: UTF8.self) }
        text += bytes[run..<index]
        return String(decoding: text, as: UTF8.self)
    }

    /// Reads an escape sequence, at its backslash.
    private mutating func escape(into text: inout [UInt8]) throws(JSON5SyntaxError) {
        let start = index
        index += 1
        guard let (scalar, length) = currentScalar() else {
            throw failure(at: start, "found the end of the file, expected a character after \"\\\"")
        }
        switch scalar {
        case "u":
            text += String(try unicodeEscape(from: start)).utf8
            return
        case "x":
            guard let value = hexadecimal(at: 1, digits: 2), let scalar = Unicode.Scalar(value) else {
                throw failure(at: start, "found \"\\x\" without its digits, expected two hexadecimal digits after it")
            }
            text += String(scalar).utf8
            index += 3
            return
        case "1"..."9":
            throw failure(at: start, "found \"\\\(scalar)\", expected an escape like \\n, \\\", \\x41 or \\u0041")
        case "0":
            if let next = ahead(1), isDigit(next) {
                throw failure(at: start, "found an octal escape, expected one like \\x41 or \\u0041")
            }
            text.append(0)
        case "b": text.append(0x08)
        case "f": text.append(0x0C)
        case "n": text.append(0x0A)
        case "r": text.append(0x0D)
        case "t": text.append(0x09)
        case "v": text.append(0x0B)
        case "\r":
            // A line that goes on; CRLF is one line end.
            if ahead(1) == 0x0A { index += 1 }
        case "\n", "\u{2028}", "\u{2029}": break
        default: text += String(scalar).utf8
        }
        index += length
    }

    /// Reads `uXXXX`, at the `u`, and the second half of a surrogate pair.
    private mutating func unicodeEscape(from start: Int) throws(JSON5SyntaxError) -> Unicode.Scalar {
        guard let first = hexadecimal(at: 1, digits: 4) else {
            throw failure(at: start, "found \"\\u\" without its digits, expected four hexadecimal digits after it")
        }
        index += 5
        if let scalar = Unicode.Scalar(first) { return scalar }
        guard first < 0xDC00, current == UInt8(ascii: "\\"), ahead(1) == UInt8(ascii: "u"),
            let second = hexadecimal(at: 2, digits: 4), (0xDC00...0xDFFF).contains(second),
            let scalar = Unicode.Scalar(0x10000 + ((first & 0x3FF) << 10 | second & 0x3FF))
        else {
            throw failure(at: start, "found one half of a surrogate pair, expected both (like \\uD83D\\uDE00)")
        }
        index += 6
        return scalar
    }

    /// The value of some hexadecimal digits ahead.
    private func hexadecimal(at distance: Int, digits: Int) -> UInt32? {
        var value: UInt32 = 0
        for digit in 0..<digits {
            guard let byte = ahead(distance + digit), let digit = hexadecimalValue(byte) else { return nil }
            value = value << 4 | digit
        }
        return value
    }

    /// Reads an ECMAScript 5.1 IdentifierName; nil when none begins here.
    mutating func identifier() throws(JSON5SyntaxError) -> String? {
        var text: [UInt8] = []
        while let (scalar, length) = currentScalar() {
            if scalar == "\\" {
                let start = index
                guard ahead(1) == UInt8(ascii: "u") else { throw unexpected("a key") }
                index += 1
                let escaped = try unicodeEscape(from: start)
                guard text.isEmpty ? isIdentifierStart(escaped) : isIdentifierPart(escaped) else {
                    throw failure(
                        at: start,
                        "found an escape of a character that a key without quotes cannot have, expected quotes")
                }
                text += String(escaped).utf8
            } else if text.isEmpty ? isIdentifierStart(scalar) : isIdentifierPart(scalar) {
                text += bytes[index..<(index + length)]
                index += length
            } else {
                break
            }
        }
        return text.isEmpty ? nil : String(decoding: text, as: UTF8.self)
    }

    /// Whether an identifier may begin with this.
    func isIdentifierStart(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar {
        case "a"..."z", "A"..."Z", "$", "_": return true
        default: break
        }
        guard scalar.value >= 0x80 else { return false }
        switch scalar.properties.generalCategory {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter, .letterNumber:
            return true
        default: return false
        }
    }

    /// Whether an identifier may go on with this.
    func isIdentifierPart(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar {
        case "0"..."9", "\u{200C}", "\u{200D}": return true
        case _ where isIdentifierStart(scalar): return true
        default: break
        }
        guard scalar.value >= 0x80 else { return false }
        switch scalar.properties.generalCategory {
        case .nonspacingMark, .spacingMark, .decimalNumber, .connectorPunctuation: return true
        default: return false
        }
    }

    /// Reads a number, at its sign, digit or point.
    mutating func number() throws(JSON5SyntaxError) -> JSON5Number {
        let start = index
        if current == UInt8(ascii: "+") || current == UInt8(ascii: "-") { index += 1 }
        if !take("Infinity"), !take("NaN") {
            if current == UInt8(ascii: "0"), ahead(1) == UInt8(ascii: "x") || ahead(1) == UInt8(ascii: "X") {
                index += 2
                let digits = index
                while let byte = current, hexadecimalValue(byte) != nil { index += 1 }
                if index == digits { throw unexpected("a hexadecimal digit") }
            } else {
                try decimal()
            }
            if let (scalar, _) = currentScalar(), isIdentifierPart(scalar) || scalar == "." || scalar == "\\" {
                throw unexpected("the end of the number")
            }
        }
        guard index - start <= JSON5Reader.maximumNumberLength else {
            throw failure(
                at: start,
                "found a number of \(index - start) characters, expected at most \(JSON5Reader.maximumNumberLength)")
        }
        return JSON5Number(text: String(decoding: bytes[start..<index], as: UTF8.self))
    }

    private mutating func decimal() throws(JSON5SyntaxError) {
        let whole = index
        skipDigits()
        let wholeCount = index - whole
        if wholeCount > 1, bytes[whole] == UInt8(ascii: "0") {
            throw failure(
                at: whole, "found a number that begins with 0, expected none (octal numbers do not exist here)")
        }
        var fractionCount = 0
        if current == UInt8(ascii: ".") {
            index += 1
            let fraction = index
            skipDigits()
            fractionCount = index - fraction
        }
        if wholeCount == 0, fractionCount == 0 { throw unexpected("a digit") }
        if current == UInt8(ascii: "e") || current == UInt8(ascii: "E") {
            index += 1
            if current == UInt8(ascii: "+") || current == UInt8(ascii: "-") { index += 1 }
            let exponent = index
            skipDigits()
            if index == exponent { throw unexpected("a digit of the exponent") }
        }
    }

    private mutating func skipDigits() {
        while let byte = current, isDigit(byte) { index += 1 }
    }
}
