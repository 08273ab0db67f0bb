import ControlAPI
import Platform
import Testing

@testable import supctl
@testable import Why

@Suite("What instances have used")
struct UsageTests {
    @Test(
        "A series is drawn as bars, and what is not known as nothing",
        arguments: [
            ([], 1, ""), ([0, 50, 100], 1, "▁▅█"), ([0, 0], 1, "▁▁"), ([1, nil, 2], 10, "▂ ▂"),
            ([.nan, .infinity, 5], 5, "  █"), ([-5, 5], 5, "▁█"),
        ] as [([Double?], Double, String)])
    func sparkline(values: [Double?], least: Double, text: String) {
        #expect(Sparkline(isUnicode: true).text(values, least: least) == text)
        let ascii = Sparkline(isUnicode: false).text(values, least: least)
        #expect(ascii.count == text.count && ascii.unicodeScalars.allSatisfy(\.isASCII))
    }

    @Test("The table, and since when there is something")
    func table() throws {
        var report = UsageReport(
            everySeconds: 10, since: "2026-01-31T10:20:30Z", endsAfterSeconds: 86400,
            instances: [
                Example.usage("api/1", memory: [10 << 20, 20 << 20]),
                InstanceUsage(
                    id: "api/2", now: UsageValues(),
                    hour: UsageSpan(steps: 0, average: .init(), highest: .init(), cpuPercent: [], memoryBytes: []),
                    day: UsageSpan(steps: 0, average: .init(), highest: .init(), cpuPercent: [], memoryBytes: [])),
            ])
        let now = try #require(TimeArgument.read("2026-01-31T10:25:30Z", now: 0))
        let table = UsageTable(isDay: false, sparkline: Sparkline(isUnicode: true))
        let lines = table.text(report, now: now, width: nil, allowsColour: false).lines
        #expect(lines.count == 4)
        #expect(lines[0].hasPrefix("INSTANCE") && lines[0].contains("CPU 1H") && lines[0].contains("FDS"))
        for part in ["1.3%", "10%", "80%", "12M", "15M", "20M", "▅▅▅███", " 17 ", " 30"] {
            #expect(lines[1].contains(part), "\(part) in \(lines[1])")
        }
        #expect(lines[2].hasPrefix("api/2"))
        #expect(
            lines[3] == "looked at every 10 s since 2026-01-31T10:20:30Z (5m00s ago); it goes on for 1d0h after this")
        // Narrow: what matters least is left out.
        #expect(table.text(report, now: now, width: 60, allowsColour: false).lines.allSatisfy { $0.count <= 60 })
        report.since = nil
        #expect(
            table.text(report, now: now, width: nil, allowsColour: false).lines.last
                == "nothing is known yet; from now on it is looked every 10 s")
    }

    @Test("How something came to run out")
    func growth() {
        func memory(_ course: [UInt64?]) -> String? {
            WhyUsage.growth(of: .memory, Example.usage("a/1", memory: course))
        }
        #expect(memory([40 << 20, 100 << 20, 250 << 20]) == "its memory rose from 40M to 250M in the last hour")
        // What came after the peak is that of another process.
        #expect(memory([40 << 20, 250 << 20, 10 << 20]) == "its memory rose from 40M to 250M in the last hour")
        #expect(memory([250 << 20, 240 << 20]) == "its memory was up to 250M in the last hour")
        #expect(memory([nil, nil]) == nil)
        #expect(WhyUsage.growth(of: .memory, nil) == nil)
        let usage = Example.usage("a/1", memory: [1])
        #expect(WhyUsage.growth(of: .descriptors, usage) == "it had up to 30 open descriptors in the last hour")
        #expect(WhyUsage.growth(of: .threads, usage) == "it had up to 5 threads in the last hour")
    }
}
