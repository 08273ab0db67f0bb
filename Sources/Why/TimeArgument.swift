import Platform

/// A point in time as people write it: `10m` ago, `10:20` today, `2026-01-31 10:20:30` in the time zone of this machine, or
/// with a `Z` in UTC, as logs show it.
package enum TimeArgument {
    /// The forms, for messages.
    package static let forms = "a time like 10m, 1h30m, 10:20, today, \"2026-01-31 10:20\" or 2026-01-31T10:20:30Z"

    /// Nanoseconds since 1970; nil if it is no time. `now` is counted in the same way.
    package static func read(_ text: String, now: Int64) -> Int64? {
        switch text {
        case "now": return now
        case "today": return startOfDay(now, before: 0)
        case "yesterday": return startOfDay(now, before: 1)
        default: break
        }
        if let ago = readDuration(text) { return max(0, now - ago) }
        return readDate(text, now: now)
    }

    // MARK: So long ago

    /// `1h30m`: numbers with units, in nanoseconds.
    private static func readDuration(_ text: String) -> Int64? {
        var rest = text.utf8[...]
        var total: Int64 = 0
        repeat {
            guard let number = takeNumber(&rest, digits: 1...9) else { return nil }
            let unit: Int64
            switch rest.popFirst() {
            case UInt8(ascii: "s"): unit = 1
            case UInt8(ascii: "m"): unit = 60
            case UInt8(ascii: "h"): unit = 3600
            case UInt8(ascii: "d"): unit = 86400
            case UInt8(ascii: "w"): unit = 604_800
            default: return nil
            }
            let (nanoseconds, isTooLong) = Int64(number).multipliedReportingOverflow(by: unit * 1_000_000_000)
            let (sum, overflow) = total.addingReportingOverflow(nanoseconds)
            guard !isTooLong, !overflow else { return nil }
            total = sum
        } while !rest.isEmpty
        return total
    }

    // MARK: Dates

    private static func readDate(_ text: String, now: Int64) -> Int64? {
        var rest = text.utf8[...]
        guard var time = takeDay(text, &rest, now: now) else { return nil }
        if rest.isEmpty { return nanoseconds(time, offset: nil, fraction: 0) }
        guard let hour = takeNumber(&rest, digits: 1...2), take(":", &rest),
            let minute = takeNumber(&rest, digits: 2...2)
        else { return nil }
        (time.hour, time.minute) = (hour, minute)
        var fraction: Int64 = 0
        if take(":", &rest) {
            guard let second = takeNumber(&rest, digits: 2...2) else { return nil }
            time.second = second
            if take(".", &rest) {
                guard let digits = takeFraction(&rest) else { return nil }
                fraction = digits
            }
        }
        if rest.isEmpty { return nanoseconds(time, offset: nil, fraction: fraction) }
        guard let offset = takeOffset(&rest), rest.isEmpty else { return nil }
        return nanoseconds(time, offset: offset, fraction: fraction)
    }

    /// `2026-01-31T` or a day alone; before a time of day alone it is today.
    private static func takeDay(_ text: String, _ rest: inout Substring.UTF8View, now: Int64) -> CalendarTime? {
        guard text.utf8.dropFirst(4).first == UInt8(ascii: "-") else {
            guard !text.isEmpty, let today = CalendarTime(localOf: now / 1_000_000_000) else { return nil }
            return CalendarTime(year: today.year, month: today.month, day: today.day)
        }
        guard let year = takeNumber(&rest, digits: 4...4), take("-", &rest),
            let month = takeNumber(&rest, digits: 2...2), take("-", &rest),
            let day = takeNumber(&rest, digits: 2...2)
        else { return nil }
        guard rest.isEmpty || (take("T", &rest) || take(" ", &rest)) && !rest.isEmpty else { return nil }
        return CalendarTime(year: year, month: month, day: day)
    }

    /// `Z`, `+01:00` or `-0130` in seconds.
    private static func takeOffset(_ rest: inout Substring.UTF8View) -> Int64? {
        if take("Z", &rest) { return 0 }
        let sign: Int64 = take("-", &rest) ? -1 : take("+", &rest) ? 1 : 0
        guard sign != 0 else { return nil }
        // 01:30 or 0130.
        let digits = rest.filter { $0 != UInt8(ascii: ":") }
        guard digits.count == 4, rest.count == 4 || rest.dropFirst(2).first == UInt8(ascii: ":") && rest.count == 5
        else {
            return nil
        }
        var number = Substring(decoding: digits, as: UTF8.self).utf8
        rest = rest.dropFirst(rest.count)
        guard let value = takeNumber(&number, digits: 4...4), value < 2400, value % 100 < 60 else { return nil }
        return sign * Int64(value / 100 * 3600 + value % 100 * 60)
    }

    /// Up to nine digits of a second, in nanoseconds.
    private static func takeFraction(_ rest: inout Substring.UTF8View) -> Int64? {
        let length = rest.prefix { (0x30...0x39).contains($0) }.count
        guard let digits = takeNumber(&rest, digits: 1...9) else { return nil }
        return (length..<9).reduce(Int64(digits)) { value, _ in value * 10 }
    }

    private static func nanoseconds(_ time: CalendarTime, offset: Int64?, fraction: Int64) -> Int64? {
        guard let second = time.secondSince1970(inUTC: offset != nil) else { return nil }
        let (nanoseconds, overflow) = (second - (offset ?? 0)).multipliedReportingOverflow(by: 1_000_000_000)
        guard !overflow, nanoseconds >= 0 else { return nil }
        let (sum, isTooLate) = nanoseconds.addingReportingOverflow(fraction)
        return isTooLate ? nil : sum
    }

    /// Midnight of a day; where summer time begins at midnight, the first second there is.
    private static func startOfDay(_ now: Int64, before days: Int64) -> Int64? {
        guard let today = CalendarTime(localOf: now / 1_000_000_000),
            let noon = at(12, of: today).secondSince1970(inUTC: false),
            let day = CalendarTime(localOf: noon - days * 86400)
        else { return nil }
        let midnight = at(0, of: day).secondSince1970(inUTC: false) ?? at(1, of: day).secondSince1970(inUTC: false)
        return midnight.map { max(0, $0) * 1_000_000_000 }
    }

    private static func at(_ hour: Int32, of time: CalendarTime) -> CalendarTime {
        var result = CalendarTime(year: time.year, month: time.month, day: time.day)
        result.hour = hour
        return result
    }

    // MARK: Pieces

    private static func take(_ character: Unicode.Scalar, _ rest: inout Substring.UTF8View) -> Bool {
        guard rest.first == UInt8(ascii: character) else { return false }
        rest.removeFirst()
        return true
    }

    private static func takeNumber(_ rest: inout Substring.UTF8View, digits: ClosedRange<Int>) -> Int32? {
        let found = rest.prefix { (0x30...0x39).contains($0) }
        guard digits.contains(found.count) else { return nil }
        rest = rest.dropFirst(found.count)
        return Int32(Substring(found))
    }
}
