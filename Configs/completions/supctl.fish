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
complete -c supctl -l socket -r -F -d 'the daemon\'s control socket, in place of the usual one'
complete -c supctl -l help -s h -d 'this help'

complete -c supctl -n 'not __fish_seen_subcommand_from status top start stop restart drain undrain balancer logs signal limit check apply history rollback upgrade shutdown version completion help' -a status -d 'show how services are'
complete -c supctl -n 'not __fish_seen_subcommand_from status top start stop restart drain undrain balancer logs signal limit check apply history rollback upgrade shutdown version completion help' -a top -d 'watch services on the whole screen'
complete -c supctl -n 'not __fish_seen_subcommand_from status top start stop restart drain undrain balancer logs signal limit check apply history rollback upgrade shutdown version completion help' -a start -d 'bring services up, with what they depend on'
complete -c supctl -n 'not __fish_seen_subcommand_from status top start stop restart drain undrain balancer logs signal limit check apply history rollback upgrade shutdown version completion help' -a stop -d 'bring services down, until they are started again'
complete -c supctl -n 'not __fish_seen_subcommand_from status top start stop restart drain undrain balancer logs signal limit check apply history rollback upgrade shutdown version completion help' -a restart -d 'replace services, one instance after the other'
complete -c supctl -n 'not __fish_seen_subcommand_from status top start stop restart drain undrain balancer logs signal limit check apply history rollback upgrade shutdown version completion help' -a drain -d 'take instances out of the balancer'
complete -c supctl -n 'not __fish_seen_subcommand_from status top start stop restart drain undrain balancer logs signal limit check apply history rollback upgrade shutdown version completion help' -a undrain -d 'put drained instances back into the balancer'
complete -c supctl -n 'not __fish_seen_subcommand_from status top start stop restart drain undrain balancer logs signal limit check apply history rollback upgrade shutdown version completion help' -a balancer -d 'show the counters of fronts and instances'
complete -c supctl -n 'not __fish_seen_subcommand_from status top start stop restart drain undrain balancer logs signal limit check apply history rollback upgrade shutdown version completion help' -a logs -d 'show what services have written'
complete -c supctl -n 'not __fish_seen_subcommand_from status top start stop restart drain undrain balancer logs signal limit check apply history rollback upgrade shutdown version completion help' -a signal -d 'send a signal to services'
complete -c supctl -n 'not __fish_seen_subcommand_from status top start stop restart drain undrain balancer logs signal limit check apply history rollback upgrade shutdown version completion help' -a limit -d 'change limits of running services'
complete -c supctl -n 'not __fish_seen_subcommand_from status top start stop restart drain undrain balancer logs signal limit check apply history rollback upgrade shutdown version completion help' -a check -d 'see whether a manifest is right, without a daemon'
complete -c supctl -n 'not __fish_seen_subcommand_from status top start stop restart drain undrain balancer logs signal limit check apply history rollback upgrade shutdown version completion help' -a apply -d 'put a manifest in force; touch only what differs'
complete -c supctl -n 'not __fish_seen_subcommand_from status top start stop restart drain undrain balancer logs signal limit check apply history rollback upgrade shutdown version completion help' -a history -d 'show the manifests of before, the latest first'
complete -c supctl -n 'not __fish_seen_subcommand_from status top start stop restart drain undrain balancer logs signal limit check apply history rollback upgrade shutdown version completion help' -a rollback -d 'put a manifest of before in force again'
complete -c supctl -n 'not __fish_seen_subcommand_from status top start stop restart drain undrain balancer logs signal limit check apply history rollback upgrade shutdown version completion help' -a upgrade -d 'let a newer supd take over, services go on'
complete -c supctl -n 'not __fish_seen_subcommand_from status top start stop restart drain undrain balancer logs signal limit check apply history rollback upgrade shutdown version completion help' -a shutdown -d 'stop all services in order, then supd itself'
complete -c supctl -n 'not __fish_seen_subcommand_from status top start stop restart drain undrain balancer logs signal limit check apply history rollback upgrade shutdown version completion help' -a version -d 'show the version of supctl and of the running supd'
complete -c supctl -n 'not __fish_seen_subcommand_from status top start stop restart drain undrain balancer logs signal limit check apply history rollback upgrade shutdown version completion help' -a completion -d 'print a completion script for a shell'
complete -c supctl -n 'not __fish_seen_subcommand_from status top start stop restart drain undrain balancer logs signal limit check apply history rollback upgrade shutdown version completion help' -a help -d 'show this, or all about one verb'
complete -c supctl -n '__fish_seen_subcommand_from status' -l json -d 'as JSON, for programs: absent is null, keys never change meaning'
complete -c supctl -n '__fish_seen_subcommand_from status' -l watch -s w -d 'once a second until Ctrl-C; with --json a line each time'
complete -c supctl -n '__fish_seen_subcommand_from status' -a '(__supctl_names)'
complete -c supctl -n '__fish_seen_subcommand_from top' -a '(__supctl_names)'
complete -c supctl -n '__fish_seen_subcommand_from start' -l no-wait -d 'return as soon as supd has taken it on'
complete -c supctl -n '__fish_seen_subcommand_from start' -l timeout -x -d 'wait no longer than this (30s, 5m); supd goes on with it'
complete -c supctl -n '__fish_seen_subcommand_from start' -a '(__supctl_names)'
complete -c supctl -n '__fish_seen_subcommand_from stop' -l no-wait -d 'return as soon as supd has taken it on'
complete -c supctl -n '__fish_seen_subcommand_from stop' -l timeout -x -d 'wait no longer than this (30s, 5m); supd goes on with it'
complete -c supctl -n '__fish_seen_subcommand_from stop' -a '(__supctl_names)'
complete -c supctl -n '__fish_seen_subcommand_from restart' -l no-wait -d 'return as soon as supd has taken it on'
complete -c supctl -n '__fish_seen_subcommand_from restart' -l timeout -x -d 'wait no longer than this (30s, 5m); supd goes on with it'
complete -c supctl -n '__fish_seen_subcommand_from restart' -a '(__supctl_names)'
complete -c supctl -n '__fish_seen_subcommand_from drain' -l no-wait -d 'return as soon as supd has taken it on'
complete -c supctl -n '__fish_seen_subcommand_from drain' -l timeout -x -d 'wait no longer than this (30s, 5m); supd goes on with it'
complete -c supctl -n '__fish_seen_subcommand_from drain' -a '(__supctl_names)'
complete -c supctl -n '__fish_seen_subcommand_from undrain' -l no-wait -d 'return as soon as supd has taken it on'
complete -c supctl -n '__fish_seen_subcommand_from undrain' -l timeout -x -d 'wait no longer than this (30s, 5m); supd goes on with it'
complete -c supctl -n '__fish_seen_subcommand_from undrain' -a '(__supctl_names)'
complete -c supctl -n '__fish_seen_subcommand_from balancer' -l json -d 'as JSON, for programs: absent is null, keys never change meaning'
complete -c supctl -n '__fish_seen_subcommand_from balancer' -l watch -s w -d 'once a second until Ctrl-C, with rates; with --json a line each time'
complete -c supctl -n '__fish_seen_subcommand_from balancer' -a '(__supctl_names)'
complete -c supctl -n '__fish_seen_subcommand_from logs' -l follow -s f -d 'go on with what comes, through restarts of services and of supd'
complete -c supctl -n '__fish_seen_subcommand_from logs' -l sessions -d 'what the balancer has logged of connections, in place of the services\' output'
complete -c supctl -n '__fish_seen_subcommand_from logs' -l lines -s n -x -d 'only the last N lines (all; with -f: 10)'
complete -c supctl -n '__fish_seen_subcommand_from logs' -l since -x -d 'only lines of this time or later'
complete -c supctl -n '__fish_seen_subcommand_from logs' -l until -x -d 'only lines of this time or earlier'
complete -c supctl -n '__fish_seen_subcommand_from logs' -l grep -x -d 'only lines in which a regular expression is found'
complete -c supctl -n '__fish_seen_subcommand_from logs' -l json -d 'each line as a JSON object'
complete -c supctl -n '__fish_seen_subcommand_from logs' -a '(__supctl_names)'
complete -c supctl -n '__fish_seen_subcommand_from signal' -a 'HUP INT QUIT USR1 USR2 TERM KILL STOP CONT WINCH (__supctl_names)'
complete -c supctl -n '__fish_seen_subcommand_from limit' -a '(__supctl_names) as= core= cpu= data= fsize= locks= memlock= msgqueue= nice= nofile= nproc= rss= rtprio= rttime= sigpending= stack='
complete -c supctl -n '__fish_seen_subcommand_from check' -F
complete -c supctl -n '__fish_seen_subcommand_from apply' -l dry-run -d 'only show the plan'
complete -c supctl -n '__fish_seen_subcommand_from apply' -l json -d 'the plan as JSON; with --dry-run'
complete -c supctl -n '__fish_seen_subcommand_from apply' -l no-wait -d 'return as soon as supd has taken it on'
complete -c supctl -n '__fish_seen_subcommand_from apply' -l timeout -x -d 'wait no longer than this (30s, 5m); supd goes on with it'
complete -c supctl -n '__fish_seen_subcommand_from apply' -F
complete -c supctl -n '__fish_seen_subcommand_from history' -l json -d 'as JSON'
complete -c supctl -n '__fish_seen_subcommand_from rollback' -l dry-run -d 'only show the plan'
complete -c supctl -n '__fish_seen_subcommand_from rollback' -l json -d 'the plan as JSON; with --dry-run'
complete -c supctl -n '__fish_seen_subcommand_from rollback' -l no-wait -d 'return as soon as supd has taken it on'
complete -c supctl -n '__fish_seen_subcommand_from rollback' -l timeout -x -d 'wait no longer than this (30s, 5m); supd goes on with it'
complete -c supctl -n '__fish_seen_subcommand_from upgrade' -l check -d 'only try it'
complete -c supctl -n '__fish_seen_subcommand_from upgrade' -l timeout -x -d 'wait no longer than this (1m); supd goes on with it'
complete -c supctl -n '__fish_seen_subcommand_from upgrade' -F
complete -c supctl -n '__fish_seen_subcommand_from shutdown' -l no-wait -d 'return as soon as supd has taken it on'
complete -c supctl -n '__fish_seen_subcommand_from shutdown' -l timeout -x -d 'wait no longer than this (30s, 5m); supd goes on with it'
complete -c supctl -n '__fish_seen_subcommand_from completion' -a 'bash zsh fish'
complete -c supctl -n '__fish_seen_subcommand_from help' -a 'status top start stop restart drain undrain balancer logs signal limit check apply history rollback upgrade shutdown version completion help'
