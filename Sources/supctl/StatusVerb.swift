import ControlAPI
import Platform

let statusVerb = Verb(
    name: "status", synopsis: "[NAME…]", summary: "show how services are",
    details: """
        Shows a table of all services, or of those named; with one name that means one service, all that is known of it,
        the limits in force included (soft:hard).
        Exit code 0 if all that is wanted is up, 3 if something is not.
        """,
    options: [Verb.Option("--json", "as JSON, for programs: absent is null, keys never change meaning")],
    operands: .names
) { invocation throws(VerbFailure) in
    let names = try invocation.checked(invocation.operands)
    let client = try invocation.client()
    let text = try asking { () throws(ControlClientError) in
        try client.ask(.status(names: names, limits: names.count == 1))
    }
    guard let report = ControlJSON.decode(StatusReport.self, from: text) else {
        throw VerbFailure(
            .failed, "cannot understand the answer of supd at \(client.socketPath): is it another version?")
    }
    let console = invocation.console
    if invocation.has("--json") {
        // As it came: a newer daemon may say more than this program knows.
        try console.write(text + [UInt8(ascii: "\n")])
    } else if names.count == 1, report.services.count == 1, let service = report.services.first {
        try console.print(
            StatusDetail.text(service, width: console.output.width, allowsColour: console.output.allowsColour))
    } else {
        try console.print(
            StatusTable.text(report, width: console.output.width, allowsColour: console.output.allowsColour))
    }
    return report.services.allSatisfy(\.isAsWanted) ? .done : .notUp
}
