import CPlatform
import Glibc

/// A soft and a hard limit as setrlimit(2) takes them.
package struct LimitPair: Sendable, Hashable {
    /// RLIM_INFINITY.
    package static let unlimited = UInt64.max

    /// The limit in force.
    package var soft: UInt64
    /// How far an unprivileged process may raise it.
    package var hard: UInt64

    /// Creates a pair.
    package init(soft: UInt64, hard: UInt64) {
        self.soft = soft
        self.hard = hard
    }
}

/// The resource limits of processes. Names are RLIMIT_… in lower case, as in the manifest.
package enum ResourceLimits {
    /// A resource: name, number in <asm-generic/resource.h> (x86-64 and arm64 use it), and its title in
    /// /proc/PID/limits.
    private static let resources: [(name: String, number: Int32, title: String)] = [
        ("as", 9, "Max address space"), ("core", 4, "Max core file size"), ("cpu", 0, "Max cpu time"),
        ("data", 2, "Max data size"), ("fsize", 1, "Max file size"), ("locks", 10, "Max file locks"),
        ("memlock", 8, "Max locked memory"), ("msgqueue", 12, "Max msgqueue size"), ("nice", 13, "Max nice priority"),
        ("nofile", 7, "Max open files"), ("nproc", 6, "Max processes"), ("rss", 5, "Max resident set"),
        ("rtprio", 14, "Max realtime priority"), ("rttime", 15, "Max realtime timeout"),
        ("sigpending", 11, "Max pending signals"), ("stack", 3, "Max stack size"),
    ]

    /// All names, in alphabetical order.
    package static var names: [String] { resources.map(\.name) }

    /// The number of a resource by its name; nil for an unknown one.
    package static func number(of name: String) -> Int32? { resources.first { $0.name == name }?.number }

    /// The name of a resource by its number; nil for an unknown one.
    package static func name(of number: Int32) -> String? { resources.first { $0.number == number }?.name }

    /// One limit of this process.
    package static func own(_ number: Int32) throws(SystemError) -> LimitPair {
        try exchange(number, of: 0, for: nil)
    }

    /// Sets one limit of a process (0: this one) by prlimit(2) and returns what it was before. Throws ESRCH for a process
    /// that is gone, EPERM where the right is missing, EINVAL if soft is above hard.
    @discardableResult
    package static func set(_ number: Int32, of pid: Int32, to limit: LimitPair) throws(SystemError) -> LimitPair {
        try exchange(number, of: pid, for: limit)
    }

    /// All limits in force in a process by name, from /proc/PID/limits, which everybody may read.
    package static func inForce(of pid: Int32) throws(SystemError) -> [String: LimitPair] {
        parse(try Files.read("/proc/\(pid)/limits", limit: 65_536))
    }

    /// Reads the text of /proc/PID/limits; lines that it does not know are left out.
    package static func parse(_ text: [UInt8]) -> [String: LimitPair] {
        var limits: [String: LimitPair] = [:]
        for line in String(decoding: text, as: UTF8.self).split(separator: "\n") {
            guard let resource = resources.first(where: { line.utf8.starts(with: $0.title.utf8) }) else { continue }
            let fields = line.dropFirst(resource.title.utf8.count).split(separator: " ")
            guard fields.count >= 2, let soft = value(fields[0]), let hard = value(fields[1]) else { continue }
            limits[resource.name] = LimitPair(soft: soft, hard: hard)
        }
        return limits
    }

    private static func value(_ text: Substring) -> UInt64? {
        text == "unlimited" ? LimitPair.unlimited : UInt64(text)
    }

    private static func exchange(
        _ number: Int32, of pid: Int32, for wanted: LimitPair?
    ) throws(SystemError) -> LimitPair {
        var current: [UInt64] = [0, 0]
        let new = wanted.map { [$0.soft, $0.hard] }
        try systemCall("prlimit", "\(name(of: number) ?? "\(number)") of process \(pid)") {
            current.withUnsafeMutableBufferPointer { current in
                guard let new else { return supd_process_limit(pid, number, nil, current.baseAddress) }
                return new.withUnsafeBufferPointer { new in
                    supd_process_limit(pid, number, new.baseAddress, current.baseAddress)
                }
            }
        }
        return LimitPair(soft: current[0], hard: current[1])
    }
}
