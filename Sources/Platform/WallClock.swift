import Glibc

/// Times of day for people and for JSON.
package enum WallClock {
    /// A time of CLOCK_REALTIME in nanoseconds as RFC 3339 in UTC to the millisecond: `2026-01-31T10:20:30.123Z`;
    /// by gmtime_r(3).
    package static func text(nanoseconds: Int64) -> String {
        let milliseconds = nanoseconds / 1_000_000
        var seconds = time_t(milliseconds / 1000)
        var parts = tm()
        guard gmtime_r(&seconds, &parts) != nil else { return "1970-01-01T00:00:00.000Z" }
        func padded(_ value: Int, _ width: Int) -> String {
            let digits = String(value)
            return String(repeating: "0", count: max(0, width - digits.count)) + digits
        }
        let date =
            "\(padded(Int(parts.tm_year) + 1900, 4))-\(padded(Int(parts.tm_mon) + 1, 2))-\(padded(Int(parts.tm_mday), 2))"
        let time = "\(padded(Int(parts.tm_hour), 2)):\(padded(Int(parts.tm_min), 2)):\(padded(Int(parts.tm_sec), 2))"
        return "\(date)T\(time).\(padded(Int(abs(milliseconds % 1000)), 3))Z"
    }
}
