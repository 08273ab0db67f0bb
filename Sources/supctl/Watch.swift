import Platform

/// Shows something once a second until SIGINT or SIGTERM. In place means on the terminal's other screen, which is left
/// as it was found: nothing of the shell's is overwritten, and a change of size harms no more than one frame.
func watch(
    _ console: Console, inPlace: Bool, frame: (Terminal) throws(VerbFailure) -> String
) throws(VerbFailure) -> ExitCode {
    let signals: TerminationSignals
    do throws(SystemError) {
        signals = try TerminationSignals()
    } catch {
        throw VerbFailure(.failed, "cannot wait for signals: \(error.reason)")
    }
    return try watch(console, inPlace: inPlace, frame: frame) {
        // Only the end of the wait matters; where poll(2) fails there is no pause, and so no going on.
        (try? waitReadable([signals.descriptor], timeoutMilliseconds: 1000)) == [false]
    }
}

/// The same with a pause of the caller's, which says whether to go on.
func watch(
    _ console: Console, inPlace: Bool, frame: (Terminal) throws(VerbFailure) -> String, pause: () -> Bool
) throws(VerbFailure) -> ExitCode {
    var screen = Screen(console: console, isInPlace: inPlace)
    do throws(VerbFailure) {
        // The first failure ends it (a wrong name, no daemon); a later one may be a supervisor that is being replaced.
        var text = try frame(console.look())
        try screen.begin()
        while true {
            try screen.show(text)
            guard pause() else { break }
            do throws(VerbFailure) {
                text = try frame(console.look())
            } catch {
                guard inPlace else { throw error }
                text = "supctl: \(printable(error.message)); trying again\n"
            }
        }
    } catch {
        screen.end()
        throw error
    }
    screen.end()
    return .done
}

/// A terminal's alternate screen (xterm's mode 1049) without a cursor, or plain output.
private struct Screen {
    let console: Console
    let isInPlace: Bool
    private var hasBegun = false

    init(console: Console, isInPlace: Bool) {
        self.console = console
        self.isInPlace = isInPlace
    }

    mutating func begin() throws(VerbFailure) {
        guard isInPlace else { return }
        hasBegun = true
        try console.write(Array("\u{1b}[?1049h\u{1b}[?25l".utf8))
    }

    /// Draws from the top, with one call: each line clears what is right of it, the last all below.
    func show(_ text: String) throws(VerbFailure) {
        guard isInPlace else { return try console.write(Array(text.utf8)) }
        var lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        if lines.last == "" { lines.removeLast() }
        if let height = console.look().height, lines.count > height {
            let hidden = lines.count - height + 1
            lines = lines.prefix(max(0, height - 1)) + ["… \(hidden) lines more; name services, or make room"]
        }
        let drawn = lines.map { $0 + "\u{1b}[K" }.joined(separator: "\r\n")
        try console.write(Array("\u{1b}[H\(drawn)\u{1b}[J".utf8))
    }

    mutating func end() {
        guard hasBegun else { return }
        hasBegun = false
        // If the terminal is gone, there is nothing to put right.
        try? console.write(Array("\u{1b}[?25h\u{1b}[?1049l".utf8))
    }
}
