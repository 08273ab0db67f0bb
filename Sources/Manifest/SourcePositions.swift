/// A place in a text as people and editors count it.
package struct SourcePosition: Sendable, Hashable, Codable {
    /// The line, from 1. Lines end with LF, CR or CRLF.
    package var line: Int
    /// The column, from 1: Unicode scalars, a tab is one.
    package var column: Int

    /// Creates a position.
    package init(line: Int, column: Int) {
        self.line = line
        self.column = column
    }
}

/// Turns byte offsets into lines and columns. The reader keeps offsets alone, so that a text without errors is never
/// counted, and one with errors only once.
package enum SourcePositions {
    /// The positions of some offsets, in one pass over the text: linear in its length, however many are asked for.
    package static func resolve(_ offsets: some Sequence<Int>, in text: [UInt8]) -> [Int: SourcePosition] {
        var result: [Int: SourcePosition] = [:]
        var position = SourcePosition(line: 1, column: 1)
        var index = 0
        // A byte order mark is not seen in an editor.
        let start = text.starts(with: [0xEF, 0xBB, 0xBF]) ? 3 : 0
        for offset in Set(offsets).sorted() {
            while index < offset, index < text.count {
                let byte = text[index]
                let next = index + 1 < text.count ? text[index + 1] : 0
                if byte == 0x0A || (byte == 0x0D && next != 0x0A) {
                    position = SourcePosition(line: position.line + 1, column: 1)
                } else if byte & 0xC0 != 0x80, index >= start {
                    position.column += 1
                }
                index += 1
            }
            result[offset] = position
        }
        return result
    }
}
