import ControlAPI
import Platform

let topVerb = Verb(
    name: "top", synopsis: "[NAME…]", summary: "watch services on the whole screen",
    details: """
        Shows all instances, or those named, once a second: state, CPU of the last second and its history, memory,
        connections, threads, descriptors, restarts. Keys: arrows select, Enter tells all of a service, l shows a
        log, w tells why, r restarts, s sorts, / filters, ? explains, q ends it. Needs a terminal; "supctl status" is
        for everything else.
        """,
    operands: .names
) { invocation throws(VerbFailure) in
    let names = try invocation.checked(invocation.operands)
    let client = try invocation.client()
    guard invocation.console.output.isTerminal, let terminal = try? RawTerminal() else {
        throw VerbFailure(.usage, "top needs a terminal to draw on and to read keys from; see \"supctl help status\"")
    }
    // A wrong name and a daemon that is not there are said where the shell is.
    let first = try asking { () throws(ControlClientError) in
        try client.ask(.status(names: names, limits: false), as: StatusReport.self)
    }
    let signals: TerminationSignals
    do throws(SystemError) {
        signals = try TerminationSignals.ofTerminal()
    } catch {
        throw VerbFailure(.failed, "cannot wait for signals: \(error.reason)")
    }
    var session = try TopSession(invocation.console, terminal, signals, TopFeed(client: client, names: names, first))
    return try session.run(first)
}

/// The view on a terminal: draws, waits for keys, samples and signals, and leaves the terminal as it was found, on whatever way
/// out.
private struct TopSession {
    private let console: Console
    private let terminal: RawTerminal
    private let signals: TerminationSignals
    private let feed: TopFeed
    private var model = TopModel()
    private var keys = TopKeyReader()
    /// Whether it has the screen: not while it is in the background.
    private var isShown = false
    private var drawn: [String] = []
    private var size: Terminal

    init(
        _ console: Console, _ terminal: RawTerminal, _ signals: TerminationSignals, _ feed: TopFeed
    ) throws(VerbFailure) {
        (self.console, self.terminal, self.signals, self.feed) = (console, terminal, signals, feed)
        size = console.look()
    }

    mutating func run(_ first: StatusReport) throws(VerbFailure) -> ExitCode {
        model.update(first)
        defer { leave() }
        try enter()
        feed.begin()
        while true {
            try draw()
            guard try step() else { return .done }
        }
    }

    /// The other screen, no cursor, no wrapping of long lines.
    private static let enterScreen = Array("\u{1b}[?1049h\u{1b}[?25l\u{1b}[?7l\u{1b}[H\u{1b}[2J".utf8)
    private static let leaveScreen = Array("\u{1b}[?7h\u{1b}[?25h\u{1b}[?1049l".utf8)

    /// Takes the terminal; also after somebody else has had it. Not in the background, where the shell has it: nothing is drawn
    /// then until it comes back.
    private mutating func enter() throws(VerbFailure) {
        let isOurs: Bool
        do throws(SystemError) {
            isOurs = try terminal.enter()
        } catch {
            throw VerbFailure(.failed, "cannot use the terminal: \(error.reason)")
        }
        guard isOurs else { return try hide() }
        isShown = true
        try console.write(Self.enterScreen)
        drawn = []
    }

    /// Gives it back until this process is continued.
    private mutating func suspend() throws(VerbFailure) {
        try hide()
        terminal.suspend()
        try enter()
    }

    /// Leaves the screen as it was found.
    private mutating func hide() throws(VerbFailure) {
        guard isShown else { return }
        isShown = false
        try console.write(Self.leaveScreen)
    }

    private mutating func leave() {
        feed.end()
        // If the terminal is gone, there is nothing to put right.
        try? hide()
        terminal.restore()
    }

    /// Waits for something and deals with it; false: it is over. A changed size is noticed within a fifth of a second.
    private mutating func step() throws(VerbFailure) -> Bool {
        let ready: [Bool]
        do throws(SystemError) {
            ready = try waitReadable(
                [signals.descriptor, feed.notices] + (terminal.isEntered ? [terminal.descriptor] : []),
                timeoutMilliseconds: 200)
        } catch {
            throw VerbFailure(.failed, "cannot wait for keys: \(error.reason)")
        }
        if ready.first == true {
            switch signals.take() {
            case .end: return false
            case .stop: try suspend()
            case .resumed: try enter()
            case nil: break
            }
            // What there was to read may have been dropped.
            return true
        }
        if ready.dropFirst().first == true { takeNews() }
        // Not every shell tells by a signal that it has brought a process back.
        if !terminal.isEntered, terminal.isInForeground { try enter() }
        guard ready.dropFirst(2).first == true else { return true }
        let bytes = terminal.read()
        if bytes.isEmpty { return false }
        for key in keys.read(bytes) {
            if let effect = model.press(key, height: screen.room), try !perform(effect) { return false }
        }
        return true
    }

    private mutating func takeNews() {
        for news in feed.take() {
            switch news {
            case .report(let report): model.update(report)
            case .usage(let report): model.update(report)
            case .why(let instance, let lines): model.showWhy(instance, lines)
            case .log(let instance, let lines): model.showLog(of: instance, lines)
            case .message(let text): model.message = text
            }
        }
    }

    private mutating func perform(_ effect: TopModel.Effect) throws(VerbFailure) -> Bool {
        switch effect {
        case .quit: return false
        case .redraw: drawn = []
        case .load:
            if case .logs(let instance) = model.view { feed.showLog(of: instance) }
            if case .why(let instance) = model.view { feed.askWhy(instance) }
        case .restart(let instance):
            model.message = "restarting \(instance) …"
            feed.restart(instance)
        case .suspend: try suspend()
        }
        if case .logs = model.view {} else { feed.showLog(of: nil) }
        return true
    }

    private var screen: TopScreen {
        TopScreen(
            width: max(1, size.width ?? 80), height: max(1, size.height ?? 24), allowsColour: size.allowsColour,
            isUnicode: Sparkline.terminalIsUnicode)
    }

    /// Writes the lines that differ from what is there.
    private mutating func draw() throws(VerbFailure) {
        guard isShown else { return }
        let now = console.look()
        if now != size {
            size = now
            drawn = []
        }
        let lines = screen.lines(model)
        var text = drawn.isEmpty ? "\u{1b}[2J" : ""
        for (index, line) in lines.enumerated() where index >= drawn.count || drawn[index] != line {
            text += "\u{1b}[\(index + 1);1H\(line)\u{1b}[K"
        }
        drawn = lines
        if !text.isEmpty { try console.write(Array(text.utf8)) }
    }
}
