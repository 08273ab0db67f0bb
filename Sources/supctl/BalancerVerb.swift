import ControlAPI
import Platform

let balancerVerb = Verb(
    name: "balancer", synopsis: "[NAME…]", summary: "show the counters of fronts and instances",
    details: """
        Shows what the balancer has counted since its start, of all services with a front or of those named: a table of
        fronts (what clients see), a table of instances (where connections go), and below each how sessions have ended.
        Columns that do not fit the terminal are left out, those that matter least first.

          CUR, MAX, TOTAL     connections: open now, most at a time, ever (of an instance: connects to it)
          RATE, RMAX          new connections a second: in the last second, most in one
          QUEUE, QMAX         connections that wait for an instance: now, most at a time
                              (MAX and QMAX add up the most that each loop has seen, at whatever times: with several
                              loops the true most at a time may be less)
          IN, OUT             bytes from clients, bytes to them; with --watch also IN/S and OUT/S
          AWAY                connections that were ended without having reached an instance; not clients that left
          DENIED              of these: not in allow, or without a valid PROXY header
          LIMITED             of these: above maxConnectionsPerAddress or maxQueue
          ERRORS              connects that failed: refused, timed out, or own shortage
          RETRIES, REDISP     connects tried again at once after that, not those from the queue; of these, at another
                              instance
          ASIDE               how often an instance was set aside for connects that failed
          CONNECT, SLOWEST    time of a connect to an instance: on average, longest
                              (by a clock that ticks every few milliseconds: the average evens that out, one time may
                              be a tick or two off, so that SLOWEST says little below some 10 ms)
          STATE               as in "supctl status"; drained; aside: gets none for so long, since connects failed (1 s, then
                              twice as long each time, 60 s at most); to be tried: the next connection tries it, and
                              one connect that succeeds puts it back; connect failed: so long ago, and none has succeeded
                              since; it gets connections nevertheless, since at most half of a service's are set aside

        End states, first letter: who ended it        second letter: when
          -  both sides, in order                       -  after all was said
          C  the client left or reset                   G  coming in: rules, limits, the PROXY header
          S  the instance reset or refused              Q  waiting for an instance
          c  timeout on the client's side               C  connecting to an instance
          s  timeout on the instance's side             D  while data went both ways
          P  a rule or limit refused it                 L  the instance had ended, the client not yet
          R  supd was short of something (descriptors)
          D  cut at the end of drainTimeout

        So CD is a client that went away in the middle, SC an instance that refused, and -- a session without
        trouble, as far as TCP tells: the kernel ends the connections of a killed process in order, too.
        What is open when supd ends has no end state: the counters end with it.
        """,
    options: [
        Verb.Option("--json", "as JSON, for programs: absent is null, keys never change meaning"),
        Verb.Option(
            "--watch", short: "-w", "once a second until q or Ctrl-C, with rates; with --json a line each time"),
    ],
    operands: .names
) { invocation throws(VerbFailure) in
    let names = try invocation.checked(invocation.operands)
    let client = try invocation.client()
    let console = invocation.console
    @Sendable func ask() throws(VerbFailure) -> [UInt8] {
        try asking { () throws(ControlClientError) in try client.ask(.balancer(names: names), timeout: .seconds(10)) }
    }
    func understand(_ text: [UInt8]) throws(VerbFailure) -> BalancerReport {
        guard let report = ControlJSON.decode(BalancerReport.self, from: text) else {
            throw VerbFailure(
                .failed, "cannot understand the answer of supd at \(client.socketPath): is it another version?")
        }
        return report
    }
    guard invocation.has("--watch") else {
        let text = try ask()
        if invocation.has("--json") {
            // As it came: a newer daemon may say more than this program knows.
            try console.write(text + [UInt8(ascii: "\n")])
        } else {
            try console.print(
                BalancerTables.text(
                    try understand(text), width: console.output.width, allowsColour: console.output.allowsColour))
        }
        return .done
    }
    if invocation.has("--json") {
        return try watch(console, inPlace: false, hint: "", ask: ask) { answer, _ in
            String(decoding: answer, as: UTF8.self) + "\n"
        }
    }
    var last: (report: BalancerReport, at: Int64)?
    return try watch(
        console, inPlace: console.output.isTerminal, hint: "q quits", ask: ask
    ) { answer, terminal throws(VerbFailure) in
        let report = try understand(answer)
        let now = monotonicNanoseconds()
        let since = last.map { BalancerTables.Earlier(report: $0.report, seconds: Double(now - $0.at) / 1e9) }
        last = (report, now)
        return BalancerTables.text(report, since: since, width: terminal.width, allowsColour: terminal.allowsColour)
    }
}
