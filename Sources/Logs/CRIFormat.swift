import Platform

/// Where a line came from.
package enum LogStream: UInt8, Sendable, Hashable, CaseIterable {
    /// Standard output.
    case stdout = 1
    /// Standard error.
    case stderr = 2

    /// `stdout` or `stderr`.
    package var name: String {
        switch self {
        case .stdout: "stdout"
        case .stderr: "stderr"
        }
    }
}

/// The line format of Kubernetes' container runtimes, which log shippers parse:
/// `2026-01-31T10:20:30.123456789Z stdout F text`. `P` in place of `F` marks a piece of a longer line, whose next piece
/// follows in the same stream. The text is bytes without a newline, kept as they came.
package enum CRIFormat {
    /// The longest text of one line of the file, in bytes. What is longer comes in pieces.
    package static let pieceLimit = 16384
    /// The bytes before the text: 30 of time, 6 of stream, the tag and three spaces.
    package static let prefixLength = 40
    /// Where `stdout` or `stderr` stands.
    static let streamOffset = 31
    /// Where the tag `F` or `P` stands.
    static let tagOffset = 38
    static let newline: UInt8 = 0x0a
    static let full = UInt8(ascii: "F")
    static let partial = UInt8(ascii: "P")

    /// What stands before the text.
    static func prefix(time: [UInt8], stream: LogStream, tag: UInt8) -> [UInt8] {
        time + [0x20] + Array(stream.name.utf8) + [0x20, tag, 0x20]
    }

    /// A line of a file, taken apart.
    struct Parsed: Equatable {
        var timestamp: String
        var stream: LogStream
        var isPartial: Bool
        var text: ArraySlice<UInt8>
    }

    /// Takes a line (without its newline) apart; nil if it is none of this format, as a torn one.
    static func parse(_ line: ArraySlice<UInt8>) -> Parsed? {
        let fields = line.split(separator: 0x20, maxSplits: 3, omittingEmptySubsequences: false)
        guard fields.count == 4, (20...35).contains(fields[0].count), fields[0].last == UInt8(ascii: "Z") else {
            return nil
        }
        let stream: LogStream
        switch String(decoding: fields[1], as: UTF8.self) {
        case "stdout": stream = .stdout
        case "stderr": stream = .stderr
        default: return nil
        }
        // Tags may be followed by others after a colon; only the first counts.
        switch fields[2].first {
        case full: break
        case partial: break
        default: return nil
        }
        return Parsed(
            timestamp: String(decoding: fields[0], as: UTF8.self), stream: stream,
            isPartial: fields[2].first == partial, text: fields[3])
    }
}

/// Writes wall-clock times as RFC 3339 in UTC with nanoseconds, 30 bytes, and remembers the text of the last second.
struct TimestampWriter {
    private var second = Int64.min
    private var text: [UInt8] = []

    /// The text of a time in nanoseconds since 1970; times outside the years 1970 to 9999 are moved to the nearest.
    mutating func text(of nanoseconds: Int64) -> [UInt8] {
        let clamped = min(max(nanoseconds, 0), Int64.max)
        let (second, fraction) = clamped.quotientAndRemainder(dividingBy: 1_000_000_000)
        if second != self.second || text.count != 30 {
            self.second = second
            text = Self.dateAndTime(second) + Array(".000000000Z".utf8)
        }
        var rest = fraction
        for place in stride(from: 28, through: 20, by: -1) {
            text[place] = UInt8(ascii: "0") + UInt8(rest % 10)
            rest /= 10
        }
        return text
    }

    /// `2026-01-31T10:20:30` of a second since 1970.
    private static func dateAndTime(_ second: Int64) -> [UInt8] {
        let (days, time) = second.quotientAndRemainder(dividingBy: 86400)
        let (year, month, day) = civilDate(days)
        return digits(year, 4) + [UInt8(ascii: "-")] + digits(month, 2) + [UInt8(ascii: "-")] + digits(day, 2)
            + [UInt8(ascii: "T")] + digits(time / 3600, 2) + [UInt8(ascii: ":")] + digits(time / 60 % 60, 2)
            + [UInt8(ascii: ":")] + digits(time % 60, 2)
    }

    /// The Gregorian date of a day since 1970-01-01. Years are counted from March, so that the leap day is the last of
    /// its year, in eras of 400 years, each of 146,097 days.
    static func civilDate(_ day: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let sinceMarchOfYear0 = day + 719_468
        let (era, dayOfEra) = sinceMarchOfYear0.quotientAndRemainder(dividingBy: 146_097)
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        return (year, month, dayOfYear - (153 * monthFromMarch + 2) / 5 + 1)
    }

    private static func digits(_ value: Int64, _ count: Int) -> [UInt8] {
        var rest = value
        var result = [UInt8](repeating: UInt8(ascii: "0"), count: count)
        for place in stride(from: count - 1, through: 0, by: -1) {
            result[place] = UInt8(ascii: "0") + UInt8(rest % 10)
            rest /= 10
        }
        return result
    }
}
