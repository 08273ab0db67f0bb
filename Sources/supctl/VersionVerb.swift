import ControlAPI
import Platform

let versionVerb = Verb(
    name: "version", synopsis: "", summary: "show the version of supctl and of the running supd",
    details: "If no supd runs, that is said, and is no error.", operands: .none
) { invocation throws(VerbFailure) in
    try invocation.requireNoOperands()
    let client = try invocation.client()
    try invocation.console.print("supctl \(version)")
    let answer = Result { () throws(ControlClientError) in try client.ask(.version, as: VersionReport.self) }
    switch answer {
    case .success(let report): try invocation.console.print("supd \(printable(report.version)), running")
    case .failure(.unreachable): try invocation.console.print("supd: none can be reached at \(client.socketPath)")
    case .failure(let error): throw VerbFailure(error)
    }
    return .done
}
