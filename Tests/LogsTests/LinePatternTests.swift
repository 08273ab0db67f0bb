import Platform
import Testing

@testable import Logs

/// What a line must contain.
@Suite struct LinePatternTests {
    private func contains(_ pattern: String, _ line: String) -> Bool {
        let bytes = Array(line.utf8)
        return LinePattern(pattern).isContained(inLineOf: bytes.count) { bytes[$0] }
    }

    @Test(arguments: [
        ("ready", "the server is ready now", true), ("ready", "ready", true), ("ready", "read y", false),
        ("ready", "", false),
        ("up*port", "up on any port", true), ("up*port", "upport", true), ("up*port", "port up", false),
        ("*up*", "x up y", true), ("a**b", "a-b", true), ("a*a", "a", false), ("a*a", "aa", true),
        ("5\\*3", "5*3", true), ("5\\*3", "5-3", false), ("a\\\\b", "a\\b", true), ("c:\\d", "c:\\d", true),
        ("x\\", "x\\", true),
        ("aab", "aaab", true), ("abab*abab", "ababab", false), ("abab*abab", "abababab", true),
        ("größe", "die größe", true),
        ("aabaaab", "aabaabaaab", true), ("*", "", true),
    ])
    func `a pattern is contained or not`(pattern: String, line: String, isContained: Bool) {
        #expect(contains(pattern, line) == isContained)
    }

    @Test func `it agrees with a search that tries every place`() {
        var random = SystemRandomNumberGenerator()
        func text(_ most: Int, _ letters: String) -> String {
            String(
                (0..<Int.random(in: 0...most, using: &random)).compactMap { _ in letters.randomElement(using: &random) }
            )
        }
        func slowly(_ pieces: [Substring], _ line: Substring) -> Bool {
            guard let first = pieces.first else { return true }
            guard !first.isEmpty else { return slowly(Array(pieces.dropFirst()), line) }
            return line.indices.contains { start in
                line[start...].hasPrefix(first)
                    && slowly(Array(pieces.dropFirst()), line[start...].dropFirst(first.count))
            }
        }
        for _ in 0..<20_000 {
            let (pattern, line) = (text(7, "ab*"), text(12, "ab"))
            let pieces = pattern.split(separator: "*", omittingEmptySubsequences: false)
            #expect(contains(pattern, line) == slowly(pieces, line[...]), "\(pattern) in \(line)")
        }
    }

    @Test func `each byte of a line is looked at once, whatever it and the pattern say`() {
        let pattern = LinePattern(
            String(repeating: "a", count: 1000) + "b*" + String(repeating: "ab", count: 400) + "c")
        var looks = 0
        #expect(
            !pattern.isContained(inLineOf: 100_000) { _ in
                looks += 1
                return UInt8(ascii: "a")
            })
        #expect(looks == 100_000)
    }
}
