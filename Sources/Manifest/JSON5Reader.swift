/// Reads JSON5 (spec.json5.org) into a tree that remembers where every key and value stands, and says precisely what
/// is wrong with a text. Differences from the specification, all on the strict side: a key that comes twice in an
/// object and a lone surrogate are errors. Linear in the length of the text.
package enum JSON5Reader {
    /// The longest text that is read, in bytes.
    package static let maximumSize = 16 << 20
    /// How deep objects and lists may be nested.
    package static let maximumDepth = 64
    /// How many values a text may hold: a bound on memory.
    package static let maximumValues = 1_000_000
    /// The longest number, in bytes.
    package static let maximumNumberLength = 1000

    /// What was read.
    package struct Outcome: Sendable {
        /// The tree; nil after a syntax error. Of a key that comes twice it holds the first.
        package var value: JSON5Value?
        /// Whether the text has nothing but white space and comments.
        package var isBlank = false
        /// The errors: one for a break of the syntax, and one for each key that comes twice.
        var problems = ProblemLog()

        /// The errors as people read them, at most 50, by position.
        package func diagnostics(file: String, text: [UInt8]) -> [Diagnostic] {
            problems.diagnostics(.error, file: file, text: text)
        }
    }

    /// Reads a whole text.
    package static func read(_ text: [UInt8]) -> Outcome {
        var outcome = Outcome()
        guard text.count <= maximumSize else {
            outcome.problems.add(
                Location(offset: 0, path: ""),
                "found a text of \(text.count) bytes, expected at most \(sizeText(UInt64(maximumSize)))")
            return outcome
        }
        if let offset = firstInvalidByte(of: text) {
            let byte =
                text.indices.contains(offset) ? "0x" + String(text[offset], radix: 16, uppercase: true) : "nothing"
            outcome.problems.add(
                Location(offset: offset, path: ""),
                "found the byte \(byte), expected text in UTF-8; save the file as UTF-8")
            return outcome
        }
        var parser = JSON5Parser(bytes: text)
        do throws(JSON5SyntaxError) {
            outcome.value = try parser.document()
        } catch {
            parser.problems.add(
                Location(offset: error.offset, path: error.path), error.message, reference: error.reference)
        }
        outcome.isBlank = parser.isBlank
        outcome.problems = parser.problems
        return outcome
    }

    private static func firstInvalidByte(of text: [UInt8]) -> Int? {
        do throws(UTF8.ValidationError) {
            _ = try UTF8Span(validating: text.span)
            return nil
        } catch {
            return error.byteOffsets.lowerBound
        }
    }
}

/// Where the grammar was broken; reading ends there.
struct JSON5SyntaxError: Error {
    var offset: Int
    var path: String
    var message: String
    var reference: Problem.Reference?
}

/// A recursive descent over valid UTF-8. Strings, identifiers and numbers are in JSON5Tokens.swift.
struct JSON5Parser {
    let bytes: [UInt8]
    var index = 0
    var problems = ProblemLog()
    private(set) var isBlank = false
    private var path = Path()
    private var valueCount = 0

    init(bytes: [UInt8]) { self.bytes = bytes }

    /// The byte at the reading position; nil at the end.
    var current: UInt8? { index < bytes.count ? bytes[index] : nil }

    /// The byte some way ahead; nil beyond the end.
    func ahead(_ distance: Int) -> UInt8? { index + distance < bytes.count ? bytes[index + distance] : nil }

    /// The scalar at the reading position and its length in bytes; nil at the end.
    func currentScalar() -> (scalar: Unicode.Scalar, length: Int)? {
        guard let first = current else { return nil }
        if first < 0x80 { return (Unicode.Scalar(first), 1) }
        let length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2
        var value = UInt32(first) & (0xFF >> UInt32(length + 1))
        for distance in 1..<length { value = value << 6 | UInt32((ahead(distance) ?? 0) & 0x3F) }
        return (Unicode.Scalar(value) ?? "\u{FFFD}", length)
    }

    mutating func document() throws(JSON5SyntaxError) -> JSON5Value {
        try skipSpace()
        isBlank = current == nil
        let value = try value(depth: 0)
        try skipSpace()
        if current != nil { throw unexpected("the end of the file") }
        return value
    }

    private mutating func value(depth: Int) throws(JSON5SyntaxError) -> JSON5Value {
        valueCount += 1
        guard valueCount <= JSON5Reader.maximumValues else {
            throw failure(at: index, "found more than \(JSON5Reader.maximumValues) values, expected fewer")
        }
        let offset = index
        let content: JSON5Value.Content
        switch current {
        case UInt8(ascii: "{"), UInt8(ascii: "["):
            guard depth < JSON5Reader.maximumDepth else {
                throw failure(at: index, "found nesting deeper than \(JSON5Reader.maximumDepth) levels, expected fewer")
            }
            content = current == UInt8(ascii: "{") ? try object(depth: depth) : try array(depth: depth)
        case UInt8(ascii: "\""), UInt8(ascii: "'"):
            content = .string(try string())
        case .some(let byte)
        where isDigit(byte) || [UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: ".")].contains(byte):
            content = .number(try number())
        case UInt8(ascii: "I") where take("Infinity"), UInt8(ascii: "N") where take("NaN"):
            content = .number(JSON5Number(text: String(decoding: bytes[offset..<index], as: UTF8.self)))
        case UInt8(ascii: "t") where take("true"): content = .bool(true)
        case UInt8(ascii: "f") where take("false"): content = .bool(false)
        case UInt8(ascii: "n") where take("null"): content = .null
        case .some(let byte) where isLetterOrDigit(byte) || byte >= 0x80:
            throw unexpected("a value (text needs quotes)")
        default:
            throw unexpected("a value")
        }
        return JSON5Value(offset: offset, content: content)
    }

    private mutating func object(depth: Int) throws(JSON5SyntaxError) -> JSON5Value.Content {
        let opening = Problem.Reference(label: "its \"{\" is on", offset: index)
        var members: [JSON5Member] = []
        var keys = KeySet()
        index += 1
        while true {
            try skipSpace()
            if current == UInt8(ascii: "}") { break }
            let keyOffset = index
            let key = try memberName(opening: opening)
            path.steps.append(.key(key))
            try skipSpace()
            guard current == UInt8(ascii: ":") else {
                throw unexpected(
                    current == UInt8(ascii: "-")
                        ? "\":\" after the key (one with \"-\" needs quotes)" : "\":\" after the key")
            }
            index += 1
            try skipSpace()
            let value = try value(depth: depth + 1)
            if let first = keys.insert(key, offset: keyOffset) {
                problems.isFull
                    ? problems.addUnseen()
                    : problems.add(
                        Location(offset: keyOffset, path: path.text),
                        "found the key \(quoted(key)) again, expected every key once",
                        reference: Problem.Reference(label: "the first is on", offset: first))
            } else {
                members.append(JSON5Member(key: key, keyOffset: keyOffset, value: value))
            }
            path.steps.removeLast()
            try skipSpace()
            if current == UInt8(ascii: ",") {
                index += 1
            } else if current != UInt8(ascii: "}") {
                throw unexpected("\",\" or \"}\"", reference: opening)
            }
        }
        index += 1
        return .object(members)
    }

    private mutating func memberName(opening: Problem.Reference) throws(JSON5SyntaxError) -> String {
        if current == UInt8(ascii: "\"") || current == UInt8(ascii: "'") { return try string() }
        if let name = try identifier() { return name }
        throw unexpected("a key or \"}\"", reference: opening)
    }

    private mutating func array(depth: Int) throws(JSON5SyntaxError) -> JSON5Value.Content {
        let opening = Problem.Reference(label: "its \"[\" is on", offset: index)
        var elements: [JSON5Value] = []
        index += 1
        while true {
            try skipSpace()
            if current == UInt8(ascii: "]") { break }
            path.steps.append(.index(elements.count))
            elements.append(try value(depth: depth + 1))
            path.steps.removeLast()
            try skipSpace()
            if current == UInt8(ascii: ",") {
                index += 1
            } else if current != UInt8(ascii: "]") {
                throw unexpected("\",\" or \"]\"", reference: opening)
            }
        }
        index += 1
        return .array(elements)
    }

    /// Steps over white space and comments.
    private mutating func skipSpace() throws(JSON5SyntaxError) {
        while let byte = current {
            switch byte {
            case 0x09...0x0D, 0x20: index += 1
            case UInt8(ascii: "/"): try skipComment()
            case 0x80...:
                guard let (scalar, length) = currentScalar(), isSpace(scalar) else { return }
                index += length
            default: return
            }
        }
    }

    private func isSpace(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar {
        case "\u{A0}", "\u{FEFF}", "\u{2028}", "\u{2029}": true
        default: scalar.properties.generalCategory == .spaceSeparator
        }
    }

    private mutating func skipComment() throws(JSON5SyntaxError) {
        let start = index
        switch ahead(1) {
        case UInt8(ascii: "/"):
            while let byte = current, byte != 0x0A, byte != 0x0D, byte != 0xE2 || !isAtLineEnd { index += 1 }
        case UInt8(ascii: "*"):
            index += 2
            while !(current == UInt8(ascii: "*") && ahead(1) == UInt8(ascii: "/")) {
                guard current != nil else {
                    throw failure(at: start, "found a comment without an end, expected \"*/\" after it")
                }
                index += 1
            }
            index += 2
        default:
            throw unexpected("\"//\" or \"/*\" to begin a comment")
        }
    }

    /// Whether a line terminator of the specification is next: LF, CR, U+2028 or U+2029.
    var isAtLineEnd: Bool {
        switch current {
        case 0x0A, 0x0D: true
        case 0xE2: ahead(1) == 0x80 && (ahead(2) == 0xA8 || ahead(2) == 0xA9)
        default: false
        }
    }

    /// Steps over a word if it is next and ends there.
    mutating func take(_ word: StaticString) -> Bool {
        let letters = Array(String(describing: word).utf8)
        guard bytes[index...].starts(with: letters) else { return false }
        let end = index
        index += letters.count
        if let (scalar, _) = currentScalar(), isIdentifierPart(scalar) || scalar == "\\" {
            index = end
            return false
        }
        return true
    }

    /// The error of meeting something else than expected. It shows one character only: what stands here may be a
    /// secret that lost its quotes.
    func unexpected(_ expected: String, reference: Problem.Reference? = nil) -> JSON5SyntaxError {
        let found =
            switch currentScalar() {
            case .none: "the end of the file"
            case .some(("\n", _)), .some(("\r", _)): "the end of the line"
            case .some((let scalar, _)) where scalar != " " && isPrintable(scalar):
                scalar == "\"" ? "'\"'" : "\"\(scalar)\""
            case .some((let scalar, _)): "the character \(codePoint(scalar))"
            }
        return failure(at: index, "found \(found), expected \(expected)", reference: reference)
    }

    /// An error at a place of the text.
    func failure(at offset: Int, _ message: String, reference: Problem.Reference? = nil) -> JSON5SyntaxError {
        JSON5SyntaxError(offset: offset, path: path.text, message: message, reference: reference)
    }
}

/// The keys of one object. Most objects are small: a hash table is made only beyond some keys.
private struct KeySet {
    private var few: [(key: String, offset: Int)] = []
    private var many: [String: Int] = [:]

    /// Adds a key; returns the offset of the same key when it is there already.
    mutating func insert(_ key: String, offset: Int) -> Int? {
        if many.isEmpty {
            if let first = few.first(where: { $0.key == key }) { return first.offset }
            few.append((key, offset))
            if few.count > 12 { many = Dictionary(few.map { ($0.key, $0.offset) }) { first, _ in first } }
            return nil
        }
        if let first = many[key] { return first }
        many[key] = offset
        return nil
    }
}
