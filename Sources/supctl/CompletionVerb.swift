import Manifest

let completionVerb = Verb(
    name: "completion", synopsis: "bash|zsh|fish", summary: "print a completion script for a shell",
    details: """
        bash: supctl completion bash >/etc/bash_completion.d/supctl
        zsh:  supctl completion zsh >"${fpath[1]}/_supctl"
        fish: supctl completion fish >~/.config/fish/completions/supctl.fish
        """,
    operands: .shell
) { invocation throws(VerbFailure) in
    guard invocation.operands.count == 1, let name = invocation.operands.first, let shell = Shell(rawValue: name) else {
        throw invocation.misused("completion is there for bash, zsh and fish")
    }
    try invocation.console.print(shell.completionScript(allVerbs.filter { !$0.isHidden }))
    return .done
}

/// A shell that can complete.
enum Shell: String, CaseIterable, Sendable {
    case bash, zsh, fish

    /// The script, made from the table of verbs.
    func completionScript(_ verbs: [Verb]) -> String {
        switch self {
        case .bash: bashCompletion(verbs)
        case .zsh: zshCompletion(verbs)
        case .fish: fishCompletion(verbs)
        }
    }
}

/// Signals worth completing.
let usualSignals = ["HUP", "INT", "QUIT", "USR1", "USR2", "TERM", "KILL", "STOP", "CONT", "WINCH"]

/// What begins a change of a limit, by the names of the manifest: `nofile=`.
let limitWords = ResourceLimit.Resource.allCases.map { "\($0.rawValue)=" }.sorted()

/// The names of an option, long and short.
func names(of option: Verb.Option) -> [String] { [option.name, option.short].compactMap { $0 } }
