import Testing

@testable import supctl

@Suite("The command line")
struct CommandLineTests {
    @Test(
        "Options may stand anywhere, in every usual form",
        arguments: [
            ["--socket", "/s", "logs", "-f", "-n", "5", "api"],
            ["logs", "--socket=/s", "-fn5", "api"],
            ["logs", "api", "--follow", "--lines=5", "--socket", "/s"],
            ["logs", "-n5", "-f", "--socket=/s", "--", "api"],
            ["-n", "5", "--follow", "--socket=/s", "logs", "api"],
            ["-fn5", "logs", "--socket", "/s", "api"],
        ])
    func forms(arguments: [String]) throws {
        let line = try CommandLineReader.read(arguments, verbs: allVerbs)
        #expect(line.verb?.name == "logs")
        #expect(line.options == ["--socket": "/s", "--follow": "", "--lines": "5"])
        #expect(line.operands == ["api"])
    }

    @Test("An option of one name is the same for all verbs, so that it may stand before them")
    func oneMeaning() {
        let options = allVerbs.flatMap(\.options) + commonOptions
        for option in options {
            for other in options where other.name == option.name || (other.short != nil && other.short == option.short)
            {
                #expect(other.name == option.name && other.short == option.short)
                #expect((other.value == nil) == (option.value == nil), "\(option.name)")
            }
        }
    }

    @Test("After two dashes, nothing is an option")
    func dashes() throws {
        let line = try CommandLineReader.read(["stop", "--", "-f", "--help"], verbs: allVerbs)
        #expect(line.operands == ["-f", "--help"])
        #expect(!line.wantsHelp)
    }

    @Test(
        "What makes no sense is 2, and says what would",
        arguments: [
            ([], "which verb? \"supctl help\" lists them"),
            (["statsu"], "unknown verb \"statsu\"; did you mean status? See \"supctl help\""),
            (["aply"], "unknown verb \"aply\"; did you mean apply? See \"supctl help\""),
            (["apply", "a", "b"], "one manifest, not several; see \"supctl help apply\""),
            (["apply", "--json"], "--json goes with --dry-run; see \"supctl help apply\""),
            (["apply", ""], "the file's name is empty; see \"supctl help apply\""),
            (["rollback", "-"], "\"-\" is no number of \"supctl history\"; see \"supctl help rollback\""),
            (["rollback", "x", "--dry-run"], "--dry-run goes with a number; see \"supctl help rollback\""),
            (["rollback", "1", "2"], "one number or name, not several; see \"supctl help rollback\""),
            (["promote"], "which service? see \"supctl help promote\""),
            (["promote", "a", "b"], "one service, not several; see \"supctl help promote\""),
            (["rollback", "0"], "\"0\" is no number of \"supctl history\"; see \"supctl help rollback\""),
            (["explode"], "unknown verb \"explode\"; see \"supctl help\""),
            (["status", "--jsno"], "unknown option --jsno; did you mean --json? See \"supctl help status\""),
            (["--follow", "status"], "unknown option --follow; see \"supctl help status\""),
            (["--jsno", "status"], "unknown option --jsno; did you mean --json? See \"supctl help\""),
            (
                ["logs", "--sessions", "api/2"],
                "sessions are logged for services as a whole: name the service of api/2; see \"supctl help logs\""
            ),
            (["drain"], "which service? name one, or say all; see \"supctl help drain\""),
            (["status", "-x"], "unknown option -x; see \"supctl help status\""),
            (["status", "--json=yes"], "--json takes no value; see \"supctl help status\""),
            (["start", "api", "--timeout"], "--timeout needs a value (D); see \"supctl help start\""),
            (
                ["start", "api", "--timeout=soon"],
                "--timeout takes a duration like 500ms, 30s, 5m or 1h, not \"soon\"; see \"supctl help start\""
            ),
            (
                ["start", "api", "--timeout=0s"],
                "--timeout takes a duration like 500ms, 30s, 5m or 1h, not \"0s\"; see \"supctl help start\""
            ),
            (
                ["start", "api", "--timeout=1s", "--no-wait"],
                "--timeout makes no sense with --no-wait; see \"supctl help start\""
            ),
            (["start", "--timeout=1s", "--timeout=2s", "a"], "--timeout is given twice"),
            (["start"], "which service? name one, or say all; see \"supctl help start\""),
            (["stop", ""], "an empty name names nothing; see \"supctl help stop\""),
            (["signal"], "which signal, and to which service? see \"supctl help signal\""),
            (["signal", "HUP"], "which service? name one, or say all; see \"supctl help signal\""),
            (["limit", "nofile=1"], "which service? name one, or say all; see \"supctl help limit\""),
            (["limit", "api"], "which limit? say nofile=4096, for example; see \"supctl help limit\""),
            (["limit", "api", "nofile="], "\"nofile=\" is not of the form nofile=4096; see \"supctl help limit\""),
            (["limit", "api", "a=1", "a=2"], "the limit a is given twice; see \"supctl help limit\""),
            (["scale"], "which service? say api=5, for example; see \"supctl help scale\""),
            (["scale", "api"], "\"api\" is not of the form api=5; see \"supctl help scale\""),
            (["scale", "api=1", "web=-1"], "\"web=-1\" is not of the form api=5; see \"supctl help scale\""),
            (["scale", "=1"], "\"=1\" is not of the form api=5; see \"supctl help scale\""),
            (["scale", "api=1e9"], "\"api=1e9\" is not of the form api=5; see \"supctl help scale\""),
            (["logs", "-n", "-1"], "-n takes a number of lines, not \"-1\"; see \"supctl help logs\""),
            (["shutdown", "now"], "\"now\" is one word too many; see \"supctl help shutdown\""),
            (["help", "a", "b"], "one verb at a time; see \"supctl help help\""),
            (["help", "wot"], "unknown verb \"wot\"; see \"supctl help\""),
            (["completion", "tcsh"], "completion is there for bash, zsh and fish; see \"supctl help completion\""),
        ])
    func misuse(arguments: [String], message: String) {
        let outcome = runWithSocket("/nowhere", arguments)
        #expect(outcome.code == 2)
        #expect(outcome.errors == "supctl: \(message)\n")
        #expect(outcome.output.isEmpty)
    }

    @Test("More names than fit into a request are refused here, with what would do")
    func tooMany() {
        let names = (0..<2000).map { "service-\($0)" }
        let outcome = runWithSocket("/nowhere", ["restart"] + names)
        #expect(outcome.code == 2)
        #expect(outcome.errors.contains("too many names for one request; use a glob"))
    }

    @Test("Every verb has a help, by itself and by its option", arguments: allVerbs.map(\.name))
    func help(verb: String) {
        let outcome = runWithSocket("/nowhere", [verb, "--help"])
        #expect(outcome.code == 0)
        #expect(outcome.output.hasPrefix("usage: supctl \(verb)"))
        #expect(outcome.output.contains("--socket PATH"))
        #expect(runWithSocket("/nowhere", ["help", verb]).output == outcome.output)
    }

    @Test("The text of a verb's help stands at the left, but for its tables", arguments: allVerbs.map(\.name))
    func layout(verb: String) {
        let lines = runWithSocket("/nowhere", ["help", verb]).output.split(
            separator: "\n", omittingEmptySubsequences: false)
        for (line, next) in zip(lines, lines.dropFirst()) {
            #expect(line.count <= 120)
            #expect(line.isEmpty || line.hasPrefix(" ") || !next.hasPrefix("   "), "\(next)")
        }
    }

    @Test("The help fits 80 columns, and lists every verb that is for people")
    func overview() {
        let text = runWithSocket("/nowhere", ["help"]).output
        #expect(text.split(separator: "\n").allSatisfy { $0.count <= 80 })
        for verb in allVerbs { #expect(text.contains("\n  \(verb.name)") != verb.isHidden) }
    }
}
