import Events
import Foundation
import Glibc
import TestSupport
import Testing

/// `hooks` of the manifest: commands that get an event on their standard input.
@Suite("Hooks", .timeLimit(.minutes(15)))
struct HookTests {
    private func text(_ daemon: Daemon, _ name: String) -> String {
        (try? String(contentsOfFile: daemon.directory.file(name), encoding: .utf8)) ?? ""
    }

    @Test(
        "An instance that is given up is told to a hook, as JSON on its standard input, with few variables and no secret"
    )
    func failed() throws {
        let daemon = try Daemon(
            """
            { hooks: [
                { on: ["failed"], command: ["/bin/sh", "-c", "cat > event.new; env > variables; mv event.new event", "${SERVICE}"] },
                { on: ["recovered", "unhealthy"], command: ["/bin/sh", "-c", "echo > wrong"] },
              ],
              services: { bad: { command: ["/bin/sh", "-c", "exit 7"], environment: { SECRET: "xyzzy" },
                                 restart: { initialDelay: "10ms", limit: { starts: 2, within: "1m" } } } } }
            """, waitUntilUp: false)
        let told = try eventually("the hook") { text(daemon, "event").isEmpty ? nil : text(daemon, "event") }
        #expect(told.hasPrefix(#"{"on":"failed","number":"#) && told.hasSuffix("}\n"))
        let event = try #require(EventLine.event(Array(told.utf8)))
        #expect(event.instance == "bad/1")
        guard case .state(let change) = event.kind else { throw TestFailure("\(event)") }
        #expect(change.to == "failed" && change.reason?.contains("exited with code 7") == true)
        // It is one of those that are kept.
        #expect(text(daemon, "state/events").contains(told.dropFirst(#"{"on":"failed","#.count)))
        let variables = text(daemon, "variables")
        #expect(variables.contains("PATH=") && variables.contains("SERVICE=bad"))
        #expect(!variables.contains("SECRET") && !told.contains("xyzzy"))
        #expect(!FileManager.default.fileExists(atPath: daemon.directory.file("wrong")))
    }

    @Test("A hook that fails, and one that never ends, are told in the log; neither is in anybody's way")
    func badHooks() throws {
        let daemon = try Daemon(
            """
            { hooks: [
                { on: ["failed"], command: ["/nonexistent/notify"] },
                { on: ["failed"], command: ["/bin/sh", "-c", "sleep 1000 & echo $$$$ > pid; wait"] },
              ],
              services: { bad: { command: ["/bin/false"], restart: "never" },
                          good: { command: ["/bin/sleep", "1000"] } } }
            """, waitUntilUp: false)
        try daemon.keeper.waitForOutput("hook for failed of bad/1: exited with code 127")
        #expect(try daemon.ctl("restart", "good").code == 0)
        try daemon.keeper.waitForOutput("hook for failed of bad/1: killed, after 10 s")
        let pid = try #require(Int32(text(daemon, "pid").trimmingCharacters(in: .whitespacesAndNewlines)))
        try eventually("the end of its group") { kill(-pid, 0) == 0 ? nil : true }
    }

    private static let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("Configs/home-server/notify")
        .path

    @Test("The home server's hook names each occasion, and the service alone where there is no instance")
    func homeServerNames() throws {
        let directory = try TemporaryDirectory()
        _ = try directory.writeProgram("sendmail", "#!/bin/sh\ncat\n")
        for (instance, who) in [("", "x"), ("2", "x/2")] {
            let mail = try Program.run(
                "/bin/sh",
                ["-c", #"echo '{"on":"log-dropped","number":7}' | /bin/sh "$0" mailto:root"#, Self.script],
                environment: ["PATH": "\(directory.path):/usr/bin:/bin", "SERVICE": "x", "INSTANCE": instance])
            #expect(mail.code == 0 && mail.output.contains("Subject: \(who): log-dropped ("), "\(mail.output)")
            #expect(mail.output.contains("\"supctl why \(who)\" tells more."), "\(mail.output)")
        }
    }

    @Test(
        "The home server's hook mails by sendmail, or pushes by curl",
        arguments: [
            ("mailto:root", "sendmail", "-t", "To: root\nSubject: bad/1: failed ("),
            ("https://ntfy.sh/topic", "curl", "https://ntfy.sh/topic", #"{"on":"failed","#),
        ])
    func homeServer(address: String, program: String, argument: String, begins: String) throws {
        let script = Self.script
        let directory = try TemporaryDirectory()
        // In the place of what sends: keeps what it was to send.
        try FileManager.default.createDirectory(atPath: directory.file("bin"), withIntermediateDirectories: false)
        for name in ["sendmail", "curl"] {
            _ = try directory.writeProgram(
                "bin/\(name)",
                """
                #!/bin/sh
                cat >\(directory.path)/text; echo "\(name) $*" >\(directory.path)/sent.new
                mv \(directory.path)/sent.new \(directory.path)/sent

                """)
        }
        let daemon = try Daemon(
            """
            { hooks: [{ on: ["failed"], command: ["/bin/sh", "\(script)", "\(address)"] }],
              services: { bad: { command: ["/bin/false"], restart: "never" } } }
            """, in: directory, environment: ["PATH": "\(directory.file("bin")):/usr/bin:/bin"], waitUntilUp: false)
        let sent = try eventually("the message") { text(daemon, "sent").isEmpty ? nil : text(daemon, "sent") }
        #expect(sent.hasPrefix(program) && sent.contains(argument), "\(sent)")
        let message = text(daemon, "text")
        #expect(message.hasPrefix(begins) && message.contains(#"{"on":"failed","number":"#), "\(message)")
        #expect(program == "sendmail" || sent.contains("Title: bad/1: failed ("), "\(sent)")
    }

    @Test("Unhealthy and recovered are told; hooks come and go with apply")
    func unhealthyAndRecovered() throws {
        func manifest(_ hooks: String) -> String {
            """
            { hooks: [\(hooks)],
              services: { a: { command: ["/bin/sleep", "1000"], health: {
                command: ["/bin/sh", "-c", "test ! -e sick"], interval: "500ms", timeout: "400ms", failures: 1 } } } }
            """
        }
        let daemon = try Daemon(manifest(""))
        _ = try daemon.directory.write(
            "supd.json5",
            manifest(#"{ on: ["unhealthy", "recovered"], command: ["/bin/sh", "-c", "rm -f sick; cat >> told"] }"#))
        #expect(try daemon.ctl("apply").code == 0)
        _ = try daemon.directory.write("sick", "")
        let lines = try eventually("both", within: 60) {
            let lines = text(daemon, "told").split(separator: "\n")
            return lines.count >= 2 ? lines : nil
        }
        #expect(lines[0].contains(#""on":"unhealthy""#) && lines[0].contains(#""kind":"probe""#))
        #expect(lines[1].contains(#""on":"recovered""#))
    }
}
