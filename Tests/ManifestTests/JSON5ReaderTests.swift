import FoundationEssentials
import Manifest
import Testing

/// The public cases of json5-tests, beside the project or where SUPD_SHARED says; nil where they are absent.
private let conformanceFolder: URL? = {
    let named = ProcessInfo.processInfo.environment["SUPD_SHARED"].map { URL(filePath: $0) }
    let candidates = [
        named, repository.deletingLastPathComponent().appending(path: "shared"), URL(filePath: "/work/shared"),
    ]
    return candidates.compactMap { $0?.appending(path: "data/json5-tests") }
        .first { FileManager.default.fileExists(atPath: $0.appending(path: "README.md").path) }
}()

private func conformanceCases() -> [String] {
    guard let conformanceFolder,
        let names = try? FileManager.default.subpathsOfDirectory(atPath: conformanceFolder.path)
    else { return [] }
    return names.filter { name in
        [".json", ".json5", ".js", ".txt"].contains { name.hasSuffix($0) } && name.contains("/")
    }
    .sorted()
}

private func read(_ text: String) -> JSON5Reader.Outcome { JSON5Reader.read(Array(text.utf8)) }

private func content(_ text: String) -> JSON5Value.Content? { read(text).value?.content }

private func messages(_ bytes: [UInt8]) -> [String] {
    JSON5Reader.read(bytes).diagnostics(file: "f", text: bytes).map(\.description)
}

@Suite struct JSON5ReaderTests {
    @Test(.enabled(if: conformanceFolder != nil, "json5-tests are not there")) func allConformanceCasesAreFound() {
        #expect(conformanceCases().count > 90)
    }

    @Test(.enabled(if: conformanceFolder != nil, "json5-tests are not there"), arguments: conformanceCases())
    func conformance(name: String) throws {
        let folder = try #require(conformanceFolder)
        let bytes = Array(try Data(contentsOf: folder.appending(path: name)))
        let isValid = name.hasSuffix(".json") || name.hasSuffix(".json5")
        let errors = messages(bytes)
        if name == "objects/duplicate-keys.json" {
            // Deliberately different: JSON5 takes the last of equal keys, in a manifest that hides a mistake.
            #expect(errors.count == 1 && errors.allSatisfy { $0.contains("again") })
        } else {
            #expect(errors.isEmpty == isValid, "\(errors)")
            #expect(JSON5Reader.read(bytes).value.map { _ in true } ?? false == isValid)
        }
    }

    @Test(
        arguments: [
            ("'a\\x41\\u0042\\u{'", nil), ("'a\\x41\\u0042'", "aAB"), ("\"\\uD83D\\uDE00\"", "😀"),
            ("'\\'\\\"\\q\\0'", "'\"q\0"),
            ("'a\\\nb'", "ab"), ("'a\\\r\nb'", "ab"), ("'a\\\u{2028}b'", "ab"), ("'\u{2029}'", "\u{2029}"),
            ("'\\b\\f\\n\\r\\t\\v'", "\u{8}\u{c}\n\r\t\u{b}"),
            ("'\\uD83D'", nil), ("'\\uDE00'", nil), ("'\\uD83D\\u0041'", nil), ("'\\01'", nil), ("'\\1'", nil),
            ("'\\x4'", nil), ("'a\nb'", nil), ("'a", nil),
            ("'a\\", nil),
        ] as [(String, String?)])
    func stringsAndEscapes(text: String, expected: String?) {
        #expect(content(text) == expected.map { .string($0) })
    }

    @Test(
        arguments: [
            ("1", 1, 1), ("-1", -1, -1), ("+7", 7, 7), ("0x1F", 31, 31), ("-0XfF", -255, -255), ("1e3", 1000, 1000),
            ("2.0", 2, 2), ("5.", 5, 5),
            (".5", nil, 0.5), ("-.5e1", -5, -5), ("9223372036854775807", Int.max, 0x1p63),
            ("9223372036854775808", nil, 0x1p63),
            ("1e999", nil, Double.infinity), ("-Infinity", nil, -Double.infinity),
            ("0xFFFFFFFFFFFFFFFFFF", nil, 0xFFFFFFFFFFFFFFFFFFp0),
            ("-0", 0, 0),
        ] as [(String, Int?, Double?)])
    func numbersKeepTheirTextAndConvertWithoutOverflow(text: String, integer: Int?, double: Double?) {
        guard case .number(let number)? = content(text) else {
            Issue.record("no number: \(text)")
            return
        }
        #expect(number.text == text)
        #expect(number.integer == integer)
        #expect(number.double == double)
    }

    @Test func unsignedIntegersReachTheHighest() {
        #expect(JSON5Number(text: "18446744073709551615").unsignedInteger == UInt64.max)
        #expect(JSON5Number(text: "18446744073709551616").unsignedInteger == nil)
        #expect(JSON5Number(text: "-1").unsignedInteger == nil)
        #expect(JSON5Number(text: "NaN").double?.isNaN == true)
        #expect(JSON5Number(text: "NaN").integer == nil)
    }

    @Test(
        arguments: [
            ("{ a: 1, 'b c': 2, \"d\": 3, ünï_$1: 4, \\u0061b: 5, }", ["a", "b c", "d", "ünï_$1", "ab"]), ("{}", []),
            ("/* c */ { // d\n\u{FEFF}\u{A0}x\u{2003}:1}// end", ["x"]),
        ] as [(String, [String])])
    func keysKeepTheirOrder(text: String, keys: [String]) {
        guard case .object(let members)? = content(text) else {
            Issue.record("no object: \(text)")
            return
        }
        #expect(members.map(\.key) == keys)
    }

    @Test(arguments: [
        ("", "f:1:1: found the end of the file, expected a value"),
        ("{\n  a: 1\n  b: 2 }", "f:3:3: found \"b\", expected \",\" or \"}\" (its \"{\" is on line 1)"),
        ("{ a: hello }", "f:1:6: a: found \"h\", expected a value (text needs quotes)"),
        ("{ a-b: 1 }", "f:1:4: a: found \"-\", expected \":\" after the key (one with \"-\" needs quotes)"),
        ("{ a = 1 }", "f:1:5: a: found \"=\", expected \":\" after the key"),
        ("[1, 2", "f:1:6: found the end of the file, expected \",\" or \"]\" (its \"[\" is on line 1)"),
        (
            "{ 'ä': [01] }",
            "f:1:9: [\"ä\"][0]: found a number that begins with 0, expected none (octal numbers do not exist here)"
        ),
        (
            "{ a: 'x }\n}",
            "f:1:6: a: found a string that does not end on its line, expected its closing quote (or \\ before the line's end)"
        ),
        ("/* x", "f:1:1: found a comment without an end, expected \"*/\" after it"),
        ("{} x", "f:1:4: found \"x\", expected the end of the file"),
        ("[1 \u{7}]", "f:1:4: found the character U+0007, expected \",\" or \"]\" (its \"[\" is on line 1)"),
        ("[1_000]", "f:1:3: [0]: found \"_\", expected the end of the number"),
        ("{ 1a: 2 }", "f:1:3: found \"1\", expected a key or \"}\" (its \"{\" is on line 1)"),
        ("[truely]", "f:1:2: [0]: found \"t\", expected a value (text needs quotes)"),
        ("[,]", "f:1:2: [0]: found \",\", expected a value"),
        (
            "{ a: { b: 1, b: 2 } }",
            "f:1:14: a.b: found the key \"b\" again, expected every key once (the first is on line 1)"
        ),
        (
            "{\r\n\t'é': 1,\r\n\t\"é\": 2 }",
            "f:3:2: [\"é\"]: found the key \"é\" again, expected every key once (the first is on line 2)"
        ),
    ])
    func messagesSayWhereWhatAndWhatInstead(text: String, message: String) {
        #expect(messages(Array(text.utf8)) == [message])
    }

    @Test func aKeyTwiceAmongManyIsFoundAndAllOfThemAreReported() {
        let keys = (0..<100).map { "k\($0): 1" } + ["k3: 2", "k99: 2"]
        let errors = messages(Array("{ \(keys.joined(separator: ", ")) }".utf8))
        #expect(errors.count == 2)
    }

    @Test func moreErrorsThanFiftyAreCounted() {
        let keys = Array(repeating: "a: 1", count: 5001).joined(separator: ",\n")
        #expect(messages(Array("{\(keys)}".utf8)).count == 50)
    }

    @Test func columnsCountCharactersAndLinesAnyEnding() {
        let text = Array("\u{FEFF}[\r\n\"ä😀\",\t!\n]".utf8)
        #expect(messages(text) == ["f:2:7: [1]: found \"!\", expected a value"])
        #expect(messages(Array("[\r\r!".utf8)) == ["f:3:1: [0]: found \"!\", expected a value"])
    }

    @Test func textThatIsNotUTF8IsAnErrorWithItsPlace() {
        let text = Array("{ a: 'x',\n  ä: '".utf8) + [0xFF, 0x27, 0x7D]
        #expect(messages(text) == ["f:2:7: found the byte 0xFF, expected text in UTF-8; save the file as UTF-8"])
        #expect(messages([0x22, 0xC3]).count == 1)
    }

    @Test func nestingHasALimit() {
        func nested(_ depth: Int) -> [UInt8] {
            Array(String(repeating: "[", count: depth).utf8) + Array(String(repeating: "]", count: depth).utf8)
        }
        #expect(messages(nested(64)).isEmpty)
        #expect(messages(nested(65)).first?.contains("nesting deeper than 64") == true)
        #expect(messages(nested(1_000_000)).count == 1)
    }

    @Test func sizeHasALimit() {
        let text = [UInt8](repeating: 0x20, count: JSON5Reader.maximumSize + 1)
        #expect(messages(text) == ["f:1:1: found a text of 16777217 bytes, expected at most 16M"])
    }

    @Test func numberOfValuesHasALimit() {
        let text = Array(("[" + String(repeating: "0,", count: JSON5Reader.maximumValues) + "]").utf8)
        #expect(messages(text).first?.contains("more than 1000000 values") == true)
    }

    @Test(arguments: [("[", "'äää', ", 50_000), ("{ a: '", "x", 1_000_000), ("// ", "é", 500_000)])
    func longLinesAreReadInLinearTime(start: String, repeated: String, count: Int) {
        let clock = ContinuousClock()
        let bytes = Array((start + String(repeating: repeated, count: count)).utf8)
        let time = clock.measure { #expect(messages(bytes).count == 1) }
        // Far above what linear time takes in a debug build on a busy machine, far below what quadratic time would.
        #expect(time < .seconds(120))
    }
}
