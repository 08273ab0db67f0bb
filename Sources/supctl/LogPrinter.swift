import ControlAPI
import Logs
import Platform

/// Writes lines of logs: time, instance, text, or as JSON; many with one call. On a terminal the text is made harmless,
/// elsewhere every byte is kept.
struct LogPrinter {
    private let console: Console
    private var nameWidth: Int
    private var json: ObjectServices?
    private var colours = InstanceColours()
    private var pending: [UInt8] = []

    /// With `json` lines are printed as JSON.
    init(console: Console, nameWidth: Int, json: ObjectServices? = nil) {
        self.console = console
        self.nameWidth = nameWidth
        self.json = json
    }

    /// Adds a line.
    mutating func add(_ line: LogLine) throws(VerbFailure) {
        if let json { addObject(line, json) } else { addText(line) }
        pending.append(UInt8(ascii: "\n"))
        if pending.count >= 1 << 16 { try flush() }
    }

    /// Looks whether other services have lines that are objects, for who goes on with what comes.
    mutating func refresh() { json?.refresh() }

    private mutating func addObject(_ line: LogLine, _ json: ObjectServices) {
        let object = LogObject(line)
        if json.names?.contains(object.service) == true,
            let extended = JSONLine.adding(object.members, to: line.text)
        {
            pending += extended
        } else {
            pending += ControlJSON.encode(object) ?? []
        }
    }

    private mutating func addText(_ line: LogLine) {
        nameWidth = max(nameWidth, line.instance.count)
        let padding = String(repeating: " ", count: nameWidth - line.instance.count)
        // The file has nanoseconds; for people milliseconds do: 2026-01-31T10:20:30.123Z.
        let isError = line.stream == .stderr
        var (time, name, mark) = ("\(line.timestamp.prefix(23))Z", line.instance, isError ? "!" : " ")
        if console.output.allowsColour {
            time = Colour.dim.wrap(time)
            name = colours.colour(of: name).wrap(name)
            if isError { mark = Colour.red.wrap(mark) }
        }
        pending += Array("\(time) \(name)\(padding) \(mark) ".utf8)
        pending += console.output.isTerminal ? harmless(line.text) : line.text
    }

    /// Writes what has gathered.
    mutating func flush() throws(VerbFailure) {
        guard !pending.isEmpty else { return }
        try console.write(pending)
        pending = []
    }
}

/// A colour for each instance, in turn as they come: neighbours differ.
struct InstanceColours {
    private static let palette: [Colour] = [.cyan, .green, .yellow, .blue, .magenta]
    private var known: [String: Colour] = [:]

    /// The colour of an instance, always the same.
    mutating func colour(of instance: String) -> Colour {
        if let colour = known[instance] { return colour }
        let colour = Self.palette[known.count % Self.palette.count]
        known[instance] = colour
        return colour
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
