import Platform

/// A place in the files of one instance, from which lines are read forwards: through the rotated files to the current one,
/// and on as that grows and is rotated.
final class LogCursor {
    let instance: String
    private let list: LogFileList
    private var file: Descriptor?
    private var status: FileIO.Status?
    /// The offset in the file of the first byte not read.
    private var offset = 0
    /// Bytes that were read and not taken apart yet; from `start` on.
    private var chunk: [UInt8] = []
    private var start = 0
    /// The file's first bytes, by which a file that was emptied and filled again is told from one that was cut back.
    private var beginning: [UInt8] = []
    /// The time of the last line read.
    private var lastTimestamp = ""
    /// The pieces so far of a line in pieces.
    private var pieces: [LogStream: [UInt8]] = [:]

    private static let chunkSize = 1 << 16
    private static let longestLine = 1 << 20

    init(instance: String, path: String) {
        self.instance = instance
        list = LogFileList(path: path)
    }

    // MARK: Where to begin

    /// Goes to the first line of the oldest file.
    func seekToStart() throws(SystemError) {
        try whileFilesMove { files throws(SystemError) in
            guard let oldest = files.last else { return true }
            return try open(oldest, at: 0)
        }
    }

    /// Goes to where at least the last `count` lines begin, reading backwards from the end.
    func seekToLast(_ count: Int) throws(SystemError) {
        try whileFilesMove { files throws(SystemError) in
            var search = BackwardSearch(wanted: count)
            for entry in files {
                guard try open(entry, at: 0), let file else { return false }
                if let found = try search.look(in: file, size: try FileIO.status(file).size) {
                    offset = found
                    return true
                }
            }
            return true
        }
    }

    /// Goes to a line that is not newer than a time as it stands in the files, or to the first one: times go up in the files
    /// but where a clock was set back.
    func seek(toTime time: String) throws(SystemError) {
        try whileFilesMove { files throws(SystemError) in
            for (index, entry) in files.enumerated() {
                if index != files.count - 1 {
                    guard let first = try Self.firstTimestamp(entry.path), first <= time else { continue }
                }
                guard try open(entry, at: 0), let file else { return false }
                offset = try Self.offset(ofTime: time, in: file)
                return true
            }
            return true
        }
    }

    /// The start of a line in a file, not newer than the time if there is any such line. Halves what lies before it, as long as
    /// that is worth it.
    static func offset(ofTime time: String, in file: Descriptor) throws(SystemError) -> Int {
        var (low, high) = (0, try FileIO.status(file).size)
        while high - low > 1 << 18 {
            let middle = low + (high - low) / 2
            guard let (offset, timestamp) = try firstLine(after: middle, in: file), offset < high else {
                // Nothing but a long line's text, or a torn one, from here on.
                high = middle
                continue
            }
            if timestamp <= time { low = offset } else { high = middle }
        }
        return low
    }

    /// The first line that begins after an offset in the next 64 KiB, which is longer than any line of the format.
    private static func firstLine(
        after offset: Int, in file: Descriptor
    ) throws(SystemError) -> (offset: Int, timestamp: String)? {
        let bytes = try FileIO.read(file, at: offset, count: chunkSize)
        var start = bytes.firstIndex(of: CRIFormat.newline).map { $0 + 1 }
        while let begin = start, begin < bytes.count {
            let end = bytes[begin...].firstIndex(of: CRIFormat.newline) ?? bytes.count
            if let parsed = CRIFormat.parse(bytes[begin..<end]) { return (offset + begin, parsed.timestamp) }
            start = end + 1
        }
        return nil
    }

    /// Gives the files, newest first, to `body` until it returns that it found them as they were said to be.
    private func whileFilesMove(
        _ body: ([LogFileEntry]) throws(SystemError) -> Bool
    ) throws(SystemError) {
        for _ in 0..<10 {
            if let files = try list.files(), try body(files) { return }
        }
        close()
    }

    private func close() { (file, status, offset, chunk, start, beginning) = (nil, nil, 0, [], 0, []) }

    /// Opens a file; false, and nothing is changed, if its name leads to another one by now.
    private func open(_ entry: LogFileEntry, at offset: Int) throws(SystemError) -> Bool {
        do throws(SystemError) {
            let opened = try FileIO.openForReading(path: entry.path)
            let status = try FileIO.status(opened)
            guard status.isSameFile(as: entry.status) else { return false }
            close()
            (file, self.status, self.offset) = (opened, status, offset)
            return true
        } catch {
            if error.meansMissing { return false }
            throw error
        }
    }

    // MARK: Forwards

    /// The next line; nil when there is none yet.
    func next() throws(SystemError) -> LogLine? {
        while true {
            if let line = takeLine() {
                if let complete = join(line) { return complete }
            } else if try !fill() {
                return nil
            }
        }
    }

    /// A whole line of the file out of what was read. What is none of the format, as a torn line, is left out.
    private func takeLine() -> CRIFormat.Parsed? {
        while let newline = chunk[start...].firstIndex(of: CRIFormat.newline) {
            defer { start = newline + 1 }
            if let parsed = CRIFormat.parse(chunk[start..<newline]) {
                lastTimestamp = parsed.timestamp
                return parsed
            }
        }
        return nil
    }

    private func join(_ line: CRIFormat.Parsed) -> LogLine? {
        var text = pieces.removeValue(forKey: line.stream) ?? []
        text.append(contentsOf: line.text)
        if line.isPartial, text.count < Self.longestLine {
            pieces[line.stream] = text
            return nil
        }
        return LogLine(instance: instance, timestamp: line.timestamp, stream: line.stream, text: text)
    }

    /// Reads on, in the next file if this one is finished; false when there is nothing new.
    private func fill() throws(SystemError) -> Bool {
        // Each round but the last opens a newer file, or finds that the files are just moving.
        for _ in 0..<2000 {
            if try readChunk() { return true }
            if let status, try isCurrent(status) { return false }
            guard let files = try list.files(), let next = try successor(in: files) else { return false }
            // What was appended between the last read and the rotation.
            if try readChunk() { return true }
            _ = try open(next, at: 0)
        }
        return false
    }

    private func isCurrent(_ status: FileIO.Status) throws(SystemError) -> Bool {
        do throws(SystemError) {
            return try FileIO.status(path: list.path).isSameFile(as: status)
        } catch {
            if error.meansMissing { return false }
            throw error
        }
    }

    /// The file to read after the open one; nil if there is none yet.
    private func successor(in files: [LogFileEntry]) throws(SystemError) -> LogFileEntry? {
        guard let status else { return files.last }
        if let index = files.firstIndex(where: { $0.status.isSameFile(as: status) }) {
            return index == 0 ? nil : files[index - 1]
        }
        // It was deleted: on with the oldest that is not older than it.
        for file in files.reversed() {
            if let first = try Self.firstTimestamp(file.path), first >= lastTimestamp { return file }
        }
        return files.first
    }

    static func firstTimestamp(_ path: String) throws(SystemError) -> String? {
        do throws(SystemError) {
            let bytes = try FileIO.read(try FileIO.openForReading(path: path), at: 0, count: CRIFormat.prefixLength)
            return CRIFormat.parse(bytes[...])?.timestamp
        } catch {
            if error.meansMissing { return nil }
            throw error
        }
    }

    private func readChunk() throws(SystemError) -> Bool {
        guard let file else { return false }
        if !beginning.isEmpty { try startAgainIfReplaced(file) }
        let bytes = try FileIO.read(file, at: offset, count: Self.chunkSize)
        if bytes.isEmpty { return false }
        if offset == 0 { beginning = Array(bytes.prefix(64)) }
        offset += bytes.count
        chunk.removeFirst(start)
        start = 0
        // A line that never ends is no line of ours.
        if chunk.count > Self.longestLine { chunk = [] }
        chunk += bytes
        return true
    }

    /// Begins again in a file that somebody emptied, and that has other lines since. (One that a supervisor cuts back, to
    /// repeat what the one before it did not finish, gets the same bytes again: until it has, there is nothing to read.)
    private func startAgainIfReplaced(_ file: Descriptor) throws(SystemError) {
        let now = try FileIO.read(file, at: 0, count: beginning.count)
        if !beginning.starts(with: now) { (offset, chunk, start, beginning) = (0, [], 0, []) }
    }
}

/// Looks through files from their end for the place from which the last lines can be read.
private struct BackwardSearch {
    private var missing: Int
    /// The streams of lines found whose line before was not seen yet: it may be a piece of them.
    private var open: Set<LogStream> = []
    /// How far to look for pieces.
    private var allowance = 1 << 20
    private static let chunkSize = 1 << 16

    init(wanted: Int) { missing = wanted }

    /// The offset to begin at in a file; nil if it has too few lines.
    mutating func look(in file: Descriptor, size: Int) throws(SystemError) -> Int? {
        if missing == 0, open.isEmpty { return size }
        var end = size
        var rest: [UInt8] = []
        while end > 0 {
            let count = min(end, Self.chunkSize)
            var chunk = try FileIO.read(file, at: end - count, count: count)
            end -= count
            chunk += rest
            // Of the last line in `chunk`, its end is known; of the first, the beginning only at the file's start.
            var lineEnd = chunk.count
            while let newline = chunk[..<max(lineEnd - 1, 0)].lastIndex(of: CRIFormat.newline) {
                if takes(chunk[(newline + 1)..<lineEnd]) { return end + lineEnd }
                lineEnd = newline + 1
            }
            rest = Array(chunk[..<lineEnd])
            if rest.count > 1 << 20 { rest = [] }
        }
        return takes(rest[...]) ? rest.count : nil
    }

    /// Looks at one line more; true if it is not needed any more.
    private mutating func takes(_ line: ArraySlice<UInt8>) -> Bool {
        guard line.last == CRIFormat.newline, let parsed = CRIFormat.parse(line.dropLast()) else { return false }
        if missing > 0 {
            if parsed.isPartial { return false }
            missing -= 1
            open.insert(parsed.stream)
            return false
        }
        allowance -= line.count
        if !parsed.isPartial { open.remove(parsed.stream) }
        return open.isEmpty || allowance < 0
    }
}
