import Logs
import Platform
import Why

/// What `supctl logs` is to show of the lines there are.
struct LogSelection {
    /// How many of the last ones; nil: all.
    var count: Int?
    var filter = LogFilter()

    init(_ invocation: Invocation) throws(VerbFailure) {
        let now = wallClockNanoseconds()
        let follows = invocation.has("--follow")
        filter.since = try Self.time("--since", invocation, now)
        filter.until = try Self.time("--until", invocation, now)
        if follows, filter.until != nil { throw invocation.misused("--follow has no end: leave out --until") }
        if let since = filter.since, let until = filter.until, since > until {
            throw invocation.misused("--since is later than --until")
        }
        // Who says since when wants all of it.
        count = try Self.lineCount(invocation) ?? (follows && filter.since == nil ? 10 : nil)
        if let pattern = invocation.value("--grep") { try lookFor(pattern, invocation) }
    }

    private mutating func lookFor(_ pattern: String, _ invocation: Invocation) throws(VerbFailure) {
        let isLowercase = pattern == pattern.lowercased()
        do throws(ExtendedExpression.Invalid) {
            let expression = try ExtendedExpression(pattern, ignoresCase: isLowercase)
            filter.text = { expression.matches($0) }
        } catch {
            throw invocation.misused(
                "--grep takes a regular expression as grep -E does, not \"\(pattern)\": \(error.reason)")
        }
    }

    private static func time(_ option: String, _ invocation: Invocation, _ now: Int64) throws(VerbFailure) -> Int64? {
        guard let text = invocation.value(option) else { return nil }
        guard let time = TimeArgument.read(text, now: now) else {
            throw invocation.misused("\(option) takes \(TimeArgument.forms), not \"\(text)\"")
        }
        return time
    }

    /// `-n`; nil if it was not given, or is "all".
    private static func lineCount(_ invocation: Invocation) throws(VerbFailure) -> Int? {
        guard let text = invocation.value("--lines"), text != "all" else { return nil }
        guard let count = Int(text), (0...10_000_000).contains(count) else {
            throw invocation.misused("-n takes a number of lines, not \"\(text)\"")
        }
        return count
    }
}
