import ControlAPI
import Logs
import Platform

let logsVerb = Verb(
    name: "logs", synopsis: "[NAME…]", summary: "show what services have written",
    details: """
        Reads the log files themselves, so that it works while supd is down: the lines of all services, or of those
        named, in the order of their times, rotated files included. Lines written to standard error are marked with !.

        --since and --until take a time: 10m or 1h30m (so long ago), 10:20 (today), today, yesterday, "2026-01-31 10:20"
        (of this machine's time zone), 2026-01-31T10:20:30Z (UTC, as it is shown). --grep takes a regular expression as
        grep -E does; one without capital letters finds them, too. -n counts the lines that these leave.
        --json prints an object a line: time, service, instance, stream, message; what is no UTF-8 becomes U+FFFD. Of a
        service with log.format: "json" a line that is an object is passed on as it is, with time, service, instance and
        stream put in front; where it has such a key itself, as supd_time and so on, and not at all if it has both. Which
        services these are only a running supd says, with -f anew after an apply; without one all lines are messages.
        On a terminal each instance's name has a colour, unless NO_COLOR is set.

        With --sessions the lines that the balancer has written instead, one for each connection that ended, for services
        with balance.log: true. Its fields are always these, in this order; - is said of what there was not:

          client      the client's address and port ([IPv6]:port); of a front with acceptProxyProtocol the address in the
                      header; "unix" for a client of a Unix socket
          front       the front, as in listen
          instance    the instance that the connection has reached, or tried last
          header      seconds from the accept until the PROXY header had come, or to the end; - if the front takes none
          queue       seconds from then (without a header: from the accept) to the last connect, or to the end
          connect     seconds that connect took
          total       seconds from the accept to the end
          in, out     bytes from the client, and to it; without PROXY headers
          retries     connects after the first one
          end         two letters: who has ended it, and when; "supctl help balancer" explains them
          dropped     only if there is something to say: so many lines before this one are lost, for nobody took them

        Times are true to a few milliseconds. Connections that were open before balance.log was set have no line.
        """,
    options: [
        Verb.Option("--follow", short: "-f", "go on with what comes, through restarts of services and of supd"),
        Verb.Option("--sessions", "what the balancer has logged of connections, in place of the services' output"),
        Verb.Option("--lines", short: "-n", value: "N", "only the last N lines (all; with -f: 10)"),
        Verb.Option("--since", value: "TIME", "only lines of this time or later"),
        Verb.Option("--until", value: "TIME", "only lines of this time or earlier"),
        Verb.Option("--grep", value: "PATTERN", "only lines in which a regular expression is found"),
        Verb.Option("--json", "each line as a JSON object"),
    ],
    operands: .names
) { invocation throws(VerbFailure) in
    let names = try invocation.checked(invocation.operands)
    let follows = invocation.has("--follow")
    let selection = try LogSelection(invocation)
    let source = try LogSource(invocation)
    let ofSessions = invocation.has("--sessions")
    if ofSessions, let name = names.first(where: { $0.contains("/") }) {
        throw invocation.misused("sessions are logged for services as a whole: name the service of \(name)")
    }
    let chosen = try source.logs(named: names, ofSessions: ofSessions)
    if ofSessions, chosen.instances.allSatisfy({ !source.isWritten($0) }) {
        let whom = names.isEmpty ? "any service" : names.joined(separator: ", ")
        invocation.console.complain("no sessions of \(whom) were logged yet: that needs balance.log: true")
    }
    // What they wrote while they had instances is there all the same.
    if !names.isEmpty, let text = chosen.withoutInstancesText { invocation.console.complain(text) }
    var printer = LogPrinter(
        console: invocation.console, nameWidth: chosen.instances.map(\.count).max() ?? 0,
        json: invocation.has("--json") ? source.objectServices : nil)
    if invocation.has("--json"), !ofSessions, source.objectServices.names == nil {
        invocation.console.complain(
            "supd does not answer, so it is not known which services have log.format: \"json\": all lines are messages")
    }
    let follower = try source.reading { () throws(SystemError) in
        try LogFollower(
            directory: source.directory, last: selection.count, filter: selection.filter
        ) { instance in
            LogPath.isSessions(instance) == ofSessions
                && (names.isEmpty || names.contains { Selector.matches($0, instance: instance) })
        }
    }
    var isFollowing = false
    while true {
        while let line = try source.reading(follower.next) {
            if isFollowing { printer.refresh() }
            try printer.add(line)
        }
        try printer.flush()
        guard follows else { return .done }
        isFollowing = true
        _ = try source.reading { () throws(SystemError) in try follower.wait(milliseconds: -1) }
    }
}
