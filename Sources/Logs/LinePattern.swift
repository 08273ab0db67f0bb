/// A text that a line must contain; `*` stands for anything within the line, `\*` for an asterisk and `\\` for a backslash.
/// A line is looked at in time that grows with its length alone, whatever it and the pattern say.
package struct LinePattern: Sendable, Hashable {
    /// A piece between two asterisks.
    private struct Piece: Sendable, Hashable {
        var bytes: [UInt8]
        /// For every prefix of it, the length of the longest proper prefix that it also ends with (Knuth, Morris, Pratt).
        var borders: [Int]

        init(_ bytes: [UInt8]) {
            self.bytes = bytes
            borders = [0]
            var length = 0
            for byte in bytes.dropFirst() {
                while length > 0, bytes[length] != byte { length = borders[length - 1] }
                if bytes[length] == byte { length += 1 }
                borders.append(length)
            }
        }
    }

    private var pieces: [Piece] = []

    /// Reads a pattern. One without a byte but asterisks is contained in every line.
    package init(_ text: String) {
        var piece: [UInt8] = []
        var isEscaped = false
        for byte in text.utf8 {
            if !isEscaped, byte == UInt8(ascii: "\\") {
                isEscaped = true
            } else if !isEscaped, byte == UInt8(ascii: "*") {
                if !piece.isEmpty { pieces.append(Piece(piece)) }
                piece = []
            } else {
                // A backslash before anything else is one.
                if isEscaped, byte != UInt8(ascii: "*"), byte != UInt8(ascii: "\\") { piece.append(UInt8(ascii: "\\")) }
                piece.append(byte)
                isEscaped = false
            }
        }
        if isEscaped { piece.append(UInt8(ascii: "\\")) }
        if !piece.isEmpty { pieces.append(Piece(piece)) }
    }

    /// Whether a line of so many bytes contains it; `byte` answers each in turn.
    func isContained(inLineOf count: Int, byte: (Int) -> UInt8) -> Bool {
        var current = 0
        var length = 0
        guard current < pieces.count else { return true }
        for offset in 0..<max(count, 0) {
            let next = byte(offset)
            let piece = pieces[current]
            while length > 0, piece.bytes[length] != next { length = piece.borders[length - 1] }
            if piece.bytes[length] == next { length += 1 }
            guard length == piece.bytes.count else { continue }
            // The first place that fits is as good as any later one.
            current += 1
            length = 0
            if current == pieces.count { return true }
        }
        return false
    }
}
