import Manifest
import TestSupport
import Testing

/// Reads bytes in every way that there is; whatever they are, there is a manifest or an error, and never a trap.
private func survives(_ bytes: [UInt8]) -> Bool {
    let result = ManifestLoader.load(
        text: bytes, file: "f", directory: "/srv", environment: ["A": "b"], facts: testFacts)
    return (result.manifest == nil) == !result.errors.isEmpty && !checkReport(result).isEmpty
}

@Suite struct FuzzTests {
    static let seeds: [UInt64] = Array(1...8)

    @Test func everyTruncationOfTheReferenceIsAnswered() throws {
        let text = try config("reference.json5")
        // Within the lines that are comments every thirteenth byte is enough; elsewhere every one.
        let lines = text.split(separator: 0x0A, omittingEmptySubsequences: false)
        let bare = Array(lines.filter { $0.drop { $0 == 0x20 }.first != UInt8(ascii: "/") }.joined(separator: [0x0A]))
        for length in bare.indices { #expect(survives(Array(bare[..<length])), "without comments, length \(length)") }
        for length in stride(from: 0, to: text.count, by: 13) {
            #expect(survives(Array(text[..<length])), "length \(length)")
        }
    }

    @Test(arguments: seeds) func mutationsOfTheReferenceAreAnswered(seed: UInt64) throws {
        let original = try config("reference.json5")
        let tokens = [
            "{", "}", "[", "]", ",", ":", "'", "\"", "\\", "null", "-1", "1e999", "'${'", "$", "0x", "\u{2028}", "true",
            "[]", "{}", "9999999999999999999999", "'unlimited:1'", "\\u00",
        ].map { Array($0.utf8) }
        var random = SeededRandom(seed: seed)
        for round in 0..<150 {
            var text = original
            for _ in 0..<Int.random(in: 1...6, using: &random) {
                let start = Int.random(in: 0..<text.count, using: &random)
                switch Int.random(in: 0..<4, using: &random) {
                case 0: text[start] = UInt8.random(in: 0...255, using: &random)
                case 1: text.removeSubrange(start..<min(text.count, start + Int.random(in: 1...20, using: &random)))
                case 2: text.insert(contentsOf: tokens.randomElement(using: &random) ?? [], at: start)
                default: text.insert(contentsOf: text[start..<min(text.count, start + 200)], at: start)
                }
            }
            #expect(survives(text), "seed \(seed), round \(round)")
        }
    }

    @Test(arguments: seeds) func valuesInTheWrongPlacesAreAnswered(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let values = [
            "null", "true", "0", "-1", "1e400", "0xFFFFFFFFFFFFFFFFFF", "NaN", "''", "'x'", "'${PORT}'", "[]", "[[]]",
            "{}", "{ a: 1 }", "'1:2'", "65535", "'99999999999999999999s'", "'[::]:1'",
        ]
        let fields = FieldTable.descriptions.map(\.path).filter { $0.count > 1 }
        for round in 0..<300 {
            let path = try #require(fields.randomElement(using: &random))
            let value = try #require(values.randomElement(using: &random))
            let text =
                path.map { "'\($0 == "*" ? "a" : $0)': " }.joined(separator: "{ ") + value
                + String(repeating: " }", count: path.count - 1)
            #expect(survives(Array("{ \(text) }".utf8)), "seed \(seed), round \(round): \(text)")
        }
    }

    @Test(arguments: seeds) func randomBytesAreAnswered(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let alphabet = Array("{}[]:,'\"\\/*0123456789.eE+-xabu \n\tä\u{2028}".utf8)
        for round in 0..<400 {
            let count = Int.random(in: 0..<200, using: &random)
            let any = (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
            let likely = (0..<count).map { _ in alphabet.randomElement(using: &random) ?? 0 }
            #expect(survives(any) && survives(likely), "seed \(seed), round \(round)")
            _ = try? parseEnvironmentFile(any)
            _ = try? shellWords(String(decoding: likely, as: UTF8.self))
        }
    }
}
