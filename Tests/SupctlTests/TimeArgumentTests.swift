import Platform
import Testing

@testable import supctl
@testable import Why

@Suite("Times as people write them")
struct TimeArgumentTests {
    /// 2026-01-31T10:20:30.5Z.
    static let now: Int64 = 1_769_854_830_500_000_000
    static let second: Int64 = 1_000_000_000

    @Test(
        "So long ago",
        arguments: [
            ("now", 0), ("0s", 0), ("10s", 10), ("5m", 300), ("2h", 7200), ("1d", 86400), ("1w", 604_800),
            ("1h30m", 5400), ("1d1s", 86401),
        ] as [(String, Int64)])
    func ago(text: String, seconds: Int64) {
        #expect(TimeArgument.read(text, now: Self.now) == Self.now - seconds * Self.second)
    }

    @Test("What is before all time is its beginning")
    func beforeAll() { #expect(TimeArgument.read("999999h", now: Self.now) == 0) }

    @Test(
        "Dates with a zone",
        arguments: [
            ("2026-01-31T10:20:30Z", 1_769_854_830, 0), ("2026-01-31 10:20Z", 1_769_854_800, 0),
            ("2026-01-31T10:20:30.5Z", 1_769_854_830, 500_000_000),
            ("2026-01-31T10:20:30.123456789Z", 1_769_854_830, 123_456_789),
            ("2026-01-31T11:20:30+01:00", 1_769_854_830, 0), ("2026-01-31T08:50:30-0130", 1_769_854_830, 0),
            ("1970-01-01T00:00:00Z", 0, 0), ("2028-02-29T00:00Z", 1_835_395_200, 0),
        ] as [(String, Int64, Int64)])
    func zones(text: String, seconds: Int64, fraction: Int64) {
        #expect(TimeArgument.read(text, now: Self.now) == seconds * Self.second + fraction)
    }

    @Test("Dates without one are of the machine's zone, whatever it is")
    func local() throws {
        let parts = try #require(CalendarTime(localOf: Self.now / Self.second))
        func padded(_ value: Int32) -> String { value < 10 ? "0\(value)" : "\(value)" }
        let day = "\(parts.year)-\(padded(parts.month))-\(padded(parts.day))"
        let clock = "\(padded(parts.hour)):\(padded(parts.minute))"
        let minute = Self.now / Self.second / 60 * 60 * Self.second
        #expect(TimeArgument.read("\(day) \(clock)", now: Self.now) == minute)
        #expect(TimeArgument.read("\(day)T\(clock):00", now: Self.now) == minute)
        #expect(TimeArgument.read(clock, now: Self.now) == minute)
        let midnight = try #require(TimeArgument.read("today", now: Self.now))
        #expect(TimeArgument.read(day, now: Self.now) == midnight)
        #expect(TimeArgument.read("00:00", now: Self.now) == midnight)
        let before = try #require(TimeArgument.read("yesterday", now: Self.now))
        // Between the two may be a change to summer time.
        #expect((82_800...90_000).contains((midnight - before) / Self.second))
    }

    @Test(
        "What is no time",
        arguments: [
            "", "x", "10", "10 m", "-5m", "5m ", "1h30", "99999999999h", "2026", "2026-1-31", "2026-02-30",
            "2026-13-01",
            "2026-00-10", "2026-01-31T", "2026-01-31T24:00", "2026-01-31T10:60", "2026-01-31T10:20:61",
            "2026-01-31T10:20:30.Z", "2026-01-31T10:20:30.1234567890Z", "2026-01-31T10:20:30+25:00",
            "2026-01-31T10:20ZZ",
            "1969-12-31T23:59:59Z", "10:2", "25:00", "tomorrow", "10:20\u{e9}",
        ])
    func none(text: String) { #expect(TimeArgument.read(text, now: Self.now) == nil) }
}
