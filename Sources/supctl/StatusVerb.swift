import ControlAPI
import Platform

let statusVerb = Verb(
    name: "status", synopsis: "[NAME…]", summary: "show how services are",
    details: """
        Shows a table of all services, or of those named; with one name that means one service, all that is known of it,
        the limits in force included (soft:hard).
        RESTARTS counts what was started again by itself (after an exit, a failed start or probe, a silent watchdog); a
        start, a restart or an apply that replaces the process begins anew.
        Exit code 0 if all that is wanted is up, 3 if something is not.

        With --watch the only key is q; "supctl top" is the view with keys to sort, select, filter, restart, show logs and
        tell why.
        """,
    options: [
        Verb.Option("--json", "as JSON, for programs: absent is null, keys never change meaning"),
        Verb.Option("--watch", short: "-w", "once a second until q or Ctrl-C; with --json a line each time"),
    ],
    operands: .names
) { invocation throws(VerbFailure) in
    let names = try invocation.checked(invocation.operands)
    let question = StatusQuestion(client: try invocation.client(), names: names)
    let console = invocation.console
    guard invocation.has("--watch") else {
        let text = try question.ask()
        let report = try question.understand(text)
        if invocation.has("--json") {
            // As it came: a newer daemon may say more than this program knows.
            try console.write(text + [UInt8(ascii: "\n")])
        } else {
            try console.print(question.text(report, console.output))
        }
        return report.services.allSatisfy(\.isAsWanted) ? .done : .notUp
    }
    if invocation.has("--json") {
        return try watch(console, inPlace: false, hint: "", ask: question.ask) { answer, _ in
            String(decoding: answer, as: UTF8.self) + "\n"
        }
    }
    return try watch(
        console, inPlace: console.output.isTerminal, hint: watchHint, ask: question.ask
    ) { answer, terminal throws(VerbFailure) in question.text(try question.understand(answer), terminal) }
}

/// What a watch says of keys other than q.
private let watchHint =
    "q quits; \"supctl top\" has keys to sort, select, filter, restart, show logs and tell why"

/// The question how services are, and what is shown of the answer.
private struct StatusQuestion: Sendable {
    let client: ControlClient
    let names: [String]

    func ask() throws(VerbFailure) -> [UInt8] {
        try asking { () throws(ControlClientError) in
            try client.ask(.status(names: names, limits: names.count == 1))
        }
    }

    func understand(_ text: [UInt8]) throws(VerbFailure) -> StatusReport {
        guard let report = ControlJSON.decode(StatusReport.self, from: text) else {
            throw VerbFailure(
                .failed, "cannot understand the answer of supd at \(client.socketPath): is it another version?")
        }
        return report
    }

    func text(_ report: StatusReport, _ terminal: Terminal) -> String {
        if names.count == 1, report.services.count == 1, let service = report.services.first {
            return StatusDetail.text(service, width: terminal.width, allowsColour: terminal.allowsColour)
        }
        return StatusTable.text(report, width: terminal.width, allowsColour: terminal.allowsColour)
    }
}
