import Manifest
import TestSupport
import Testing

@testable import Supervisor

@Suite struct EnvironmentFileTests {
    @Test("a line of no use is named with its file and number, and its value is not shown")
    func lines() throws {
        let directory = try TemporaryDirectory()
        let good = try directory.write("good", "# a comment\nA=1\nB='2 3'\n")
        #expect(try EnvironmentFile.read(good).map { "\($0.name)=\($0.value)" } == ["A=1", "B=2 3"])
        let bad = try directory.write("bad", "A=1\nsecret\n")
        let problem = #expect(throws: EnvironmentFile.Problem.self) { try EnvironmentFile.read(bad) }
        #expect(problem?.text.hasPrefix("environment file \(bad):2: ") == true, "\(problem?.text ?? "")")
        #expect(problem?.text.contains("secret") == false)
    }

    @Test("a file that is missing, too large or no file is named with the reason")
    func files() throws {
        let directory = try TemporaryDirectory()
        let large = try directory.write("large", String(repeating: "#", count: maximumEnvironmentFileSize + 1))
        for (path, reason) in [
            (directory.file("none"), "No such file or directory"), (directory.path, "Is a directory"),
            (large, "it is larger than 1 MiB"), ("/dev/null", "it is not a regular file"),
        ] {
            let problem = #expect(throws: EnvironmentFile.Problem.self) { try EnvironmentFile.read(path) }
            #expect(problem?.text == "cannot read the environment file \(path): \(reason)")
        }
    }
}
