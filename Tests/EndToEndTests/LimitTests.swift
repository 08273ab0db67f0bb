import ControlAPI
import Foundation
import Glibc
import Platform
import TestSupport
import Testing

/// Every limit on a real process, and what is said when one of them has ended it.
@Suite("Limits", .timeLimit(.minutes(15)))
struct LimitTests {
    /// A resource with the line of /proc/PID/limits that shows it, as proc(5) names it, and two pairs of values.
    private struct Resource {
        var name: String
        var number: Int32
        var title: String
        var first: [UInt64]
        var second: [UInt64]

        init(_ name: String, _ number: Int32, _ title: String, _ first: [UInt64], _ second: [UInt64]) {
            var own = rlimit()
            getrlimit(__rlimit_resource_t(UInt32(number)), &own)
            let most = LimitTests.mayRaise ? UInt64.max : UInt64(own.rlim_max)
            (self.name, self.number, self.title) = (name, number, title)
            (self.first, self.second) = (first.map { min($0, most) }, second.map { min($0, most) })
        }
    }

    /// Whether there is CAP_SYS_RESOURCE: without it, which happens to root too, nobody may have more than there is.
    private static let mayRaise: Bool = {
        let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
        let line = status.split(separator: "\n").first { $0.hasPrefix("CapEff:\t") }
        return line.flatMap { UInt64($0.dropFirst(8), radix: 16) }.map { $0 & 1 << 24 != 0 } ?? false
    }()

    private static let resources = [
        Resource("as", 9, "Max address space", [1 << 30, 2 << 30], [1 << 29, 1 << 30]),
        Resource("core", 4, "Max core file size", [1 << 20, 2 << 20], [4096, 8192]),
        Resource("cpu", 0, "Max cpu time", [100, 200], [50, 150]),
        Resource("data", 2, "Max data size", [64 << 20, 128 << 20], [32 << 20, 64 << 20]),
        Resource("fsize", 1, "Max file size", [3 << 20, 4 << 20], [1 << 20, 2 << 20]),
        Resource("locks", 10, "Max file locks", [11, 22], [10, 20]),
        Resource("memlock", 8, "Max locked memory", [32 << 10, 64 << 10], [16 << 10, 48 << 10]),
        Resource("msgqueue", 12, "Max msgqueue size", [10_000, 20_000], [9000, 19_000]),
        Resource("nice", 13, "Max nice priority", [5, 15], [4, 10]),
        Resource("nofile", 7, "Max open files", [100, 200], [50, 150]),
        Resource("nproc", 6, "Max processes", [20_000, 30_000], [10_000, 15_000]),
        Resource("rss", 5, "Max resident set", [1 << 28, 1 << 29], [1 << 27, 1 << 28]),
        Resource("rtprio", 14, "Max realtime priority", [7, 9], [6, 8]),
        Resource("rttime", 15, "Max realtime timeout", [50_000, 60_000], [40_000, 50_000]),
        Resource("sigpending", 11, "Max pending signals", [120, 130], [110, 120]),
        Resource("stack", 3, "Max stack size", [1 << 20, 2 << 20], [1 << 19, 1 << 20]),
    ]

    /// A line of /proc/PID/limits as numbers.
    private func inForce(_ title: String, _ pid: Int32) throws -> [UInt64] {
        let text = try String(contentsOfFile: "/proc/\(pid)/limits", encoding: .utf8)
        let line = try #require(text.split(separator: "\n").first { $0.hasPrefix(title + " ") }, "\(title)")
        return line.dropFirst(title.count).split(separator: " ").prefix(2).map { UInt64($0) ?? .max }
    }

    private func limits(_ daemon: Daemon) throws -> [String: LimitStatus] {
        try #require(try daemon.status("x").services.first?.instances.first?.limits)
    }

    @Test("All sixteen are what the manifest says in the process and in status, and each can be changed as it runs")
    func allLimits() throws {
        #expect(Self.resources.map(\.name) == ResourceLimits.names)
        let fields = Self.resources.map { "\($0.name): '\($0.first[0]):\($0.first[1])'" }
        let daemon = try Daemon(
            """
            { services: { x: { command: ['/bin/sleep', '1000'], limits: { \(fields.joined(separator: ", ")) } } } }
            """)
        let pid = try #require(daemon.pids()["x/1"])
        var shown = try limits(daemon)
        #expect(shown.count == 16)
        for resource in Self.resources {
            #expect(try inForce(resource.title, pid) == resource.first, "\(resource.name)")
            #expect(
                shown[resource.name] == LimitStatus(soft: resource.first[0], hard: resource.first[1]),
                "\(resource.name)")
        }
        let page = try daemon.ctl("status", "x").output.split(separator: "\n").map { $0.drop { $0 == " " } }
        #expect(page.joined(separator: " ").contains(" as 1G:2G, core "), "\(page)")
        for resource in Self.resources {
            let word = "\(resource.name)=\(resource.second[0]):\(resource.second[1])"
            #expect(try daemon.ctl("limit", "x", word).code == 0, "\(word)")
            #expect(try inForce(resource.title, pid) == resource.second, "\(resource.name)")
        }
        shown = try limits(daemon)
        for resource in Self.resources {
            #expect(
                shown[resource.name] == LimitStatus(soft: resource.second[0], hard: resource.second[1]),
                "\(resource.name)")
        }
        #expect(try daemon.pids()["x/1"] == pid)
        // The manifest is as it was.
        #expect(try daemon.ctl("restart", "x").code == 0)
        let next = try #require(daemon.pids()["x/1"])
        for resource in Self.resources { #expect(try inForce(resource.title, next) == resource.first) }
    }

    @Test("A limit is changed in every process of an instance, and unlimited is nothing but that")
    func allProcesses() throws {
        let daemon = try Daemon(
            """
            { services: { x: { command: ['/bin/sh', '-c', 'sleep 1000 & wait'],
                               limits: { nofile: '100:200', core: 0, cpu: 'unlimited' } } } }
            """)
        let pid = try #require(daemon.pids()["x/1"])
        #expect(try limits(daemon)["cpu"] == LimitStatus(soft: nil, hard: nil))
        #expect(try limits(daemon)["core"] == LimitStatus(soft: 0, hard: 0))
        let child = try eventually("the shell's child") { ProcessTable.children(of: pid)?.first }
        #expect(try daemon.ctl("limit", "x", "nofile=50:150", "cpu=9").output.contains("changed in 2 processes"))
        for process in [pid, child] {
            #expect(try inForce("Max open files", process) == [50, 150])
            #expect(try inForce("Max cpu time", process) == [9, 10])
        }
    }

    /// A cap that ends the process, and the words that the status has for it.
    struct End: CustomTestStringConvertible, Sendable {
        var resource: String
        var limits: String
        var reason: String
        var testDescription: String { resource }
    }

    @Test(
        "The limit that ended a process is named with its amount",
        arguments: [
            End(
                resource: "stack", limits: "stack: '1M'", reason: "killed by SIGSEGV, perhaps by its stack limit of 1M"),
            End(resource: "cpu", limits: "cpu: 1", reason: "killed by SIGXCPU: cpu limit of 1 s reached"),
            End(resource: "fsize", limits: "fsize: '1M'", reason: "killed by SIGXFSZ: fsize limit of 1M reached"),
            End(resource: "core", limits: "nofile: 100", reason: "killed by SIGABRT"),
        ])
    func reasons(_ end: End) throws {
        let daemon = try Daemon(
            """
            { services: { x: { kind: 'task', restart: 'never', command: ['@demo@', '--leak', '\(end.resource)'],
                               limits: { core: 0, \(end.limits) }, environment: { TMPDIR: '/tmp' } } } }
            """, waitUntilUp: false)
        let exit = try eventually("the end of the task", within: 60) {
            try? daemon.status("x").services.first?.instances.first?.lastExit
        }
        #expect(exit.reason == end.reason)
        #expect(exit.signal.map { end.reason.contains($0) } == true)
        let page = try daemon.ctl("status", "x").output
        #expect(page.contains("  last exit  \(end.reason), at "), "\(page)")
    }

    /// Whether a process that may dump core does so into its directory; else nothing can be said of what becomes of it.
    private static let dumpsIntoDirectory: Bool = {
        let pattern = (try? String(contentsOfFile: "/proc/sys/kernel/core_pattern", encoding: .utf8)) ?? "|"
        var own = rlimit()
        getrlimit(__rlimit_resource_t(UInt32(4)), &own)
        return !pattern.hasPrefix("|") && !pattern.contains("/") && pattern != "\n"
            && (mayRaise || own.rlim_max == rlim_t.max)
    }()

    @Test(
        "A process that may dump core is said to have done so",
        .enabled(if: dumpsIntoDirectory, "kernel.core_pattern names no file in the process's directory"),
        arguments: [("'unlimited'", "killed by SIGABRT (core dumped)"), ("0", "killed by SIGABRT")])
    func coreDumped(limit: String, reason: String) throws {
        let directory = try TemporaryDirectory()
        let script = try directory.writeProgram("abort", "#!/bin/sh\nkill -ABRT $$\n")
        let daemon = try Daemon(
            "{ services: { x: { kind: 'task', restart: 'never', command: ['\(script)'], limits: { core: \(limit) } } } }",
            in: directory, waitUntilUp: false)
        let exit = try eventually("the end of the task") {
            try? daemon.status("x").services.first?.instances.first?.lastExit
        }
        #expect(exit.reason == reason)
        let files = try FileManager.default.contentsOfDirectory(atPath: directory.path)
        #expect(files.contains { $0.hasPrefix("core") } == (limit != "0"), "\(files)")
    }
}
