import Glibc

/// The children of the calling thread, also those that it has become the parent of as a subreaper: proc(5),
/// /proc/thread-self/children.
package final class ProcessChildren: Sendable {
    /// Kept open: reading it again is cheaper than opening it. nil if this kernel was built without it.
    private let file: Descriptor?

    /// For the thread that calls this; all calls must come from it.
    package init() {
        let number = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC)
        file = number < 0 ? nil : Descriptor(owning: number)
    }

    /// For tests: looks through all of /proc, as where the kernel has no list of children.
    package init(byScanning: Void) { file = nil }

    /// The process ids of the children, zombies too, in no order. At most 100,000.
    package func list() throws(SystemError) -> [Int32] {
        guard let file else {
            let parent = getpid()
            return try ProcessEntry.all().filter { $0.parent == parent }.map(\.pid)
        }
        try systemCall("lseek", "/proc/thread-self/children") { lseek(file.raw, 0, SEEK_SET) }
        let bytes = try readToEnd(of: file, "/proc/thread-self/children", limit: 1 << 20)
        return bytes.split(separator: UInt8(ascii: " ")).compactMap { Int32(String(decoding: $0, as: UTF8.self)) }
    }
}

/// One process as /proc/PID/stat describes it: proc_pid_stat(5).
package struct ProcessEntry: Sendable, Hashable {
    /// The process id.
    package var pid: Int32
    /// `R`, `S`, `Z`, … as in proc_pid_stat(5).
    package var state: UInt8
    /// The parent's process id.
    package var parent: Int32
    /// The process group's id.
    package var group: Int32

    /// Whether it has ended and only waits to be reaped.
    package var isZombie: Bool { state == UInt8(ascii: "Z") || state == UInt8(ascii: "X") }

    /// Reads the line of /proc/PID/stat; nil if it is none.
    package init?(_ line: [UInt8]) {
        // The name, in parentheses, may itself contain anything; what follows it does not.
        guard let nameStart = line.firstIndex(of: UInt8(ascii: "(")),
            let nameEnd = line.lastIndex(of: UInt8(ascii: ")")),
            nameStart < nameEnd
        else { return nil }
        let fields = line[(nameEnd + 1)...].split(separator: UInt8(ascii: " "), maxSplits: 3)
        func number(_ text: ArraySlice<UInt8>) -> Int32? {
            Int32(String(decoding: text.filter { $0 != UInt8(ascii: " ") }, as: UTF8.self))
        }
        guard fields.count == 4, let state = fields[0].first, let pid = number(line[..<nameStart]),
            let parent = number(fields[1]), let group = number(fields[2])
        else { return nil }
        self.pid = pid
        self.state = state
        self.parent = parent
        self.group = group
    }

    /// Every process of this pid namespace; those that end meanwhile may be missing. Reads all of /proc: slow.
    package static func all() throws(SystemError) -> [ProcessEntry] {
        guard let directory = opendir("/proc") else {
            throw SystemError(call: "opendir", code: errno, subject: "/proc")
        }
        defer { closedir(directory) }
        var entries: [ProcessEntry] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            guard let pid = Int32(name), let line = try? readSmallFile("/proc/\(pid)/stat", limit: 4096) else {
                continue
            }
            if let process = ProcessEntry(line) { entries.append(process) }
        }
        return entries
    }
}

/// The value of one variable in the environment with which a process executed its program, from /proc/PID/environ; nil
/// if it has none, or we may not look. Looks at the first 256 KB, and gives a value of at most 4096 bytes.
package func environmentValue(of pid: Int32, _ name: String) -> String? {
    guard let bytes = try? readSmallFile("/proc/\(pid)/environ", limit: 256 << 10) else { return nil }
    let prefix = Array("\(name)=".utf8)
    for entry in bytes.split(separator: 0) where entry.starts(with: prefix) {
        let value = entry.dropFirst(prefix.count)
        return value.count <= 4096 ? String(decoding: value, as: UTF8.self) : nil
    }
    return nil
}
