import ControlAPI

let shutdownVerb = Verb(
    name: "shutdown", synopsis: "", summary: "stop all services in order, then supd itself",
    details: changeDetails, options: changeOptions, operands: .none
) { invocation throws(VerbFailure) in
    try invocation.requireNoOperands()
    let options = try waitOptions(invocation)
    let client = try invocation.client()
    return try change(
        .shutdown(options: options), options, invocation, what: "supd", request: "shut down", outcome: "shut down"
    ) { error in
        guard case .lost = error else { return nil }
        // The connection may end with the daemon, before the last line is read: then nobody is at the socket any more.
        if case .failure(.unreachable) = Result(catching: { () throws(ControlClientError) in try client.ask(.version) })
        {
            return ProgressLine(result: "done")
        }
        return nil
    }
}
