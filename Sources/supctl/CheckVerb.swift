let checkVerb = Verb(
    name: "check", synopsis: "FILE", summary: "see whether a manifest is right, without a daemon",
    details: "All errors come at once. Exit code 1 if there are any.", operands: .file
) { invocation throws(VerbFailure) in
    throw VerbFailure(.failed, "not wired yet")
}
