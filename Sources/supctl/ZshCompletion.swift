/// The completion script for zsh.
func zshCompletion(_ verbs: [Verb]) -> String {
    let described = verbs.map { "            '\($0.name):\(quoted($0.summary))'\n" }.joined()
    var cases = ""
    for verb in verbs {
        let options = verb.options.flatMap(specifications) + commonOptions.flatMap(specifications)
        let operands =
            switch verb.operands {
            case .none: [String]()
            case .names: ["'*:name:_supctl_names'"]
            case .signalAndNames: ["'1:signal:(\(usualSignals.joined(separator: " ")))'", "'*:name:_supctl_names'"]
            case .namesAndLimits: ["'1:name:_supctl_names'", "'*:name or limit:_supctl_names_and_limits'"]
            case .counts: ["'*:service:_supctl_services'"]
            case .file: ["'1:manifest:_files'"]
            case .shell: ["'1:shell:(\(Shell.allCases.map(\.rawValue).joined(separator: " ")))'"]
            case .verb: ["'1:verb:(\(verbs.map(\.name).joined(separator: " ")))'"]
            }
        cases += "        \(verb.name)) _arguments -s \((options + operands).joined(separator: " ")) ;;\n"
    }
    return """
        #compdef supctl
        # zsh completion for supctl, made by "supctl completion zsh"

        _supctl_names() {
            local -a names
            local control=${opt_args[--socket]:-$socket}
            names=(${(f)"$(command supctl ${control:+--socket} ${control:+$control} __names 2>/dev/null)"})
            compadd -a names
        }

        _supctl_services() {
            local -a names
            local control=${opt_args[--socket]:-$socket}
            names=(${(f)"$(command supctl ${control:+--socket} ${control:+$control} __names 2>/dev/null)"})
            compadd -S '=' -- ${names:#*/*}
        }

        _supctl_names_and_limits() {
            _supctl_names
            compadd -S '' -- \(limitWords.joined(separator: " "))
        }

        _supctl() {
            local curcontext=$curcontext state line
            typeset -A opt_args
            _arguments -C \(commonOptions.flatMap(specifications).joined(separator: " ")) '1:verb:->verb' '*::operand:->operand'
            local socket=${opt_args[--socket]}
            case $state in
            verb)
                local -a verbs
                verbs=(
        \(described)\
                )
                _describe verb verbs
                ;;
            operand)
                case $line[1] in
        \(cases)\
                esac
                ;;
            esac
        }

        _supctl "$@"

        """
}

/// What _arguments takes for an option.
private func specifications(_ option: Verb.Option) -> [String] {
    let value = option.value.map { $0 == "PATH" ? ":path:_files" : ":\($0):" } ?? ""
    return names(of: option).map { "'\($0)[\(quoted(option.summary))]\(value)'" }
}

/// Text inside single quotes and brackets of a specification.
private func quoted(_ text: String) -> String {
    text.replacing("'", with: "'\\''").replacing(":", with: "\\:").replacing("[", with: "\\[").replacing(
        "]", with: "\\]")
}
