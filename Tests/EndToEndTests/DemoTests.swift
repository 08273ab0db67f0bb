import Foundation
import Glibc
import Platform
import TestSupport
import Testing

/// `Configs/demo.json5`, as a reader of the README runs it; only the ports of its fronts are others.
@Suite("The demonstration", .timeLimit(.minutes(15)))
struct DemoTests {
    /// What the demonstration is started as, and the ports of its fronts.
    private struct Demo {
        var directory: TemporaryDirectory
        var manifest: String
        var api: UInt16
        var site: UInt16
        private var reservations: [Descriptor]

        init() throws {
            let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
                .deletingLastPathComponent().appendingPathComponent("Configs/demo.json5")
            let api = try freePort(), site = try freePort()
            var text = try String(contentsOf: file, encoding: .utf8)
            for (line, port) in [("listen: 8080,", api.port), ("listen: 8081,", site.port)] {
                #expect(text.components(separatedBy: line).count == 2)
                text = text.replacingOccurrences(of: line, with: "listen: \(port),")
            }
            // It names the programs by the build folder beside its own.
            directory = try TemporaryDirectory()
            for folder in ["Configs", ".build"] {
                try FileManager.default.createDirectory(
                    atPath: directory.file(folder), withIntermediateDirectories: false)
            }
            try FileManager.default.createSymbolicLink(
                atPath: directory.file(".build/debug"), withDestinationPath: Daemon.binaries)
            manifest = try directory.write("Configs/demo.json5", text)
            (self.api, self.site, reservations) = (api.port, site.port, [api.reservation, site.reservation])
        }

        func start(under launcher: Launcher? = nil, to destination: Program.Destination = .pipe) throws -> Daemon {
            try Daemon(manifestAt: manifest, in: directory, under: launcher, to: destination)
        }

        /// What is said once a service is up, in any order (a replica whose port another test has taken starts twice), and
        /// last of all.
        var progress: [String] {
            [
                "prepare: completed", "api: 3 instances ready at http://127.0.0.1:\(api)",
                "site: ready at http://127.0.0.1:\(site)", "everything is up after ",
            ]
        }
    }

    /// Looks for the lines of the progress in an output, and for the beginning that all its lines must have.
    private func expectProgress(of demo: Demo, in output: String, beginning: some RegexComponent) throws {
        let lines = try output.split(separator: "\n").compactMap { line in
            let match = try #require(line.prefixMatch(of: beginning), "\(line)")
            let text = line[match.range.upperBound...]
            return demo.progress.first { $0.hasSuffix(" ") ? text.hasPrefix($0) : text == $0 }
        }
        #expect(lines.sorted() == demo.progress.sorted() && lines.last == demo.progress.last, "\(output)")
    }

    /// `2026-01-31 10:20:30 `, which a line has on a terminal and in a file.
    private let time = #/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d /#
    /// `<6>`, as in sd-daemon(3), and no time, which the journal has itself.
    private let level = #/<[3-6]>(?!\d{4}-)/#

    private func hasLevels(_ output: String) -> Bool { output.contains(#/<\d>/#) }

    @Test("Three replicas take turns, the site calls them by the injected address, and the task has run first")
    func demo() throws {
        let demo = try Demo()
        let (api, site) = (demo.api, demo.site)
        let daemon = try demo.start()

        let answers = try (0..<9).map { _ in try HTTP.get(port: api, "/").body }
        #expect(Set(answers.prefix(3)).count == 3)
        #expect(answers == Array(repeating: answers.prefix(3), count: 3).flatMap(\.self))
        let pids = try daemon.pids()
        for number in 1...3 {
            #expect(answers.contains { $0.contains("\"instance\":\(number),\"pid\":\(pids["api/\(number)"] ?? 0),") })
        }

        let call = try HTTP.get(port: site, "/call")
        #expect(call.status == 200)
        #expect(answers.contains { call.body.contains("\"answer\":\($0.dropLast())") }, "\(call.body)")
        let environment = try String(contentsOfFile: "/proc/\(pids["site/1"] ?? 0)/environ", encoding: .utf8)
        #expect(environment.split(separator: "\0").contains("API_ADDRESS=127.0.0.1:\(api)"))

        let log = daemon.keeper.output
        let task = try #require(log.range(of: "prepare/1: completed")).lowerBound
        for name in ["api/1", "api/2", "api/3", "site/1"] {
            #expect(try task < #require(log.range(of: "\(name): started")).lowerBound)
        }
        #expect(!daemon.logLines("prepare").isEmpty)
        try expectProgress(of: demo, in: log, beginning: time)
    }

    @Test("On a terminal the start shows progress service by service with the addresses to open, in plain text")
    func terminal() throws {
        let demo = try Demo()
        let daemon = try demo.start(to: .terminal)
        let link = "/proc/\(daemon.keeper.pid)/fd/2"
        #expect(try FileManager.default.destinationOfSymbolicLink(atPath: link).hasPrefix("/dev/pts/"))
        let output = daemon.keeper.output
        #expect(!hasLevels(output) && !output.contains("\u{1b}"), "\(output)")
        // A terminal ends lines with a carriage return, too.
        let lines = output.replacingOccurrences(of: "\r\n", with: "\n")
        try expectProgress(of: demo, in: lines, beginning: time)
        #expect(try HTTP.get(port: demo.api, "/").status == 200)
        daemon.keeper.send(SIGTERM)
        #expect(try daemon.keeper.wait(within: 30).code == 0)
    }

    @Test("Where the journal reads stderr every line begins with its level, and no service is told of the journal")
    func journal() throws {
        let demo = try Demo()
        let daemon = try demo.start(under: .journal)
        let output = daemon.keeper.output
        try expectProgress(of: demo, in: output, beginning: level)
        let environment = try String(contentsOfFile: "/proc/\(daemon.keeper.pid)/environ", encoding: .utf8)
        #expect(environment.contains("JOURNAL_STREAM="))
        let pid = try #require(daemon.pids()["api/1"])
        #expect(try !String(contentsOfFile: "/proc/\(pid)/environ", encoding: .utf8).contains("JOURNAL_STREAM"))
    }

    @Test("A stream of the journal's that stderr is not leaves the lines plain")
    func otherJournal() throws {
        let demo = try Demo()
        // As under `systemd-run --pty`, or with stderr sent to a file: the variable is inherited, and speaks of another.
        let daemon = try demo.start(
            under: Launcher(path: "/usr/bin/env", arguments: ["JOURNAL_STREAM=1:2"]), to: .terminal)
        #expect(!hasLevels(daemon.keeper.output), "\(daemon.keeper.output)")
    }
}
