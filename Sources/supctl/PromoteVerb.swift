import ControlAPI

let promoteVerb = Verb(
    name: "promote", synopsis: "NAME", summary: "end a trial of new instances: the others follow",
    details: """
        While "supctl apply" replaces a service that has deploy.canary, the first new
        instances are on trial for deploy.canary.hold. This ends the trial at once:
        the others are replaced. (With deploy.strategy "blue-green" there is no trial.)
        "supctl rollback NAME" sends it back instead.
        Returns at once; what comes of it, whoever waits for the apply is told, and
        "supctl status NAME" and "supctl history" show it.
        """,
    operands: .names
) { invocation throws(VerbFailure) in
    try decide(.promote, .init(wait: true), invocation)
}

/// Says a user's word on a rollout.
func decide(
    _ verb: RolloutVerb, _ options: ControlRoute.WaitOptions, _ invocation: Invocation
) throws(VerbFailure) -> ExitCode {
    guard !invocation.operands.isEmpty else { throw invocation.misused("which service?") }
    let names = try invocation.requireNames()
    guard names.count == 1, let name = names.first else { throw invocation.misused("one service, not several") }
    return try change(
        .decide(verb, service: name, options: options), options, invocation, what: name, request: verb.rawValue,
        outcome: "\(verb.rawValue) done"
    ) { _ in nil }
}
