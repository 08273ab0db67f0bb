import Glibc

/// Standard input as a terminal that gives every key at once and shows none, by tcsetattr(3), until `restore`.
package final class RawTerminal {
    private let before: termios
    /// Whether keys come as they are pressed, and there may be something to put right.
    package private(set) var isEntered = false
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

    /// Whether it is the terminal that this process's session is controlled by.
    package var isOwn: Bool { tcgetpgrp(STDIN_FILENO) >= 0 }

    /// Whether the terminal is somebody else's now: to change it would stop this process by SIGTTOU, to read keys by SIGTTIN,
    /// and one that blocks the signals that end it would stop again whoever continues it.
    private var isInBackground: Bool { isOwn && !isInForeground }

    /// Keys come one by one, those that send signals too, unless these are to go on sending them; lines of output end as
    /// they are written. Returns false in the background: the terminal is as others have it, and no key is for this process.
    package func enter(keepingSignals: Bool = false) throws(SystemError) -> Bool {
        guard !isInBackground else {
            isEntered = false
            return false
        }
        var settings = before
        cfmakeraw(&settings)
        isEntered = true
        if keepingSignals { settings.c_lflag |= tcflag_t(ISIG) }
        try systemCall("tcsetattr", "standard input") { tcsetattr(STDIN_FILENO, TCSADRAIN, &settings) }
        return true
    }

    /// All as it was found, but in the background, where the shell has put it right. What was typed and not read is dropped: it
    /// was not meant for the shell.
    package func restore() {
        guard isEntered else { return }
        isEntered = false
        guard !isInBackground else { return }
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
