/// Reads an HTTP/1 response as far as a probe needs it: its status, and the first of its body without the framing of
/// chunks (RFC 9112, sections 6 and 7). Whatever a server sends, it holds a bounded number of bytes.
struct HTTPAnswerReader {
    /// The most bytes of a body that are kept; what comes later is not looked at.
    static let bodyLimit = 65_536
    /// The most bytes of a head, or of the line that tells the size of a chunk.
    private static let lineLimit = 4096

    /// The status of the final response, once it is known.
    private(set) var status: Int?
    /// The first of the body.
    private(set) var body: [UInt8] = []
    /// Nothing more of the body is to come, or to be kept.
    private(set) var isComplete = false
    /// This is not HTTP.
    private(set) var isMalformed = false

    private enum Part {
        case status
        case head
        /// Nil: until the connection ends.
        case body(left: Int?)
        case chunkSize
        case chunk(left: Int)
        case chunkEnd
    }

    private var part = Part.status
    private var statusReader = HTTPStatusReader()
    /// What was received and belongs to the present part.
    private var pending: [UInt8] = []

    /// Takes the next bytes.
    mutating func receive(_ bytes: [UInt8]) {
        guard !isComplete, !isMalformed else { return }
        if case .status = part {
            switch statusReader.receive(bytes) {
            case .incomplete: return
            case .malformed: return isMalformed = true
            case .status(let status): self.status = status
            }
            pending = statusReader.bytes
            part = .head
        } else {
            pending += bytes
        }
        while !isComplete, takePart() {}
    }

    /// The connection has ended: what there is of the body is all.
    mutating func end() { isComplete = true }

    /// Goes one step further; false if more bytes are needed.
    private mutating func takePart() -> Bool {
        switch part {
        case .status: return false
        case .head: return takeHead()
        case .body(let left):
            let count = min(left ?? .max, pending.count)
            keep(count)
            guard let left else { return false }
            part = .body(left: left - count)
            if left == count { isComplete = true }
            return false
        case .chunkSize:
            guard let line = takeLine() else { return false }
            let digits = line.prefix { $0 != UInt8(ascii: ";") && $0 != UInt8(ascii: " ") && $0 != UInt8(ascii: "\t") }
            guard let size = Int(String(decoding: digits, as: UTF8.self), radix: 16), size > 0 else {
                isComplete = true
                return false
            }
            part = .chunk(left: size)
            return true
        case .chunk(let left):
            let count = min(left, pending.count)
            keep(count)
            part = count == left ? .chunkEnd : .chunk(left: left - count)
            return count == left
        case .chunkEnd:
            guard takeLine() != nil else { return false }
            part = .chunkSize
            return true
        }
    }

    private mutating func takeHead() -> Bool {
        var length: Int?
        var isChunked = false
        var rest = pending[...]
        while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
            let line = Self.withoutReturn(rest[..<end])
            rest = rest[(end + 1)...]
            guard !line.isEmpty else {
                pending = Array(rest)
                part = isChunked ? .chunkSize : .body(left: length)
                if length == 0, !isChunked { isComplete = true }
                return true
            }
            guard let (name, value) = Self.field(line) else { continue }
            if name == "content-length" { length = Int(value).map { max(0, $0) } }
            if name == "transfer-encoding" { isChunked = value.lowercased().hasSuffix("chunked") }
        }
        // A head without end has no body that could be looked at.
        if pending.count > HTTPStatusReader.limit { isComplete = true }
        return false
    }

    /// The next line without its end, in the body's framing; nil if it is not there yet, or too long to be one.
    private mutating func takeLine() -> [UInt8]? {
        guard let end = pending.firstIndex(of: UInt8(ascii: "\n")) else {
            if pending.count > Self.lineLimit { isComplete = true }
            return nil
        }
        let line = Array(Self.withoutReturn(pending[..<end]))
        pending.removeFirst(end + 1)
        return line
    }

    /// Moves pending bytes to the body, as many as it may hold.
    private mutating func keep(_ count: Int) {
        body += pending.prefix(min(count, Self.bodyLimit - body.count))
        pending.removeFirst(count)
        if body.count >= Self.bodyLimit { isComplete = true }
    }

    private static func withoutReturn(_ line: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        line.last == UInt8(ascii: "\r") ? line.dropLast() : line
    }

    /// A field's name in lower case, and its value.
    private static func field(_ line: ArraySlice<UInt8>) -> (name: String, value: String)? {
        guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else { return nil }
        let isSpace: (UInt8) -> Bool = { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") }
        var value = line[(colon + 1)...].drop(while: isSpace)
        while let last = value.last, isSpace(last) { value = value.dropLast() }
        return (
            String(decoding: line[..<colon], as: UTF8.self).lowercased(), String(decoding: value, as: UTF8.self)
        )
    }
}
