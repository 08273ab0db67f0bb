import ControlAPI

let undrainVerb = Verb(
    name: "undrain", synopsis: "NAME…", summary: "put drained instances back into the balancer",
    details: """
        Takes back "supctl drain". An instance that is ready gets new connections at once, another one as soon as it is.
        \(changeDetails)
        """,
    options: changeOptions, operands: .names
) { invocation throws(VerbFailure) in
    try changeServices(.undrain, invocation)
}
