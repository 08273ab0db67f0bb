/// What a service says of itself in one datagram to the socket that NOTIFY_SOCKET names, as sd_notify(3) has it. Whatever
/// is not known, or is not what it should be, is passed over: later versions of the protocol say more.
package struct ServiceNotice: Sendable, Hashable {
    /// What it says that it is doing.
    package enum Phase: String, Sendable, Hashable, Codable {
        /// RELOADING=1; READY=1 ends it.
        case reloading
        /// STOPPING=1.
        case stopping
    }

    /// A word about the watchdog.
    package enum Watchdog: Sendable, Hashable {
        /// WATCHDOG=1: it lives.
        case alive
        /// WATCHDOG=trigger: it wants to be taken for hung.
        case trigger
    }

    /// READY=1.
    package var isReady = false
    /// RELOADING=1 or STOPPING=1, whichever came last; nil after READY=1.
    package var phase: Phase?
    /// STATUS=, made printable and cut; empty takes an earlier one back. nil: nothing was said.
    package var status: String?
    /// WATCHDOG=1 or WATCHDOG=trigger.
    package var watchdog: Watchdog?
    /// WATCHDOG_USEC=, in nanoseconds: another interval; 0 for none.
    package var watchdogInterval: Int64?
    /// EXTEND_TIMEOUT_USEC=, in nanoseconds.
    package var timeoutExtension: Int64?
    /// MAINPID= came, which supd does not take: it knows what it has started.
    package var namesMainProcess = false

    /// The longest datagram that is read, in bytes; systemd takes as much.
    package static let sizeLimit = 4096
    /// The longest status that is kept, in Unicode scalars.
    static let statusLimit = 200
    /// The shortest interval of a watchdog that is taken; a shorter one would have supd busy with little else.
    static let shortestWatchdog: Int64 = 100_000_000

    /// Creates a notice that says nothing.
    package init() {}

    /// Reads a datagram: assignments, one a line.
    package init(datagram: [UInt8]) {
        for line in datagram.prefix(Self.sizeLimit).split(separator: UInt8(ascii: "\n")) {
            guard let equals = line.firstIndex(of: UInt8(ascii: "=")) else { continue }
            let value = line[line.index(after: equals)...]
            take(String(decoding: line[..<equals], as: UTF8.self), value)
        }
    }

    private mutating func take(_ name: String, _ value: ArraySlice<UInt8>) {
        let isOne = value.elementsEqual([UInt8(ascii: "1")])
        switch name {
        case "READY" where isOne:
            isReady = true
            phase = nil
        case "RELOADING" where isOne: phase = .reloading
        case "STOPPING" where isOne: phase = .stopping
        case "STATUS": status = Self.printable(value)
        case "WATCHDOG" where isOne: watchdog = watchdog ?? .alive
        case "WATCHDOG" where value.elementsEqual("trigger".utf8): watchdog = .trigger
        case "WATCHDOG_USEC":
            watchdogInterval = Self.nanoseconds(value).map { $0 == 0 ? 0 : max($0, Self.shortestWatchdog) }
        case "EXTEND_TIMEOUT_USEC": timeoutExtension = Self.nanoseconds(value)
        case "MAINPID": namesMainProcess = true
        default: break
        }
    }

    /// A decimal number of microseconds; nil for anything else. What is beyond the end of time is cut.
    private static func nanoseconds(_ text: ArraySlice<UInt8>) -> Int64? {
        guard !text.isEmpty, text.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }) else { return nil }
        let microseconds = Int64(String(decoding: text, as: UTF8.self)) ?? .max
        let (product, overflows) = microseconds.multipliedReportingOverflow(by: 1000)
        return overflows ? .max : product
    }

    /// A status for a terminal: no control characters, nothing that changes the direction of what follows, not too long.
    private static func printable(_ bytes: ArraySlice<UInt8>) -> String {
        var text = String.UnicodeScalarView()
        var count = 0
        for scalar in String(decoding: bytes, as: UTF8.self).unicodeScalars {
            guard count < statusLimit else {
                text.append("…")
                break
            }
            count += 1
            switch scalar.properties.generalCategory {
            case .control, .format, .lineSeparator, .paragraphSeparator, .privateUse, .surrogate, .unassigned:
                text.append("?")
            default: text.append(scalar)
            }
        }
        return String(text)
    }
}
