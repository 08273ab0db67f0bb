import Glibc

/// Standard input as a terminal that gives every key at once and shows none, by tcsetattr(3), until `restore`.
package final class RawTerminal {
    private let before: termios
    /// Whether there may be something to put right: to do so in the background would stop this process.
    private var isEntered = false
    /// For waiting until there is a key.
    package let descriptor: Descriptor

    /// Nothing is changed yet. Throws ENOTTY if standard input is no terminal.
    package init() throws(SystemError) {
        var settings = termios()
        try systemCall("tcgetattr", "standard input") { tcgetattr(STDIN_FILENO, &settings) }
        before = settings
        descriptor = try Descriptor.duplicate(of: STDIN_FILENO)
    }

    deinit { restore() }

    /// Whether this process is the one that the terminal's keys are meant for, by tcgetpgrp(3).
    package var isInForeground: Bool { tcgetpgrp(STDIN_FILENO) == getpgrp() }

    /// Keys come one by one, those that send signals too, unless these are to go on sending them; lines of output end as
    /// they are written. Where the process is in the background it is stopped by SIGTTOU, or fails with EIO.
    package func enter(keepingSignals: Bool = false) throws(SystemError) {
        var settings = before
        cfmakeraw(&settings)
        isEntered = true
        if keepingSignals { settings.c_lflag |= tcflag_t(ISIG) }
        try systemCall("tcsetattr", "standard input") { tcsetattr(STDIN_FILENO, TCSADRAIN, &settings) }
    }

    /// All as it was found. What was typed and not read is dropped: it was not meant for the shell.
    package func restore() {
        guard isEntered else { return }
        isEntered = false
        var settings = before
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &settings)
    }

    /// The bytes of keys that were pressed; waits if there are none. Empty at the end: the terminal is gone.
    package func read() -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 256)
        while true {
            let count = Glibc.read(STDIN_FILENO, &bytes, bytes.count)
            if count < 0, errno == EINTR { continue }
            return Array(bytes.prefix(max(0, count)))
        }
    }

    /// Stops this process as Ctrl-Z does elsewhere, and returns when it is continued.
    package func suspend() {
        restore()
        stopUntilContinued()
    }
}
