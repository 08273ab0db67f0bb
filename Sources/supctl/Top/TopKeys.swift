/// A key of the full-screen view.
enum TopKey: Equatable {
    case up, down, pageUp, pageDown, home, end, enter, escape, backspace, interrupt, suspend, redraw
    case character(Unicode.Scalar)
}

/// Makes keys of the bytes that a terminal sends.
struct TopKeyReader {
    /// The beginning of a key whose end has not come yet.
    private var pending: [UInt8] = []
    /// No key is longer; what is, is none.
    private static let longest = 16

    /// The keys that these bytes complete. An escape at their end stands for itself: terminals send what it may begin in
    /// one piece.
    mutating func read(_ bytes: [UInt8]) -> [TopKey] {
        pending += bytes
        var keys: [TopKey] = []
        while let first = pending.first {
            guard let (key, length) = first == 0x1b ? Self.sequence(pending) : Self.plain(pending) else {
                if pending.count > Self.longest { pending = [] }
                break
            }
            pending.removeFirst(length)
            if let key { keys.append(key) }
        }
        return keys
    }

    /// A key that begins with an escape; nil: more is to come.
    private static func sequence(_ bytes: [UInt8]) -> (TopKey?, Int)? {
        guard bytes.count > 1 else { return (.escape, 1) }
        guard bytes[1] == UInt8(ascii: "[") || bytes[1] == UInt8(ascii: "O") else { return (.escape, 1) }
        // Parameters, and a last byte that says what it is.
        guard let last = bytes.dropFirst(2).firstIndex(where: { (0x40...0x7e).contains($0) }) else { return nil }
        let parameter = String(decoding: bytes[2..<last].prefix { $0 != UInt8(ascii: ";") }, as: UTF8.self)
        let key: TopKey? =
            switch (bytes[last], parameter) {
            case (UInt8(ascii: "A"), _): .up
            case (UInt8(ascii: "B"), _): .down
            case (UInt8(ascii: "H"), _), (UInt8(ascii: "~"), "1"), (UInt8(ascii: "~"), "7"): .home
            case (UInt8(ascii: "F"), _), (UInt8(ascii: "~"), "4"), (UInt8(ascii: "~"), "8"): .end
            case (UInt8(ascii: "~"), "5"): .pageUp
            case (UInt8(ascii: "~"), "6"): .pageDown
            default: nil
            }
        return (key, last + 1)
    }

    private static func plain(_ bytes: [UInt8]) -> (TopKey?, Int)? {
        switch bytes.first ?? 0 {
        case 0x0d, 0x0a: return (.enter, 1)
        case 0x7f, 0x08: return (.backspace, 1)
        case 0x03, 0x04, 0x1c: return (.interrupt, 1)
        case 0x1a: return (.suspend, 1)
        case 0x0c: return (.redraw, 1)
        case ..<0x20: return (nil, 1)
        case let first: return character(bytes, first)
        }
    }

    /// A character in UTF-8; what is none is left out.
    private static func character(_ bytes: [UInt8], _ first: UInt8) -> (TopKey?, Int)? {
        let length = first < 0x80 ? 1 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc2 ? 2 : 1
        guard bytes.count >= length else { return nil }
        let scalars = String(decoding: bytes.prefix(length), as: UTF8.self).unicodeScalars
        guard let scalar = scalars.first, scalars.count == 1, !isControl(scalar), scalar != "\u{fffd}" else {
            return (nil, 1)
        }
        return (.character(scalar), length)
    }
}
