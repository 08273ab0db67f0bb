/// The completion script for fish.
func fishCompletion(_ verbs: [Verb]) -> String {
    let all = verbs.map(\.name).joined(separator: " ")
    var lines: [String] = []
    for option in commonOptions { lines.append("complete -c supctl \(fishOption(option))") }
    lines.append("")
    for verb in verbs {
        lines.append(
            "complete -c supctl -n 'not __fish_seen_subcommand_from \(all)' -a \(verb.name) -d '\(quoted(verb.summary))'"
        )
    }
    for verb in verbs {
        let condition = "-n '__fish_seen_subcommand_from \(verb.name)'"
        for option in verb.options { lines.append("complete -c supctl \(condition) \(fishOption(option))") }
        let words: String? =
            switch verb.operands {
            case .none: nil
            case .names: "-a '(__supctl_names)'"
            case .signalAndNames: "-a '\(usualSignals.joined(separator: " ")) (__supctl_names)'"
            case .namesAndLimits: "-a '(__supctl_names) \(limitWords.joined(separator: " "))'"
            case .counts: "-a '(__supctl_names | string match -v -- \\'*/*\\' | string replace -r \\'$\\' =)'"
            case .file: "-F"
            case .shell: "-a '\(Shell.allCases.map(\.rawValue).joined(separator: " "))'"
            case .verb: "-a '\(all)'"
            }
        if let words { lines.append("complete -c supctl \(condition) \(words)") }
    }
    return """
        # fish completion for supctl, made by "supctl completion fish"

        function __supctl_names
            set -l words (commandline -opc)
            set -l at (contains -i -- --socket $words)
            if test -n "$at"
                supctl --socket $words[(math $at + 1)] __names 2>/dev/null
            else
                supctl __names 2>/dev/null
            end
        end

        complete -c supctl -f
        \(lines.joined(separator: "\n"))

        """
}

private func fishOption(_ option: Verb.Option) -> String {
    var text = "-l \(option.name.dropFirst(2))"
    if let short = option.short { text += " -s \(short.dropFirst())" }
    if let value = option.value { text += value == "PATH" ? " -r -F" : " -x" }
    return text + " -d '\(quoted(option.summary))'"
}

private func quoted(_ text: String) -> String {
    text.replacing("\\", with: "\\\\").replacing("'", with: "\\'")
}
