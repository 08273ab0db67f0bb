import ControlAPI
import Manifest
import Platform
import Why

/// What start, stop, restart, drain, undrain and shutdown have in common: they ask for a change, follow it unless told not to, and say
/// how it went.
let changeOptions = [
    Verb.Option("--no-wait", "return as soon as supd has taken it on"),
    Verb.Option("--timeout", value: "D", "wait no longer than this (30s, 5m); supd goes on with it"),
]

/// What the help says of waiting, for those verbs.
let changeDetails = """
    Waits until it is done, and says on standard error what it waits for. Exit code 1 if it fails or takes longer
    than the timeout. Ctrl-C and the timeout end the wait alone: supd goes on with what was asked for.
    """

/// Runs start, stop, restart, drain or undrain.
func changeServices(_ verb: ServiceVerb, _ invocation: Invocation) throws(VerbFailure) -> ExitCode {
    let names = try invocation.requireNames()
    let options = try waitOptions(invocation)
    return try change(
        .verb(verb, names: names, options: options), options, invocation, what: names.joined(separator: " "),
        request: verb.rawValue, outcome: verb.pastTense
    ) { _ in nil }
}

/// `--no-wait` and `--timeout`.
func waitOptions(_ invocation: Invocation) throws(VerbFailure) -> ControlRoute.WaitOptions {
    let wait = !invocation.has("--no-wait")
    guard let text = invocation.value("--timeout") else { return .init(wait: wait) }
    guard wait else { throw invocation.misused("--timeout makes no sense with --no-wait") }
    guard let timeout = parseDuration(text), timeout > .zero else {
        throw invocation.misused("--timeout takes a duration like 500ms, 30s, 5m or 1h, not \"\(text)\"")
    }
    return .init(wait: true, timeout: timeout)
}

/// Asks for a change. `what` is changed, `request` is the verb, `outcome` its past tense. An error while following it
/// may be turned into a last line by `mend`.
func change(
    _ route: ControlRoute, _ options: ControlRoute.WaitOptions, _ invocation: Invocation, what: String,
    request: String, outcome: String, mend: (ControlClientError) -> ProgressLine?
) throws(VerbFailure) -> ExitCode {
    let client = try invocation.client()
    guard options.wait else {
        let line = try asking { () throws(ControlClientError) in try client.ask(route, as: ProgressLine.self) }
        if line.result == "failed" { throw refusal(line, "\(what): cannot \(request)") }
        if let plan = line.plan { try invocation.console.print(planText(plan)) }
        if line.changed == false { return try nothingToDo(line, invocation) }
        let message = line.message.map { "; \(printable($0))" } ?? ""
        try invocation.console.print("\(what): \(request) accepted\(message)")
        return .done
    }
    let began = monotonicNanoseconds()
    var display = ProgressDisplay(invocation.console.error, write: invocation.console.note)
    let last: ProgressLine
    do throws(ControlClientError) {
        // The daemon keeps the time; ours only ends a wait for a daemon that does not answer any more.
        last = try client.follow(route, timeout: options.timeout.map { $0 + .seconds(10) }) { line in
            for detail in line.details ?? [] { invocation.console.note(printable(detail) + "\n") }
            if let plan = line.plan { invocation.console.note(planText(plan) + "\n") }
            if let waiting = line.waiting { display.show("\(request): \(waiting)") }
        }
        display.end()
    } catch {
        display.end()
        guard let line = mend(error) else { throw VerbFailure(error) }
        last = line
    }
    if last.result == "done", last.changed == false { return try nothingToDo(last, invocation) }
    let message = last.message.map(printable)
    switch last.result {
    case "done", "accepted":
        let elapsed = HumanText.elapsed(monotonicNanoseconds() - began)
        try invocation.console.print("\(what): \(message ?? outcome) in \(elapsed)")
        return .done
    case "timeout": throw VerbFailure(.failed, "\(what): cannot \(request) in time: \(message ?? "it takes longer")")
    // Somebody wanted it so: that is no inability, and the message says who.
    case _ where last.rolledBackBy != nil: throw refusal(last, what)
    case _: throw refusal(last, "\(what): cannot \(request)")
    }
}

/// It was so already, or there is nothing that it could be done to: the daemon says which, in a sentence.
private func nothingToDo(_ line: ProgressLine, _ invocation: Invocation) throws(VerbFailure) -> ExitCode {
    try invocation.console.print(printable(line.message ?? "there was nothing to do"))
    return .done
}
