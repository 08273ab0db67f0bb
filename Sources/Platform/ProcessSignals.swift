/// How a process takes signals, from /proc/PID/status, which everybody may read; see proc_pid_status(5).
package struct ProcessSignals: Sendable, Hashable {
    /// SigIgn: a bit for each signal that is ignored, the lowest one for signal 1.
    private let ignored: UInt64

    /// Looks at a process; nil if there is none, or it is hidden (hidepid of proc(5)).
    package init?(of pid: Int32) {
        guard let bytes = try? readSmallFile("/proc/\(pid)/status", limit: 1 << 16) else { return nil }
        self.init(statusText: String(decoding: bytes, as: UTF8.self))
    }

    /// The same from the file's text.
    init?(statusText: String) {
        let title = "SigIgn:\t"
        guard let line = statusText.split(separator: "\n").first(where: { $0.hasPrefix(title) }),
            let ignored = UInt64(line.dropFirst(title.count), radix: 16)
        else { return nil }
        self.ignored = ignored
    }

    /// Whether a process is there and ignores a signal, by its name: `SIGTERM`.
    package static func ignores(_ pid: Int32, _ name: String) -> Bool {
        Signals.number(of: name).flatMap { ProcessSignals(of: pid)?.ignores($0) } ?? false
    }

    /// Whether it ignores a signal.
    package func ignores(_ number: Int32) -> Bool {
        (1...64).contains(number) && ignored & 1 << UInt64(number - 1) != 0
    }
}
