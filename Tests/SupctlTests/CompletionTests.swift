import Foundation
import TestSupport
import Testing

@testable import supctl

@Suite("Completion")
struct CompletionTests {
    static let files: [(shell: String, file: String)] = [
        ("bash", "supctl.bash"), ("zsh", "_supctl"), ("fish", "supctl.fish"),
    ]

    @Test("The scripts that are installed are what the program prints", arguments: files)
    func installed(shell: String, file: String) throws {
        let printed = runWithSocket("/nowhere", ["completion", shell]).output
        let kept = try String(contentsOf: Self.root.appending(path: "Configs/completions/\(file)"), encoding: .utf8)
        #expect(printed == kept, "run: supctl completion \(shell) >Configs/completions/\(file)")
    }

    @Test("Every verb for people is completed, and no other", arguments: files)
    func verbs(shell: String, file: String) {
        let script = runWithSocket("/nowhere", ["completion", shell]).output
        for verb in allVerbs where !verb.isHidden { #expect(script.contains(verb.name)) }
        #expect(!script.contains(" __names)"))
    }

    /// zsh and fish are asked by scripts/interop, which installs them.
    @Test("bash finds nothing wrong in its script")
    func syntax() throws {
        let directory = try TemporaryDirectory()
        let script = try directory.write("supctl.bash", runWithSocket("/nowhere", ["completion", "bash"]).output)
        let result = try Program.run("/bin/bash", ["-n", script])
        #expect(result.code == 0 && result.output.isEmpty, "\(result.output)")
        let broken = try directory.write("broken.bash", "if true; then\n")
        #expect(try Program.run("/bin/bash", ["-n", broken]).code != 0)
    }

    @Test(
        "In bash, verbs, options, names, signals and shells are offered where they belong",
        arguments: [
            ("st", ["status", "start", "stop"]),
            ("restart a", ["api", "api/1", "all"]),
            ("restart api w", ["web"]),
            ("restart --timeout 5s w", ["web"]),
            ("--socket /s restart w", ["web"]),
            ("restart --t", ["--timeout"]),
            ("restart --timeout ", []),
            ("signal US", ["USR1", "USR2"]),
            ("signal HUP we", ["web"]),
            ("limit a", ["api", "api/1", "all"]),
            ("limit n", []),
            ("limit api n", ["nice=", "nofile=", "nproc="]),
            ("limit api w", ["web"]),
            ("limit api nofile = ", []),
            ("limit api nofile = 4096 co", ["core="]),
            ("drain api/", ["api/1"]),
            ("balancer --", ["--json", "--watch", "--socket", "--help"]),
            ("completion ", ["bash", "zsh", "fish"]),
            ("help re", ["restart"]),
            ("version ", []),
            (
                "logs -",
                [
                    "--follow", "-f", "--sessions", "--lines", "-n", "--since", "--until", "--grep", "--json",
                    "--socket", "--help", "-h",
                ]
            ),
        ])
    func bash(words: String, offered: [String]) throws {
        let directory = try TemporaryDirectory()
        let script = try directory.write(
            "try.bash",
            """
            \(runWithSocket("/nowhere", ["completion", "bash"]).output)
            supctl() { printf '%s\\n' api web api/1 all; }
            compopt() { :; }
            COMP_WORDS=(supctl \(words.hasSuffix(" ") ? words + "''" : words))
            COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
            _supctl
            printf '%s\\n' "${COMPREPLY[@]}"
            """)
        let process = Process()
        process.executableURL = URL(filePath: "/bin/bash")
        process.arguments = ["-u", script]
        let output = Pipe()
        process.standardOutput = output
        try process.run()
        let text = String(decoding: try output.fileHandleForReading.readToEnd() ?? Data(), as: UTF8.self)
        process.waitUntilExit()
        #expect(process.terminationStatus == 0)
        #expect(text.split(separator: "\n").map(String.init) == offered)
    }

    private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()
}
