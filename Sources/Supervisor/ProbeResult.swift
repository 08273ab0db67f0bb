import Manifest
import Platform
import Supervision

/// What one try came to.
enum ProbeResult: Hashable {
    /// As it should be; how it showed.
    case passed(String)
    /// Not so; why, and what the probe has printed, or the body of the answer.
    case failed(String, output: String = "")
    /// Nobody listens on the instance's port; how that has shown.
    case nobodyListens(String)

    /// What the end of a command means.
    init(_ result: Prober.CommandResult) {
        switch result {
        case .exited(.code(0), _): self = .passed("the command exited with code 0")
        case .exited(.code(let code), let output):
            self = .failed("the command exited with code \(code)", output: readable(output))
        case .exited(.signal(let signal, _), let output):
            self = .failed(
                "the command was killed by \(Signals.name(of: signal) ?? "signal \(signal)")", output: readable(output))
        case .notStarted(let text): self = .failed("the command was not run: \(text)")
        }
    }

    /// The same for the core; of readiness with the last line of the output in the reason.
    func outcome(withOutput: Bool) -> Application.ProbeOutcome {
        switch self {
        case .passed(let reason): Application.ProbeOutcome(passed: true, reason: reason)
        case .nobodyListens(let reason):
            Application.ProbeOutcome(passed: false, reason: reason, nobodyListens: true)
        case .failed(let reason, let output):
            withOutput
                ? Application.ProbeOutcome(passed: false, reason: reason, output: output)
                : Application.ProbeOutcome(passed: false, reason: reason + quoted(output))
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
