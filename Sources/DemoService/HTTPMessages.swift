/// The head of a request, as far as this service cares.
struct HTTPRequest {
    /// `GET`.
    var method: String
    /// The path without its query.
    var path: String
    /// The query's `name=value` pairs, as they came.
    var query: [String: String]
    /// Whether the connection may go on afterwards.
    var keepsAlive: Bool
    /// How many bytes of a body follow.
    var bodyLength: Int
}

extension HTTPRequest {
    /// Reads a head, without its empty line; nil if it is none.
    init?(head: some StringProtocol) {
        let lines = head.split(separator: "\r\n", omittingEmptySubsequences: false)
        let words = (lines.first ?? "").split(separator: " ", omittingEmptySubsequences: false)
        guard words.count == 3, let target = words.dropFirst().first, target.hasPrefix("/"),
            let version = words.last, version.hasPrefix("HTTP/1.")
        else { return nil }
        method = String(words[0])
        let parts = target.split(separator: "?", maxSplits: 1)
        path = String(parts.first ?? "/")
        query = [:]
        for pair in (parts.dropFirst().first ?? "").split(separator: "&") {
            let sides = pair.split(separator: "=", maxSplits: 1)
            if let name = sides.first { query[String(name)] = sides.dropFirst().first.map { String($0) } ?? "" }
        }
        keepsAlive = version != "HTTP/1.0"
        bodyLength = 0
        for line in lines.dropFirst() {
            guard let colon = line.firstIndex(of: ":") else { return nil }
            let value = String(line[line.index(after: colon)...]).trimmedSpaces.lowercased()
            switch line[..<colon].lowercased() {
            case "connection": keepsAlive = value.contains("keep-alive") || (keepsAlive && !value.contains("close"))
            case "content-length":
                guard let length = Int(value), length >= 0 else { return nil }
                bodyLength = length
            case "transfer-encoding": return nil
            default: break
            }
        }
    }
}

/// An answer with a body of JSON or text.
struct HTTPResponse {
    /// The status code.
    var status = 200
    /// The type of the body.
    var type = "application/json"
    /// The body.
    var body: String

    /// The bytes to send; a HEAD request gets no body.
    func bytes(keepsAlive: Bool, withBody: Bool) -> [UInt8] {
        let reason =
            switch status {
            case 200: "OK"
            case 400: "Bad Request"
            case 404: "Not Found"
            case 405: "Method Not Allowed"
            case 413: "Content Too Large"
            case 502: "Bad Gateway"
            default: "Status"
            }
        let head = """
            HTTP/1.1 \(status) \(reason)\r
            Content-Type: \(type)\r
            Content-Length: \(body.utf8.count)\r
            Connection: \(keepsAlive ? "keep-alive" : "close")\r
            \r

            """
        return Array((withBody ? head + body : head).utf8)
    }
}

extension String {
    /// The text without spaces and tabs at either end.
    fileprivate var trimmedSpaces: String {
        let isSpace = { (character: Character) in character == " " || character == "\t" }
        return String(drop(while: isSpace).reversed().drop(while: isSpace).reversed())
    }
}
