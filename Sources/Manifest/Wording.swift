/// Text from outside as it may stand in a message: in quotes, short, nothing in it that a terminal would obey.
func quoted(_ text: String) -> String {
    var result = "\""
    var count = 0
    for scalar in text.unicodeScalars {
        guard count < 60 else {
            result += "…"
            break
        }
        count += 1
        switch scalar {
        case "\"": result += "\\\""
        case "\\": result += "\\\\"
        case "\n": result += "\\n"
        case "\t": result += "\\t"
        default: result += isPrintable(scalar) ? String(scalar) : codePoint(scalar)
        }
    }
    return result + "\""
}

/// Whether a scalar shows as itself: no control, format, surrogate, private or unassigned one.
func isPrintable(_ scalar: Unicode.Scalar) -> Bool {
    if scalar.value < 0x80 { return (0x20..<0x7F).contains(scalar.value) }
    switch scalar.properties.generalCategory {
    case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator: return false
    default: return true
    }
}

/// `U+200B`
func codePoint(_ scalar: Unicode.Scalar) -> String {
    let digits = String(scalar.value, radix: 16, uppercase: true)
    return "U+" + String(repeating: "0", count: max(0, 4 - digits.count)) + digits
}

/// `a`, `a or b`, `a, b or c`
func alternatives(_ words: [String]) -> String {
    guard let last = words.last else { return "" }
    return words.count == 1 ? last : words.dropLast().joined(separator: ", ") + " or " + last
}

/// `1 error`, `2 errors`
func counted(_ count: Int, _ noun: String) -> String { "\(count) \(noun)\(count == 1 ? "" : "s")" }

/// Whether a byte is an ASCII letter or digit.
func isLetterOrDigit(_ byte: UInt8) -> Bool {
    isDigit(byte) || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
        || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
}

/// Whether a byte is an ASCII digit.
func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

/// What somebody probably meant: the candidate at the least edit distance, if that is small for the word's length, and no
/// more than a limit.
package func nearest(
    to word: String, among candidates: some Sequence<String>, atMost limit: Int = .max
) -> String? {
    let letters = Array(word.utf8)
    guard !letters.isEmpty, letters.count <= 64 else { return nil }
    let allowed = min(max(1, letters.count / 3), limit)
    var best: (word: String, distance: Int)?
    for candidate in candidates {
        let other = Array(candidate.utf8)
        guard other.count <= 64, abs(other.count - letters.count) <= allowed else { continue }
        let distance = editDistance(
            lowercased(letters), lowercased(other), atMost: min(allowed, best?.distance ?? allowed))
        guard let distance, distance < (best?.distance ?? Int.max) else { continue }
        best = (candidate, distance)
    }
    return best?.word
}

private func lowercased(_ bytes: [UInt8]) -> [UInt8] {
    bytes.map { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) ? $0 + 32 : $0 }
}

/// Insertions, deletions, substitutions and swaps of neighbours (optimal string alignment); nil when above the limit.
private func editDistance(_ left: [UInt8], _ right: [UInt8], atMost limit: Int) -> Int? {
    var beforeLast: [Int] = []
    var last = Array(0...right.count)
    for (i, a) in left.enumerated() {
        var row = [i + 1]
        row.reserveCapacity(right.count + 1)
        for (j, b) in right.enumerated() {
            var cost = min(row[j] + 1, last[j + 1] + 1, last[j] + (a == b ? 0 : 1))
            if i > 0, j > 0, a == right[j - 1], left[i - 1] == b { cost = min(cost, beforeLast[j - 1] + 1) }
            row.append(cost)
        }
        guard (row.min() ?? 0) <= limit else { return nil }
        beforeLast = last
        last = row
    }
    guard let distance = last.last, distance <= limit else { return nil }
    return distance
}
