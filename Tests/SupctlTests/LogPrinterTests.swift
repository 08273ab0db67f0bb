import Logs
import Platform
import Synchronization
import Testing

@testable import supctl

@Suite("The colours of logs")
struct LogPrinterTests {
    /// What is written of these lines: a letter of the instance's name and its stream each.
    private func printed(_ instances: [String], colour: Bool, stream: LogStream = .stdout) throws -> [String] {
        let written = Mutex<[UInt8]>([])
        let console = Console(
            output: Terminal(isTerminal: colour, width: 80, allowsColour: colour),
            writeOutput: { bytes throws(SystemError) in written.withLock { $0 += bytes } })
        var printer = LogPrinter(console: console, nameWidth: 5)
        for instance in instances {
            try printer.add(
                LogLine(
                    instance: instance, timestamp: "2026-01-31T10:20:30.123456789Z", stream: stream,
                    text: Array("x".utf8)
                ))
        }
        try printer.flush()
        return String(decoding: written.withLock { $0 }, as: UTF8.self).split(separator: "\n").map(String.init)
    }

    @Test("An instance has one colour, whatever is between its lines, and instances that come after each other differ")
    func instances() {
        var colours = InstanceColours()
        let names = (1...5).map { "api/\($0)" }
        let first = names.map { colours.colour(of: $0) }
        #expect(Set(first).count == 5)
        // The sixth begins again, and is still another one's neighbour.
        #expect(colours.colour(of: "web/1") == first[0])
        #expect(names.reversed().map { colours.colour(of: $0) } == first.reversed())
        // Neither is that of an error's mark, nor of the time.
        #expect(!first.contains(.red) && !first.contains(.dim))
    }

    @Test("On a terminal the name is in the instance's colour, the time is dim, and an error has a red mark")
    func onTerminal() throws {
        let time = "\u{1b}[2m2026-01-31T10:20:30.123Z\u{1b}[0m"
        #expect(
            try printed(["api/1", "api/2", "api/1"], colour: true) == [
                "\(time) \u{1b}[36mapi/1\u{1b}[0m   x", "\(time) \u{1b}[32mapi/2\u{1b}[0m   x",
                "\(time) \u{1b}[36mapi/1\u{1b}[0m   x",
            ])
        #expect(
            try printed(["api/1"], colour: true, stream: .stderr) == [
                "\(time) \u{1b}[36mapi/1\u{1b}[0m \u{1b}[31m!\u{1b}[0m x"
            ])
    }

    @Test("Without colours there are none")
    func plain() throws {
        #expect(try printed(["api/1"], colour: false, stream: .stderr) == ["2026-01-31T10:20:30.123Z api/1 ! x"])
    }
}
