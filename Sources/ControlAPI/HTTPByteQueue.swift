/// Bytes that have arrived and were not taken yet. Taking a line never looks at a byte twice, however small the pieces
/// in which it arrives.
struct HTTPByteQueue: Sendable {
    /// Why there is no line.
    enum LineError: Error {
        /// No end of line within the limit.
        case tooLong
        /// A line feed without a carriage return before it, or a carriage return elsewhere: what one reader takes for
        /// the end of a line another one does not, which is how requests are smuggled.
        case bareLineEnd
    }

    private var bytes: [UInt8] = []
    private var start = 0
    private var scanned = 0

    /// How many bytes wait.
    var count: Int { bytes.count - start }

    mutating func append(_ more: some Collection<UInt8>) {
        if start > 0, start >= bytes.count / 2 {
            bytes.removeFirst(start)
            scanned -= start
            start = 0
        }
        bytes.append(contentsOf: more)
    }

    /// The next line without its CRLF; nil while it is not complete.
    mutating func takeLine(limit: Int) throws(LineError) -> ArraySlice<UInt8>? {
        scanned = max(scanned, start)
        guard let end = bytes[scanned...].firstIndex(of: UInt8(ascii: "\n")) else {
            scanned = bytes.count
            if count > limit + 1 { throw .tooLong }
            return nil
        }
        let line = bytes[start..<end]
        guard line.last == UInt8(ascii: "\r") else { throw line.count > limit ? .tooLong : .bareLineEnd }
        let content = line.dropLast()
        guard content.count <= limit else { throw .tooLong }
        guard !content.contains(UInt8(ascii: "\r")) else { throw .bareLineEnd }
        start = end + 1
        return content
    }

    /// At most this many bytes.
    mutating func take(upTo limit: Int) -> ArraySlice<UInt8> {
        let taken = bytes[start...].prefix(limit)
        start = taken.endIndex
        return taken
    }
}
