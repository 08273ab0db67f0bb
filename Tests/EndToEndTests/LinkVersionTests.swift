import Foundation
import Links
import Platform
import TestSupport
import Testing

/// A supervisor beside a keeper of another version, with this test in the keeper's place.
@Suite("Versions of the links", .timeLimit(.minutes(15)))
struct LinkVersionTests {
    /// A supervisor that was welcomed in a version.
    private func supervisor(welcomedIn version: Int) throws -> (process: ChildProcess, keeper: LinkConnection) {
        let directory = try TemporaryDirectory()
        let configuration: [String: Any] = [
            "manifestPath": directory.file("supd.json5"), "runtimeDirectory": directory.path,
            "stateDirectory": directory.path, "logDirectory": directory.path, "keeper": 1, "keeperBegan": 1,
        ]
        let text = String(decoding: try JSONSerialization.data(withJSONObject: configuration), as: UTF8.self)
        let (keeper, end) = try LinkConnection.pair()
        let supervisor = try ChildProcess(
            Daemon.supd, ["supd: supervisor"],
            environment: ["SUPD_CONFIGURATION=\(text)", "TSAN_OPTIONS=atexit_sleep_ms=0"],
            descriptors: [end.descriptor])
        let hello = try eventually("hello") { () -> KeeperRequest? in
            if case .message(let request, _) = keeper.receive(KeeperRequest.self) { request } else { nil }
        }
        #expect(hello == .hello(version: linkVersion))
        let welcome = KeeperNotice.welcome(version: version, runs: 1, crashes: 0, scope: "/none", highestID: 0)
        #expect(try keeper.send(welcome) == .sent)
        #expect(try keeper.send(KeeperNotice.inventoryEnd) == .sent)
        return (supervisor, keeper)
    }

    @Test("A supervisor that does not know the keeper's version says so and ends")
    func otherVersion() throws {
        for version in [linkVersion - 1, linkVersion + 1] {
            let (process, keeper) = try supervisor(welcomedIn: version)
            #expect(try process.waitForEnd() == .code(1))
            let reason = "the keeper speaks version \(version), this supervisor \(linkVersion)"
            #expect(process.output.contains(reason), "\(process.output)")
            withExtendedLifetime(keeper) {}
        }
        // With its own version it goes on to the manifest, which is not there.
        let (process, keeper) = try supervisor(welcomedIn: linkVersion)
        try eventually("a word about the manifest") { process.output.contains("supd.json5") ? true : nil }
        withExtendedLifetime(keeper) {}
    }
}
