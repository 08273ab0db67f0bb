import ControlAPI
import Metrics
import Platform

let metricsVerb = Verb(
    name: "metrics", synopsis: "", summary: "print all figures as Prometheus reads them",
    details: """
        What GET /metrics answers, in Prometheus's text format 0.0.4: of services,
        instances, their limits, probes and logs, the balancer and supd itself. All is
        looked at when it is asked for. An instance is told by service and replica:
        api/2 is {service="api",replica="2"}.

        \(MetricsHelp.text)
        """,
    operands: .none
) { invocation throws(VerbFailure) in
    try invocation.requireNoOperands()
    let client = try invocation.client()
    let text = try asking { () throws(ControlClientError) in try client.ask(.metrics) }
    try invocation.console.write(text)
    return .done
}

/// The table of families for people, 80 columns at most.
enum MetricsHelp {
    static let text = MetricFamily.all.map(entry).joined(separator: "\n")

    private static func entry(_ family: MetricFamily) -> String {
        let labels = family.labels.isEmpty ? "" : "{\(family.labels.joined(separator: ","))}"
        let head = "  \(family.name)\(labels)"
        // A line of its own for the kind where both do not fit.
        let title = head.count + family.kind.rawValue.count + 3 <= 80 ? "\(head)  \(family.kind.rawValue)" : head
        return ([title] + wrapped(family.help, width: 74).map { "      \($0)" }).joined(separator: "\n")
    }

    private static func wrapped(_ text: String, width: Int) -> [String] {
        var lines: [String] = []
        for word in text.split(separator: " ") {
            if let last = lines.last, last.count + 1 + word.count <= width {
                lines[lines.count - 1] = "\(last) \(word)"
            } else {
                lines.append(String(word))
            }
        }
        return lines
    }
}
