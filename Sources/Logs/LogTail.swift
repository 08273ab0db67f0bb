import Platform

/// The end of one instance's log, and what is added to it: for whoever wants to see lines without having all of them read.
/// What it reads at a time is bounded, whatever the program has written; pieces of a long line come as lines of their own.
package struct LogTail: Sendable {
    /// So many bytes from the end it begins at most, and so many it takes at a time.
    package static let chunk = 64 << 10

    private let instance: String
    private let path: String
    private var file: Descriptor?
    private var number: UInt64 = 0
    private var offset = 0
    /// Whether what is read next begins in the middle of a line.
    private var isInLine = false

    /// Begins at most `chunk` bytes before the end of the current file; nil for what is no instance's name. With `atEnd` it
    /// begins where the last complete line ends.
    package init?(instance: String, directory: String, atEnd: Bool = false) {
        guard let path = LogPath.current(instance, in: directory) else { return nil }
        self.instance = instance
        self.path = path
        guard let file = try? FileIO.openForReading(path: path), let status = try? FileIO.status(file),
            status.isRegular
        else { return }
        self.file = file
        number = status.inode
        offset = max(0, status.size - Self.chunk)
        isInLine = offset > 0
        guard atEnd else { return }
        let end = try? FileIO.read(file, at: offset, count: status.size - offset)
        if let newline = end?.lastIndex(of: CRIFormat.newline) {
            offset += newline + 1
            isInLine = false
        }
    }

    /// Where it reads on; nil while there is no file.
    package var place: LogPlace? { file == nil ? nil : LogPlace(file: number, offset: offset) }

    /// The next lines, `chunk` bytes of them at most; empty when there are none yet. A file that was rotated is read to its end
    /// first.
    package mutating func next() -> [LogLine] {
        let lines = read()
        guard lines.isEmpty, let current = try? FileIO.status(path: path), current.isRegular else { return lines }
        if let file, let own = try? FileIO.status(file), own.isSameFile(as: current) {
            // It was cut, as after a crash: what is left of it was seen.
            if current.size < offset { offset = current.size }
            return []
        }
        // Something may have come to the old one after it was read and before it was rotated.
        let rest = read()
        guard rest.isEmpty else { return rest }
        file = try? FileIO.openForReading(path: path)
        number = file.flatMap { try? FileIO.status($0).inode } ?? 0
        offset = 0
        isInLine = false
        return read()
    }

    private mutating func read() -> [LogLine] {
        guard let file, let bytes = try? FileIO.read(file, at: offset, count: Self.chunk), !bytes.isEmpty else {
            return []
        }
        guard let end = bytes.lastIndex(of: CRIFormat.newline) else {
            // No line of ours is so long: it is passed over.
            if bytes.count >= Self.chunk {
                offset += bytes.count
                isInLine = true
            }
            return []
        }
        let begin = offset
        offset += end + 1
        var lines = bytes[...end].logLines(of: instance, in: number, at: begin)
        if isInLine, let first = lines.first, first.place?.offset == begin { lines.removeFirst() }
        isInLine = false
        return lines
    }
}

extension ArraySlice<UInt8> {
    /// The lines of a piece of a file that begins at `offset`. What has no newline at its end is none, nor is what is not of
    /// the format.
    func logLines(of instance: String, in file: UInt64, at offset: Int) -> [LogLine] {
        var lines: [LogLine] = []
        var begin = startIndex
        while let end = self[begin...].firstIndex(of: CRIFormat.newline) {
            defer { begin = end + 1 }
            guard let parsed = CRIFormat.parse(self[begin..<end]) else { continue }
            lines.append(
                LogLine(
                    instance: instance, timestamp: parsed.timestamp, stream: parsed.stream, text: Array(parsed.text),
                    place: LogPlace(file: file, offset: offset + begin - startIndex)))
        }
        return lines
    }
}
