/// Collects header fields line by line, within limits.
struct HTTPFieldReader: Sendable {
    private(set) var fields: [HTTPField] = []
    private var total = 0

    /// Takes one line of the header section (not the empty one that ends it).
    mutating func take(_ line: ArraySlice<UInt8>) throws(HTTPFailure) {
        total += line.count
        guard fields.count < HTTPLimits.fieldCount, total <= HTTPLimits.fields else {
            throw HTTPFailure(
                431, "more than \(HTTPLimits.fieldCount) header fields or \(HTTPLimits.fields) bytes of them")
        }
        guard let colon = line.firstIndex(of: UInt8(ascii: ":")), colon > line.startIndex,
            line[..<colon].allSatisfy(isTokenByte)
        else { throw HTTPFailure(400, "a header field is not of the form \"Name: value\"") }
        let value = line[(colon + 1)...]
        guard value.allSatisfy({ $0 == 9 || ($0 >= 0x20 && $0 != 0x7f) }) else {
            throw HTTPFailure(400, "the value of a header field has a control character")
        }
        fields.append(
            HTTPField(
                String(decoding: line[..<colon], as: UTF8.self).lowercased(),
                String(String(decoding: value, as: UTF8.self)[...].trimmingBlanks())))
    }
}

/// Whether a byte may be part of a method or field name (RFC 9110, section 5.6.2).
func isTokenByte(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "a")...UInt8(ascii: "z"):
        true
    default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
    }
}

/// The number of a Content-Length; nil unless it is digits alone and not absurd.
func contentLength(_ text: String) -> Int? {
    guard (1...15).contains(text.utf8.count),
        text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) })
    else { return nil }
    return Int(text)
}
