import ControlAPI
import Why

/// The answer in words.
enum WhyText {
    static func text(_ report: WhyReport, now: Int64, allowsColour: Bool) -> String {
        var lines = report.supd.map(printable)
        for answer in report.answers {
            if !lines.isEmpty { lines.append("") }
            lines += Self.lines(answer, now: now, allowsColour: allowsColour)
        }
        return lines.map { $0 + "\n" }.joined()
    }

    private static func lines(_ answer: WhyAnswer, now: Int64, allowsColour: Bool) -> [String] {
        let state = printable(answer.state)
        let shown = allowsColour ? Colour.of(state: answer.state)?.wrap(state) ?? state : state
        var head = "\(printable(answer.name)): \(shown)"
        if let since = answer.since {
            let ago = TimeArgument.read(since, now: now).map {
                " (\(HumanText.uptime(Double(max(0, now - $0)) / 1e9)))"
            }
            head += " since \(printable(since))\(ago ?? "")"
        }
        var lines = ["\(head): \(printable(answer.summary))"]
        // Mostly the first line has it, without the time.
        if let occasion = answer.occasion, !answer.summary.contains(occasion.drop { $0 != " " }.dropFirst()) {
            lines.append("  \(printable(occasion))")
        }
        lines += answer.besides.map { "  \(printable($0))" }
        if answer.restartsInLastHour > 0 {
            lines.append("  restarted by itself \(times(answer.restartsInLastHour)) in the last hour")
        }
        for exit in answer.exits { lines += Self.lines(exit) }
        if !answer.help.isEmpty {
            lines.append("  what helps:")
            lines += answer.help.map { "    \(printable($0))" }
        }
        return lines
    }

    private static func lines(_ exit: WhyAnswer.Exit) -> [String] {
        ["  \(printable(exit.at))  \(printable(exit.words))"] + exit.log.map { "    | \(printable($0))" }
    }

    private static func times(_ count: Int) -> String { count == 1 ? "once" : count == 2 ? "twice" : "\(count) times" }
}
