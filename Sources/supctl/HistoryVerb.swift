import ControlAPI
import Platform

let historyVerb = Verb(
    name: "history", synopsis: "", summary: "show the manifests of before, the latest first",
    details: """
        The last twenty manifests that supd began with or that were applied: when, by
        whom, from which file, and what came of each: "failed" where a service did not
        come up, "rolled back" where a user has sent one back, with who that was.
        "supctl rollback N" goes back to one of them.
        """,
    options: [Verb.Option("--json", "as JSON")], operands: .none
) { invocation throws(VerbFailure) in
    try invocation.requireNoOperands()
    let client = try invocation.client()
    let report = try asking { () throws(ControlClientError) in try client.ask(.history, as: HistoryReport.self) }
    if invocation.has("--json") {
        try invocation.console.print(String(decoding: ControlJSON.encode(report) ?? [], as: UTF8.self))
        return .done
    }
    guard !report.entries.isEmpty else {
        try invocation.console.print("there is no manifest in the history yet")
        return .done
    }
    let table = TextTable(
        columns: [
            .init(title: "N", alignsRight: true), .init(title: "WHEN"), .init(title: "BY", importance: 2),
            .init(title: "RESULT"), .init(title: "FILE", importance: 1, shortest: 12),
        ],
        rows: report.entries.flatMap { entry in
            [
                .cells([
                    .init("\(entry.number)"), .init(entry.at), .init(entry.by),
                    .init(entry.outcome.rawValue, entry.outcome == .failed ? .red : nil), .init(entry.source),
                ])
            ] + (entry.reason.map { [TextTable.Row.line("    \($0)")] } ?? [])
        })
    let terminal = invocation.console.output
    let text = table.rendered(width: terminal.width, allowsColour: terminal.allowsColour)
    try invocation.console.print(String(text.dropLast()))
    return .done
}
