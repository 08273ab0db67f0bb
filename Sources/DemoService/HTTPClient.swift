import Platform

/// Why another service could not be asked.
enum FetchError: Error {
    /// It could not be reached.
    case unreachable(SystemError)
    /// What it said was not HTTP, or more than a megabyte.
    case badAnswer
}

extension FetchError: CustomStringConvertible {
    var description: String {
        switch self {
        case .unreachable(let error): error.description
        case .badAnswer: "its answer is not HTTP"
        }
    }
}

/// Asks for a page with a connection of its own; `address` is `host:port` or `unix:/path`.
func fetch(path: String, from address: String) throws(FetchError) -> (status: Int, body: String) {
    let text: String
    do throws(SystemError) {
        text = try exchange("GET \(path) HTTP/1.0\r\nHost: \(address)\r\n\r\n", with: address)
    } catch {
        throw FetchError.unreachable(error)
    }
    let parts = text.split(separator: "\r\n\r\n", maxSplits: 1, omittingEmptySubsequences: false)
    guard let head = parts.first, parts.count == 2, head.hasPrefix("HTTP/1."),
        let word = head.split(separator: " ").dropFirst().first, let status = Int(word.prefix(3))
    else { throw FetchError.badAnswer }
    return (status, String(parts[1]))
}

/// Sends a text and reads to the end, at most a megabyte.
private func exchange(_ text: String, with address: String) throws(SystemError) -> String {
    let stream = try BlockingStream.connect(to: address)
    try stream.write(Array(text.utf8))
    var bytes: [UInt8] = []
    while bytes.count < 1 << 20 {
        let more = try stream.read(upTo: 16 << 10)
        if more.isEmpty { break }
        bytes += more
    }
    return String(decoding: bytes, as: UTF8.self)
}
