# bash completion for supctl, made by "supctl completion bash"

_supctl_names() { supctl ${socket:+--socket "$socket"} __names 2>/dev/null; }

_supctl() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
    local verb= operands=0 socket= options= words= files= i
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        --socket) socket=${COMP_WORDS[++i]} ;;
        --grep | --lines | --since | --timeout | --until | -n) ((i++)) ;;
        -*) ;;
        *) if [[ -z $verb ]]; then verb=${COMP_WORDS[i]}; else ((operands++)); fi ;;
        esac
    done
    case $previous in
    --socket) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
    --grep | --lines | --since | --timeout | --until | -n) return ;;
    esac
    # A value: bash takes nofile=4096 for three words.
    if [[ $current == = || $previous == = ]]; then return; fi
    case $verb in
        '') options='--socket --help -h'; words='status why top usage start stop restart drain undrain balancer logs events metrics signal limit scale check apply promote history rollback upgrade shutdown version completion help' ;;
        status) options='--json --watch -w --socket --help -h'; words=$(_supctl_names) ;;
        why) options='--json --socket --help -h'; words=$(_supctl_names) ;;
        top) options='--socket --help -h'; words=$(_supctl_names) ;;
        usage) options='--day --json --socket --help -h'; words=$(_supctl_names) ;;
        start) options='--no-wait --timeout --socket --help -h'; words=$(_supctl_names) ;;
        stop) options='--no-wait --timeout --socket --help -h'; words=$(_supctl_names) ;;
        restart) options='--no-wait --timeout --socket --help -h'; words=$(_supctl_names) ;;
        drain) options='--no-wait --timeout --socket --help -h'; words=$(_supctl_names) ;;
        undrain) options='--no-wait --timeout --socket --help -h'; words=$(_supctl_names) ;;
        balancer) options='--json --watch -w --socket --help -h'; words=$(_supctl_names) ;;
        logs) options='--follow -f --sessions --lines -n --since --until --grep --json --socket --help -h'; words=$(_supctl_names) ;;
        events) options='--follow -f --since --json --socket --help -h'; words=$(_supctl_names) ;;
        metrics) options='--socket --help -h'; : ;;
        signal) options='--socket --help -h'; if ((operands == 0)); then words='HUP INT QUIT USR1 USR2 TERM KILL STOP CONT WINCH'; else words=$(_supctl_names); fi ;;
        limit) options='--socket --help -h'; words=$(_supctl_names); if ((operands > 0)); then words+=' as= core= cpu= data= fsize= locks= memlock= msgqueue= nice= nofile= nproc= rss= rtprio= rttime= sigpending= stack='; fi ;;
        scale) options='--no-wait --timeout --socket --help -h'; words=$(_supctl_names | sed '/\//d; s/$/=/') ;;
        check) options='--socket --help -h'; files=1 ;;
        apply) options='--dry-run --json --no-wait --timeout --socket --help -h'; files=1 ;;
        promote) options='--socket --help -h'; words=$(_supctl_names) ;;
        history) options='--json --socket --help -h'; : ;;
        rollback) options='--dry-run --json --no-wait --timeout --socket --help -h'; words=$(_supctl_names) ;;
        upgrade) options='--check --timeout --socket --help -h'; files=1 ;;
        shutdown) options='--no-wait --timeout --socket --help -h'; : ;;
        version) options='--socket --help -h'; : ;;
        completion) options='--socket --help -h'; words='bash zsh fish' ;;
        help) options='--socket --help -h'; words='status why top usage start stop restart drain undrain balancer logs events metrics signal limit scale check apply promote history rollback upgrade shutdown version completion help' ;;
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
