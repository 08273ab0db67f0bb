import Foundation
import TestSupport
import Testing

/// `Configs/demo.json5`, as a reader of the README runs it; only the ports of its fronts are others.
@Suite("The demonstration", .timeLimit(.minutes(15)))
struct DemoTests {
    @Test("Three replicas take turns, the site calls them by the injected address, and the task has run first")
    func demo() throws {
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent("Configs/demo.json5")
        let api = try freePort(), site = try freePort()
        var text = try String(contentsOf: file, encoding: .utf8)
        for (line, port) in [("listen: 8080,", api.port), ("listen: 8081,", site.port)] {
            #expect(text.components(separatedBy: line).count == 2)
            text = text.replacingOccurrences(of: line, with: "listen: \(port),")
        }
        // It names the programs by the build folder beside its own.
        let directory = try TemporaryDirectory()
        for folder in ["Configs", ".build"] {
            try FileManager.default.createDirectory(
                atPath: directory.file(folder), withIntermediateDirectories: false)
        }
        try FileManager.default.createSymbolicLink(
            atPath: directory.file(".build/debug"), withDestinationPath: Daemon.binaries)
        let daemon = try Daemon(manifestAt: try directory.write("Configs/demo.json5", text), in: directory)

        let answers = try (0..<9).map { _ in try HTTP.get(port: api.port, "/").body }
        #expect(Set(answers.prefix(3)).count == 3)
        #expect(answers == Array(repeating: answers.prefix(3), count: 3).flatMap(\.self))
        let pids = try daemon.pids()
        for number in 1...3 {
            #expect(answers.contains { $0.contains("\"instance\":\(number),\"pid\":\(pids["api/\(number)"] ?? 0),") })
        }

        let call = try HTTP.get(port: site.port, "/call")
        #expect(call.status == 200)
        #expect(answers.contains { call.body.contains("\"answer\":\($0.dropLast())") }, "\(call.body)")
        let environment = try String(contentsOfFile: "/proc/\(pids["site/1"] ?? 0)/environ", encoding: .utf8)
        #expect(environment.split(separator: "\0").contains("API_ADDRESS=127.0.0.1:\(api.port)"))

        let log = daemon.keeper.output
        let task = try #require(log.range(of: "prepare/1: completed")).lowerBound
        for name in ["api/1", "api/2", "api/3", "site/1"] {
            #expect(try task < #require(log.range(of: "\(name): started")).lowerBound)
        }
        #expect(!daemon.logLines("prepare").isEmpty)
    }
}
