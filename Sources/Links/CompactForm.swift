/// What goes over a link. Some messages have a binary form besides JSON: those on the way from an exit to the next
/// process, where writing and reading JSON took half of all the time between.
package protocol LinkMessage: Codable, Sendable {
    /// The binary form; nil: this message has none and goes as JSON.
    var compactForm: [UInt8]? { get }

    /// Reads a binary form; nil: it is none of this type's.
    init?(compactForm: [UInt8])
}

extension LinkMessage {
    /// None.
    package var compactForm: [UInt8]? { nil }

    /// None.
    package init?(compactForm: [UInt8]) { return nil }
}

extension BalancerRequest: LinkMessage {}
extension BalancerNotice: LinkMessage {}

/// The first byte of a binary form; no JSON text begins with it.
let compactMarker = UInt8(ascii: "#")

/// Writes a binary form: little-endian numbers of fixed size; texts and lists after their count.
struct CompactWriter {
    private(set) var bytes: [UInt8]

    init(tag: UInt8) { bytes = [compactMarker, tag] }

    mutating func write(_ value: some FixedWidthInteger) {
        var rest = UInt64(truncatingIfNeeded: value)
        for _ in 0..<(type(of: value).bitWidth / 8) {
            bytes.append(UInt8(truncatingIfNeeded: rest))
            rest >>= 8
        }
    }

    mutating func write(_ value: Bool) { bytes.append(value ? 1 : 0) }

    mutating func write(_ text: String) {
        write(UInt32(clamping: text.utf8.count))
        bytes.append(contentsOf: text.utf8)
    }

    mutating func write(_ texts: [String]) {
        write(UInt32(clamping: texts.count))
        for text in texts { write(text) }
    }
}

/// Reads what `CompactWriter` wrote. Every read answers nil beyond the end, and for what no writer writes.
struct CompactReader {
    private let bytes: [UInt8]
    private var position = 2

    /// nil: no binary form of this tag.
    init?(_ bytes: [UInt8], tag: UInt8) {
        guard bytes.count >= 2, bytes[0] == compactMarker, bytes[1] == tag else { return nil }
        self.bytes = bytes
    }

    /// Whether all was read.
    var isAtEnd: Bool { position == bytes.count }

    mutating func number<Number: FixedWidthInteger>(_ type: Number.Type = Number.self) -> Number? {
        let size = Number.bitWidth / 8
        guard bytes.count - position >= size else { return nil }
        var value: UInt64 = 0
        for offset in 0..<size { value |= UInt64(bytes[position + offset]) << UInt64(8 * offset) }
        position += size
        return Number(truncatingIfNeeded: value)
    }

    mutating func flag() -> Bool? {
        switch number(UInt8.self) {
        case 0: false
        case 1: true
        default: nil
        }
    }

    mutating func text() -> String? {
        guard let count = number(UInt32.self), bytes.count - position >= count else { return nil }
        defer { position += Int(count) }
        // Not repaired: what is not UTF-8 is no text of ours.
        return String(validating: bytes[position..<(position + Int(count))], as: UTF8.self)
    }

    mutating func texts() -> [String]? { list { $0.text() } }

    mutating func list<Element>(_ element: (inout CompactReader) -> Element?) -> [Element]? {
        // An element takes at least a byte, so a count beyond the rest is a lie; nothing is reserved for it.
        guard let count = number(UInt32.self), bytes.count - position >= count else { return nil }
        var elements: [Element] = []
        for _ in 0..<count {
            guard let next = element(&self) else { return nil }
            elements.append(next)
        }
        return elements
    }
}
