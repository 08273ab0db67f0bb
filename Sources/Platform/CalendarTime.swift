import Glibc

/// A date and a time of day, as people write them.
package struct CalendarTime: Sendable, Hashable {
    /// Of the Gregorian calendar: 2026, 1…12, 1…31.
    package var year: Int32, month: Int32, day: Int32
    /// 0…23, 0…59, 0…60.
    package var hour: Int32 = 0, minute: Int32 = 0, second: Int32 = 0

    /// Creates a time; the beginning of a day.
    package init(year: Int32, month: Int32, day: Int32) { (self.year, self.month, self.day) = (year, month, day) }

    /// What clocks and calendars in this machine's time zone show at a second since 1970, by localtime_r(3).
    package init?(localOf second: Int64) {
        var seconds = time_t(second)
        var parts = tm()
        guard localtime_r(&seconds, &parts) != nil else { return nil }
        self.init(year: parts.tm_year + 1900, month: parts.tm_mon + 1, day: parts.tm_mday)
        (hour, minute, self.second) = (parts.tm_hour, parts.tm_min, parts.tm_sec)
    }

    /// The second since 1970, in this machine's time zone by mktime(3), or in UTC by timegm(3); nil if there is no such
    /// time, as on the 31st of February or in an hour that summer time leaves out.
    package func secondSince1970(inUTC: Bool) -> Int64? {
        guard (1900...9999).contains(year), (1...12).contains(month), (1...31).contains(day), (0..<24).contains(hour),
            (0..<60).contains(minute), (0..<61).contains(second)
        else { return nil }
        var parts = tm()
        (parts.tm_year, parts.tm_mon, parts.tm_mday) = (year - 1900, month - 1, day)
        (parts.tm_hour, parts.tm_min, parts.tm_sec, parts.tm_isdst) = (hour, minute, second, -1)
        let seconds = inUTC ? timegm(&parts) : mktime(&parts)
        // Both move what does not exist to what does.
        guard parts.tm_mday == day, parts.tm_hour == hour || second == 60 else { return nil }
        return Int64(seconds)
    }
}
