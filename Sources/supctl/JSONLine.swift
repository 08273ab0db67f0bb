import ControlAPI
import Logs

/// A line of a service with `log.format: "json"` as `supctl logs --json` prints it: the service's own object, to the byte,
/// with members put in behind its first brace.
///
/// The line is looked at as a whole, once from front to back: what is passed on as an object is one by RFC 8259, so that
/// whoever reads the lines is never given one that is not JSON. Its numbers, its order and its spaces stay as they are.
enum JSONLine {
    /// A line with members added; nil if it is no object, nested more than 500 deep, or no UTF-8. A member whose name the
    /// line has already is added with `supd_` before its name, and left out where the line has that one, too.
    static func adding(_ members: [(name: String, value: String)], to line: [UInt8]) -> [UInt8]? {
        guard String(validating: line, as: UTF8.self) != nil else { return nil }
        let own = members.map(\.name)
        var scan = ObjectScan(line, wanted: Set(own + own.map { prefix + $0 }))
        guard scan.isObject() else { return nil }
        let added = members.compactMap { name, value -> String? in
            let free = [name, prefix + name].first { !scan.found.contains($0) }
            guard let free, let text = ControlJSON.encode(value) else { return nil }
            return "\"\(free)\":" + String(decoding: text, as: UTF8.self)
        }
        let isFollowed = !scan.isEmpty && !added.isEmpty
        return line.prefix(scan.opening) + Array(added.joined(separator: ",").utf8)
            + (isFollowed ? [UInt8(ascii: ",")] : []) + line.dropFirst(scan.opening)
    }

    private static let prefix = "supd_"
}

/// One look at a text that may be a JSON object.
private struct ObjectScan {
    /// What may come next.
    private enum Next { case firstKey, key, firstElement, value, separator }

    private static let deepest = 500
    private let text: [UInt8]
    private let wanted: Set<String>
    private var position = 0

    /// The offset behind its first brace.
    private(set) var opening = 0
    /// It has no members.
    private(set) var isEmpty = true
    /// Which of the names looked for its members have.
    private(set) var found: Set<String> = []

    init(_ text: [UInt8], wanted: Set<String>) {
        self.text = text
        self.wanted = wanted
    }

    /// Whether it is an object from its beginning to its end.
    mutating func isObject() -> Bool {
        skipSpace()
        guard take("{") else { return false }
        opening = position
        // Of each container that is open, whether it is an object.
        var open = [true]
        var next = Next.firstKey
        while let isObject = open.last {
            skipSpace()
            if isObject, next == .firstKey || next == .separator, take("}") {
                open.removeLast()
                next = .separator
                continue
            }
            if !isObject, next == .firstElement || next == .separator, take("]") {
                open.removeLast()
                next = .separator
                continue
            }
            switch next {
            case .separator:
                guard take(",") else { return false }
                next = isObject ? .key : .value
            case .firstKey, .key:
                guard key(isOutermost: open.count == 1) else { return false }
                next = .value
            case .firstElement, .value:
                guard open.count < Self.deepest else { return false }
                if take("{") {
                    open.append(true)
                    next = .firstKey
                } else if take("[") {
                    open.append(false)
                    next = .firstElement
                } else {
                    guard scalar() else { return false }
                    next = .separator
                }
            }
        }
        skipSpace()
        return position == text.count
    }

    private var byte: UInt8? { text.indices.contains(position) ? text[position] : nil }

    private mutating func take(_ scalar: Unicode.Scalar) -> Bool {
        guard byte == UInt8(ascii: scalar) else { return false }
        position += 1
        return true
    }

    private mutating func skipSpace() {
        while let byte, byte == 0x20 || byte == 0x09 || byte == 0x0a || byte == 0x0d { position += 1 }
    }

    private mutating func key(isOutermost: Bool) -> Bool {
        let start = position
        guard string() else { return false }
        if isOutermost {
            isEmpty = false
            let quoted = text[start..<position]
            let name =
                quoted.contains(UInt8(ascii: "\\"))
                ? ControlJSON.decode(String.self, from: quoted)
                : String(decoding: quoted.dropFirst().dropLast(), as: UTF8.self)
            if let name, wanted.contains(name) { found.insert(name) }
        }
        skipSpace()
        return take(":")
    }

    private mutating func scalar() -> Bool {
        switch byte {
        case UInt8(ascii: "\""): string()
        case UInt8(ascii: "t"): word("true")
        case UInt8(ascii: "f"): word("false")
        case UInt8(ascii: "n"): word("null")
        default: number()
        }
    }

    private mutating func word(_ word: String) -> Bool {
        guard text[position...].starts(with: word.utf8) else { return false }
        position += word.utf8.count
        return true
    }

    private mutating func string() -> Bool {
        guard take("\"") else { return false }
        while let byte {
            position += 1
            switch byte {
            case UInt8(ascii: "\""): return true
            case UInt8(ascii: "\\"): guard escape() else { return false }
            case 0..<0x20: return false
            default: break
            }
        }
        return false
    }

    /// What follows a backslash.
    private mutating func escape() -> Bool {
        guard let byte else { return false }
        position += 1
        if byte != UInt8(ascii: "u") { return "\"\\/bfnrt".utf8.contains(byte) }
        for _ in 0..<4 {
            guard let digit = self.byte, Unicode.Scalar(digit).properties.isASCIIHexDigit else { return false }
            position += 1
        }
        return true
    }

    private mutating func number() -> Bool {
        _ = take("-")
        if !take("0") { guard digits() else { return false } }
        if take(".") { guard digits() else { return false } }
        if take("e") || take("E") {
            if !take("+") { _ = take("-") }
            guard digits() else { return false }
        }
        return true
    }

    private mutating func digits() -> Bool {
        let start = position
        while let byte, (0x30...0x39).contains(byte) { position += 1 }
        return position > start
    }
}
