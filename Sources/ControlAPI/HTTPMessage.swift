/// One header field; the name in lower case.
package struct HTTPField: Sendable, Hashable {
    /// The name, lower case.
    package var name: String
    /// The value without white space around it.
    package var value: String

    /// Creates a field.
    package init(_ name: String, _ value: String) {
        self.name = name
        self.value = value
    }
}

/// A request, complete with its body.
package struct HTTPRequest: Sendable, Hashable {
    /// `GET`.
    package var method: String
    /// The path and query as sent, percent-encoded: `/v1/status?limits=true`.
    package var target: String
    /// The fields in their order.
    package var fields: [HTTPField]
    /// The body; empty if there is none.
    package var body: [UInt8]
    /// Whether it came as HTTP/1.0, whose clients know no chunks.
    package var isVersion10: Bool

    /// Creates a request.
    package init(
        method: String, target: String, fields: [HTTPField] = [], body: [UInt8] = [], isVersion10: Bool = false
    ) {
        self.method = method
        self.target = target
        self.fields = fields
        self.body = body
        self.isVersion10 = isVersion10
    }

    /// Whether another request may follow on the connection (RFC 9112, section 9.3).
    package var keepsAlive: Bool {
        let options = connectionOptions(fields)
        return isVersion10 ? options.contains("keep-alive") : !options.contains("close")
    }

    /// The bytes to send: the fields given, `Host`, and `Content-Length` where there is a body or a POST.
    package func serialized() -> [UInt8] {
        var text = "\(method) \(target) HTTP/1.1\r\nHost: localhost\r\n"
        for field in fields { text += "\(field.name): \(field.value)\r\n" }
        if !body.isEmpty || method == "POST" { text += "Content-Length: \(body.count)\r\n" }
        return Array((text + "\r\n").utf8) + body
    }
}

/// What the parsers refuse, to keep memory and time bounded.
package enum HTTPLimits {
    /// The request line or status line, in bytes.
    package static let startLine = 8 << 10
    /// One header field, in bytes.
    package static let field = 8 << 10
    /// How many header fields.
    package static let fieldCount = 64
    /// All header fields together, in bytes.
    package static let fields = 32 << 10
    /// The body of a request for a verb, in bytes.
    package static let verbBody = 64 << 10
    /// The body of an answer, in bytes: a status of 2,000 services with many instances fits.
    package static let answerBody = 64 << 20
    /// One line of a stream of JSON lines, in bytes.
    package static let line = 1 << 20
}

/// Why bytes are not a request that can be answered, with the status code to answer.
package struct HTTPFailure: Error, Sendable, Hashable, CustomStringConvertible {
    /// 400, 411, 413, 414, 417, 431, 501 or 505.
    package var status: Int
    /// A sentence for people.
    package var message: String

    package var description: String { message }

    init(_ status: Int, _ message: String) {
        self.status = status
        self.message = message
    }
}

/// The words of the standard for a status code (RFC 9110, section 15).
package func httpReason(_ status: Int) -> String {
    switch status {
    case 100: "Continue"
    case 200: "OK"
    case 202: "Accepted"
    case 304: "Not Modified"
    case 400: "Bad Request"
    case 401: "Unauthorized"
    case 403: "Forbidden"
    case 404: "Not Found"
    case 405: "Method Not Allowed"
    case 408: "Request Timeout"
    case 409: "Conflict"
    case 411: "Length Required"
    case 413: "Content Too Large"
    case 414: "URI Too Long"
    case 417: "Expectation Failed"
    case 421: "Misdirected Request"
    case 422: "Unprocessable Content"
    case 429: "Too Many Requests"
    case 431: "Request Header Fields Too Large"
    case 500: "Internal Server Error"
    case 501: "Not Implemented"
    case 503: "Service Unavailable"
    case 504: "Gateway Timeout"
    case 505: "HTTP Version Not Supported"
    default: "Status"
    }
}

/// The bytes of an answer.
package enum HTTPAnswer {
    /// The media type of JSON.
    package static let json = "application/json"
    /// The media type of Prometheus's text format.
    package static let metrics = "text/plain; version=0.0.4; charset=utf-8"

    /// A complete answer with its body, JSON if nothing else is said, which is left out (not its length) in the answer to a
    /// HEAD.
    package static func complete(
        status: Int, fields: [HTTPField] = [], type: String = json, body: [UInt8], closes: Bool, omitsBody: Bool = false
    ) -> [UInt8] {
        var all = fields
        all.append(HTTPField("Content-Type", type))
        all.append(HTTPField("Content-Length", String(body.count)))
        return head(status, all, closes: closes) + (omitsBody ? [] : body)
    }

    /// The head of an answer in JSON lines, if nothing else is said, whose body follows in chunks, or, for `chunked` false, until the end of
    /// the connection.
    package static func streamHead(
        status: Int, fields: [HTTPField] = [], type: String = "application/x-ndjson", chunked: Bool, closes: Bool
    ) -> [UInt8] {
        var fields = fields + [HTTPField("Content-Type", type)]
        if chunked { fields.append(HTTPField("Transfer-Encoding", "chunked")) }
        return head(status, fields, closes: closes || !chunked)
    }

    /// One chunk; empty bytes give nothing, since an empty chunk would be the last.
    package static func chunk(_ bytes: [UInt8]) -> [UInt8] {
        guard !bytes.isEmpty else { return [] }
        return Array((String(bytes.count, radix: 16) + "\r\n").utf8) + bytes + Array("\r\n".utf8)
    }

    /// The end of the chunks.
    package static let lastChunk = Array("0\r\n\r\n".utf8)

    /// Says that the body may come (RFC 9110, section 10.1.1).
    package static let goOn = Array("HTTP/1.1 100 Continue\r\n\r\n".utf8)

    private static func head(_ status: Int, _ fields: [HTTPField], closes: Bool) -> [UInt8] {
        var text = "HTTP/1.1 \(status) \(httpReason(status))\r\n"
        for field in fields { text += "\(field.name): \(field.value)\r\n" }
        if closes { text += "Connection: close\r\n" }
        return Array((text + "\r\n").utf8)
    }
}

/// The comma-separated words of all `Connection` fields, lower case.
func connectionOptions(_ fields: [HTTPField]) -> Set<String> {
    var options: Set<String> = []
    for field in fields where field.name == "connection" {
        for word in field.value.split(separator: ",") {
            options.insert(word.trimmingBlanks().lowercased())
        }
    }
    return options
}

extension Substring {
    /// Without spaces and tabs at both ends.
    func trimmingBlanks() -> Substring {
        var rest = self
        while let first = rest.first, first == " " || first == "\t" { rest = rest.dropFirst() }
        while let last = rest.last, last == " " || last == "\t" { rest = rest.dropLast() }
        return rest
    }
}
