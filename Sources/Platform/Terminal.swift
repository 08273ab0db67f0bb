import Glibc

/// What a standard stream is connected to, as far as it matters for how text is laid out.
package struct Terminal: Sendable, Hashable {
    /// Whether it is a terminal, by isatty(3).
    package var isTerminal: Bool
    /// Its width in columns; nil where lines may be of any length, since it is no terminal.
    package var width: Int?
    /// Its height in lines; nil where it has none, or is not known.
    package var height: Int?
    /// Whether colours are welcome: on a terminal that knows them, unless NO_COLOR is set (https://no-color.org).
    package var allowsColour: Bool

    /// Creates a description.
    package init(isTerminal: Bool, width: Int?, height: Int? = nil, allowsColour: Bool) {
        self.isTerminal = isTerminal
        self.width = width
        self.height = height
        self.allowsColour = allowsColour
    }

    /// Looks at standard output or standard error, by ioctl(TIOCGWINSZ); a terminal that does not know its width is
    /// taken to have 80 columns.
    package init(_ stream: StandardStream) {
        guard isatty(stream.number) == 1 else {
            self.init(isTerminal: false, width: nil, allowsColour: false)
            return
        }
        var size = winsize()
        let known = ioctl(stream.number, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0
        let wantsNone = environmentVariable("NO_COLOR").map { !$0.isEmpty } ?? false
        let isDumb = environmentVariable("TERM").map { $0.isEmpty || $0 == "dumb" } ?? true
        self.init(
            isTerminal: true, width: known ? Int(size.ws_col) : 80,
            height: known && size.ws_row > 0 ? Int(size.ws_row) : nil, allowsColour: !wantsNone && !isDumb)
    }
}

/// The value of an environment variable of this process, by getenv(3); nil if it is not set.
package func environmentVariable(_ name: String) -> String? {
    guard let value = getenv(name) else { return nil }
    return String(cString: value)
}
