import Logs
import Platform

/// Writes lines of logs: time, instance, text; many with one call. On a terminal the text is made harmless, elsewhere
/// every byte is kept.
struct LogPrinter {
    private let console: Console
    private var nameWidth: Int
    private var pending: [UInt8] = []

    init(console: Console, nameWidth: Int) {
        self.console = console
        self.nameWidth = nameWidth
    }

    /// Adds a line.
    mutating func add(_ line: LogLine) throws(VerbFailure) {
        nameWidth = max(nameWidth, line.instance.count)
        let padding = String(repeating: " ", count: nameWidth - line.instance.count)
        // The file has nanoseconds; for people milliseconds do: 2026-01-31T10:20:30.123Z.
        let isError = line.stream == .stderr
        var head = "\(line.timestamp.prefix(23))Z \(line.instance)\(padding) \(isError ? "!" : " ") "
        if console.output.allowsColour { head = (isError ? Colour.red : Colour.dim).wrap(head) }
        pending += Array(head.utf8)
        pending += console.output.isTerminal ? harmless(line.text) : line.text
        pending.append(UInt8(ascii: "\n"))
        if pending.count >= 1 << 16 { try flush() }
    }

    /// Writes what has gathered.
    mutating func flush() throws(VerbFailure) {
        guard !pending.isEmpty else { return }
        try console.write(pending)
        pending = []
    }
}

/// A service's text for a terminal: control characters as question marks, but for tabs and changes of colour (SGR, ESC [
/// digits and semicolons m), which are what services mean to send to one. A colour ends with the line.
func harmless(_ text: [UInt8]) -> [UInt8] {
    var result = ""
    var isColoured = false
    var rest = String(decoding: text, as: UTF8.self).unicodeScalars[...]
    while let scalar = rest.popFirst() {
        if scalar == "\u{1b}", rest.first == "[" {
            let parameters = rest.dropFirst().prefix { ("0"..."9").contains($0) || $0 == ";" }
            if rest[parameters.endIndex...].first == "m" {
                result += "\u{1b}[" + String(parameters) + "m"
                rest = rest[parameters.endIndex...].dropFirst()
                isColoured = true
                continue
            }
        }
        result.unicodeScalars.append(scalar == "\t" ? scalar : isControl(scalar) ? "?" : scalar)
    }
    if isColoured { result += "\u{1b}[0m" }
    return Array(result.utf8)
}
