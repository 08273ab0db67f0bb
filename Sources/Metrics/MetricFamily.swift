/// One kind of figure that `GET /metrics` shows: its name, what its samples are told apart by, and what it means. All of
/// them are in `MetricFamily.all`, from which the text, the help of supctl and the check of the dashboard are made.
package struct MetricFamily: Sendable, Hashable {
    /// How Prometheus takes it.
    package enum Kind: String, Sendable, Hashable {
        /// Only grows, but for a restart of who counts.
        case counter
        /// Goes up and down.
        case gauge
        /// Shown as NAME_sum and NAME_count; no quantiles.
        case summary
    }

    /// The name, with its unit: `supd_instance_cpu_seconds_total`.
    package let name: String
    /// The kind.
    package let kind: Kind
    /// The names of its labels, in their order.
    package let labels: [String]
    /// What it means: one sentence.
    package let help: String

    /// Creates a family.
    package init(_ name: String, _ kind: Kind, _ labels: [String] = [], _ help: String) {
        self.name = name
        self.kind = kind
        self.labels = labels
        self.help = help
    }

    /// The names of its samples.
    package var sampleNames: [String] { kind == .summary ? [name + "_sum", name + "_count"] : [name] }
}

/// The value of a sample.
package enum MetricValue: Sendable, Hashable {
    /// A whole number, shown exactly.
    case integer(UInt64)
    /// Any other; NaN and the infinities have words of their own in the text.
    case real(Double)

    /// 1 or 0.
    package init(_ flag: Bool) { self = .integer(flag ? 1 : 0) }
    /// A count; a negative one, which there is not, is shown as 0.
    package init(_ count: Int) { self = .integer(UInt64(clamping: count)) }
}
