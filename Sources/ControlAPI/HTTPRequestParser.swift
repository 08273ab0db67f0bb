/// Turns bytes into requests, in pieces of any size: one request after the other, never more than one ahead. It is
/// strict, since being lenient is what makes two readers of one stream disagree: CRLF only, no folded fields, at most
/// one Content-Length, no chunked bodies. After it has thrown, the connection is of no more use.
package struct HTTPRequestParser: Sendable {
    /// What the bytes so far amount to.
    package enum Outcome: Sendable, Hashable {
        /// A request, complete.
        case request(HTTPRequest)
        /// The client waits to be told that it may send the body; said at most once per request.
        case expectsContinue
        /// More bytes are needed.
        case needsMore
    }

    private enum State {
        case startLine
        case fields(HTTPRequest, HTTPFieldReader)
        case body(HTTPRequest, length: Int, saysContinue: Bool)
        case failed(HTTPFailure)
    }

    private var queue = HTTPByteQueue()
    private var state = State.startLine
    private var emptyLines = 0
    private let bodyLimit: Int

    /// Creates a parser; a larger body than `bodyLimit` bytes is refused as soon as it is announced.
    package init(bodyLimit: Int = HTTPLimits.verbBody) { self.bodyLimit = bodyLimit }

    /// How many bytes wait that belong to no complete request yet.
    package var waiting: Int { queue.count }

    /// Whether a request has begun and is not complete.
    package var isInRequest: Bool {
        if case .startLine = state { queue.count > 0 } else { true }
    }

    /// The method of the request that is being read, once its first line is there: for an answer to a HEAD that fails.
    package var methodInProgress: String? {
        switch state {
        case .fields(let request, _), .body(let request, _, _): request.method
        case .startLine, .failed: nil
        }
    }

    /// Takes bytes that have arrived.
    package mutating func append(_ bytes: some Collection<UInt8>) { queue.append(bytes) }

    /// The next request, if it is complete.
    package mutating func next() throws(HTTPFailure) -> Outcome {
        if case .failed(let failure) = state { throw failure }
        do throws(HTTPFailure) {
            return try advance()
        } catch {
            state = .failed(error)
            throw error
        }
    }

    private mutating func advance() throws(HTTPFailure) -> Outcome {
        while true {
            switch state {
            case .startLine:
                guard let line = try takeLine(limit: HTTPLimits.startLine, tooLong: 414) else { return .needsMore }
                if line.isEmpty {
                    // RFC 9112, section 2.2: empty lines before a request are to be passed over. A few, not for ever.
                    emptyLines += 1
                    guard emptyLines <= 4 else { throw HTTPFailure(400, "empty lines in place of a request") }
                    continue
                }
                emptyLines = 0
                state = .fields(try parseRequestLine(line), HTTPFieldReader())
            case .fields(var request, var reader):
                guard let line = try takeLine(limit: HTTPLimits.field, tooLong: 431) else { return .needsMore }
                if line.isEmpty {
                    request.fields = reader.fields
                    let (length, waits) = try bodyOf(request)
                    state = .body(request, length: length, saysContinue: waits)
                } else {
                    try reader.take(line)
                    state = .fields(request, reader)
                }
            case .body(var request, let length, let saysContinue):
                // The body stays in the queue until it is all there: the limit on it bounds the queue too.
                guard queue.count >= length else {
                    guard saysContinue, queue.count == 0 else { return .needsMore }
                    state = .body(request, length: length, saysContinue: false)
                    return .expectsContinue
                }
                request.body = Array(queue.take(upTo: length))
                state = .startLine
                return .request(request)
            case .failed(let failure):
                throw failure
            }
        }
    }

    private mutating func takeLine(limit: Int, tooLong: Int) throws(HTTPFailure) -> ArraySlice<UInt8>? {
        do throws(HTTPByteQueue.LineError) {
            return try queue.takeLine(limit: limit)
        } catch {
            switch error {
            case .tooLong: throw HTTPFailure(tooLong, "a line of the request is longer than \(limit) bytes")
            case .bareLineEnd: throw HTTPFailure(400, "a line of the request does not end with CR LF")
            }
        }
    }

    private func parseRequestLine(_ line: ArraySlice<UInt8>) throws(HTTPFailure) -> HTTPRequest {
        let words = line.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
        guard words.count == 3, let method = words.first, let version = words.last,
            !method.isEmpty, method.count <= 32, method.allSatisfy(isTokenByte)
        else { throw HTTPFailure(400, "the first line of the request is not of the form \"GET /path HTTP/1.1\"") }
        let target = words[1]
        guard target.first == UInt8(ascii: "/"),
            target.allSatisfy({ (0x21...0x7e).contains($0) && $0 != UInt8(ascii: "#") })
        else { throw HTTPFailure(400, "the target of the request is not a path of printable ASCII characters") }
        let isVersion10: Bool
        switch String(decoding: version, as: UTF8.self) {
        case "HTTP/1.1": isVersion10 = false
        case "HTTP/1.0": isVersion10 = true
        case let other where other.hasPrefix("HTTP/") && other.utf8.count <= 8:
            throw HTTPFailure(505, "only HTTP/1.1 and HTTP/1.0 are spoken here")
        default: throw HTTPFailure(400, "the first line of the request does not end with HTTP/1.1")
        }
        return HTTPRequest(
            method: String(decoding: method, as: UTF8.self), target: String(decoding: target, as: UTF8.self),
            isVersion10: isVersion10)
    }

    /// The length of the body, and whether the client waits for leave to send it.
    private func bodyOf(_ request: HTTPRequest) throws(HTTPFailure) -> (length: Int, waits: Bool) {
        func values(_ name: String) -> [String] { request.fields.filter { $0.name == name }.map(\.value) }

        let hosts = values("host")
        guard hosts.count <= 1, !hosts.isEmpty || request.isVersion10 else {
            throw HTTPFailure(400, "the request needs one Host field")
        }
        let lengths = values("content-length")
        if let encoding = values("transfer-encoding").first {
            guard lengths.isEmpty else { throw HTTPFailure(400, "both Transfer-Encoding and Content-Length are given") }
            guard encoding.lowercased() == "chunked" else {
                throw HTTPFailure(501, "Transfer-Encoding is not supported; send Content-Length")
            }
            throw HTTPFailure(411, "chunked bodies are not supported; send Content-Length")
        }
        guard lengths.count <= 1 else { throw HTTPFailure(400, "Content-Length is given twice") }
        var length = 0
        if let text = lengths.first {
            guard let number = contentLength(text) else {
                throw HTTPFailure(400, "Content-Length is not a number")
            }
            guard number <= bodyLimit else {
                throw HTTPFailure(413, "the body of \(number) bytes is larger than the limit of \(bodyLimit) bytes")
            }
            length = number
        }
        let expectations = values("expect")
        guard expectations.allSatisfy({ $0.lowercased() == "100-continue" }) else {
            throw HTTPFailure(417, "the only expectation supported is 100-continue")
        }
        return (length, !expectations.isEmpty && length > 0 && !request.isVersion10)
    }
}
