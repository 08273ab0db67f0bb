import Platform
import Testing

@testable import supctl
@testable import Why

@Suite("Text for people")
struct TextTests {
    @Test(
        "Bytes",
        arguments: [
            (0, "0"), (1023, "1023"), (1024, "1.0K"), (1536, "1.5K"), (10239, "9.9K"), (10240, "10K"),
            (1_048_575, "1023K"), (1 << 20, "1.0M"), (.max, "15E"),
        ] as [(UInt64, String)])
    func bytes(count: UInt64, text: String) { #expect(HumanText.bytes(count) == text) }

    @Test(
        "Counts",
        arguments: [(999, "999"), (1000, "1.0k"), (9999, "9.9k"), (12345, "12k"), (.max, "18E")] as [(UInt64, String)])
    func counts(count: UInt64, text: String) { #expect(HumanText.count(count) == text) }

    @Test(
        "Times",
        arguments: [
            (0, "0s"), (59.9, "59s"), (60, "1m00s"), (3599, "59m59s"), (3600, "1h00m"), (86399, "23h59m"),
            (86400, "1d0h"), (1e7, "115d17h"), (.nan, "?"), (-1, "?"), (.infinity, "?"),
        ] as [(Double, String)])
    func uptime(seconds: Double, text: String) { #expect(HumanText.uptime(seconds) == text) }

    @Test(
        "Short times",
        arguments: [
            (0, "0µs"), (0.000_085, "85µs"), (0.001, "1.0ms"), (0.001_24, "1.2ms"), (0.0125, "13ms"), (2, "2.0s"),
            (63.4, "63s"), (.nan, "?"), (-1, "?"),
        ] as [(Double, String)])
    func seconds(seconds: Double, text: String) { #expect(HumanText.seconds(seconds) == text) }

    @Test(
        "How long it took",
        arguments: [(-5, "0.00 s"), (12_000_000, "0.01 s"), (1_440_000_000, "1.4 s"), (75_000_000_000, "75 s")]
            as [(Int64, String)])
    func elapsed(nanoseconds: Int64, text: String) { #expect(HumanText.elapsed(nanoseconds) == text) }

    @Test(
        "Shares",
        arguments: [
            (0, "0.0%"), (0.44, "0.4%"), (9.94, "9.9%"), (9.96, "10%"), (99.9, "100%"), (250, "250%"), (.nan, "?"),
        ]
            as [(Double, String)])
    func percent(value: Double, text: String) { #expect(HumanText.percent(value) == text) }

    @Test("A line too long is cut with a mark", arguments: [(5, "hello"), (4, "hel…"), (1, "…"), (0, "")])
    func shortening(width: Int, text: String) { #expect(shortened("hello", to: width) == text) }

    @Test(
        "A service's text keeps its colours and loses what else would drive the terminal",
        arguments: [
            ("plain\ttext", "plain\ttext"),
            ("\u{1b}[1;31mred", "\u{1b}[1;31mred\u{1b}[0m"),
            ("\u{1b}[2Jgone", "?[2Jgone"),
            ("\u{1b}]0;title\u{7}", "?]0;title?"),
            ("\u{1b}", "?"), ("\u{1b}[", "?["), ("\u{1b}[31", "?[31"), ("\r\u{8}\u{9b}", "???"),
        ])
    func harmlessText(text: String, expected: String) {
        #expect(String(decoding: harmless(Array(text.utf8)), as: UTF8.self) == expected)
    }

    @Test("On a terminal, progress is one line that is rewritten and taken away again")
    func progressOnTerminal() {
        #expect(
            progress(Terminal(isTerminal: true, width: 11, allowsColour: false))
                == "\r\u{1b}[Kone\r\u{1b}[Ka long te…\r\u{1b}[K")
    }

    @Test("Elsewhere, progress is a line for each change")
    func progressElsewhere() {
        #expect(progress(Terminal(isTerminal: false, width: nil, allowsColour: false)) == "one\na long text\n")
    }

    private func progress(_ terminal: Terminal) -> String {
        var written = ""
        var display = ProgressDisplay(terminal) { written += $0 }
        for text in ["one", "one", "a long text"] { display.show(text) }
        display.end()
        return written
    }
}
