import Dispatch
import Platform
import Supervision

/// What one try came to.
enum ProbeResult: Hashable {
    /// Ready; how it showed.
    case passed(String)
    /// Not ready; why.
    case failed(String)

    /// What the end of a command means.
    init(_ result: Prober.CommandResult) {
        switch result {
        case .exited(.code(0), _): self = .passed("the command exited with code 0")
        case .exited(.code(let code), let output):
            self = .failed("the command exited with code \(code)" + quoted(output))
        case .exited(.signal(let signal, _), let output):
            self = .failed(
                "the command was killed by \(Signals.name(of: signal) ?? "signal \(signal)")" + quoted(output))
        case .notStarted(let text): self = .failed("the command was not run: \(text)")
        }
    }
}

/// The last line of an output that says something, cut to what fits into a line of status.
private func quoted(_ output: String) -> String {
    let lines = output.split(whereSeparator: \.isNewline).map { line in
        line.filter { !$0.unicodeScalars.contains { $0.properties.generalCategory == .control } }
    }
    guard let line = lines.last(where: { $0.contains { !$0.isWhitespace } }) else { return "" }
    return ": " + (line.count > 160 ? line.prefix(160) + "…" : line)
}

/// How long to pause between tries: 5 ms at first (a command: 50 ms), then twice as long each time up to 250 ms (a
/// command: 1 s); from ten seconds after the beginning on, 1 s.
struct ProbePacing {
    /// When probing began, in nanoseconds of CLOCK_MONOTONIC.
    var startedAt: Int64
    /// Whether each try starts a process.
    var isCommand: Bool

    /// The pause in nanoseconds after this try, counted from 1.
    func pause(afterTry number: Int, now: Int64) -> Int64 {
        if now - startedAt > 10_000_000_000 { return 1_000_000_000 }
        let (first, longest): (Int64, Int64) = isCommand ? (50_000_000, 1_000_000_000) : (5_000_000, 250_000_000)
        return min(longest, first << min(max(0, number - 1), 20))
    }
}

/// One try of a probe: what must be ended when it is over.
final class Attempt {
    /// When it has failed at the latest, in nanoseconds of CLOCK_MONOTONIC.
    private(set) var deadline: Int64
    /// What to say then.
    private(set) var timeoutText: String
    /// The connection of a tcp or http try.
    var connection: LoopbackConnection?
    /// What waits for the connection.
    private(set) var source: (any DispatchSourceProtocol)?
    /// The response of an http try so far.
    var response = HTTPStatusReader()
    /// Ends the command of a command try.
    var cancelCommand: (() -> Void)?
    /// The command has ended by itself.
    var hasCommandEnded = false

    init(timeout: Duration, timeoutText: String) {
        deadline = monotonicNanoseconds() + timeout.components.seconds * 1_000_000_000
        self.timeoutText = timeoutText
    }

    /// Gives the try more time for its next step.
    func extend(to timeout: Duration, timeoutText: String) {
        deadline = monotonicNanoseconds() + timeout.components.seconds * 1_000_000_000
        self.timeoutText = timeoutText
    }

    /// Waits with another source from now on, or with none.
    func watch(_ source: (any DispatchSourceProtocol)?) {
        self.source?.cancel()
        self.source = source
    }

    /// Ends whatever still goes on.
    func end() {
        watch(nil)
        connection = nil
        if let cancelCommand, !hasCommandEnded { cancelCommand() }
        cancelCommand = nil
    }
}

/// A connection whose answer is known, read to its end: 1 MiB and one second at most.
final class LingeringConnection {
    /// When it is closed at the latest, in nanoseconds of CLOCK_MONOTONIC.
    let deadline = monotonicNanoseconds() + 1_000_000_000
    /// Called when it has come to its end by itself.
    var ended: () -> Void = {}
    private let source: any DispatchSourceRead
    private var left = 1 << 20

    init(_ connection: LoopbackConnection, queue: DispatchQueue) {
        source = DispatchSource.makeReadSource(fileDescriptor: connection.descriptor.raw, queue: queue)
        source.setCancelHandler { _ = connection }
        source.setEventHandler { [weak self] in self?.read(connection) }
        source.activate()
    }

    deinit { source.cancel() }

    /// Closes it.
    func end() { source.cancel() }

    private func read(_ connection: LoopbackConnection) {
        while left > 0, let received = try? connection.receive() {
            switch received {
            case .nothing: return
            case .bytes(let bytes): left -= bytes.count
            case .end: left = 0
            }
        }
        end()
        ended()
    }
}
