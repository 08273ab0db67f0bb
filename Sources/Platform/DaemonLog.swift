import Glibc

/// supd's own messages on standard error. Never waits: a line that stderr has no room for is dropped and counted.
package final class DaemonLog: Sendable {
    /// How important a line is; raw values are those of syslog(3).
    package enum Level: Int, Sendable, Hashable {
        /// Something is down, or will not work, until somebody acts.
        case error = 3
        /// Something is not as it should be.
        case warning = 4
        /// Normal, but worth knowing.
        case notice = 5
        /// Normal.
        case info = 6
    }

    /// How lines look.
    package enum Format: Sendable, Hashable {
        /// `<4>text`: sd-daemon(3), for the journal, which has the time itself.
        case journal
        /// `2026-01-31 10:20:30 warning: text`, in local time, for terminals and files.
        case plain
    }

    /// How lines reach the descriptor without waiting for its reader.
    private enum Way {
        /// send(2) with MSG_DONTWAIT.
        case socket
        /// write(2): the description is nonblocking and nobody else's, or a regular file's.
        case write
        /// poll(2) for room first: the description is shared, so O_NONBLOCK would be everybody's.
        case pollFirst
    }

    /// The longest line, in bytes; what is longer is cut. Below PIPE_BUF, so that lines of several processes never mix.
    package static let lineLimit = 4000

    /// Standard error of this process.
    package static let standardError = DaemonLog(descriptor: 2, journalStream: environment("JOURNAL_STREAM"))

    /// The format in use.
    package let format: Format
    /// Whether the lines go to a terminal.
    package let isTerminal: Bool
    private let number: Int32
    /// Owns `number`, if it is a descriptor of our own.
    private let reopened: Descriptor?
    private let way: Way
    private let dropped = Lock(0)

    /// Writes to a descriptor that stays open. `journalStream` is the value of JOURNAL_STREAM: `device:inode` of the
    /// stream that the journal reads; systemd.exec(5).
    package init(descriptor: Int32, journalStream: String?) {
        var status = stat()
        let isOpen = fstat(descriptor, &status) == 0
        format = isOpen && journalStream == "\(status.st_dev):\(status.st_ino)" ? .journal : .plain
        isTerminal = isatty(descriptor) == 1
        switch status.st_mode & S_IFMT {
        case S_IFSOCK: (number, reopened, way) = (descriptor, nil, .socket)
        case S_IFREG: (number, reopened, way) = (descriptor, nil, .write)
        default:
            // A description of our own of the same pipe or terminal can be nonblocking.
            let own = open("/proc/self/fd/\(descriptor)", O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)
            if own >= 0 {
                (number, reopened, way) = (own, Descriptor(owning: own), .write)
            } else {
                (number, reopened, way) = (descriptor, nil, .pollFirst)
            }
        }
    }

    /// Writes one line; line ends inside the text become spaces.
    package func write(_ level: Level, _ text: String) {
        dropped.withLock { dropped in
            if dropped > 0 {
                guard put(line(.warning, "\(dropped) lines dropped: standard error had no room")) else {
                    dropped += 1
                    return
                }
                dropped = 0
            }
            if !put(line(level, text)) { dropped += 1 }
        }
    }

    /// An error, on standard error.
    package static func error(_ text: String) { standardError.write(.error, text) }
    /// A warning, on standard error.
    package static func warning(_ text: String) { standardError.write(.warning, text) }
    /// Something worth knowing, on standard error.
    package static func notice(_ text: String) { standardError.write(.notice, text) }
    /// Something normal, on standard error.
    package static func info(_ text: String) { standardError.write(.info, text) }

    /// The bytes of a line, cut to `lineLimit`.
    func line(_ level: Level, _ text: String) -> [UInt8] {
        var bytes: [UInt8]
        switch (format, level) {
        case (.journal, _): bytes = Array("<\(level.rawValue)>".utf8)
        case (.plain, .error): bytes = Array("\(Self.now()) error: ".utf8)
        case (.plain, .warning): bytes = Array("\(Self.now()) warning: ".utf8)
        case (.plain, .notice), (.plain, .info): bytes = Array("\(Self.now()) ".utf8)
        }
        for byte in text.utf8 {
            if bytes.count == Self.lineLimit - 1 { break }
            bytes.append(byte == UInt8(ascii: "\n") || byte == UInt8(ascii: "\r") ? UInt8(ascii: " ") : byte)
        }
        return bytes + [UInt8(ascii: "\n")]
    }

    private func put(_ line: [UInt8]) -> Bool {
        switch way {
        case .socket: return send(number, line, line.count, Int32(MSG_DONTWAIT | MSG_NOSIGNAL)) > 0
        case .write: return Glibc.write(number, line, line.count) > 0
        case .pollFirst:
            var room = pollfd(fd: number, events: Int16(POLLOUT), revents: 0)
            guard poll(&room, 1, 0) == 1, room.revents & Int16(POLLOUT) != 0 else { return false }
            return Glibc.write(number, line, line.count) > 0
        }
    }

    private static func now() -> String {
        var seconds = time(nil)
        var parts = tm()
        localtime_r(&seconds, &parts)
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: 32) { buffer in
            guard let base = buffer.baseAddress, strftime(base, buffer.count, "%Y-%m-%d %H:%M:%S", &parts) > 0 else {
                return "-"
            }
            return String(cString: base)
        }
    }
}

/// The value of a variable of this process's environment, by getenv(3).
package func environment(_ name: String) -> String? {
    getenv(name).map { String(cString: $0) }
}
