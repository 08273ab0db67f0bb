import ControlAPI
import Foundation
import Glibc
import TestSupport
import Testing

/// Manifests of before: shown, gone back to, and used where the file cannot be.
@Suite("The history of a real supd", .timeLimit(.minutes(15)))
struct HistoryTests {
    private func manifest(_ version: Int) -> String {
        "{ services: { x: { command: ['sleep', '1000'], environment: { V: 'secret\(version)' } } } }"
    }

    private func write(_ daemon: Daemon, _ text: String) throws {
        _ = try daemon.directory.write("supd.json5", text)
    }

    private func version(_ daemon: Daemon) throws -> Int? {
        // It may be replaced between the two looks.
        guard let pid = try daemon.pids()["x/1"],
            let environment = try? String(contentsOfFile: "/proc/\(pid)/environ", encoding: .utf8)
        else { return nil }
        return (1...9).first { environment.contains("V=secret\($0)\0") }
    }

    private func entries(_ daemon: Daemon) throws -> [HistoryEntry] {
        let result = try daemon.ctl("history", "--json")
        return try JSONDecoder().decode(HistoryReport.self, from: Data(result.output.utf8)).entries
    }

    @Test("What was applied is shown, with its result, and gone back to without the file")
    func rollback() throws {
        let began = Date()
        let daemon = try Daemon(manifest(1))
        try write(daemon, manifest(2))
        #expect(try daemon.ctl("apply").code == 0)
        try write(daemon, "{ services: { x: { command: ['false'], restart: { initialDelay: '20ms' } } } }")
        let failed = try daemon.ctl("apply")
        #expect(failed.code == 1 && failed.output.contains("x/1 has failed 3 times"), "\(failed.output)")
        try eventually("the result to be noted") { try entries(daemon).first?.outcome == .failed ? true : nil }
        let all = try entries(daemon)
        #expect(all.map(\.number) == [3, 2, 1])
        #expect(all.map(\.outcome) == [.failed, .done, .started])
        #expect(all.map(\.userID) == [geteuid(), geteuid(), nil])
        #expect(all.first?.reason?.contains("x/1 has failed 3 times") == true)
        let style = Date.ISO8601FormatStyle(includingFractionalSeconds: true)
        let times = all.compactMap { try? Date($0.at, strategy: style) }
        #expect(times.count == 3 && times == times.sorted(by: >))
        // Times are written to the millisecond.
        #expect(times.allSatisfy { $0 >= began - 0.001 && $0 <= Date() })
        let shown = try daemon.ctl("history").output
        #expect(shown.contains("started") && !shown.contains("secret"), "\(shown)")
        #expect(try version(daemon) == 2)
        // Not to what is in force, nor to what has failed.
        let back = try daemon.ctl("rollback")
        #expect(back.code == 0, "\(back.output)")
        #expect(try version(daemon) == 1)
        #expect(try daemon.ctl("rollback", "2").code == 0)
        #expect(try version(daemon) == 2)
        let missing = try daemon.ctl("rollback", "77")
        #expect(missing.code == 1 && missing.output.contains("no manifest 77"), "\(missing.output)")
    }

    @Test("SIGHUP reads the file anew; a wrong one changes nothing and is said")
    func hangup() throws {
        let daemon = try Daemon(manifest(1))
        try write(daemon, manifest(2))
        daemon.keeper.send(SIGHUP)
        try eventually("the new version") { try version(daemon) == 2 ? true : nil }
        try daemon.keeper.waitForOutput("apply: done")
        try write(daemon, "{ services: { x: { comand: 'sleep 1' } } }")
        daemon.keeper.send(SIGHUP)
        try daemon.keeper.waitForOutput("did you mean \"command\"")
        #expect(try version(daemon) == 2)
    }

    @Test("A start with a file that is broken, or gone, goes on with the last good manifest, and says so loudly")
    func brokenFile() throws {
        let daemon = try Daemon(manifest(1))
        try write(daemon, manifest(2))
        #expect(try daemon.ctl("apply").code == 0)
        try eventually("the result to be noted") { try entries(daemon).first?.outcome == .done ? true : nil }
        for isGone in [false, true] {
            #expect(try daemon.ctl("shutdown").code == 0)
            _ = try daemon.keeper.wait()
            if isGone {
                try FileManager.default.removeItem(atPath: daemon.directory.file("supd.json5"))
            } else {
                try write(daemon, "{ services: { x: ")
            }
            try daemon.startAgain()
            try daemon.keeper.waitForOutput("everything is up")
            #expect(
                daemon.keeper.output.contains("CANNOT BE USED: beginning with manifest 2 of the history"),
                "\(daemon.keeper.output)")
            #expect(try version(daemon) == 2)
        }
        // Mended, it is applied as ever.
        try write(daemon, manifest(3))
        #expect(try daemon.ctl("apply").code == 0)
        #expect(try version(daemon) == 3)
    }
}
