/// What a program wrote last, as far as it tells why that was its end.
enum LastLine {
    /// The last line that is neither empty nor a part of a trace; nil: none.
    static func telling(_ log: [String]) -> String? { log.last { !isTrace($0) } }

    /// Whether a line only says where something has happened: `    at Server.setup (net.js:1)`, `goroutine 1 [running]:`.
    private static func isTrace(_ line: String) -> Bool {
        let text = line.drop(while: \.isWhitespace)
        guard let first = text.first else { return true }
        // What belongs to the line before is indented in every language.
        if text.startIndex != line.startIndex { return true }
        if !text.contains(where: { $0.isLetter }) { return true }
        let beginnings = [
            "at ", "goroutine ", "Node.js v", "stack backtrace:", "note: run with", "File \"", "exit status ",
        ]
        return beginnings.contains { text.hasPrefix($0) } || first == "}" || first == "^"
    }

    /// Whether a line says that something has gone wrong for good.
    static func saysError(_ line: String) -> Bool {
        let words = line.lowercased()
        return [
            "fatal", "panic", "error", "critical", "exception", "abort", "cannot", "can't", "could not", "couldn't",
            "failed",
            "unable", "invalid",
        ].contains { words.contains($0) }
    }

    /// Whether a line calls itself less than an error, or says that the program goes on.
    static func isMild(_ line: String) -> Bool {
        let words = line.lowercased().split { !$0.isLetter }
        return words.contains { mild.contains(String($0)) }
    }

    private static let mild: Set<String> = [
        "warn", "warning", "info", "debug", "trace", "notice", "retry", "retrying", "continuing", "ignoring", "ignored",
    ]

    /// Cut to what the first line of an answer can bear.
    static func quoted(_ line: String) -> String {
        "its last line was \"\(line.count > 120 ? "\(line.prefix(120))…" : line)\""
    }
}
