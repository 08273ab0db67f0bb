import Manifest

/// Texts for people that several files of the core share.
enum Wording {
    /// A length of time with as many digits as matter: `0.12 s`, `3.2 s`, `45 s`, `5 min`, `2 h`.
    static func time(_ nanoseconds: Int64) -> String {
        let nanoseconds = max(0, nanoseconds)
        if nanoseconds < 9_500_000 { return nanoseconds == 0 ? "0 s" : "\((nanoseconds + 500_000) / 1_000_000) ms" }
        if nanoseconds < 995_000_000 {
            let hundredths = (nanoseconds + 5_000_000) / 10_000_000
            let digits = hundredths < 10 ? "0\(hundredths)" : "\(hundredths)"
            return digits.hasSuffix("0") ? "0.\(digits.prefix(1)) s" : "0.\(digits) s"
        }
        if nanoseconds < 9_950_000_000 {
            let tenths = (nanoseconds + 50_000_000) / 100_000_000
            return tenths % 10 == 0 ? "\(tenths / 10) s" : "\(tenths / 10).\(tenths % 10) s"
        }
        let seconds = nanoseconds / 1_000_000_000 + (nanoseconds % 1_000_000_000 >= 500_000_000 ? 1 : 0)
        if seconds < 120 || (seconds < 600 && seconds % 60 != 0) { return "\(seconds) s" }
        if seconds < 7200 { return "\((seconds + 30) / 60) min" }
        return "\((seconds + 1800) / 3600) h"
    }

    /// The same of a duration.
    static func time(_ duration: Duration) -> String { time(duration.wholeNanoseconds) }

    /// Bytes as the manifest writes them, where that is exact: `512M`, `1000`.
    static func size(_ bytes: UInt64) -> String {
        for (unit, shift) in [("G", UInt64(30)), ("M", 20), ("K", 10)] where bytes > 0 && bytes % (1 << shift) == 0 {
            return "\(bytes >> shift)\(unit)"
        }
        return "\(bytes)"
    }

    /// Names in a row, cut after the first few: `api, web and db`, `api, web, db and 3 more`.
    static func list(_ names: [String]) -> String {
        let shown = names.prefix(3)
        if names.count > shown.count { return "\(shown.joined(separator: ", ")) and \(names.count - shown.count) more" }
        guard let last = shown.last, shown.count > 1 else { return shown.first ?? "" }
        return "\(shown.dropLast().joined(separator: ", ")) and \(last)"
    }

    /// Text from outside, cut to a length that every log line can bear.
    static func bounded(_ text: String) -> String { text.count > 300 ? "\(text.prefix(300))…" : text }

    /// What a probe has printed, cut to a few lines.
    static func boundedOutput(_ text: String) -> String { text.count > 1000 ? "\(text.prefix(1000))…" : text }

    /// The last line of an output that says something, to follow a reason: `: db pool exhausted`; nothing without one.
    static func quotedLine(of output: String) -> String {
        guard let line = output.split(whereSeparator: \.isNewline).last(where: { $0.contains { !$0.isWhitespace } })
        else {
            return ""
        }
        return ": \(bounded(String(line)))"
    }

    /// `once`, `twice`, `three times`, `12 times`.
    static func times(_ count: Int) -> String {
        let words = ["three", "four", "five", "six", "seven", "eight", "nine", "ten"]
        switch count {
        case 1: return "once"
        case 2: return "twice"
        case 3...10: return "\(words[count - 3]) times"
        default: return "\(count) times"
        }
    }

    /// How a process ended, with the limit that probably ended it: `exited with code 1`,
    /// `killed by SIGXCPU: cpu limit of 5 s reached`.
    static func reason(_ status: ExitStatus, limits: [ResourceLimit]) -> String {
        switch status {
        case .code(let code):
            return "exited with code \(code)"
        case .signal(let number, let coreDumped):
            let killed = "killed by \(signalName(number))\(coreDumped ? " (core dumped)" : "")"
            return killed + (likelyCause(signal: number, limits: limits) ?? "")
        }
    }

    /// Of the signals that a limit of setrlimit(2) leads to.
    private static func likelyCause(signal: Int32, limits: [ResourceLimit]) -> String? {
        func soft(_ resource: ResourceLimit.Resource) -> UInt64? { limits.first { $0.resource == resource }?.soft }
        switch signal {
        case 24: return soft(.cpu).map { ": cpu limit of \($0) s reached" }
        case 25: return soft(.fsize).map { ": fsize limit of \(size($0)) reached" }
        // A process that takes SIGXCPU and goes on gets SIGKILL at its hard limit.
        case 9: return soft(.cpu).map { ", perhaps by the hard end of its cpu limit of \($0) s" }
        case 11: return soft(.stack).map { ", perhaps by its stack limit of \(size($0))" }
        default: return nil
        }
    }

    /// The name of a signal's number on Linux: `SIGTERM`, `SIGRTMIN+3`.
    static func signalName(_ number: Int32) -> String {
        let names = [
            "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM",
            "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF",
            "WINCH", "IO", "PWR", "SYS",
        ]
        switch number {
        case 1...31: return "SIG\(names[Int(number) - 1])"
        // glibc keeps 32 and 33 for itself.
        case 34: return "SIGRTMIN"
        case 35...64: return "SIGRTMIN+\(number - 34)"
        default: return "signal \(number)"
        }
    }
}
