/// Samples of families, and their text: a value that is filled and then written out.
package struct MetricSet: Sendable, Hashable {
    /// One line of the text, but for the family's name.
    private struct Sample: Sendable, Hashable {
        /// `_sum` or `_count` of a summary.
        var suffix = ""
        var labels: [String]
        var value: MetricValue
    }

    private var samples: [String: [Sample]] = [:]

    /// An empty one.
    package init() {}

    /// Adds a sample. `labels` are the values of the family's labels, in their order.
    package mutating func add(_ family: MetricFamily, _ labels: [String] = [], _ value: MetricValue) {
        samples[family.name, default: []].append(Sample(labels: labels, value: value))
    }

    /// Adds a sample if there is a value.
    package mutating func add(_ family: MetricFamily, _ labels: [String], ifKnown value: MetricValue?) {
        if let value { add(family, labels, value) }
    }

    /// Adds both samples of a summary.
    package mutating func add(_ family: MetricFamily, _ labels: [String], sum: Double, count: UInt64) {
        samples[family.name, default: []] += [
            Sample(suffix: "_sum", labels: labels, value: .real(sum)),
            Sample(suffix: "_count", labels: labels, value: .integer(count)),
        ]
    }

    /// The text in Prometheus's format 0.0.4: the families in the order of the table, those without samples left out.
    package var text: String { String(decoding: bytes, as: UTF8.self) }

    /// The same as UTF-8, in which it is made: of hundreds of instances it has tens of thousands of lines.
    package var bytes: [UInt8] {
        var text: [UInt8] = []
        text.reserveCapacity(samples.values.reduce(0) { $0 + $1.count } * Self.usualLine)
        for family in MetricFamily.all {
            guard let samples = samples[family.name] else { continue }
            text += "# HELP \(family.name) \(MetricsText.escapedHelp(family.help))\n".utf8
            text += "# TYPE \(family.name) \(family.kind.rawValue)\n".utf8
            let name = Array(family.name.utf8)
            for sample in samples {
                text += name
                if !sample.suffix.isEmpty { text += sample.suffix.utf8 }
                MetricsText.appendLabels(family.labels, sample.labels, to: &text)
                text.append(UInt8(ascii: " "))
                text += MetricsText.number(sample.value).utf8
                text.append(UInt8(ascii: "\n"))
            }
        }
        return text
    }

    /// Bytes of a line, about.
    private static let usualLine = 96
}

/// The pieces of Prometheus's text format 0.0.4.
enum MetricsText {
    /// `{service="api",replica="1"}`; nothing without labels.
    static func appendLabels(_ names: [String], _ values: [String], to text: inout [UInt8]) {
        guard !names.isEmpty else { return }
        var mark = UInt8(ascii: "{")
        for (name, value) in zip(names, values) {
            text.append(mark)
            text += name.utf8
            text.append(UInt8(ascii: "="))
            text.append(UInt8(ascii: "\""))
            text += escapedValue(value).utf8
            text.append(UInt8(ascii: "\""))
            mark = UInt8(ascii: ",")
        }
        text.append(UInt8(ascii: "}"))
    }

    /// A label's value: backslash, quotation mark and line feed have escapes. The format has none for NUL, by which its
    /// readers take a text to end.
    static func escapedValue(_ value: String) -> String {
        guard value.utf8.contains(where: { $0 == 0x5c || $0 == 0x22 || $0 == 0x0a || $0 == 0 }) else { return value }
        return escaped(value, quotes: true)
    }

    /// The text of HELP, in which quotation marks stand for themselves.
    static func escapedHelp(_ help: String) -> String { escaped(help, quotes: false) }

    private static func escaped(_ text: String, quotes: Bool) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\"" where quotes: result += "\\\""
            case "\0": result += "\u{fffd}"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    /// As Go's ParseFloat reads it.
    static func number(_ value: MetricValue) -> String {
        switch value {
        case .integer(let number): return String(number)
        case .real(let number):
            if number.isNaN { return "NaN" }
            if number.isInfinite { return number < 0 ? "-Inf" : "+Inf" }
            return number.description
        }
    }
}
