import CMatrixSupport
import CPlatform
import Glibc
import Platform
import TestSupport

/// What /proc shows of the process under test.
struct ProcessView: Sendable {
    let pid: Int32

    /// What is open.
    struct Descriptors: Equatable {
        var sockets = 0
        var pipes = 0
        var others = 0
    }

    /// What it has open; nil when that may not be seen: the balancer hides it from all but root.
    func descriptors() -> Descriptors? {
        guard let names = try? Files.names(in: "/proc/\(pid)/fd", limit: 65_536) else { return nil }
        var found = Descriptors()
        for name in names {
            guard let target = try? Files.readLink("/proc/\(pid)/fd/\(name)") else { continue }
            if target.hasPrefix("socket:") {
                found.sockets += 1
            } else if target.hasPrefix("pipe:") {
                found.pipes += 1
            } else {
                found.others += 1
            }
        }
        return found
    }

    /// Whether it has one of these sockets open, as root sees; a process that has ended has not.
    func hasOpen(_ sockets: Set<String>) -> Bool {
        guard let names = try? Files.names(in: "/proc/\(pid)/fd", limit: 65_536) else { return false }
        return names.contains { name in
            (try? Files.readLink("/proc/\(pid)/fd/\(name)")).map { sockets.contains($0) } ?? false
        }
    }

    /// A copy of its socket that is connected to this peer, as root may have one. To be closed before it closes its own, of
    /// which its epoll set would go on to tell.
    func socket(connectedTo peer: String) throws -> Descriptor {
        for name in try Files.names(in: "/proc/\(pid)/fd", limit: 65_536) {
            guard let number = Int32(name) else { continue }
            let raw = matrix_descriptor_of(pid, number)
            guard raw >= 0 else { continue }
            let copy = Descriptor(owning: raw)
            let found = withUnsafeTemporaryAllocation(of: CChar.self, capacity: 64) { text in
                guard matrix_name_of(raw, 1, text.baseAddress, text.count) == 0 else { return "" }
                return text.baseAddress.map { String(cString: $0) } ?? ""
            }
            if found == peer { return copy }
        }
        throw TestFailure("process \(pid) has no socket that is connected to \(peer)")
    }

    /// Whether all its threads are stopped by a signal: state T of proc_pid_stat(5).
    func isStopped() throws -> Bool {
        try Files.names(in: "/proc/\(pid)/task", limit: 65_536).allSatisfy { thread in
            // One that has ended meanwhile does nothing either.
            (try? lines("/proc/\(pid)/task/\(thread)/status"))?.contains { $0.hasPrefix("State:\tT") } ?? true
        }
    }

    /// Does something while it is stopped, all threads of it: what happens meanwhile comes to it as one batch of events.
    func whileStopped(_ body: () throws -> Void) throws {
        kill(pid, SIGSTOP)
        defer { kill(pid, SIGCONT) }
        // kill(2) returns before those on other processors have stopped.
        try eventually("process \(pid) has stopped") { try isStopped() ? true : nil }
        try body()
    }

    /// Memory of its own in bytes, without files: RssAnon of proc_pid_status(5).
    func memory() throws -> Int {
        for line in try lines("/proc/\(pid)/status") where line.hasPrefix("RssAnon:") {
            let kilobytes = line.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first.flatMap {
                Int($0)
            }
            if let kilobytes { return kilobytes << 10 }
        }
        throw TestFailure("no RssAnon of process \(pid)")
    }

    /// What it has done so far: moves when it runs at all.
    struct Activity: Equatable {
        /// Context switches of all threads.
        var switches = 0
        /// utime and stime in clock ticks.
        var ticks: UInt64 = 0

        /// CPU time from one look to another, in seconds.
        func seconds(since before: Activity) -> Double { Double(ticks - before.ticks) / ProcessTable.ticksPerSecond }
    }

    /// What it has done so far.
    func activity() throws -> Activity {
        var found = Activity()
        for thread in try Files.names(in: "/proc/\(pid)/task", limit: 65_536) {
            guard let lines = try? lines("/proc/\(pid)/task/\(thread)/status") else { continue }
            for line in lines where line.contains("ctxt_switches:") {
                found.switches += line.split(separator: "\t").last.flatMap { Int($0) } ?? 0
            }
        }
        guard let entry = ProcessTable.entry(of: pid) else { throw TestFailure("process \(pid) is gone") }
        found.ticks = entry.cpuTicks
        return found
    }

    /// Waits until it does nothing for a while.
    func becomesQuiet() throws {
        var before = try activity()
        try eventually("process \(pid) comes to rest") {
            usleep(25_000)
            let now = try activity()
            defer { before = now }
            return now == before ? true : nil
        }
    }

    /// Waits until it does next to nothing for a while: it may look again now and then at what it waits for.
    func becomesSlow() throws {
        var before = try activity()
        try eventually("process \(pid) comes to rest") {
            usleep(100_000)
            let now = try activity()
            defer { before = now }
            return now.ticks == before.ticks && now.switches - before.switches < 20 ? true : nil
        }
    }

    /// Sets both limits on open files.
    func limitDescriptors(_ count: Int) throws {
        var wanted: [UInt64] = [UInt64(count), UInt64(count)]
        try systemCall("prlimit") { supd_process_limit(pid, Int32(RLIMIT_NOFILE.rawValue), &wanted, nil) }
    }

    private func lines(_ path: String) throws -> [Substring] {
        String(decoding: try Files.readPrefix(path, count: 65_536), as: UTF8.self).split(separator: "\n")
    }
}
