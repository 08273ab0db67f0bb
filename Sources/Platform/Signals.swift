import Glibc

/// Signal names and numbers.
package enum Signals {
    /// SIGKILL.
    package static let killNumber = SIGKILL

    /// Names without SIG, in the order of their numbers.
    private static let named: [(name: String, number: Int32)] = [
        ("HUP", SIGHUP), ("INT", SIGINT), ("QUIT", SIGQUIT), ("ILL", SIGILL), ("TRAP", SIGTRAP), ("ABRT", SIGABRT),
        ("BUS", SIGBUS), ("FPE", SIGFPE), ("KILL", SIGKILL), ("USR1", SIGUSR1), ("SEGV", SIGSEGV), ("USR2", SIGUSR2),
        ("PIPE", SIGPIPE), ("ALRM", SIGALRM), ("TERM", SIGTERM), ("STKFLT", 16), ("CHLD", SIGCHLD), ("CONT", SIGCONT),
        ("STOP", SIGSTOP), ("TSTP", SIGTSTP), ("TTIN", SIGTTIN), ("TTOU", SIGTTOU), ("URG", SIGURG), ("XCPU", SIGXCPU),
        ("XFSZ", SIGXFSZ), ("VTALRM", SIGVTALRM), ("PROF", SIGPROF), ("WINCH", SIGWINCH), ("IO", SIGIO),
        ("PWR", SIGPWR),
        ("SYS", SIGSYS),
    ]
    /// Second names of the same numbers.
    private static let aliases: [String: Int32] = ["IOT": SIGABRT, "CLD": SIGCHLD, "POLL": SIGIO, "UNUSED": SIGSYS]

    /// The number of a signal: `TERM`, `SIGTERM`, `RTMIN`, `RTMIN+3`, `RTMAX-1` in any case, or a decimal number that is
    /// a signal's; nil for anything else.
    package static func number(of text: String) -> Int32? {
        if let number = Int32(text) { return name(of: number) == nil ? nil : number }
        var name = text.uppercased()
        if name.hasPrefix("SIG") { name.removeFirst(3) }
        if let found = named.first(where: { $0.name == name }) { return found.number }
        if let number = aliases[name] { return number }
        let lowest = __libc_current_sigrtmin()
        let highest = __libc_current_sigrtmax()
        let number: Int32?
        if name == "RTMIN" {
            number = lowest
        } else if name == "RTMAX" {
            number = highest
        } else if name.hasPrefix("RTMIN+") {
            number = offset(name.dropFirst(6)).map { lowest &+ $0 }
        } else if name.hasPrefix("RTMAX-") {
            number = offset(name.dropFirst(6)).map { highest &- $0 }
        } else {
            number = nil
        }
        return number.flatMap { lowest <= $0 && $0 <= highest ? $0 : nil }
    }

    /// The name of a signal with SIG: `SIGTERM`, `SIGRTMIN+3`; nil for a number that is none.
    package static func name(of number: Int32) -> String? {
        if let found = named.first(where: { $0.number == number }) { return "SIG\(found.name)" }
        let lowest = __libc_current_sigrtmin()
        guard lowest <= number, number <= __libc_current_sigrtmax() else { return nil }
        return number == lowest ? "SIGRTMIN" : "SIGRTMIN+\(number - lowest)"
    }

    /// One or two digits without a sign.
    private static func offset(_ text: Substring) -> Int32? {
        text.utf8.allSatisfy { $0 >= 0x30 && $0 <= 0x39 } && text.utf8.count <= 2 ? Int32(text) : nil
    }
}
