import Manifest

/// A GET of a probe, and what is expected of its answer.
struct HTTPProbe: Sendable, Hashable {
    /// The path as it is asked for.
    var path: String
    /// The value of the `Host` header.
    var host: String
    /// The status and the body that are right.
    var expected: HTTPCheck

    /// A request to a port.
    init(_ check: HTTPCheck, port: UInt16, _ value: (Template.Variable) -> String) {
        path = check.path.expanded(value)
        host = check.host ?? "127.0.0.1:\(port)"
        expected = check
    }

    /// The request; nil if the path would smuggle something into it.
    var request: [UInt8]? {
        guard path.hasPrefix("/"), (path + host).utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7f }) else { return nil }
        let head = [
            "GET \(path) HTTP/1.1", "Host: \(host)", "User-Agent: supd", "Accept: */*", "Connection: close",
        ]
        return Array((head.joined(separator: "\r\n") + "\r\n\r\n").utf8)
    }

    /// What an answer so far comes to; nil: more of it must come. `wantsOutput`: an answer that is wrong is read on, since
    /// its body says why.
    func judge(_ answer: HTTPAnswerReader, wantsOutput: Bool) -> ProbeResult? {
        if answer.isMalformed { return .failed("GET \(path): the answer is not HTTP") }
        guard let status = answer.status else {
            return answer.isComplete ? .failed("GET \(path): the connection was closed without an answer") : nil
        }
        let text = "GET \(path) answered \(status)"
        guard expected.accepts(status) else {
            guard wantsOutput else { return .failed(text) }
            return answer.isComplete ? .failed(text, output: Self.excerpt(answer.body)) : nil
        }
        guard let body = expected.body else { return .passed(text) }
        if answer.body.contains(Array(body.utf8)) { return .passed(text) }
        guard answer.isComplete else { return nil }
        return .failed("\(text), but without '\(body)' in its body", output: Self.excerpt(answer.body))
    }

    private static func excerpt(_ body: [UInt8]) -> String {
        readable(String(decoding: body.prefix(2048), as: UTF8.self))
    }
}

/// A text from outside without what could do something to a terminal or a log; lines stay lines.
func readable(_ text: String) -> String {
    String(
        String.UnicodeScalarView(
            text.unicodeScalars.filter { $0 == "\n" || $0 == "\t" || $0.properties.generalCategory != .control }))
}
