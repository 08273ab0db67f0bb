import Platform

/// The lines of an instance before a place, back through the files that were rotated, in pages of a bounded size. A page of
/// several instances is put together by `merged`.
package enum LogPages {
    /// So many bytes of an instance one page is taken from.
    package static let most = 4 * LogTail.chunk
    /// So many bytes of text a page of several has, and of one line more.
    package static let mostText = 1 << 20

    /// Some lines, the oldest first.
    package struct Page: Sendable, Equatable {
        /// In the order in which they were written.
        package var lines: [LogLine]
        /// Whether there are lines before them.
        package var hasMore: Bool

        /// Creates a page.
        package init(lines: [LogLine], hasMore: Bool) {
            self.lines = lines
            self.hasMore = hasMore
        }
    }

    /// At most `count` lines of an instance before a place; nil: the last ones. With `time` that of the line which is to be at
    /// the place: files are deleted, and another one may get the number of one that was. Nothing where that is so, for what
    /// was older is gone as well.
    package static func before(
        _ place: LogPlace?, time: String? = nil, of instance: String, in directory: String, count: Int
    ) -> Page {
        let none = Page(lines: [], hasMore: false)
        guard count > 0, let path = LogPath.current(instance, in: directory),
            let files = try? LogFileList(path: path).files(),
            let first = place.map({ place in files.firstIndex { $0.status.inode == place.file } }) ?? 0
        else { return none }
        var walk = Walk(instance: instance, wanted: count)
        for (index, entry) in files.enumerated().dropFirst(first) {
            guard let file = try? FileIO.openForReading(path: entry.path), let status = try? FileIO.status(file),
                status.isSameFile(as: entry.status)
            else { break }
            var end = status.size
            if index == first, let place {
                guard (0...status.size).contains(place.offset) else { return none }
                end = place.offset
                if let time, Self.time(in: file, at: end) != time { return none }
            }
            walk.goBack(in: file, status.inode, from: end)
            if walk.isOver { break }
        }
        return walk.page
    }

    /// Where the first line begins that is newer than a time, in nanoseconds since 1970, or where the file ends in which it would
    /// be: `before` begins there with those that are not newer. Nil: none is so old. It looks at some places of each file and
    /// then at a piece of one, however large they are.
    package static func place(after time: Int64, of instance: String, in directory: String) -> LogPlace? {
        var writer = TimestampWriter()
        let wanted = String(decoding: writer.text(of: max(0, time)), as: UTF8.self)
        guard let path = LogPath.current(instance, in: directory), let files = try? LogFileList(path: path).files()
        else { return nil }
        for entry in files {
            guard let first = (try? LogCursor.firstTimestamp(entry.path)) ?? nil, first <= wanted,
                let file = try? FileIO.openForReading(path: entry.path), let status = try? FileIO.status(file),
                let begin = try? LogCursor.offset(ofTime: wanted, in: file),
                let bytes = try? FileIO.read(file, at: begin, count: min(status.size - begin, most + 2 * LogTail.chunk))
            else { continue }
            let lines = bytes[...].logLines(of: instance, in: status.inode, at: begin)
            if let newer = lines.first(where: { $0.timestamp > wanted }) { return newer.place }
            return LogPlace(
                file: status.inode, offset: begin + (bytes.lastIndex(of: CRIFormat.newline).map { $0 + 1 } ?? 0))
        }
        return nil
    }

    /// The last `count` lines of some instances, in the order of their times as far as each one's own order lets. It begins
    /// where one that has more before has no more here: what comes before is for the next page.
    package static func merged(_ pages: [Page], count: Int) -> [LogLine] {
        var ends = pages.map(\.lines.count)
        var lines: [LogLine] = []
        var text = 0
        while lines.count < count, text < mostText {
            var last: (index: Int, line: LogLine)?
            for (index, page) in pages.enumerated() where ends[index] > 0 {
                let line = page.lines[ends[index] - 1]
                // Of equal times the later instance's is the later line, as readers that begin at the other end see it.
                if last.map({ $0.line.timestamp <= line.timestamp }) ?? true { last = (index, line) }
            }
            guard let last else { break }
            lines.append(last.line)
            text += last.line.text.count
            ends[last.index] -= 1
            if ends[last.index] == 0, pages[last.index].hasMore { break }
        }
        return lines.reversed()
    }

    /// The time of the line that begins at a place.
    private static func time(in file: Descriptor, at offset: Int) -> String? {
        let length = CRIFormat.prefixLength + CRIFormat.pieceLimit + 1
        guard let bytes = try? FileIO.read(file, at: offset, count: length) else { return nil }
        return bytes[...].logLines(of: "", in: 0, at: 0).first.flatMap { $0.place?.offset == 0 ? $0.timestamp : nil }
    }

    /// A way back through files.
    private struct Walk {
        let instance: String
        let wanted: Int
        private var blocks: [[LogLine]] = []
        private var found = 0
        private var budget = LogPages.most
        private var isAtBeginning = true

        init(instance: String, wanted: Int) {
            self.instance = instance
            self.wanted = wanted
        }

        var isOver: Bool { found >= wanted || budget <= 0 }

        var page: Page {
            let lines = Array(blocks.reversed().joined())
            // In a file not looked at there may be more, or not; who asks for it will know.
            let hasMore = !lines.isEmpty && (lines.count > wanted || !isAtBeginning || isOver)
            return Page(lines: lines.suffix(wanted), hasMore: hasMore)
        }

        mutating func goBack(in file: Descriptor, _ number: UInt64, from end: Int) {
            var end = end
            while end > 0, !isOver {
                let begin = max(0, end - LogTail.chunk)
                guard let bytes = try? FileIO.read(file, at: begin, count: end - begin), bytes.count == end - begin
                else { break }
                budget -= bytes.count
                // Only at the beginning of the file it is known that a line begins here, too.
                let start = begin == 0 ? 0 : bytes.firstIndex(of: CRIFormat.newline).map { $0 + 1 } ?? bytes.count
                let lines = bytes[start...].logLines(of: instance, in: number, at: begin + start)
                blocks.append(lines)
                found += lines.count
                // No line of ours is longer than a piece: what is, is passed over.
                end = start < bytes.count ? begin + start : begin
            }
            isAtBeginning = end == 0
        }
    }
}
