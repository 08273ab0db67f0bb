import ControlAPI
import Foundation
import Glibc
import Platform
import TestSupport

/// A program that changes something of its own process and then executes what its arguments name.
struct Launcher {
    var path: String
    var arguments: [String]

    /// Whether this test may become somebody else: it is root, and util-linux is installed.
    static let canChangeUser =
        geteuid() == 0 && access("/usr/bin/setpriv", X_OK) == 0 && access("/usr/bin/prlimit", X_OK) == 0

    /// Without rights: with a uid and a gid that nobody has, of no other group, below a limit of processes if need be.
    static func user(_ id: Int, processes: Int? = nil) -> Launcher {
        let user = ["--reuid", "\(id)", "--regid", "\(id)", "--clear-groups", "--"]
        guard let processes else { return Launcher(path: "/usr/bin/setpriv", arguments: user) }
        return Launcher(
            path: "/usr/bin/prlimit", arguments: ["--nproc=\(processes)", "--", "/usr/bin/setpriv"] + user)
    }

    /// With a stderr of which it is said that the journal reads it, as systemd says it; systemd.exec(5).
    static let journal = Launcher(
        path: "/bin/sh",
        arguments: ["-c", "JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) exec \"$@\"", "sh"])

    /// Below a limit of open files.
    static func openFiles(_ count: Int) -> Launcher {
        Launcher(path: "/bin/sh", arguments: ["-c", "ulimit -n \(count) && exec \"$@\"", "sh"])
    }
}

/// A real supd in a directory of its own. Killed with all its services when the test lets go of it.
final class Daemon {
    let directory: TemporaryDirectory
    private(set) var keeper: Program
    private let program: String
    private let arguments: [String]
    private let environment: [String: String]?

    /// The folder of the programs under test: beside the test runner itself.
    static let binaries: String = {
        let path = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
        return URL(fileURLWithPath: path).deletingLastPathComponent().path
    }()
    static let supd = "\(binaries)/supd"
    static let supctl = "\(binaries)/supctl"
    static let demoService = "\(binaries)/demo-service"

    /// Starts supd with a manifest's text; `@demo@` in it stands for the demo service's path.
    convenience init(
        _ manifest: String, in directory: TemporaryDirectory? = nil, under launcher: Launcher? = nil,
        environment: [String: String]? = nil, supd: String = Daemon.supd, waitUntilUp: Bool = true
    ) throws {
        let directory = try directory ?? TemporaryDirectory()
        let text = manifest.replacingOccurrences(of: "@demo@", with: Self.demoService)
        let path = try directory.write("supd.json5", text)
        try self.init(
            manifestAt: path, in: directory, under: launcher, environment: environment, supd: supd,
            waitUntilUp: waitUntilUp)
    }

    /// Starts supd with a manifest that is there.
    init(
        manifestAt path: String, in directory: TemporaryDirectory, under launcher: Launcher? = nil,
        environment: [String: String]? = nil, to destination: Program.Destination = .pipe, supd: String = Daemon.supd,
        waitUntilUp: Bool = true
    ) throws {
        self.directory = directory
        self.environment = environment
        let arguments = [path] + Self.directoryOptions(in: directory)
        if let launcher {
            program = launcher.path
            self.arguments = launcher.arguments + [supd] + arguments
        } else {
            program = supd
            self.arguments = arguments
        }
        keeper = try Program(program, self.arguments, environment: environment, to: destination)
        if waitUntilUp { try keeper.waitForOutput("everything is up") }
    }

    /// The options that put all directories of a supd into one.
    static func directoryOptions(in directory: TemporaryDirectory) -> [String] {
        [
            "--runtime-directory", directory.file("run"), "--state-directory", directory.file("state"),
            "--log-directory", directory.file("log"),
        ]
    }

    deinit {
        // All services die with the keeper; so does what they left behind, by the supervisor's hand.
        keeper.kill()
        // They may write logs to their last moment, and so make folders again that were removed too early.
        _ = try? eventually("the end of all", within: 5) {
            ProcessesOf(runtimeDirectory: directory.file("run"), andRoles: true).isEmpty ? true : nil
        }
    }

    /// Waits until it answers, for one that may never be up.
    func waitUntilAnswering() throws { try eventually("an answer") { (try? status()) != nil ? true : nil } }

    var socket: String { directory.file("run/control.sock") }

    /// Starts another supd with the same directories.
    func startAgain() throws { keeper = try Program(program, arguments, environment: environment) }

    /// Runs supctl to its end.
    @discardableResult
    func ctl(_ arguments: String..., within seconds: Double = 60) throws -> Program.Result {
        try Program.run(Self.supctl, ["--socket", socket] + arguments, within: seconds)
    }

    /// The status by `supctl status --json`.
    func status(_ names: String...) throws -> StatusReport {
        let result = try Program.run(Self.supctl, ["--socket", socket, "status", "--json"] + names)
        guard let report = try? JSONDecoder().decode(StatusReport.self, from: Data(result.output.utf8)) else {
            throw TestFailure("no status: exit code \(result.code), \(result.output); supd said:\n\(keeper.output)")
        }
        return report
    }

    /// The process ids of all instances by name.
    func pids() throws -> [String: Int32] {
        var pids: [String: Int32] = [:]
        for instance in try status().services.flatMap(\.instances) { pids[instance.id] = instance.pid }
        return pids
    }

    /// The process id of a role.
    func role(_ name: String) throws -> Int32 {
        guard let pid = try status().daemon.roles[name] else { throw TestFailure("there is no role \(name)") }
        return pid
    }

    /// Waits until another process than this one has a role.
    func waitForAnother(_ name: String, than old: Int32) throws {
        try eventually("another \(name)") { (try? role(name)).flatMap { $0 == old ? nil : true } }
    }

    /// SIGKILL of three supervisors, one after the other, each stopped before: what is said meanwhile nobody reads.
    func loseSupervisors(saying speak: () throws -> Void) throws {
        for _ in 0..<3 {
            let supervisor = try role("supervisor")
            kill(supervisor, SIGSTOP)
            try speak()
            kill(supervisor, SIGKILL)
            try waitForAnother("supervisor", than: supervisor)
        }
    }

    /// The lines of an instance's log, without time stamps: `stdout F text`.
    func logLines(_ service: String, _ number: Int = 1) -> [String] {
        let text = (try? String(contentsOfFile: directory.file("log/\(service)/\(number).log"), encoding: .utf8)) ?? ""
        return text.split(separator: "\n").map { line in
            line.split(separator: " ", maxSplits: 1).dropFirst().joined()
        }
    }
}
