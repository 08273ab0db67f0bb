import ControlAPI
import Foundation
import Glibc
import Platform
import TestSupport
import Testing

/// What supd itself says of what it cannot work with: what, why and what to do; and that it then leaves nothing behind.
@Suite("Bad input", .timeLimit(.minutes(15)))
struct BadInputTests {
    /// A manifest that cannot be used, and what must be said of it.
    struct Unusable: CustomTestStringConvertible, Sendable {
        var name: String
        /// nil: there is no file.
        var bytes: @Sendable () -> [UInt8]?
        /// `@file@` in it is the manifest's path.
        var words: [String]
        /// How many lines tell it.
        var lines = 1
        /// At most so many lines tell it at a check, the last one included, which counts the errors.
        var checkLines = 2
        var testDescription: String { name }

        init(
            _ name: String, _ text: @autoclosure @escaping @Sendable () -> String, _ words: String..., lines: Int = 1,
            checkLines: Int = 2
        ) {
            (self.name, self.words, self.lines, self.checkLines) = (name, words, lines, checkLines)
            bytes = { Array(text().utf8) }
        }

        init(_ name: String, bytes: @escaping @Sendable () -> [UInt8]?, _ words: String...) {
            (self.name, self.bytes, self.words) = (name, bytes, words)
        }
    }

    private static let megabyte = 1 << 20

    @Test(
        "A manifest that cannot be used ends supd with 1, and every reason is told",
        arguments: [
            Unusable("missing", bytes: { nil }, "cannot read the manifest @file@: No such file or directory"),
            Unusable(
                "empty", "", "@file@:1:1: found nothing but an empty file, expected a manifest, for example",
                "services: {", checkLines: 7),
            Unusable(
                "not UTF-8", bytes: { Array("{\n services: { a: { command: 'x".utf8) + [0xff] + Array("' } } }".utf8) },
                "@file@:2:30: found the byte 0xFF, expected text in UTF-8; save the file as UTF-8"),
            Unusable(
                "10 MB of brackets", String(repeating: "[", count: 10 * megabyte), "@file@:1:", "found ", "expected "),
            Unusable(
                "a name of 10 MB",
                "{ services: { \(String(repeating: "a", count: 10 * megabyte)): { command: 'x' } } }",
                "@file@:1:15: services[\"aaaa", "found the name ", "expected a lower-case letter"),
            Unusable("17 MB", String(repeating: " ", count: 17 * megabyte), "@file@: it is larger than 16M"),
            Unusable(
                "a cycle",
                """
                { services: { a: { command: 'x', dependsOn: ['b'] }, b: { command: 'x', dependsOn: ['c'] },
                              c: { command: 'x', dependsOn: ['a'] }, d: { command: 'x', dependsOn: ['a'] } } }
                """, "@file@:2:46: services.c.dependsOn[0]: found a cycle: a → b → c → a, expected none"),
            Unusable(
                "an unknown dependency",
                "{ services: { api: { command: 'x', dependsOn: ['dv'] }, db: { command: 'x' } } }",
                "@file@:1:48: services.api.dependsOn[0]: found the unknown service \"dv\"", "did you mean \"db\"?"),
            Unusable(
                "a port used twice",
                "{ services: { a: { command: 'x', port: 4711 }, b: { command: 'x', listen: 4711 } } }",
                "@file@:1:75: services.b.listen: found 127.0.0.1:4711, which overlaps with services.a.port",
                "expected a port or address of its own (the other is on line 1)"),
            Unusable(
                "a field that there is not", "{ supd: { cluster: {} }, services: { a: { command: 'x' } } }",
                "@file@:1:11: supd.cluster: found the unknown key \"cluster\", expected one of portRange, balancer, web"
            ),
            Unusable(
                "too few ports",
                "{ supd: { portRange: '23451-23453' }, services: { a: { command: 'x', replicas: 4 } } }",
                "@file@:1:22: supd.portRange: found 3 free ports in \"23451-23453\", expected at least 4"),
            Unusable(
                "eighty errors",
                "{ services: {\n" + (1...80).map { "a\($0): { replica: 2, command: 'sleep 1' },\n" }.joined() + "} }",
                "@file@:2:7: services.a1.replica: found the unknown key \"replica\"", "did you mean \"replicas\"?",
                "@file@:51:8: services.a50.replica: ", "@file@: and 30 more errors", lines: 51, checkLines: 52),
        ])
    func manifest(_ unusable: Unusable) throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("supd.json5")
        if let bytes = unusable.bytes() { try Data(bytes).write(to: URL(fileURLWithPath: path)) }
        for option in [[], ["--check"]] {
            // Nothing waits for anything here; but unoptimised, supd reads 2 MB a second, and the machine may be busy.
            let result = try Program.run(
                Daemon.supd, [path] + Daemon.directoryOptions(in: directory) + option, within: 120)
            #expect(result.code == 1, "\(option)")
            for words in unusable.words {
                let words = words.replacingOccurrences(of: "@file@", with: path)
                #expect(result.output.contains(words), "\(option): no \(words) in \(result.output.prefix(10000))")
            }
            let lines = result.output.split(separator: "\n").filter { !$0.contains(" warning: ") }
            #expect(option.isEmpty ? lines.count == unusable.lines : lines.count <= unusable.checkLines)
            #expect(lines.allSatisfy { $0.utf8.count < 1000 })
        }
        try nothingIsLeft(of: directory)
    }

    @Test(
        "Without root a manifest that names whom to run as is refused, with every place",
        .enabled(if: Launcher.canChangeUser || geteuid() != 0, "this test cannot become somebody else"))
    func userWithoutRoot() throws {
        let directory = try TemporaryDirectory()
        chown(directory.path, 61_239, 61_239)
        let launcher = geteuid() == 0 ? Launcher.user(61_239) : nil
        let daemon = try Daemon(
            """
            { services: { good: { command: ['/bin/sleep', '1000'] },
              x: { command: ['/bin/sleep', '1000'], user: 'nobody' },
              y: { command: ['/bin/sleep', '1000'], group: 'daemon' } } }
            """, in: directory, under: launcher, waitUntilUp: false)
        let result = try daemon.keeper.wait(within: 30)
        #expect(result.code == 1)
        let reason = "but supd does not run as root, expected no such key: changing it needs root"
        for words in ["2:47: services.x.user: found \"nobody\", ", "3:48: services.y.group: found \"daemon\", "] {
            #expect(result.output.contains("\(directory.file("supd.json5")):\(words)\(reason)\n"), "\(result.output)")
        }
        try nothingIsLeft(of: directory)
        // Without them the same runs, as whom it was started.
        let file = directory.file("supd.json5")
        let text = try String(contentsOfFile: file, encoding: .utf8)
            .replacingOccurrences(of: ", user: 'nobody'", with: "")
            .replacingOccurrences(of: ", group: 'daemon'", with: "")
        try text.write(toFile: file, atomically: false, encoding: .utf8)
        try daemon.startAgain()
        try daemon.keeper.waitForOutput("everything is up")
        let user = geteuid() == 0 ? 61_239 : geteuid()
        for pid in try daemon.pids().values {
            let status = try String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)
            #expect(status.contains("Uid:\t\(user)\t\(user)\t"))
        }
    }

    private func nothingIsLeft(of directory: TemporaryDirectory) throws {
        try eventually("the end of all processes", within: 5) {
            ProcessesOf(runtimeDirectory: directory.file("run"), andRoles: true).isEmpty ? true : nil
        }
    }

    @Test("A manifest of 2,000 services is accepted, one of 10 MB too")
    func largeManifests() throws {
        let services = (1...2000).map { "s\($0): { command: ['/bin/sleep', '1000'], dependsOn: ['s\($0 / 2)'] },\n" }
        let many = "{ services: {\ns0: { command: ['/bin/sleep', '1000'] },\n" + services.joined() + "} }"
        let padding = String(repeating: " ", count: 10 * Self.megabyte)
        let large = "{ services: { s0: { command: ['/bin/sleep', '1000'] } } }" + padding
        let directory = try TemporaryDirectory()
        for (text, count) in [(many, 2001), (large, 1)] {
            let path = try directory.write("supd.json5", text)
            let result = try Program.run(Daemon.supd, [path, "--check"])
            #expect(result.code == 0, "\(result.output.prefix(1000))")
            #expect(result.output.contains("\(count) service"), "\(result.output.prefix(1000))")
        }
    }

    @Test("A front that a stranger has ends supd; it names the stranger, and all such fronts at once")
    func takenFront() throws {
        let first = try testListener(), second = try testListener(.anyIPv4)
        let directory = try TemporaryDirectory()
        let daemon = try Daemon(
            """
            { services: { a: { command: ['@demo@'], listen: \(first.port) },
                          b: { command: ['@demo@'], listen: '0.0.0.0:\(second.port)' } } }
            """, in: directory, waitUntilUp: false)
        let result = try daemon.keeper.wait(within: 30)
        #expect(result.code == 1)
        let name = try #require(ProcessTable.entry(of: getpid())?.name)
        for address in ["127.0.0.1:\(first.port)", "0.0.0.0:\(second.port)"] {
            let words = "cannot listen on \(address): Address already in use; it is taken by pid \(getpid()) (\(name))"
            #expect(result.output.contains(words), "\(result.output)")
        }
        #expect(result.output.contains("end it, or let the service listen elsewhere"))
        try nothingIsLeft(of: directory)
        withExtendedLifetime((first, second)) {}
    }

    @Test("A runtime directory that cannot be written ends supd, which says what to name instead")
    func runtimeDirectory() throws {
        let directory = try TemporaryDirectory()
        let manifest = try directory.write("supd.json5", "{ services: { a: { command: 'sleep 1000' } } }")
        chmod(directory.path, 0o755)
        let closed = directory.file("closed")
        try FileManager.default.createDirectory(atPath: closed, withIntermediateDirectories: false)
        chmod(closed, 0o555)
        // Root may write everywhere but below /proc.
        let launcher = Launcher.canChangeUser ? Launcher.user(61_236) : nil
        let command = launcher.map { [$0.path] + $0.arguments + [Daemon.supd] } ?? [Daemon.supd]
        var cases = [("/proc/supd", "cannot create the directory /proc/supd: ")]
        if launcher != nil || geteuid() != 0 {
            cases += [
                (closed, "cannot lock \(closed)/supd.lock: Permission denied; name another --runtime-directory"),
                (closed + "/run", "cannot create the directory \(closed)/run: Permission denied; name others by "),
            ]
        }
        let open = directory.file("open")
        try FileManager.default.createDirectory(atPath: open, withIntermediateDirectories: false)
        chmod(open, 0o777)
        for (path, words) in cases {
            let result = try Program.run(
                command[0],
                command.dropFirst() + [
                    manifest, "--runtime-directory", path, "--state-directory", "\(open)/state", "--log-directory",
                    "\(open)/log",
                ], within: 30)
            #expect(result.code == 1)
            #expect(result.output.contains(words), "\(result.output)")
            #expect(result.output.contains("--runtime-directory"), "\(result.output)")
            #expect(ProcessesOf(runtimeDirectory: path, andRoles: true).isEmpty)
        }
    }

    @Test("Replicas for which the port range has no port wait and say so, and everything else runs")
    func portsExhausted() throws {
        // Four ports, of which strangers listen on the two in the middle.
        let range = try eventually("four free ports, one after the other") {
            let (first, reservation) = try freePort()
            guard first < 65_000, let second = try? testListener(port: first + 1),
                let third = try? testListener(port: first + 2),
                let last = try? testListener(port: first + 3, listens: false)
            else { return PortRange?.none }
            return PortRange(
                first: first, reservations: [reservation, last.socket], strangers: [second.socket, third.socket])
        }
        let front = try freePort(), other = try freePort()
        let daemon = try Daemon(
            """
            { supd: { portRange: '\(range.first)-\(range.first + 3)' },
              services: { many: { command: ['@demo@', '--quiet'], replicas: 4, listen: \(front.port),
                                  restart: { initialDelay: '50ms', maxDelay: '200ms' } },
                          other: { command: ['@demo@', '--quiet'], port: \(other.port) } } }
            """, waitUntilUp: false)
        func states() -> [String] { (try? daemon.status().services.flatMap(\.instances).map(\.state).sorted()) ?? [] }
        try eventually("two of four to run") {
            states() == ["backoff", "backoff", "running", "running", "running"] ? true : nil
        }
        let status = try daemon.ctl("status")
        #expect(status.code == 3)
        let words = "no other port of supd.portRange is free: widen it"
        #expect(status.output.components(separatedBy: words).count == 3, "\(status.output)")
        #expect(daemon.keeper.output.contains(words), "\(daemon.keeper.output)")
        #expect(try HTTP.get(port: other.port, "/").status == 200)
        #expect(try Set((0..<4).map { _ in try HTTP.get(port: front.port, "/").body }).count == 2)
        // A port that becomes free is found.
        range.strangers.removeFirst()
        try eventually("the third") { states() == ["backoff"] + Array(repeating: "running", count: 4) ? true : nil }
        try eventually("three to answer") {
            try Set((0..<6).map { _ in try HTTP.get(port: front.port, "/").body }).count == 3 ? true : nil
        }
    }

    /// Ports one after the other, some of which are listened on.
    private final class PortRange {
        let first: UInt16
        let reservations: [Descriptor]
        var strangers: [Descriptor]

        init(first: UInt16, reservations: [Descriptor], strangers: [Descriptor]) {
            (self.first, self.reservations, self.strangers) = (first, reservations, strangers)
        }
    }

    @Test("Services that cannot start disturb nobody: the other one goes on answering, and status names each reason")
    func neverStarts() throws {
        let directory = try TemporaryDirectory()
        _ = try directory.writeProgram("script", "#!/nonexistent/interpreter\n")
        _ = try directory.write("plain", "echo")
        // An ELF header of a machine that nobody has.
        var header: [UInt8] = [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1] + Array(repeating: 0, count: 57)
        (header[16], header[18]) = (2, 8)
        _ = try directory.writeProgram("foreign", header)
        var services = [
            ("missing", "command: ['./none']", "cannot run \(directory.path)/none: No such file or directory"),
            ("plain", "command: ['./plain']", "Permission denied; it is not executable; use chmod +x"),
            ("foreign", "command: ['./foreign']", "MIPS"),
            ("script", "command: ['./script']", "its interpreter /nonexistent/interpreter"),
            (
                "directory", "command: 'sleep 1', directory: '/nonexistent/d'",
                "cannot change directory to /nonexistent/d: No such file or directory"
            ),
            ("file", "command: 'sleep 1', environmentFiles: ['/nonexistent/env']", "/nonexistent/env"),
        ]
        if geteuid() == 0 { services.append(("user", "command: 'sleep 1', user: 'nosuchuser'", "nosuchuser")) }
        let front = try freePort()
        let daemon = try Daemon(
            """
            { defaults: { restart: { initialDelay: '20ms', maxDelay: '100ms' } },
              services: { good: { command: ['@demo@', '--quiet'], listen: \(front.port) },
                  \(services.map { "\($0.0): { \($0.1) }" }.joined(separator: ",\n")) } }
            """, in: directory, waitUntilUp: false)
        // Each has been tried several times.
        for (name, _, _) in services {
            try eventually("\(name) to be tried again and again") {
                daemon.keeper.output.components(separatedBy: "\(name)/1: ").count > 4 ? true : nil
            }
        }
        let pid = try daemon.pids()["good/1"]
        #expect(try HTTP.get(port: front.port, "/").body.contains("\"pid\":\(pid ?? 0),"))
        for (name, _, words) in services {
            // Between two pauses it is being tried for a moment.
            try eventually("the status of \(name)") {
                let status = try daemon.ctl("status")
                #expect(status.code == 3)
                let lines = status.output.split(separator: "\n")
                return lines.contains { $0.hasPrefix("\(name) ") && $0.contains(words) } ? true : nil
            }
        }
        let good = try #require(try daemon.status("good").services.first?.instances.first)
        #expect(good.restarts == 0 && good.ready)
        #expect(Set(try daemon.status().daemon.roles.keys) == ["keeper", "supervisor", "balancer"])
    }
}
