import ControlAPI

let scaleVerb = Verb(
    name: "scale", synopsis: "NAME=N…", summary: "change how many instances of services run",
    details: """
        Adds instances, or stops those with the highest numbers, once their connections
        have ended (balance.drainTimeout). The others are not touched. NAME is a service
        or a glob; N may be 0.

        It holds over restarts of supd and of the machine, until the manifest says
        another number of replicas than it says now: then the manifest's holds again,
        and that is said. With the manifest's own number it is scaled no more. "supctl
        status" shows what is scaled. It takes the place of an earlier scale of the same
        service; only while an apply replaces the service's processes it is refused. Tasks
        are not scaled.
        \(changeDetails)
        """,
    options: changeOptions, operands: .counts
) { invocation throws(VerbFailure) in
    guard !invocation.operands.isEmpty else { throw invocation.misused("which service? say api=5, for example") }
    let wishes = try invocation.operands.map { word throws(VerbFailure) in
        let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 2, let name = parts.first, !name.isEmpty, let count = parts.last.flatMap(ScaleWish.count)
        else {
            let hint = parts.dropFirst().first.flatMap(ScaleWish.withoutZeros).map { number in
                "; a number does not begin with 0, did you mean \(parts.first ?? "")=\(number)"
            }
            throw invocation.misused("\"\(word)\" is not of the form api=5\(hint.map { "\($0)?" } ?? "")")
        }
        return ScaleWish(name: name, replicas: count)
    }
    _ = try invocation.checked(wishes.map(\.name))
    let options = try waitOptions(invocation)
    return try change(
        .scale(wishes, options: options), options, invocation, what: invocation.operands.joined(separator: " "),
        request: "scale", outcome: "scaled"
    ) { _ in nil }
}
