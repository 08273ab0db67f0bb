import Testing

@testable import Metrics

@Suite("Metrics as text")
struct MetricsTextTests {
    private func labels(_ names: [String], _ values: [String]) -> String {
        var text: [UInt8] = []
        MetricsText.appendLabels(names, values, to: &text)
        return String(decoding: text, as: UTF8.self)
    }

    @Test(
        "A label's value is escaped as the format says, and a NUL, for which it has nothing, is replaced",
        arguments: [
            ("plain", "plain"), ("", ""), (#"a"b"#, #"a\"b"#), (#"C:\dir"#, #"C:\\dir"#),
            ("two\nlines", #"two\nlines"#),
            (#"\n"#, #"\\n"#), ("ü → €", "ü → €"), ("tab\tcr\r", "tab\tcr\r"), ("a\0b", "a\u{fffd}b"),
            ("\"\\\n", #"\"\\\n"#), ("{a=\"b\"}", #"{a=\"b\"}"#),
        ])
    func labelValues(value: String, escaped: String) {
        #expect(MetricsText.escapedValue(value) == escaped)
        #expect(labels(["x"], [value]) == "{x=\"\(escaped)\"}")
    }

    @Test("In HELP quotation marks stand for themselves")
    func help() {
        #expect(MetricsText.escapedHelp("a \"b\" \\ c\nd") == #"a "b" \\ c\nd"#)
    }

    @Test("Labels stand in their order, and there are no braces without any")
    func labels() {
        #expect(labels([], []) == "")
        #expect(labels(["b", "a"], ["1", ""]) == #"{b="1",a=""}"#)
    }

    @Test(
        "Numbers are what Go's ParseFloat reads, whole ones exact",
        arguments: [
            (.integer(0), "0"), (.integer(.max), "18446744073709551615"), (.real(0.5), "0.5"), (.real(-0.0), "-0.0"),
            (.real(.nan), "NaN"), (.real(-.nan), "NaN"), (.real(.signalingNaN), "NaN"), (.real(.infinity), "+Inf"),
            (.real(-.infinity), "-Inf"), (.real(1e300), "1e+300"), (.real(.leastNonzeroMagnitude), "5e-324"),
            (.real(1_700_000_000.125), "1700000000.125"), (.init(true), "1"), (.init(false), "0"), (.init(-3), "0"),
        ] as [(MetricValue, String)])
    func numbers(value: MetricValue, text: String) {
        #expect(MetricsText.number(value) == text)
    }

    @Test("Families come in the order of the table, each with HELP and TYPE once, those without samples not at all")
    func wholeText() {
        var set = MetricSet()
        set.add(SessionFamilies.fronts.connectDuration, ["api", "127.0.0.1:80"], sum: 0.25, count: 3)
        set.add(.serviceReady, ["web"], .integer(2))
        set.add(.serviceReady, ["api"], .integer(0))
        set.add(.instanceHealthy, ["api", "1"], ifKnown: nil)
        set.add(.buildInfo, ["1.0 \"x\""], .integer(1))
        #expect(
            set.text == #"""
                # HELP supd_build_info 1; the label says which supd it is.
                # TYPE supd_build_info gauge
                supd_build_info{version="1.0 \"x\""} 1
                # HELP supd_service_ready_replicas How many instances are ready (of a task: have completed).
                # TYPE supd_service_ready_replicas gauge
                supd_service_ready_replicas{service="web"} 2
                supd_service_ready_replicas{service="api"} 0
                # HELP supd_front_connect_duration_seconds How long connects to an instance took, and how many there were.
                # TYPE supd_front_connect_duration_seconds summary
                supd_front_connect_duration_seconds_sum{service="api",address="127.0.0.1:80"} 0.25
                supd_front_connect_duration_seconds_count{service="api",address="127.0.0.1:80"} 3

                """#)
        #expect(MetricSet().text == "")
    }
}
