import Glibc

/// One process as /proc/PID/stat shows it (proc_pid_stat(5)).
package struct ProcessEntry: Sendable, Hashable {
    /// The process id.
    package var pid: Int32
    /// The parent's process id; 0 for the first process and for kernel threads' own parent.
    package var parent: Int32
    /// The process group.
    package var group: Int32
    /// The session.
    package var session: Int32
    /// The state letter: `R`, `S`, `D`, `T`, `Z` (ended, not waited for) and others.
    package var state: UInt8
    /// When it began, in clock ticks since boot; with the pid this names a process for good.
    package var startTicks: UInt64
    /// CPU time of the process and of its children that were waited for, in clock ticks.
    package var cpuTicks: UInt64
    /// CPU time of the process alone, in clock ticks.
    package var ownTicks: UInt64
    /// Its threads.
    package var threads: UInt64
    /// Address space in bytes.
    package var virtualBytes: UInt64
    /// Resident memory in bytes.
    package var residentBytes: UInt64
    /// The program's name, 15 bytes at most, made printable. Any process may call itself anything.
    package var name: String

    /// Whether it has ended and only waits to be waited for: it holds nothing any more.
    package var hasEnded: Bool { state == UInt8(ascii: "Z") || state == UInt8(ascii: "X") }

    /// Whether it is a part of the kernel: these alone have no session.
    var isKernelThread: Bool { session == 0 && group == 0 }

    /// Reads the text of /proc/PID/stat; nil if it is not that. The name may hold blanks, parentheses and line feeds, so
    /// it ends at the last `)`.
    package init?(statText text: [UInt8]) {
        guard let open = text.firstIndex(of: UInt8(ascii: "(")), let close = text.lastIndex(of: UInt8(ascii: ")")),
            open < close, let pid = Int32(String(decoding: text[..<open], as: UTF8.self).dropLast())
        else { return nil }
        // A status pass reads one of these for every process of the machine: no strings for the numbers.
        var rest = text[(close + 1)...].drop { $0 == UInt8(ascii: " ") }
        guard let state = rest.popFirst() else { return nil }
        var fields: [Int64] = []
        fields.reserveCapacity(21)
        while fields.count < 21, let number = Self.nextNumber(&rest) { fields.append(number) }
        guard fields.count == 21, let parent = Int32(exactly: fields[0]), let group = Int32(exactly: fields[1]),
            let session = Int32(exactly: fields[2])
        else { return nil }
        // fields[0] is the fourth of the manual page's list.
        func field(_ place: Int) -> UInt64 { UInt64(clamping: fields[place - 4]) }
        self.pid = pid
        self.parent = parent
        self.group = group
        self.session = session
        self.state = state
        startTicks = field(22)
        ownTicks = field(14) &+ field(15)
        threads = field(20)
        virtualBytes = field(23)
        cpuTicks = field(14) &+ field(15) &+ field(16) &+ field(17)
        residentBytes = field(24) &* UInt64(clamping: sysconf(Int32(_SC_PAGESIZE)))
        name = Self.printable(text[(open + 1)..<close])
    }

    /// Takes blanks and the decimal number behind them; nil if there is none, or it is too large.
    private static func nextNumber(_ text: inout ArraySlice<UInt8>) -> Int64? {
        text = text.drop { $0 == UInt8(ascii: " ") }
        let isNegative = text.first == UInt8(ascii: "-")
        if isNegative { text.removeFirst() }
        var number: Int64 = 0
        var hasDigits = false
        while let byte = text.first, byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") {
            let (tenfold, overflows) = number.multipliedReportingOverflow(by: 10)
            let (sum, overflowsToo) = tenfold.addingReportingOverflow(Int64(byte - UInt8(ascii: "0")))
            if overflows || overflowsToo { return nil }
            number = sum
            hasDigits = true
            text.removeFirst()
        }
        guard hasDigits else { return nil }
        return isNegative ? -number : number
    }

    private static func printable(_ name: ArraySlice<UInt8>) -> String {
        let text = String(decoding: name, as: UTF8.self)
        if name.allSatisfy({ $0 >= 0x20 && $0 < 0x7f }) { return text }
        return String(
            text.unicodeScalars.map { $0.properties.generalCategory == .control ? "?" : Character($0) })
    }
}

/// The processes of the machine, by /proc. A process that vanishes while it is looked at is left out.
package enum ProcessTable {
    /// Clock ticks a second, by sysconf(_SC_CLK_TCK).
    package static let ticksPerSecond = max(1, Double(sysconf(Int32(_SC_CLK_TCK))))

    /// The processes looked at in one pass, at most; Linux knows no more than 4,194,304 of them.
    private static let processLimit = 4_194_304
    /// The descriptors of one process looked at, at most.
    private static let descriptorLimit = 65_536
    /// The largest environment searched, in bytes; execve(2) takes 6 MiB at most.
    private static let environmentLimit = 6 << 20

    /// One process; nil if there is none of this id.
    package static func entry(of pid: Int32) -> ProcessEntry? {
        guard let text = try? Files.readPrefix("/proc/\(pid)/stat", count: 4096) else { return nil }
        return ProcessEntry(statText: text)
    }

    /// All processes in one pass; those that /proc hides from this user (mount option hidepid) are missing.
    package static func all() throws(SystemError) -> [ProcessEntry] {
        var pids: [Int32] = []
        try Files.forEachName(in: "/proc") { name in
            // Only the names of processes begin with a digit.
            if name[0] >= 0x31, name[0] <= 0x39, let pid = Int32(String(cString: name)) { pids.append(pid) }
            return pids.count < processLimit
        }
        return pids.compactMap { entry(of: $0) }
    }

    /// The children of a single-threaded process, by /proc/PID/task/PID/children; nil if the kernel does not tell.
    package static func children(of pid: Int32) -> [Int32]? {
        guard let text = try? Files.read("/proc/\(pid)/task/\(pid)/children", limit: 8 << 20) else { return nil }
        return text.split(separator: UInt8(ascii: " ")).compactMap { Int32(String(decoding: $0, as: UTF8.self)) }
    }

    /// The value of a variable in a process's environment as it was at execve(2), by /proc/PID/environ; nil if it is not
    /// set, or the process is gone or not ours to read.
    package static func environmentValue(_ name: String, of pid: Int32) -> String? {
        let wanted = Array("\(name)=".utf8)
        var emptyReads = 0
        // supd puts its own variable first, so the beginning nearly always has it.
        var count = 4096
        while let text = try? Files.readPrefix("/proc/\(pid)/environ", count: count) {
            if text.isEmpty {
                // It has none; or execve(2) is just giving it one, which is empty for an instant: look again.
                emptyReads += 1
                guard emptyReads < 10, let entry = entry(of: pid), !entry.hasEnded, !entry.isKernelThread else {
                    return nil
                }
                usleep(100)
                continue
            }
            // The kernel lets a process move and overwrite its environment: anything may be here.
            let isWhole = text.count < count
            var rest = text[...]
            while !rest.isEmpty, let end = rest.firstIndex(of: 0) ?? (isWhole ? rest.endIndex : nil) {
                let entry = rest[..<end]
                if entry.starts(with: wanted) { return String(decoding: entry.dropFirst(wanted.count), as: UTF8.self) }
                rest = rest[end...].dropFirst()
            }
            if isWhole || count == environmentLimit { return nil }
            count = environmentLimit
        }
        return nil
    }

    /// Whether one of some sockets is open in a process.
    package enum SocketSearch: Sendable, Hashable {
        /// It is: this one.
        case found(inode: UInt64)
        /// None is.
        case absent
        /// The process's descriptors may not be read, or are too many.
        case unknown
    }

    /// Looks for sockets among the descriptors of a process, by /proc/PID/fd.
    package static func search(_ pid: Int32, forSockets inodes: Set<UInt64>) -> SocketSearch {
        let directory = "/proc/\(pid)/fd"
        var left = descriptorLimit
        var found: UInt64?
        do {
            try Files.forEachName(in: directory) { name in
                left -= 1
                if let inode = socketInode("\(directory)/\(String(cString: name))"), inodes.contains(inode) {
                    found = inode
                }
                return found == nil && left > 0
            }
        } catch {
            return error.code == ENOENT || error.code == ESRCH ? .absent : .unknown
        }
        if let found { return .found(inode: found) }
        return left > 0 ? .absent : .unknown
    }

    /// The inode in a descriptor's link, `socket:[12345]`.
    private static func socketInode(_ path: String) -> UInt64? {
        guard let target = try? Files.readLink(path, limit: 64), target.hasPrefix("socket:["), target.hasSuffix("]")
        else {
            return nil
        }
        return UInt64(target.dropFirst(8).dropLast())
    }
}
