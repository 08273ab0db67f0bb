import Platform

/// The end of one instance's log, and what is added to it: for whoever wants to see lines without having all of them read.
/// What it reads at a time is bounded, whatever the program has written; pieces of a long line come as lines of their own.
package struct LogTail: Sendable {
    /// So many bytes from the end it begins at most, and so many it takes at a time.
    package static let chunk = 64 << 10

    private let instance: String
    private let path: String
    private var file: Descriptor?
    private var offset = 0
    /// Whether what is read next begins in the middle of a line.
    private var isInLine = false

    /// Begins at most `chunk` bytes before the end of the current file; nil for what is no instance's name.
    package init?(instance: String, directory: String) {
        guard let path = LogPath.current(instance, in: directory) else { return nil }
        self.instance = instance
        self.path = path
        guard let file = try? FileIO.openForReading(path: path), let status = try? FileIO.status(file),
            status.isRegular
        else { return }
        self.file = file
        offset = max(0, status.size - Self.chunk)
        isInLine = offset > 0
    }

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
        offset += end + 1
        var lines: [LogLine] = []
        for line in bytes[..<end].split(separator: CRIFormat.newline, omittingEmptySubsequences: false) {
            if isInLine {
                isInLine = false
                continue
            }
            guard let parsed = CRIFormat.parse(line) else { continue }
            lines.append(
                LogLine(
                    instance: instance, timestamp: parsed.timestamp, stream: parsed.stream, text: Array(parsed.text)))
        }
        return lines
    }
}
