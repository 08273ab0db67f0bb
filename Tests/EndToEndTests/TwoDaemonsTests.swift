import ControlAPI
import Foundation
import Glibc
import Platform
import TestSupport
import Testing

/// Two supds on one machine: what they may share, and what keeps them apart.
@Suite("Two supds", .timeLimit(.minutes(10)))
struct TwoDaemonsTests {
    private struct Greeting: Decodable { var pid: Int32 }

    private static let manifest = "{ services: { a: { command: ['sleep', '1000'] } } }"

    @Test(
        "A second supd with one of the directories of the first says who has it, since when and with which manifest, and ends",
        arguments: [
            ("run", "supd runs already in ", "--runtime-directory"),
            ("state", "another supd keeps its history and events in ", "--state-directory"),
            ("log", "another supd writes its logs in ", "--log-directory"),
        ])
    func sharedDirectory(shared: String, words: String, advice: String) throws {
        let daemon = try Daemon(Self.manifest)
        let before = try daemon.pids()
        let other = try TemporaryDirectory()
        func directory(_ name: String) -> String { (name == shared ? daemon.directory : other).file(name) }
        let arguments = [
            try other.write("supd.json5", Self.manifest), "--runtime-directory", directory("run"),
            "--state-directory", directory("state"), "--log-directory", directory("log"),
        ]
        let result = try Program.run(Daemon.supd, arguments)
        #expect(result.code == 2)
        let line = try #require(
            result.output.split(separator: "\n").first { $0.contains(words + directory(shared)) }, "\(result.output)")
        let who = "pid \(daemon.keeper.pid) with the manifest \(daemon.directory.file("supd.json5")), since 20"
        #expect(line.contains(who) && line.contains(advice), "\(line)")
        // Who only checks is in nobody's way.
        #expect(try Program.run(Daemon.supd, arguments + ["--check"]).code == 0)
        #expect(try daemon.pids() == before)

        // However it ends, it leaves nothing behind that keeps anybody out.
        daemon.keeper.kill()
        let next = try Program(Daemon.supd, arguments)
        try next.waitForOutput("everything is up")
        next.send(SIGTERM)
        #expect(try next.wait().code == 0)
    }

    @Test("All three directories may be one, and of several that another supd has each is told")
    func oneForAll() throws {
        let directory = try TemporaryDirectory()
        let path = try directory.write("supd.json5", Self.manifest)
        let one = directory.file("all")
        let first = try Program(
            Daemon.supd, [path, "--runtime-directory", one, "--state-directory", one, "--log-directory", one])
        try first.waitForOutput("everything is up")
        let second = try Program.run(
            Daemon.supd,
            [path, "--runtime-directory", directory.file("run"), "--state-directory", one, "--log-directory", one])
        #expect(second.code == 2)
        #expect(second.output.contains("--state-directory") && second.output.contains("--log-directory"))
        first.send(SIGTERM)
        #expect(try first.wait().code == 0)
    }

    @Test("Two that are started at once with one port range share it: no instance has a port of the other's")
    func sharedPorts() throws {
        let fronts = [try freePort(), try freePort()]
        func manifest(_ front: UInt16) -> String {
            """
            { supd: { portRange: '31320-31335' },
              services: { api: { command: ['@demo@', '--quiet'], replicas: 3, listen: \(front), ready: { http: '/' },
                                 restart: { initialDelay: '50ms' } } } }
            """
        }
        let daemons = try fronts.map { try Daemon(manifest($0.port), waitUntilUp: false) }
        for daemon in daemons { try daemon.keeper.waitForOutput("everything is up") }
        let ports = try daemons.map { try $0.status("api").services.flatMap(\.instances).compactMap(\.port) }
        #expect(ports.allSatisfy { Set($0).count == 3 } && Set(ports.flatMap(\.self)).count == 6, "\(ports)")
        for (daemon, front) in zip(daemons, fronts) {
            let own = Set(try daemon.pids().values)
            for _ in 0..<6 {
                let answer = try HTTP.get(port: front.port, "/")
                let pid = try JSONDecoder().decode(Greeting.self, from: Data(answer.body.utf8)).pid
                #expect(own.contains(pid), "\(pid) is none of \(own)")
            }
        }
        // Nor has one that finds its port in use, by whomever, when it is started again.
        let lost = try #require(ports[0].first)
        let daemon = daemons[0]
        #expect(try daemon.ctl("stop", "api/1").code == 0)
        let stranger = try testListener(port: lost)
        #expect(try daemon.ctl("start", "api/1").code == 0, "\(daemon.keeper.output)")
        let now = try daemons.flatMap { try $0.status("api").services.flatMap(\.instances).compactMap(\.port) }
        #expect(Set(now).count == 6 && !now.contains(lost), "\(now)")
        withExtendedLifetime(stranger) {}
    }
}
