import FoundationEssentials
import Testing

@testable import Logs

@Suite struct FormatTests {
    @Test(arguments: [
        (0, "1970-01-01T00:00:00.000000000Z"), (1, "1970-01-01T00:00:00.000000001Z"),
        (1_769_854_830_123_456_789, "2026-01-31T10:20:30.123456789Z"),
        (951_782_400_000_000_000, "2000-02-29T00:00:00.000000000Z"),
        (1_709_251_199_999_999_999, "2024-02-29T23:59:59.999999999Z"),
        (4_107_542_400_000_000_000, "2100-03-01T00:00:00.000000000Z"), (-5, "1970-01-01T00:00:00.000000000Z"),
        (Int64.max, "2262-04-11T23:47:16.854775807Z"),
    ])
    func aTimeIsWrittenInUTCWithNanoseconds(nanoseconds: Int64, expected: String) {
        var writer = TimestampWriter()
        #expect(String(decoding: writer.text(of: nanoseconds), as: UTF8.self) == expected)
        #expect(String(decoding: writer.text(of: nanoseconds), as: UTF8.self) == expected, "from the remembered second")
    }

    @Test func everyDayOfFourHundredYearsIsTheNextOfTheDayBefore() {
        var (year, month, day) = (Int64(1970), Int64(1), Int64(1))
        for number in Int64(0)..<146_097 {
            #expect(TimestampWriter.civilDate(number) == (year, month, day))
            let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
            let length: Int64 = [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][Int(month) - 1]
            day += 1
            if day > length { (month, day) = (month + 1, 1) }
            if month > 12 { (year, month) = (year + 1, 1) }
        }
    }

    @Test func aLineIsTakenApart() throws {
        let line = Array("2026-01-31T10:20:30.123456789Z stderr P a text  with spaces".utf8)
        let parsed = try #require(CRIFormat.parse(line[...]))
        #expect(parsed.timestamp == "2026-01-31T10:20:30.123456789Z")
        #expect(parsed.stream == .stderr)
        #expect(parsed.isPartial)
        #expect(String(decoding: parsed.text, as: UTF8.self) == "a text  with spaces")
    }

    @Test(arguments: [
        "", "x", "2026-01-31T10:20:30.123456789Z", "2026-01-31T10:20:30.123456789Z stdout",
        "2026-01-31T10:20:30.123456789Z stdout F", "2026-01-31T10:20:30.123456789Z stdin F x",
        "2026-01-31T10:20:30.123456789Z stdout X x", "2026-01-31T10:20:30.123456789 stdout F x", " stdout F x",
        "Z stdout F x",
    ])
    func whatIsNoLineOfTheFormatIsNotTakenForOne(text: String) {
        #expect(CRIFormat.parse(Array(text.utf8)[...]) == nil)
    }
}
