/// A line that a service wrote, read back from its files.
package struct LogLine: Sendable, Hashable {
    /// The instance: `api/2`.
    package var instance: String
    /// When it was taken, as in the file: RFC 3339 in UTC with nanoseconds. Sorts as text.
    package var timestamp: String
    /// Where it was written to.
    package var stream: LogStream
    /// The text without its newline, as it came; pieces of a long line are joined, up to a MiB.
    package var text: [UInt8]

    /// Creates a line.
    package init(instance: String, timestamp: String, stream: LogStream, text: [UInt8]) {
        self.instance = instance
        self.timestamp = timestamp
        self.stream = stream
        self.text = text
    }
}
