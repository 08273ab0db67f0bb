import Platform
import Testing

@Suite("Dates and times of day")
struct CalendarTimeTests {
    private static func time(_ fields: [Int32]) -> CalendarTime {
        var time = CalendarTime(year: fields[0], month: fields[1], day: fields[2])
        (time.hour, time.minute, time.second) = (fields[3], fields[4], fields[5])
        return time
    }

    @Test(
        "UTC",
        arguments: [
            ([1970, 1, 1, 0, 0, 0], 0), ([2026, 1, 31, 10, 20, 30], 1_769_854_830),
            ([2028, 2, 29, 23, 59, 59], 1_835_481_599),
            ([2026, 2, 29, 0, 0, 0], nil), ([2026, 4, 31, 0, 0, 0], nil), ([2026, 13, 1, 0, 0, 0], nil),
            ([2026, 1, 0, 0, 0, 0], nil), ([2026, 1, 1, 24, 0, 0], nil), ([2026, 1, 1, 0, 60, 0], nil),
            ([2026, 1, 1, 0, 0, 61], nil), ([.max, 1, 1, 0, 0, 0], nil), ([.min, 1, 1, 0, 0, 0], nil),
        ] as [([Int32], Int64?)])
    func utc(fields: [Int32], expected: Int64?) {
        #expect(Self.time(fields).secondSince1970(inUTC: true) == expected)
    }

    @Test("The machine's zone: there and back", arguments: [0, 86_399, 1_769_854_830, 1_790_000_000] as [Int64])
    func local(second: Int64) throws {
        #expect(try #require(CalendarTime(localOf: second)).secondSince1970(inUTC: false) == second)
    }

    @Test("A time beyond all calendars is none")
    func beyond() { #expect(CalendarTime(localOf: .max) == nil) }
}
