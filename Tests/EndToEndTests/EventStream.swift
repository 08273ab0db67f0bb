import Platform
import TestSupport

/// The page's stream of events, read as it comes.
final class EventStream {
    private let stream: BlockingStream
    private(set) var text = ""

    init(_ page: UInt16, target: String = "/v1/events", after: UInt64? = nil) throws {
        stream = try BlockingStream.connect(to: "127.0.0.1:\(page)", timeoutSeconds: 30)
        let last = after.map { "Last-Event-ID: \($0)\r\n" } ?? ""
        try stream.write(Array("GET \(target) HTTP/1.0\r\nHost: localhost\r\n\(last)\r\n".utf8))
    }

    /// Reads until a text has come, from the beginning on.
    func wait(for wanted: String) throws {
        let deadline = monotonicNanoseconds() + 60_000_000_000
        while !text.contains(wanted) {
            // The status comes for ever.
            guard monotonicNanoseconds() < deadline else { throw TestFailure("no \(wanted) in \(text.suffix(2000))") }
            let more = try stream.read(upTo: 65536)
            guard !more.isEmpty else { throw TestFailure("the stream ended before \(wanted): \(text.suffix(2000))") }
            text += String(decoding: more, as: UTF8.self)
        }
        // A message that has begun is read to its end.
        while !text.hasSuffix("\n\n") {
            let more = try stream.read(upTo: 65536)
            guard !more.isEmpty else { return }
            text += String(decoding: more, as: UTF8.self)
        }
    }

    /// The numbers of all events so far.
    var numbers: [UInt64] {
        text.split(separator: "\n").compactMap { $0.hasPrefix("id: ") ? UInt64($0.dropFirst(4)) : nil }
    }
}
