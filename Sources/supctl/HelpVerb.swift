let helpVerb = Verb(
    name: "help", synopsis: "[VERB]", summary: "show this, or all about one verb", details: "", operands: .verb
) { invocation throws(VerbFailure) in
    guard invocation.operands.count <= 1 else { throw invocation.misused("one verb at a time") }
    var verb: Verb?
    if let name = invocation.operands.first { verb = try CommandLineReader.read([name], verbs: allVerbs).verb }
    try invocation.console.print(HelpText.text(for: verb, among: allVerbs))
    return .done
}

/// The text of the help, made from the table of verbs.
enum HelpText {
    static func text(for verb: Verb?, among verbs: [Verb]) -> String {
        guard let verb else { return overview(verbs) }
        var text = "usage: supctl \(usage(verb))\n\n\(verb.summary)\n"
        if !verb.details.isEmpty { text += "\n\(verb.details)\n" }
        return text + "\n" + lines((verb.options + commonOptions).map { (label($0), $0.summary) })
    }

    private static func overview(_ verbs: [Verb]) -> String {
        """
        usage: supctl [--socket PATH] VERB …

        \(lines(verbs.filter { !$0.isHidden }.map { ($0.synopsis.isEmpty ? $0.name : "\($0.name) \($0.synopsis)", $0.summary) }))
        NAME is a service (api), an instance (api/2), a glob ("web-*"), or all.
        "supctl help VERB" tells all about a verb.

        exit codes: 0 done (status: all that is wanted is up), 1 failed, 2 wrong usage,
        3 something is not up, 4 no such name, 5 no daemon there

        """
    }

    private static func usage(_ verb: Verb) -> String {
        var words = [verb.name]
        // All of them are listed below.
        words += verb.options.count > 4 ? ["[options]"] : verb.options.map { "[\(label($0))]" }
        if !verb.synopsis.isEmpty { words.append(verb.synopsis) }
        return words.joined(separator: " ")
    }

    private static func label(_ option: Verb.Option) -> String {
        let names = [option.short, option.name].compactMap { $0 }.joined(separator: ", ")
        return option.value.map { "\(names) \($0)" } ?? names
    }

    private static func lines(_ entries: [(name: String, summary: String)]) -> String {
        let width = entries.map(\.name.count).max() ?? 0
        return entries.map { name, summary in
            "  " + name + String(repeating: " ", count: width - name.count + 2) + summary + "\n"
        }.joined()
    }
}
