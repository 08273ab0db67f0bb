import TestSupport
import Testing

@testable import Supervisor

@Suite struct EnvironmentFileTests {
    private func values(_ text: String) throws -> [String] {
        try EnvironmentFile.parse(Array(text.utf8), path: "/e").map { "\($0.name)=\($0.value)" }
    }

    @Test(
        "a line is a variable, a comment or nothing",
        arguments: [
            ("A=1", ["A=1"]), ("A=1\nB=2\n", ["A=1", "B=2"]), ("A=1\r\nB=2\r\n", ["A=1", "B=2"]), ("", []),
            ("\n# A=1\n  ; B=2\n\t\n", []), ("  A = 1 2  ", ["A=1 2"]), ("A=", ["A="]), ("A=b=c", ["A=b=c"]),
            ("A='1 \\ \"2'", ["A=1 \\ \"2"]), ("A=\" 1 \\\"2\\\\ \\$X \\n \"", ["A= 1 \"2\\ $X \\n "]),
            ("A=it's", ["A=it's"]), ("A=$B ${C}", ["A=$B ${C}"]), ("A=x # no comment", ["A=x # no comment"]),
            ("_a1=ä", ["_a1=ä"]), ("A=1\nA=2", ["A=1", "A=2"]), ("A=\u{301}x", ["A=\u{301}x"]),
        ])
    func lines(text: String, variables: [String]) throws { #expect(try values(text) == variables) }

    @Test(
        "a line of no use is named with its file and number, and its value is not shown",
        arguments: [
            ("A=1\nsecret", "/e:2: there is no '='"), ("1A=secret", "/e:1: a name may hold only"),
            ("=secret", "/e:1: a name may hold only"), ("export A=secret", "/e:1: a name may hold only"),
            ("\n\nA=\"secret", "/e:3: the quote around the value of A"),
            ("A='secret' x", "/e:1: the quote around the value of A"),
            ("A=secret\u{0}", "/e:1: the value of A is not UTF-8"),
        ])
    func problems(text: String, start: String) throws {
        let problem = #expect(throws: EnvironmentFile.Problem.self) { try values(text) }
        #expect(problem?.text.hasPrefix("environment file \(start)") == true, "\(problem?.text ?? "")")
        #expect(problem?.text.contains("secret") == false)
    }

    @Test("bytes that are not UTF-8 are a problem of their line")
    func bytes() throws {
        let problem = #expect(throws: EnvironmentFile.Problem.self) {
            try EnvironmentFile.parse(Array("A=1\nB=".utf8) + [0xff], path: "/e")
        }
        #expect(problem?.text == "environment file /e:2: the value of B is not UTF-8 text without NUL characters")
    }

    @Test("a file that is missing, too large or no file is named with the reason")
    func files() throws {
        let directory = try TemporaryDirectory()
        let large = try directory.write("large", String(repeating: "#", count: EnvironmentFile.sizeLimit + 1))
        for (path, reason) in [
            (directory.file("none"), "No such file or directory"), (directory.path, "Is a directory"),
            (large, "it is larger than 1 MiB"), ("/dev/null", "it is not a regular file"),
        ] {
            let problem = #expect(throws: EnvironmentFile.Problem.self) { try EnvironmentFile.read(path) }
            #expect(problem?.text == "cannot read the environment file \(path): \(reason)")
        }
    }
}
