import ControlAPI
import Foundation
import Manifest
import TestSupport
import Testing

@testable import Supervisor

@Suite("The history of manifests")
struct ManifestHistoryTests {
    private func entry(_ outcome: HistoryEntry.Outcome, from source: String = "/m") -> HistoryEntry {
        HistoryEntry(at: "2026-01-01T00:00:00.000Z", by: "uid 7 (pid 1)", userID: 7, source: source, outcome: outcome)
    }

    private func manifest(_ name: String) -> Manifest {
        Manifest(services: [Service(name: name, command: [Template(literal: "x")])])
    }

    @Test("Twenty are kept, with numbers that go on, readable by nobody else")
    func keeping() throws {
        let directory = try TemporaryDirectory()
        let history = ManifestHistory(stateDirectory: directory.path)
        #expect(history.entries().isEmpty)
        for number in 1...23 { #expect(try history.add(entry(.done), manifest("m\(number)")) == number) }
        #expect(history.entries().map(\.number) == Array(4...23))
        #expect(history.manifest(3) == nil)
        #expect(history.manifest(4) == manifest("m4"))
        let files = try FileManager.default.contentsOfDirectory(atPath: directory.file("history"))
        #expect(files.count == 40)
        for file in files {
            let mode = try FileManager.default.attributesOfItem(atPath: directory.file("history/\(file)"))[
                .posixPermissions]
            #expect(mode as? Int == 0o600)
        }
    }

    @Test("What is under way gets its end; only good ones of the same file are gone back to at a start")
    func good() throws {
        let directory = try TemporaryDirectory()
        let history = ManifestHistory(stateDirectory: directory.path)
        _ = try history.add(entry(.started), manifest("a"))
        _ = try history.add(entry(.done, from: "/other"), manifest("b"))
        _ = try history.add(entry(.underWay), manifest("c"))
        #expect(history.lastGood(from: "/m")?.manifest == manifest("a"))
        try history.end(.failed, "it was on fire")
        #expect(history.entries().last?.outcome == .failed)
        #expect(history.entries().last?.reason == "it was on fire")
        #expect(history.entries().last?.rolledBackBy == nil)
        #expect(history.lastGood(from: "/m")?.entry.number == 1)
        #expect(history.lastGood(otherThan: manifest("b"))?.entry.number == 1)
        #expect(history.lastGood(otherThan: manifest("z"))?.entry.number == 2)
        #expect(history.lastGood(from: "/nowhere") == nil)
    }

    @Test("What a user has sent back is told from what has failed, with who that was, and is none to go back to")
    func sentBack() throws {
        let directory = try TemporaryDirectory()
        let history = ManifestHistory(stateDirectory: directory.path)
        _ = try history.add(entry(.done), manifest("a"))
        _ = try history.add(entry(.underWay), manifest("b"))
        try history.end(.rolledBack, "api was rolled back by uid 8 (pid 2)", rolledBackBy: "uid 8 (pid 2)")
        let last = try #require(history.entries().last)
        #expect(last.outcome == .rolledBack && last.rolledBackBy == "uid 8 (pid 2)")
        #expect(last.reason == "api was rolled back by uid 8 (pid 2)")
        #expect(history.lastGood(from: "/m")?.entry.number == 1)
        let text = try String(contentsOfFile: directory.file("history/2.entry.json"), encoding: .utf8)
        #expect(text.contains("\"outcome\":\"rolled back\""), "\(text)")
    }

    @Test("Torn, foreign and missing files are passed over")
    func broken() throws {
        let directory = try TemporaryDirectory()
        let history = ManifestHistory(stateDirectory: directory.path)
        _ = try history.add(entry(.done), manifest("a"))
        _ = try history.add(entry(.done), manifest("b"))
        try Data("{\"services\":".utf8).write(to: URL(fileURLWithPath: directory.file("history/2.manifest.json")))
        for name in [
            "3.entry.json", "x.entry.json", "-1.entry.json", "99999999999999999999.entry.json", "4.entry.json.new",
        ] {
            try Data("nonsense".utf8).write(to: URL(fileURLWithPath: directory.file("history/\(name)")))
        }
        #expect(history.lastGood(from: "/m")?.manifest == manifest("a"))
        #expect(history.entries().map(\.number) == [1, 2])
        #expect(try history.add(entry(.done), manifest("c")) == 4)
    }
}
