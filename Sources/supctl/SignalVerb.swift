import ControlAPI

let signalVerb = Verb(
    name: "signal", synopsis: "SIG NAME…", summary: "send a signal to services",
    details: """
        SIG is a name with or without SIG, in any case: HUP, SIGUSR1, rtmin+3. It goes to the main process of each
        instance.
        """,
    operands: .signalAndNames
) { invocation throws(VerbFailure) in
    guard let word = invocation.operands.first, !word.isEmpty else {
        throw invocation.misused("which signal, and to which service?")
    }
    let names = try invocation.checked(Array(invocation.operands.dropFirst()))
    guard !names.isEmpty else { throw invocation.misused("which service? name one, or say all") }
    let upper = word.uppercased()
    let signal = upper.hasPrefix("SIG") ? String(upper.dropFirst(3)) : upper
    let client = try invocation.client()
    let line = try asking { () throws(ControlClientError) in
        try client.ask(.signal(names: names, signal: signal), as: ProgressLine.self)
    }
    try invocation.console.print("\(names.joined(separator: " ")): SIG\(signal) \(printable(line.message ?? "sent"))")
    return .done
}
