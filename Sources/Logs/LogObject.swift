/// A line of a log as an object: what `GET /v1/logs` answers and `supctl logs --json` prints, one a line.
package struct LogObject: Encodable, Sendable {
    /// When it was taken, as in the file.
    package let time: String
    /// The service's name.
    package let service: String
    /// The instance: `api/2`.
    package let instance: String
    /// `stdout` or `stderr`.
    package let stream: String
    /// The text; what is no UTF-8 is replaced by U+FFFD.
    package let message: String

    /// Makes it of a line.
    package init(_ line: LogLine) {
        time = line.timestamp
        service = String(line.instance.prefix { $0 != "/" })
        instance = line.instance
        stream = line.stream.name
        message = String(decoding: line.text, as: UTF8.self)
    }

    /// All but the message by name: what is added to a line that is an object itself, in the order of their names.
    package var members: [(name: String, value: String)] {
        [("instance", instance), ("service", service), ("stream", stream), ("time", time)]
    }
}
