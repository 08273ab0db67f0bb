import ControlAPI
import Foundation
import Platform
import TestSupport

/// A real supd in a directory of its own. Killed with all its services when the test lets go of it.
final class Daemon {
    let directory: TemporaryDirectory
    private(set) var keeper: Program
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
    init(
        _ manifest: String, in directory: TemporaryDirectory? = nil, environment: [String: String]? = nil,
        waitUntilUp: Bool = true
    ) throws {
        self.directory = try directory ?? TemporaryDirectory()
        let text = manifest.replacingOccurrences(of: "@demo@", with: Self.demoService)
        let path = try self.directory.write("supd.json5", text)
        arguments = [
            path, "--runtime-directory", self.directory.file("run"), "--state-directory", self.directory.file("state"),
            "--log-directory", self.directory.file("log"),
        ]
        self.environment = environment
        keeper = try Program(Self.supd, arguments, environment: environment)
        if waitUntilUp { try keeper.waitForOutput("everything is up") }
    }

    deinit {
        // All services die with the keeper; so does what they left behind, by the supervisor's hand.
        keeper.kill()
    }

    /// Waits until it answers, for one that may never be up.
    func waitUntilAnswering() throws { try eventually("an answer") { (try? status()) != nil ? true : nil } }

    var socket: String { directory.file("run/control.sock") }

    /// Starts another supd with the same directories.
    func startAgain() throws { keeper = try Program(Self.supd, arguments, environment: environment) }

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

    /// The lines of an instance's log, without time stamps: `stdout F text`.
    func logLines(_ service: String, _ number: Int = 1) -> [String] {
        let text = (try? String(contentsOfFile: directory.file("log/\(service)/\(number).log"), encoding: .utf8)) ?? ""
        return text.split(separator: "\n").map { line in
            line.split(separator: " ", maxSplits: 1).dropFirst().joined()
        }
    }
}
