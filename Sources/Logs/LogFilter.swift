/// Which lines of those in the files are wanted.
package struct LogFilter {
    /// None that are older: nanoseconds since 1970.
    package var since: Int64?
    /// None that are newer: nanoseconds since 1970.
    package var until: Int64?
    /// What the text of a line must be like; nil: anything.
    package var text: (([UInt8]) -> Bool)?

    /// Every line.
    package init() {}

    /// The times of a service's lines are those at which they were taken, and a clock may be set back: what lies within this
    /// of a bound, in nanoseconds, is looked at line by line.
    private static let margin: Int64 = 60_000_000_000

    /// As times stand in the files.
    func bounds() -> Bounds {
        var writer = TimestampWriter()
        func time(_ nanoseconds: Int64?, moved by: Int64) -> String? {
            guard let nanoseconds else { return nil }
            let (sum, overflow) = max(nanoseconds, 0).addingReportingOverflow(by)
            return String(decoding: writer.text(of: overflow ? .max : sum), as: UTF8.self)
        }
        return Bounds(
            first: time(since, moved: 0), last: time(until, moved: 0), begin: time(since, moved: -Self.margin),
            end: time(until, moved: Self.margin), text: text)
    }

    /// The same, with times as they stand in the files.
    struct Bounds {
        private let first: String?
        private let last: String?
        /// Where to begin to look, before the first; nil: at the start.
        let begin: String?
        private let end: String?
        private let text: (([UInt8]) -> Bool)?

        fileprivate init(
            first: String?, last: String?, begin: String?, end: String?, text: (([UInt8]) -> Bool)?
        ) {
            (self.first, self.last, self.begin, self.end, self.text) = (first, last, begin, end, text)
        }

        /// Whether so many lines from the end may not be so many of those wanted.
        var leavesOutLast: Bool { last != nil || text != nil }

        /// Whether it is wanted.
        func accepts(_ line: LogLine) -> Bool {
            if let first, line.timestamp < first { return false }
            if let last, line.timestamp > last { return false }
            return text?(line.text) ?? true
        }

        /// Whether nothing that follows can be wanted.
        func isOver(_ line: LogLine) -> Bool { end.map { line.timestamp > $0 } ?? false }
    }
}
