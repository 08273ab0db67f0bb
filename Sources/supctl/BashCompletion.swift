/// The completion script for bash.
func bashCompletion(_ verbs: [Verb]) -> String {
    let withValue = Set((verbs.flatMap(\.options) + commonOptions).filter { $0.value != nil }.flatMap(names(of:)))
    let common = commonOptions.flatMap(names(of:)).joined(separator: " ")
    var cases = ""
    for verb in verbs {
        let options = (verb.options.flatMap(names(of:)) + [common]).joined(separator: " ")
        let operands =
            switch verb.operands {
            case .none: ":"
            case .names: "words=$(_supctl_names)"
            case .signalAndNames:
                "if ((operands == 0)); then words='\(usualSignals.joined(separator: " "))'; else words=$(_supctl_names); fi"
            case .namesAndLimits:
                "words=$(_supctl_names); if ((operands > 0)); then words+=' \(limitWords.joined(separator: " "))'; fi"
            case .counts: "words=$(_supctl_names | sed '/\\//d; s/$/=/')"
            case .file: "files=1"
            case .shell: "words='\(Shell.allCases.map(\.rawValue).joined(separator: " "))'"
            case .verb: "words='\(verbs.map(\.name).joined(separator: " "))'"
            }
        cases += "        \(verb.name)) options='\(options)'; \(operands) ;;\n"
    }
    return """
        # bash completion for supctl, made by "supctl completion bash"

        _supctl_names() { supctl ${socket:+--socket "$socket"} __names 2>/dev/null; }

        _supctl() {
            local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
            local verb= operands=0 socket= options= words= files= i
            COMPREPLY=()
            for ((i = 1; i < COMP_CWORD; i++)); do
                case ${COMP_WORDS[i]} in
                --socket) socket=${COMP_WORDS[++i]} ;;
                \(withValue.subtracting(["--socket"]).sorted().joined(separator: " | "))) ((i++)) ;;
                -*) ;;
                *) if [[ -z $verb ]]; then verb=${COMP_WORDS[i]}; else ((operands++)); fi ;;
                esac
            done
            case $previous in
            --socket) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
            \(withValue.subtracting(["--socket"]).sorted().joined(separator: " | "))) return ;;
            esac
            # A value: bash takes nofile=4096 for three words.
            if [[ $current == = || $previous == = ]]; then return; fi
            case $verb in
                '') options='\(common)'; words='\(verbs.map(\.name).joined(separator: " "))' ;;
        \(cases)\
            esac
            if [[ $current == -* ]]; then words=$options files=; fi
            if [[ -n $files ]]; then
                compopt -o filenames
                mapfile -t COMPREPLY < <(compgen -f -- "$current")
            else
                mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
                if [[ ${COMPREPLY[0]-} == *= ]]; then compopt -o nospace; fi
            fi
        }

        complete -F _supctl supctl

        """
}
