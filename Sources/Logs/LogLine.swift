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
    /// Where it is kept, for those who go on from there; nil where nobody does.
    package var place: LogPlace?

    /// Creates a line.
    package init(
        instance: String, timestamp: String, stream: LogStream, text: [UInt8], place: LogPlace? = nil
    ) {
        self.instance = instance
        self.timestamp = timestamp
        self.stream = stream
        self.text = text
        self.place = place
    }
}

/// Where a line begins: in which file of its instance, and after how many bytes.
package struct LogPlace: Sendable, Hashable {
    /// The number of the file, its inode.
    package var file: UInt64
    /// The bytes before it.
    package var offset: Int

    /// Creates a place.
    package init(file: UInt64, offset: Int) {
        self.file = file
        self.offset = offset
    }
}
