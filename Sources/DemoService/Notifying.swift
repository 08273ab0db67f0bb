import Platform

/// The sending side of sd_notify(3), as the command line asks for it.
struct Notifying {
    /// Where to say it; nil: nobody wants to hear.
    private let socket: NotifySocket?
    /// WATCHDOG_USEC, if it is meant for this process.
    private let watchdog: Duration?

    init(environment: [String: String], pid: Int32) throws(SystemError) {
        socket = try environment["NOTIFY_SOCKET"].flatMap { path throws(SystemError) in try NotifySocket(path: path) }
        let isMeant = environment["WATCHDOG_PID"].map { $0 == String(pid) } ?? true
        watchdog = isMeant ? environment["WATCHDOG_USEC"].flatMap { Int64($0) }.map { .microseconds($0) } : nil
    }

    /// Says something; nobody may be there to hear it.
    func say(_ text: String) { try? socket?.send(text) }

    /// Feeds the watchdog from a thread of its own, twice in its interval; `silentAfter`: not longer than this.
    func feedWatchdog(silentAfter: Duration?) throws(SystemError) {
        guard let watchdog else { return }
        try startBlockingThread {
            let end = silentAfter.map { monotonicNanoseconds() + Int64($0 / .nanoseconds(1)) } ?? .max
            while monotonicNanoseconds() < end {
                say("WATCHDOG=1")
                pause(for: watchdog / 2)
            }
            printLine("the watchdog is fed no more, as asked for")
        }
    }
}
