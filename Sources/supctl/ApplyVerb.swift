import ControlAPI
import Platform

let applyVerb = Verb(
    name: "apply", synopsis: "[FILE]", summary: "put a manifest in force; touch only what differs",
    details: """
        Reads a manifest (without FILE the one that supd was started with), and turns
        what differs from the one in force into a plan, which is shown before it is
        carried out. What each change costs:

          live     nothing that runs is touched (fronts, balance, limits, health,
                   log, restart, stop, dependsOn, deploy). Not so: a limit of cpu or
                   rttime or one that is taken away, balance.proxyProtocol, and
                   sockets that are passed; for these, processes are replaced
          scale    instances are added or stopped; the others are not touched
          rolling  new processes start beside the old ones, which then let their
                   connections end: no client notices
          blue-green  (deploy.strategy) a whole new set starts beside the old one;
                   once all of it is ready, all new connections go to it at once
          restart  new processes in the places of the old ones (a fixed port, or no
                   front); clients of an only one wait
          start    the service is new
          stop     the service is not in the manifest any more
          later    noted; it holds from supd's next start

        A manifest with an error changes nothing. If a new instance is not ready
        within ready.timeout, or dies deploy.failures times, its service goes back to
        what ran before, the last lines of its log are shown, and the exit code is 1;
        so it is when a user sends it back meanwhile ("supctl rollback NAME"), and
        who that was is shown.
        Values of environment are never shown. One apply at a time: another one
        meanwhile is refused. SIGHUP to supd does the same for its own manifest.

        supd reads its own manifest at its next start: keep FILE there if it is to
        stay. "supctl history" shows what was applied, "supctl rollback" goes back.
        \(changeDetails)
        """,
    options: applyOptions, operands: .file
) { invocation throws(VerbFailure) in
    guard invocation.operands.count <= 1 else { throw invocation.misused("one manifest, not several") }
    if let file = invocation.operands.first, file.isEmpty { throw invocation.misused("the file's name is empty") }
    let path = invocation.operands.first.map(absolutePath)
    return try putInForce(invocation, what: path ?? "the manifest", request: "apply", outcome: "applied") {
        isDryRun, options in
        .apply(file: path, dryRun: isDryRun, options: options)
    }
}

/// The options of what puts a manifest in force.
let applyOptions =
    [
        Verb.Option("--dry-run", "only show the plan"),
        Verb.Option("--json", "the plan as JSON; with --dry-run"),
    ] + changeOptions

/// Shows the plan for a manifest, or asks for it to be carried out.
func putInForce(
    _ invocation: Invocation, what: String, request: String, outcome: String,
    route: (_ isDryRun: Bool, _ options: ControlRoute.WaitOptions) -> ControlRoute
) throws(VerbFailure) -> ExitCode {
    let options = try waitOptions(invocation)
    let isDryRun = invocation.has("--dry-run")
    guard isDryRun || !invocation.has("--json") else { throw invocation.misused("--json goes with --dry-run") }
    guard isDryRun else {
        return try change(route(false, options), options, invocation, what: what, request: request, outcome: outcome) {
            _ in
            nil
        }
    }
    let client = try invocation.client()
    let wish = route(true, .init(wait: true))
    let line = try asking { () throws(ControlClientError) in
        try client.ask(wish, as: ProgressLine.self, timeout: .seconds(120))
    }
    guard line.result == "done" else { throw refusal(line, "\(what): cannot be applied") }
    if invocation.has("--json") {
        try invocation.console.print(String(decoding: ControlJSON.encode(line.plan ?? []) ?? [], as: UTF8.self))
        return .done
    }
    for warning in line.details ?? [] { invocation.console.note(printable(warning) + "\n") }
    let plan = line.plan ?? []
    try invocation.console.print(plan.isEmpty ? "\(what): nothing would change" : planText(plan))
    return .done
}

/// What was refused, with the lines that say more.
func refusal(_ line: ProgressLine, _ beginning: String) -> VerbFailure {
    let text = ([line.message ?? "no reason given"] + (line.details ?? [])).map(printable).joined(separator: "\n  ")
    return VerbFailure(.failed, "\(beginning): \(text)")
}

/// A plan: a line for each service, and one for each field that differs.
func planText(_ plan: [PlannedChange]) -> String {
    let width = plan.map(\.service.count).max() ?? 0
    return plan.map { change in
        let name = printable(change.service)
        let padding = String(repeating: " ", count: max(0, width - name.count))
        let count = change.service == "supd" ? "" : "  \(change.instances) instance\(change.instances == 1 ? "" : "s")"
        let manner = change.manner.map { ", \(printable($0))" } ?? ""
        let fields = change.fields.map { "\n    \(printable($0.text))" }.joined()
        return "\(name)\(padding)  \(printable(change.cost))\(count)\(manner)" + fields
    }.joined(separator: "\n")
}
