import Platform

/// Shows what is waited for, on standard error: on a terminal one line, rewritten in place; elsewhere a line for each
/// change.
struct ProgressDisplay {
    private let terminal: Terminal
    private let write: (String) -> Void
    private var shown: String?

    init(_ terminal: Terminal, write: @escaping (String) -> Void) {
        self.terminal = terminal
        self.write = write
    }

    /// Shows a text in place of the one before.
    mutating func show(_ text: String) {
        let text = printable(text)
        guard text != shown else { return }
        shown = text
        if terminal.isTerminal {
            // One column stays free: a line as wide as the terminal would wrap, and could not be rewritten.
            write("\r\u{1b}[K" + shortened(text, to: terminal.width.map { max(1, $0 - 1) }))
        } else {
            write(text + "\n")
        }
    }

    /// Takes the line away again.
    mutating func end() {
        if terminal.isTerminal, shown != nil { write("\r\u{1b}[K") }
        shown = nil
    }
}
