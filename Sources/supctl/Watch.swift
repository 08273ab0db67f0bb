import Dispatch
import Platform

/// What comes while a frame is shown.
enum WatchNews: Equatable {
    /// What the next frame is made of has come.
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
/// `hint` is said of keys that do nothing. It is asked on a queue of its own: who does not answer keeps no key and no signal
/// waiting.
func watch(
    _ console: Console, inPlace: Bool, hint: String, ask: @escaping @Sendable () throws(VerbFailure) -> [UInt8],
    frame: ([UInt8], Terminal) throws(VerbFailure) -> String
) throws(VerbFailure) -> ExitCode {
    let input: WatchInput
    do throws(SystemError) {
        input = try WatchInput(inPlace: inPlace, ask)
    } catch {
        throw VerbFailure(.failed, "cannot wait for signals: \(error.reason)")
    }
    defer { input.restore() }
    return try watch(
        console, inPlace: inPlace, hint: hint,
        frame: { terminal throws(VerbFailure) in try frame(try input.question.take(), terminal) },
        resume: input.enter, suspend: input.suspend
    ) { input.wait() }
}

/// The same with an input of the caller's: `pause` waits for what a frame is made of, `resume` takes the keyboard and says
/// whether the terminal is this process's to draw on, and `suspend` gives it back and returns when this process is continued.
func watch(
    _ console: Console, inPlace: Bool, hint: String, frame: (Terminal) throws(VerbFailure) -> String,
    resume: () -> Bool = { true }, suspend: () -> Void = {}, pause: () -> WatchNews
) throws(VerbFailure) -> ExitCode {
    var screen = Screen(console: console, isInPlace: inPlace)
    // Nil: nothing has come yet, and the terminal is as it was.
    var text: String?
    do throws(VerbFailure) {
        show: while true {
            switch pause() {
            case .due:
                let isFirst = text == nil
                do throws(VerbFailure) {
                    text = try frame(console.look())
                } catch {
                    // The first failure ends it (a wrong name, no daemon); a later one may be a supervisor that is being
                    // replaced.
                    guard inPlace, !isFirst else { throw error }
                    text = "supctl: \(printable(error.message)); trying again\n"
                }
                if isFirst { try screen.begin(resume()) }
            case .end: break show
            case .unknownKey: screen.hint = hint
            case .stop:
                screen.end()
                suspend()
                if text != nil { try screen.begin(resume()) }
            case .resumed:
                if text != nil { try screen.begin(resume()) }
            }
            if let text { try screen.show(text) }
        }
    } catch {
        screen.end()
        throw error
    }
    screen.end()
    return .done
}

/// A question that is asked again and again, each time once the one before is answered.
private final class WatchQuestion: Sendable {
    /// Readable when there is an answer.
    let notices: Descriptor
    private let bell: Descriptor
    private let queue = DispatchQueue(label: "supctl.watch")
    private let ask: @Sendable () throws(VerbFailure) -> [UInt8]
    private let answer = Lock<Result<[UInt8], VerbFailure>>(.success([]))

    init(_ ask: @escaping @Sendable () throws(VerbFailure) -> [UInt8]) throws(SystemError) {
        self.ask = ask
        (notices, bell) = try makePipe(nonblockingRead: true)
        try PipeIO.setNonBlocking(bell)
    }

    func begin() {
        queue.async { [self] in
            let answer = Result { () throws(VerbFailure) in try ask() }
            self.answer.withLock { $0 = answer }
            PipeIO.ring(bell)
        }
    }

    /// The answer that has come.
    func take() throws(VerbFailure) -> [UInt8] {
        _ = PipeIO.readAvailable(notices, limit: 4096)
        return try answer.withLock { $0 }.get()
    }
}

/// The keys, the signals and the answers of a watch. Keys that send signals go on doing so.
private final class WatchInput {
    let question: WatchQuestion
    private let signals: TerminationSignals
    /// Nil: no keys are read, for there is no terminal, or it is another one's.
    private let terminal: RawTerminal?
    private static let second: Int64 = 1_000_000_000
    /// In the background it is looked so often whether it is the foreground: not every shell tells by a signal.
    private static let look: Int64 = 200_000_000
    /// When it is asked next.
    private var next = monotonicNanoseconds()
    private var isAsking = false
    /// It waits for the terminal.
    private var isInBackground = false

    init(inPlace: Bool, _ ask: @escaping @Sendable () throws(VerbFailure) -> [UInt8]) throws(SystemError) {
        // Elsewhere than on a terminal nothing has to be put right: what stops and ends others does so here.
        signals = try inPlace ? .ofTerminal() : TerminationSignals()
        terminal = inPlace ? (try? RawTerminal()).flatMap { $0.isOwn ? $0 : nil } : nil
        // Its thread is to leave the signals to this one.
        question = try WatchQuestion(ask)
    }

    /// Takes the keyboard. Where that fails there are no keys, but for those that send signals. False: in the background, where
    /// to take it would stop this process, and to draw would be to draw over the shell.
    func enter() -> Bool {
        if let terminal { isInBackground = (try? terminal.enter(keepingSignals: true)) == false }
        return !isInBackground
    }

    func restore() { terminal?.restore() }

    func suspend() {
        restore()
        stopUntilContinued()
    }

    /// Waits until something has come; asks once a second.
    func wait() -> WatchNews {
        while true {
            let now = monotonicNanoseconds()
            if !isAsking, now >= next {
                isAsking = true
                next = now + Self.second
                question.begin()
            }
            var pause = isAsking ? Int64.max : next - now
            if isInBackground { pause = min(pause, Self.look) }
            let keys = terminal.flatMap { $0.isEntered ? $0 : nil }
            // Rounded up: to wait a little too short is to wait again and again. Where poll(2) fails there is no going on.
            guard
                let ready = try? waitReadable(
                    [signals.descriptor, question.notices] + (keys.map { [$0.descriptor] } ?? []),
                    timeoutMilliseconds: pause == .max ? nil : Int32(clamping: pause / 1_000_000 + 1))
            else { return .end }
            if ready.first == true {
                switch signals.take() {
                case .stop: return .stop
                case .resumed: return .resumed
                case .end, nil: return .end
                }
            }
            if isInBackground, terminal?.isInForeground == true { return .resumed }
            if ready.dropFirst(2).first == true, let keys {
                let bytes = keys.read()
                // The terminal is gone, or q, or what stands for an end where Ctrl-C does not send a signal.
                return bytes.isEmpty || bytes.contains { [0x71, 0x51, 0x03, 0x04].contains($0) } ? .end : .unknownKey
            }
            if ready.dropFirst().first == true {
                isAsking = false
                return .due
            }
        }
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

    /// Also when somebody else has drawn. False: the terminal is another one's now, and nothing is drawn until the next time.
    mutating func begin(_ isOurs: Bool) throws(VerbFailure) {
        guard isInPlace else { return }
        guard isOurs else { return end() }
        hasBegun = true
        try console.write(Array("\u{1b}[?1049h\u{1b}[?25l".utf8))
    }

    /// Draws from the top, with one call: each line clears what is right of it, the last all below.
    func show(_ text: String) throws(VerbFailure) {
        guard isInPlace else { return try console.write(Array(text.utf8)) }
        guard hasBegun else { return }
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
