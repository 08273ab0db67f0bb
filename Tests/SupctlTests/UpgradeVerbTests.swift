import ControlAPI
import Platform
import TestSupport
import Testing

@testable import supctl

@Suite("supctl version and upgrade, against a daemon of the test's", .timeLimit(.minutes(15)))
struct UpgradeVerbTests: VerbSuite {
    let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    @Test("The versions of both are told, and that no daemon runs is no error")
    func versions() throws {
        #expect(run("version").code == 0)
        #expect(run("version").output == "supctl \(version)\nsupd: none can be reached at \(path)\n")
        let server = try ScriptedServer(path, [.json(VersionReport(version: "9.9"))])
        #expect(run("version").output == "supctl \(version)\nsupd 9.9, running\n")
        #expect(server.requests().count == 1)
    }

    private static func report(
        _ number: String, upgrades: Int?, failure: String? = nil, serves: Bool = true
    ) -> VersionReport {
        var report = VersionReport(version: number)
        (report.upgrades, report.upgradeFailure, report.isServing) = (upgrades, failure, serves)
        return report
    }

    @Test("An upgrade waits until another supd serves, whatever becomes of the connection", arguments: [true, false])
    func upgrade(isTold: Bool) throws {
        let progress = [ProgressLine(waiting: "/opt/supd is tried")]
        let server = try ScriptedServer(
            path,
            [
                .json(Self.report("1", upgrades: 3)),
                isTold ? .lines(progress + [ProgressLine(result: "accepted")]) : .close,
                .json(Self.report("1", upgrades: 3)), .json(Self.report("2", upgrades: 4, serves: false)), .close,
                .json(Self.report("2", upgrades: 4)),
            ])
        let result = run("upgrade", "/opt/supd")
        #expect(result.code == 0)
        #expect(result.output.hasPrefix("supd: 1 → 2 in "))
        #expect(server.requests().count == 6)
        #expect(server.requests()[1].hasPrefix("POST /v1/upgrade?path=%2Fopt%2Fsupd HTTP/1.1\r\n"))
    }

    @Test("An upgrade that fails says why, be it before or after another supd was there")
    func failedUpgrade() throws {
        let refused = try ScriptedServer(
            path,
            [
                .json(Self.report("1", upgrades: 0)),
                .lines([ProgressLine(result: "failed", message: "/opt/supd: why")]),
            ])
        var result = run("upgrade")
        #expect(result.code == 1)
        #expect(result.errors.contains("supd stays as it is: /opt/supd: why"))
        #expect(refused.requests()[1].hasPrefix("POST /v1/upgrade HTTP/1.1\r\n"))
        let other = directory.file("other.sock")
        let back = try ScriptedServer(
            other,
            [
                .json(Self.report("1", upgrades: 0)), .lines([ProgressLine(result: "accepted")]),
                .json(Self.report("1", upgrades: 0, failure: "its supervisor ended 3 times")),
            ])
        result = runWithSocket(other, ["upgrade"])
        #expect(result.code == 1)
        #expect(result.errors.contains("supd stays as it was: its supervisor ended 3 times"))
        #expect(back.requests().count == 3)
    }

    @Test("A check of an upgrade says what the trial brought, and waits for nobody")
    func checkedUpgrade() throws {
        let server = try ScriptedServer(
            path,
            [
                .json(Self.report("1", upgrades: 0)),
                .lines([ProgressLine(result: "done", message: "/opt/supd: supd 2 can take over", changed: false)]),
            ])
        let result = run("upgrade", "--check", "/opt/supd")
        #expect(result.code == 0)
        #expect(result.output == "/opt/supd: supd 2 can take over\n")
        #expect(server.requests()[1].hasPrefix("POST /v1/upgrade?path=%2Fopt%2Fsupd&check=true HTTP/1.1\r\n"))
    }

    @Test("A supd that cannot be upgraded yet is to be restarted")
    func tooOld() throws {
        let server = try ScriptedServer(path, [.json(Self.report("0.1", upgrades: nil))])
        let result = run("upgrade")
        #expect(result.code == 1)
        #expect(result.errors.contains("systemctl restart supd"))
        #expect(server.requests().count == 1)
    }
}
