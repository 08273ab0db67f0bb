import ControlAPI
import Events
import Logs
import Platform
import Why

let whyVerb = Verb(
    name: "why", synopsis: "[NAME…]", summary: "explain why something is as it is, and what helps",
    details: """
        The first line for each instance says what it is doing and since when, why, and
        what it waits for. Then come its last ends with the likely cause and the last
        lines of its log before each, how often it was restarted by itself in the last
        hour, and what would help. Without a name: of all that is not as it should be.
        While a start, stop, restart, apply or shutdown is under way, in another terminal,
        it says what that waits for, in lines of their own for an apply and a shutdown.
        A cause is called probable where it is a guess, from what a program wrote last;
        its last line stands beside it where that may say more.
        Exit code 0 if all of it is as it should be, 3 if not.
        """,
    options: [Verb.Option("--json", "as JSON")], operands: .names
) { invocation throws(VerbFailure) in
    let (report, now) = try WhyQuestion.answer(
        try invocation.checked(invocation.operands), try invocation.client())
    if invocation.has("--json") {
        try invocation.console.print(String(decoding: ControlJSON.encode(report) ?? [], as: UTF8.self))
    } else {
        let text = WhyText.text(report, now: now, allowsColour: invocation.console.output.allowsColour)
        try invocation.console.print(text.isEmpty ? "all is as it should be" : text)
    }
    return report.answers.allSatisfy(\.isFine) ? .done : .notUp
}

/// All that the answer is put together from.
enum WhyQuestion {
    /// The answer, and the time at which it was true; without names of all that is not as it should be.
    static func answer(_ names: [String], _ client: ControlClient) throws(VerbFailure) -> (WhyReport, Int64) {
        let now = wallClockNanoseconds()
        let all = try asking { () throws(ControlClientError) in
            try client.ask(.status(names: [], limits: false), as: StatusReport.self)
        }
        let asked =
            names.isEmpty
            ? all
            : try asking { () throws(ControlClientError) in
                // The limits are only told of a single service.
                try client.ask(.status(names: names, limits: names.count == 1), as: StatusReport.self)
            }
        let logs = WhyLogs(directory: all.daemon.logDirectory)
        let balancer = balancerReport(names, asked, client)
        let instances = WhyInterest.instances(asked: names.isEmpty ? nil : asked, among: all, balancer: balancer)
        let report = WhyReport(
            about: asked, among: all, events: try keptEvents(client, of: instances),
            usage: pastUse(names.isEmpty ? instances : names, client),
            balancer: balancer, memoryKills: outOfMemoryKills(), now: now, onlyTrouble: names.isEmpty
        ) { logs.lastLines(of: $0, from: $1, to: $2) }
        return (report, now)
    }

    /// What the balancer has counted of those with a front; nothing while it does not answer: the rest is worth having.
    private static func balancerReport(
        _ names: [String], _ asked: StatusReport, _ client: ControlClient
    ) -> BalancerReport? {
        guard asked.services.contains(where: { !$0.listen.isEmpty }) else { return nil }
        return try? client.ask(.balancer(names: names), as: BalancerReport.self, timeout: .seconds(2))
    }

    /// What was used in the last hour, nil: by all; nothing from a supd that does not know the question: the rest is worth having.
    private static func pastUse(_ instances: [String]?, _ client: ControlClient) -> UsageReport? {
        let names = instances ?? []
        // No names would ask for all.
        guard instances == nil || !names.isEmpty else { return nil }
        return try? client.ask(.usage(names: names, series: nil), as: UsageReport.self, timeout: .seconds(5))
    }
}

/// The events that are kept, of instances only those about some, nil: about all; a few megabytes at most.
private func keptEvents(_ client: ControlClient, of instances: [String]?) throws(VerbFailure) -> [EventRecord] {
    try asking { () throws(ControlClientError) in
        do throws(ControlClientError) {
            return try events(client, of: instances)
        } catch {
            // An older supd knows no choice.
            guard instances != nil, case .refused(400, _) = error else { throw error }
            return try events(client, of: nil)
        }
    }
}

private func events(
    _ client: ControlClient, of instances: [String]?
) throws(ControlClientError) -> [EventRecord] {
    var events: [EventRecord] = []
    var stream = try ControlStream(.events(after: nil, follow: false, instances: instances), of: client)
    while let line = try stream.next() {
        if let event = EventLine.event(line) { events.append(event) }
    }
    return events
}

/// The logs, for what was written before an end.
private struct WhyLogs {
    let directory: String
    private static let count = 5

    /// The last lines; none if they cannot be read: the rest of the answer is worth having.
    func lastLines(of instance: String, from start: Int64?, to end: Int64?) -> [String] {
        var filter = LogFilter()
        filter.since = start
        filter.until = end
        do throws(SystemError) {
            let follower = try LogFollower(directory: directory, last: Self.count, filter: filter) { $0 == instance }
            var lines: [String] = []
            while let line = try follower.next() {
                lines.append(String(decoding: line.text.prefix(500), as: UTF8.self))
            }
            return lines
        } catch {
            return []
        }
    }
}
