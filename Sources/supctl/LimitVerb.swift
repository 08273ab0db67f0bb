import ControlAPI

let limitVerb = Verb(
    name: "limit", synopsis: "NAME… LIMIT=VALUE…", summary: "change limits of running services",
    details: """
        Changes limits of every process of the instances named, at once and until they are started anew; the manifest
        stays as it is. LIMIT and VALUE are as in the manifest: nofile=4096, as=1G, core=0:unlimited (soft:hard).
        """,
    operands: .namesAndLimits
) { invocation throws(VerbFailure) in
    let names = try invocation.checked(invocation.operands.filter { !$0.contains("=") })
    guard !names.isEmpty else { throw invocation.misused("which service? name one, or say all") }
    var limits: [String: String] = [:]
    for word in invocation.operands where word.contains("=") {
        let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        guard let name = parts.first, let value = parts.last, !name.isEmpty, !value.isEmpty else {
            throw invocation.misused("\"\(word)\" is not of the form nofile=4096")
        }
        guard limits.updateValue(value, forKey: name) == nil else {
            throw invocation.misused("the limit \(name) is given twice")
        }
    }
    guard !limits.isEmpty else { throw invocation.misused("which limit? say nofile=4096, for example") }
    let client = try invocation.client()
    let line = try asking { [limits] () throws(ControlClientError) in
        try client.ask(.limit(names: names, limits: limits), as: ProgressLine.self)
    }
    try invocation.console.print("\(names.joined(separator: " ")): \(printable(line.message ?? "limits are set"))")
    return .done
}
