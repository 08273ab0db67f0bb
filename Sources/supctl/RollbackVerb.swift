import ControlAPI

let rollbackVerb = Verb(
    name: "rollback", synopsis: "[N | NAME]", summary: "go back: to a manifest of before, or with a rollout",
    details: """
        With the NAME of a service that "supctl apply" is just replacing, sends that
        rollout back, and waits until what ran before runs as it did: exit code 1 if it
        does not. The apply ends, too, and says who has rolled it back. With
        deploy.strategy "blue-green" nothing has switched before all of the new
        instances are ready; after that the former ones are started again first, and
        take over at once.

        Applies manifest N of "supctl history", without N the last good one that is
        something else than what is in force. It is what was read then: neither the
        file nor the environment is looked at again. The plan is shown and carried out
        as by "supctl apply". supd reads its manifest's file at its next start: mend
        that as well.
        \(changeDetails)
        """,
    options: applyOptions, operands: .names
) { invocation throws(VerbFailure) in
    guard invocation.operands.count <= 1 else { throw invocation.misused("one number or name, not several") }
    // A service's name begins with a letter.
    if let name = invocation.operands.first, name.first.map({ $0.isASCII && $0.isLetter }) == true {
        for option in ["--dry-run", "--json"] where invocation.has(option) {
            throw invocation.misused("\(option) goes with a number")
        }
        return try decide(.rollback, try waitOptions(invocation), invocation)
    }
    let number = invocation.operands.first.flatMap { Int($0) }
    if let text = invocation.operands.first, number ?? 0 < 1 {
        throw invocation.misused("\"\(text)\" is no number of \"supctl history\"")
    }
    let what = number.map { "manifest \($0)" } ?? "the last good manifest"
    return try putInForce(invocation, what: what, request: "roll back", outcome: "rolled back") { isDryRun, options in
        .rollback(number: number, dryRun: isDryRun, options: options)
    }
}
