import Platform
import Testing

@Suite("Regular expressions")
struct ExtendedExpressionTests {
    @Test(
        "They are those of grep -E",
        arguments: [
            ("b+", "abbc", true), ("^b", "abc", false), ("c$", "abc", true), ("(x|y)z", "ayz", true), ("", "", true),
            ("^$", "", true), ("a", "", false), ("A", "a", false), ("[[:digit:]]{3}", "a 404", true),
        ])
    func matches(pattern: String, line: String, expected: Bool) throws {
        #expect(try ExtendedExpression(pattern).matches(Array(line.utf8)) == expected)
    }

    @Test("Case may be ignored")
    func ignoringCase() throws {
        #expect(try ExtendedExpression("error", ignoresCase: true).matches(Array("An ERROR".utf8)))
    }

    @Test("Lines are bytes: zeros and what is no UTF-8 are among them")
    func bytes() throws {
        let expression = try ExtendedExpression("end$")
        #expect(expression.matches([0, 0xff, 0xc3, 0] + Array("end".utf8)))
        #expect(!expression.matches(Array("end".utf8) + [0]))
    }

    @Test("What is none is said", arguments: [("(", "Unmatched ( or \\("), ("[a", "Unmatched [, [^, [:, [., or [=")])
    func invalid(pattern: String, reason: String) {
        let error = #expect(throws: ExtendedExpression.Invalid.self) { try ExtendedExpression(pattern) }
        #expect(error?.reason == reason)
    }

    @Test("A zero byte does not shorten an expression")
    func zero() {
        #expect(throws: ExtendedExpression.Invalid.self) { try ExtendedExpression("a\0b") }
    }
}
