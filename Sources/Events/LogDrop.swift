extension EventKind {
    /// Lines that a service wrote and that are in no log, since the last event of this kind or supd's start.
    package struct LogDrop: Sendable, Hashable, Codable {
        /// How many lines.
        package var lines: UInt64
        /// Their bytes, those of parts of lines too.
        package var bytes: UInt64
        /// Why the last of them were dropped, for people.
        package var reason: String

        /// Creates one.
        package init(lines: UInt64, bytes: UInt64, reason: String) {
            self.lines = lines
            self.bytes = bytes
            self.reason = reason
        }
    }
}
