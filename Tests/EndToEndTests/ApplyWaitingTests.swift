import ControlAPI
import Foundation
import Glibc
import TestSupport
import Testing

/// An apply that has to wait, and those who come meanwhile.
@Suite("An apply that waits", .timeLimit(.minutes(10)))
struct ApplyWaitingTests {
    private func manifest(_ gate: String, api: String) -> String {
        """
        { services: { db: { command: ['sleep', '1000'], ready: { command: ['test', '-e', '\(gate)'] } },
                      api: { command: \(api), dependsOn: ['db'], deploy: { failures: 1 } } } }
        """
    }

    /// `api` waits for `db`, and so does an apply that changes `api`.
    private func waiting(api: String) throws -> (daemon: Daemon, apply: Program, gate: String) {
        let directory = try TemporaryDirectory()
        let gate = directory.file("gate")
        let daemon = try Daemon(
            manifest(gate, api: "['sleep', '1000']"), in: directory, waitUntilUp: false)
        try eventually("api to wait") {
            (try? daemon.status("api").services.first?.state) == "waiting" ? true : nil
        }
        _ = try directory.write("supd.json5", manifest(gate, api: api))
        let apply = try Program(Daemon.supctl, ["--socket", daemon.socket, "apply"])
        try apply.waitForOutput("api/1 waits for db to be ready")
        return (daemon, apply, gate)
    }

    @Test("The next one is refused with what the first waits for and why; Ctrl-C ends the wait, not the apply")
    func interrupted() throws {
        let (daemon, apply, gate) = try waiting(api: "['sleep', '1001']")
        let words =
            "an earlier apply is under way: it replaces api (api: 0 of 1 replaced: api/1 waits for db to be ready)"
            + "; \"supctl rollback api\" sends it back"
        func isRefused() throws {
            let result = try daemon.ctl("apply")
            #expect(result.code == 1 && result.output.contains(words), "\(result.output)")
        }
        try isRefused()
        apply.send(SIGINT)
        #expect(try apply.wait().code == 128 + SIGINT)
        try isRefused()
        // Whoever looks learns of it as well, and how it ended.
        #expect(try daemon.ctl("why", "api").output.contains("a rollout of api is under way"))
        #expect(FileManager.default.createFile(atPath: gate, contents: nil))
        try daemon.keeper.waitForOutput("apply: done")
        #expect(try daemon.ctl("apply").output.contains("nothing to change"))
        let pid = try #require(try daemon.pids()["api/1"])
        let command = try String(contentsOfFile: "/proc/\(pid)/cmdline", encoding: .utf8)
        #expect(command == "sleep\u{0}1001\u{0}")
        try eventually("its result in the history") {
            let text = try daemon.ctl("history", "--json").output
            let report = try JSONDecoder().decode(HistoryReport.self, from: Data(text.utf8))
            return report.entries.first?.outcome == .done ? true : nil
        }
    }

    @Test("A version that has only waited so far is judged by how it comes up")
    func judged() throws {
        let (daemon, apply, gate) = try waiting(api: "['sh', '-c', 'echo no licence; exit 3']")
        #expect(FileManager.default.createFile(atPath: gate, contents: nil))
        let result = try apply.wait()
        #expect(result.code == 1)
        #expect(result.output.contains("api/1 has failed: exited with code 3"), "\(result.output)")
        #expect(result.output.contains("api/1 | no licence"), "\(result.output)")
        try eventually("what ran before") { try daemon.pids()["api/1"] != nil ? true : nil }
        let pid = try #require(try daemon.pids()["api/1"])
        #expect(try String(contentsOfFile: "/proc/\(pid)/cmdline", encoding: .utf8) == "sleep\u{0}1000\u{0}")
    }

    @Test("An end by a user ends it for all who wait")
    func sentBack() throws {
        let (daemon, apply, _) = try waiting(api: "['sleep', '1001']")
        #expect(try daemon.ctl("rollback", "api").code == 0)
        let result = try apply.wait()
        #expect(result.code == 1)
        #expect(result.output.contains("api was rolled back by uid \(geteuid()) (pid "), "\(result.output)")
        _ = try daemon.directory.write(
            "supd.json5", manifest(daemon.directory.file("gate"), api: "['sleep', '1000']"))
        #expect(try daemon.ctl("apply").output.contains("nothing to change"))
    }
}
