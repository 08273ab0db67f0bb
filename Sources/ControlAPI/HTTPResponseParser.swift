/// Turns bytes into one answer, in pieces of any size: the client's side. Answers with a length, in chunks, and up to
/// the end of the connection are understood; interim ones (100 Continue) are passed over.
package struct HTTPResponseParser: Sendable {
    /// The next part of the answer.
    package enum Part: Sendable, Hashable {
        /// The status code, with the fields.
        case head(status: Int, fields: [HTTPField])
        /// A piece of the body.
        case body([UInt8])
        /// The answer is complete.
        case end
    }

    /// Why bytes are not an answer.
    package struct Violation: Error, Sendable, Hashable, CustomStringConvertible {
        package let description: String
    }

    private enum State {
        case statusLine
        case fields(status: Int, HTTPFieldReader)
        case length(Int)
        case chunkSize
        case chunk(left: Int)
        case chunkEnd
        case trailer(HTTPFieldReader)
        case untilClose
        case complete
    }

    private var queue = HTTPByteQueue()
    private var state = State.statusLine
    private var isClosed = false
    private var received = 0
    private var interim = 0
    private let bodyLimit: Int

    /// Creates a parser; more than `bodyLimit` bytes of body are a violation.
    package init(bodyLimit: Int = HTTPLimits.answerBody) { self.bodyLimit = bodyLimit }

    /// Takes bytes that have arrived.
    package mutating func append(_ bytes: some Collection<UInt8>) { queue.append(bytes) }

    /// The other side has closed the connection.
    package mutating func close() { isClosed = true }

    /// The next part; nil while more bytes are needed.
    package mutating func next() throws(Violation) -> Part? {
        while true {
            switch state {
            case .statusLine:
                guard let line = try takeLine(HTTPLimits.startLine) else { return nil }
                state = .fields(status: try statusOf(line), HTTPFieldReader())
            case .fields(let status, var reader):
                guard let line = try takeLine(HTTPLimits.field) else { return nil }
                guard line.isEmpty else {
                    try take(line, &reader)
                    state = .fields(status: status, reader)
                    continue
                }
                if (100...199).contains(status) {
                    interim += 1
                    guard interim <= 8 else { throw Violation(description: "interim answers without end") }
                    state = .statusLine
                    continue
                }
                state = try framing(status, reader.fields)
                return .head(status: status, fields: reader.fields)
            case .length(0):
                state = .complete
                return .end
            case .length(let left):
                guard let piece = try takeBody(left) else { return nil }
                state = .length(left - piece.count)
                return .body(piece)
            case .chunkSize:
                guard let line = try takeLine(1024) else { return nil }
                let digits = line.prefix { $0 != UInt8(ascii: ";") }
                guard (1...8).contains(digits.count), digits.allSatisfy(isHexDigit),
                    let size = Int(String(decoding: digits, as: UTF8.self), radix: 16)
                else { throw Violation(description: "a chunk without a size") }
                state = size == 0 ? .trailer(HTTPFieldReader()) : .chunk(left: size)
            case .chunk(let left):
                guard let piece = try takeBody(left) else { return nil }
                state = piece.count == left ? .chunkEnd : .chunk(left: left - piece.count)
                return .body(piece)
            case .chunkEnd:
                guard let line = try takeLine(0) else { return nil }
                guard line.isEmpty else { throw Violation(description: "a chunk longer than its size") }
                state = .chunkSize
            case .trailer(var reader):
                guard let line = try takeLine(HTTPLimits.field) else { return nil }
                guard line.isEmpty else {
                    try take(line, &reader)
                    state = .trailer(reader)
                    continue
                }
                state = .complete
                return .end
            case .untilClose:
                if queue.count > 0 {
                    guard let piece = try takeBody(Int.max) else { return nil }
                    return .body(piece)
                }
                guard isClosed else { return nil }
                state = .complete
                return .end
            case .complete:
                return .end
            }
        }
    }

    private mutating func takeLine(_ limit: Int) throws(Violation) -> ArraySlice<UInt8>? {
        do throws(HTTPByteQueue.LineError) {
            if let line = try queue.takeLine(limit: limit) { return line }
        } catch {
            throw Violation(description: "a line that is too long or has no CR LF")
        }
        try failIfClosed()
        return nil
    }

    private mutating func takeBody(_ limit: Int) throws(Violation) -> [UInt8]? {
        let piece = Array(queue.take(upTo: limit))
        guard !piece.isEmpty else {
            try failIfClosed()
            return nil
        }
        received += piece.count
        guard received <= bodyLimit else { throw Violation(description: "a body of more than \(bodyLimit) bytes") }
        return piece
    }

    private func failIfClosed() throws(Violation) {
        if isClosed { throw Violation(description: "the connection was closed in the middle of the answer") }
    }

    private func take(_ line: ArraySlice<UInt8>, _ reader: inout HTTPFieldReader) throws(Violation) {
        do throws(HTTPFailure) {
            try reader.take(line)
        } catch {
            throw Violation(description: error.message)
        }
    }

    private func statusOf(_ line: ArraySlice<UInt8>) throws(Violation) -> Int {
        let words = line.split(separator: UInt8(ascii: " "), maxSplits: 2, omittingEmptySubsequences: false)
        guard words.count >= 2, let version = words.first, version.starts(with: Array("HTTP/1.".utf8)),
            words[1].count == 3, let status = Int(String(decoding: words[1], as: UTF8.self)),
            (100...599).contains(status)
        else { throw Violation(description: "the first line is not of the form \"HTTP/1.1 200 OK\"") }
        return status
    }

    private func framing(_ status: Int, _ fields: [HTTPField]) throws(Violation) -> State {
        let lengths = fields.filter { $0.name == "content-length" }
        if let encoding = fields.first(where: { $0.name == "transfer-encoding" }) {
            guard encoding.value.lowercased() == "chunked", lengths.isEmpty else {
                throw Violation(description: "an unknown transfer encoding")
            }
            return .chunkSize
        }
        if status == 204 || status == 304 { return .length(0) }
        guard let field = lengths.first else { return .untilClose }
        guard lengths.count == 1, let length = contentLength(field.value) else {
            throw Violation(description: "a Content-Length that is not one number")
        }
        return .length(length)
    }
}

private func isHexDigit(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "f"),
        UInt8(ascii: "A")...UInt8(ascii: "F"):
        true
    default: false
    }
}
