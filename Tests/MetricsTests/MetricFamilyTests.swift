import Metrics
import Testing

@Suite("The table of metrics")
struct MetricFamilyTests {
    @Test("No name is there twice, with the names of samples")
    func unique() {
        let names = MetricFamily.all.flatMap(\.sampleNames)
        #expect(names.count > 60)
        #expect(Set(names).count == names.count)
    }

    @Test("Names follow Prometheus's conventions", arguments: MetricFamily.all)
    func names(family: MetricFamily) throws {
        #expect(try #/supd_[a-z]+(_[a-z]+)*/#.wholeMatch(in: family.name) != nil)
        #expect(family.name.hasSuffix("_total") == (family.kind == .counter))
        for word in ["milliseconds", "microseconds", "ms", "kb", "kilobytes", "percent", "count", "sum", "bucket"] {
            #expect(!family.name.split(separator: "_").contains(Substring(word)))
        }
    }

    @Test(
        "Labels are legal, none is there twice, and none is one that Prometheus gives itself",
        arguments: MetricFamily.all)
    func labels(family: MetricFamily) throws {
        for label in family.labels {
            #expect(try #/[a-z]+/#.wholeMatch(in: label) != nil)
            #expect(!["instance", "job", "le", "quantile"].contains(label))
        }
        #expect(Set(family.labels).count == family.labels.count)
    }

    @Test("Each says in a sentence or two what it means", arguments: MetricFamily.all)
    func help(family: MetricFamily) {
        #expect(family.help.hasSuffix("."))
        #expect(!family.help.contains("\n"))
        #expect((10...200).contains(family.help.count))
    }
}
