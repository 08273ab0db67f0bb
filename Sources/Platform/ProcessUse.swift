/// What a process uses of what its limits are about, beside what /proc/PID/stat tells; by /proc.
package struct ProcessUse: Sendable, Hashable {
    /// Descriptors that are open; nil where this process may not look.
    package var openDescriptors: UInt64?
    /// Private writable memory (VmData, against RLIMIT_DATA), in bytes.
    package var dataBytes: UInt64?
    /// The stack of the first thread (VmStk, against RLIMIT_STACK), in bytes.
    package var stackBytes: UInt64?
    /// Locked memory (VmLck, against RLIMIT_MEMLOCK), in bytes.
    package var lockedBytes: UInt64?
    /// Signals that are queued for the process's user (the first number of SigQ, against RLIMIT_SIGPENDING).
    package var queuedSignals: UInt64?

    /// More descriptors than these are not counted.
    private static let descriptorLimit: UInt64 = 1 << 20

    /// Looks at a process; one that is gone uses nothing.
    package init(of pid: Int32) {
        openDescriptors = Self.openDescriptors(of: pid)
        guard let text = try? Files.readPrefix("/proc/\(pid)/status", count: 8192) else { return }
        read(text)
    }

    /// Reads the text of /proc/PID/status.
    package init(statusText text: [UInt8]) { read(text) }

    private mutating func read(_ text: [UInt8]) {
        for line in text.split(separator: UInt8(ascii: "\n")) {
            if let value = Self.kibibytes(line, "VmData:") { dataBytes = value }
            if let value = Self.kibibytes(line, "VmStk:") { stackBytes = value }
            if let value = Self.kibibytes(line, "VmLck:") { lockedBytes = value }
            if let value = Self.number(line, "SigQ:") { queuedSignals = value }
        }
    }

    /// `VmData:      1234 kB` in bytes; nil if the line is about something else.
    private static func kibibytes(_ line: ArraySlice<UInt8>, _ name: String) -> UInt64? {
        guard let number = number(line, name) else { return nil }
        return number.multipliedReportingOverflow(by: 1024).overflow ? nil : number * 1024
    }

    /// The first number of a line; nil if the line is about something else.
    private static func number(_ line: ArraySlice<UInt8>, _ name: String) -> UInt64? {
        guard line.starts(with: name.utf8) else { return nil }
        let digits = line.dropFirst(name.utf8.count).drop { $0 == 0x20 || $0 == 0x09 }
            .prefix { $0 >= 0x30 && $0 <= 0x39 }
        return UInt64(String(decoding: digits, as: UTF8.self))
    }

    /// How many descriptors a process has open, by /proc/PID/fd; nil where this process may not look, or it is gone.
    package static func openDescriptors(of pid: Int32) -> UInt64? {
        var count: UInt64 = 0
        do {
            try Files.forEachName(in: "/proc/\(pid)/fd") { name in
                if name[0] != 0x2e { count += 1 }  // not . and ..
                return count < descriptorLimit
            }
        } catch {
            return nil
        }
        return count
    }
}
