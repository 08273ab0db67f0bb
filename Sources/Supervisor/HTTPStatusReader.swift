/// Reads the status of an HTTP/1 response from its first bytes (RFC 9112, section 4); interim responses (1xx) are skipped.
struct HTTPStatusReader {
    /// What the bytes so far say.
    enum Outcome: Hashable {
        /// Nothing yet.
        case incomplete
        /// The status of the final response, 200 to 999.
        case status(Int)
        /// This is not HTTP, or too much of it came before a status.
        case malformed
    }

    /// The most bytes taken before a final status.
    static let limit = 65_536

    /// What has come, from the status line of the final response on once its status is known.
    private(set) var bytes: [UInt8] = []

    /// Takes the next bytes.
    mutating func receive(_ more: [UInt8]) -> Outcome {
        guard bytes.count + more.count <= Self.limit else { return .malformed }
        bytes += more
        while let end = bytes.firstIndex(of: UInt8(ascii: "\n")) {
            guard let status = Self.status(ofLine: bytes[..<end]) else { return .malformed }
            guard status < 200 else { return .status(status) }
            guard let next = Self.endOfHead(bytes) else { return .incomplete }
            bytes.removeFirst(next)
        }
        // A server that speaks something else is told by its first bytes, not by a line that never ends.
        return bytes.starts(with: "HTTP/1.".utf8.prefix(bytes.count)) && bytes.count < 4096 ? .incomplete : .malformed
    }

    /// `HTTP/1.1 204 No Content`, with a carriage return or without.
    private static func status(ofLine line: ArraySlice<UInt8>) -> Int? {
        guard line.starts(with: "HTTP/1.".utf8) else { return nil }
        let fields = line.split(separator: UInt8(ascii: " "), maxSplits: 2)
        guard fields.count >= 2 else { return nil }
        let digits = fields[1].last == UInt8(ascii: "\r") ? fields[1].dropLast() : fields[1]
        guard digits.count == 3, let status = Int(String(decoding: digits, as: UTF8.self)), status >= 100 else {
            return nil
        }
        return status
    }

    /// Where the bytes after the first empty line begin.
    private static func endOfHead(_ bytes: [UInt8]) -> Int? {
        var lineIsEmpty = false
        for (index, byte) in bytes.enumerated() {
            switch byte {
            case UInt8(ascii: "\n") where lineIsEmpty: return index + 1
            case UInt8(ascii: "\n"): lineIsEmpty = true
            case UInt8(ascii: "\r"): break
            default: lineIsEmpty = false
            }
        }
        return nil
    }
}
