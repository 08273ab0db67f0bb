import ControlAPI

/// For completion: every name that could be given, one a line.
let namesVerb = Verb(
    name: "__names", synopsis: "", summary: "the names of services and instances", details: "", operands: .none,
    isHidden: true
) { invocation throws(VerbFailure) in
    let client = try invocation.client()
    let report = try asking { () throws(ControlClientError) in
        try client.ask(.status(names: [], limits: false), as: StatusReport.self, timeout: .seconds(2))
    }
    var names = report.services.map(\.name)
    for service in report.services where service.replicas > 1 { names += service.instances.map(\.id) }
    try invocation.console.print((names + ["all"]).map(printable).joined(separator: "\n"))
    return .done
}
