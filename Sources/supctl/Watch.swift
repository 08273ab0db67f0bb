import Platform

/// What comes while a frame is shown.
enum WatchNews: Equatable {
    /// The time for the next frame.
    case due
    /// A key or a signal that ends it.
    case end
    /// A key that does nothing here.
    case unknownKey
    /// The terminal is to be given back until this process is continued.
    case stop
    /// Somebody else may have had the terminal.
    case resumed
}

/// Shows something once a second until q or Ctrl-C. In place means on the terminal's other screen, which is left as it was
/// found on whatever way out: nothing of the shell's is overwritten, and a change of size harms no more than one frame.
/// `hint` is said of keys that do nothing.
func watch(
    _ console: Console, inPlace: Bool, hint: String, frame: (Terminal) throws(VerbFailure) -> String
) throws(VerbFailure) -> ExitCode {
    let input: WatchInput
    do throws(SystemError) {
        input = try WatchInput(inPlace: inPlace)
    } catch {
        throw VerbFailure(.failed, "cannot wait for signals: \(error.reason)")
    }
    defer { input.restore() }
    return try watch(console, inPlace: inPlace, hint: hint, frame: frame, resume: input.enter, suspend: input.suspend) {
        input.wait()
    }
}

/// The same with an input of the caller's: `pause` waits for the next frame, `resume` takes the keyboard, and `suspend`
/// gives it back and returns when this process is continued.
func watch(
    _ console: Console, inPlace: Bool, hint: String, frame: (Terminal) throws(VerbFailure) -> String,
    resume: () -> Void = {}, suspend: () -> Void = {}, pause: () -> WatchNews
) throws(VerbFailure) -> ExitCode {
    var screen = Screen(console: console, isInPlace: inPlace)
    do throws(VerbFailure) {
        // The first failure ends it (a wrong name, no daemon); a later one may be a supervisor that is being replaced.
        var text = try frame(console.look())
        resume()
        try screen.begin()
        show: while true {
            try screen.show(text)
            switch pause() {
            case .due: break
            case .end: break show
            case .unknownKey:
                screen.hint = hint
                continue
            case .stop:
                screen.end()
                suspend()
                resume()
                try screen.begin()
            case .resumed:
                resume()
                try screen.begin()
            }
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

/// The keys and signals of a watch. Keys that send signals go on doing so.
private final class WatchInput {
    private let signals: TerminationSignals
    /// Nil: no keys are read, for there is no terminal, or it is another one's.
    private let terminal: RawTerminal?
    private static let second: Int64 = 1_000_000_000
    /// When the next frame is due.
    private var next = monotonicNanoseconds() + WatchInput.second

    init(inPlace: Bool) throws(SystemError) {
        // Elsewhere than on a terminal nothing has to be put right: what stops and ends others does so here.
        signals = try inPlace ? .ofTerminal() : TerminationSignals()
        // In the background, reading keys would stop it.
        terminal = inPlace ? (try? RawTerminal()).flatMap { $0.isInForeground ? $0 : nil } : nil
    }

    /// Takes the keyboard. Where that fails there are no keys, but for those that send signals.
    func enter() { try? terminal?.enter(keepingSignals: true) }

    func restore() { terminal?.restore() }

    func suspend() {
        restore()
        stopUntilContinued()
    }

    /// Waits until the next second, or until something has come.
    func wait() -> WatchNews {
        let pause = Int32(clamping: max(0, next - monotonicNanoseconds()) / 1_000_000)
        // Where poll(2) fails there is no pause, and so no going on.
        guard
            let ready = try? waitReadable(
                [signals.descriptor] + (terminal.map { [$0.descriptor] } ?? []), timeoutMilliseconds: pause)
        else { return .end }
        if ready.first == true {
            switch signals.take() {
            case .stop: return .stop
            case .resumed: return .resumed
            case .end, nil: return .end
            }
        }
        if ready.dropFirst().first == true, let terminal {
            let bytes = terminal.read()
            // The terminal is gone, or q, or what stands for an end where Ctrl-C does not send a signal.
            return bytes.isEmpty || bytes.contains { [0x71, 0x51, 0x03, 0x04].contains($0) } ? .end : .unknownKey
        }
        next = monotonicNanoseconds() + Self.second
        return .due
    }
}

/// A terminal's alternate screen (xterm's mode 1049) without a cursor, or plain output.
private struct Screen {
    let console: Console
    let isInPlace: Bool
    /// What the last line says.
    var hint: String?
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
        let terminal = console.look()
        if let height = terminal.height, lines.count > height {
            let hidden = lines.count - height + 1
            lines = lines.prefix(max(0, height - 1)) + ["… \(hidden) lines more; name services, or make room"]
        }
        if let hint {
            let (width, height) = (terminal.width ?? 80, terminal.height ?? 24)
            lines = lines.prefix(max(0, height - 1)) + [Substring(shortened(hint, to: width))]
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
